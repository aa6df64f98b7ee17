//! Cameras, service and producer on this machine, with a proxy before the service: what counts of loss and cost are made
//! with. Each part but the cameras is a process of its own, as it is shipped.

mod producer;
mod service;
mod times;

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_config::SdkConfig;
use streamfleet_contract as contract;
use tokio::process::Command;

use crate::archive::{self, REGION};
use crate::camera::{Camera, Clip, Options, Order, Recipe};
use crate::journal::{self, ArchivedPicture, EndReason, Entry};
use crate::proxy::Proxy;
use crate::tools::cache_dir;

pub use producer::Producer;
pub use service::{Arrival, Call, Service};
pub use times::check_times;

/// From a start to the first PLAY, on a busy machine with many feeds.
const START_MAX: Duration = Duration::from_mins(1);

/// What a rig is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names the folder.
    pub name: String,
    /// The clips that each camera can show.
    pub recipes: Vec<Recipe>,
    /// How many cameras, and as many streams.
    pub feeds: usize,
    /// As if the cameras had been started so long before they are.
    pub head_start: Duration,
    /// Whether cameras keep journals.
    pub journals: bool,
    /// Settings of the producer's process. A spool's folder is put into the rig's own when its path is relative.
    pub process: contract::Process,
    /// Whether the producer reaches the service through the proxy, which takes some of the machine.
    pub proxied: bool,
    /// More arguments for the emulator.
    pub service_arguments: Vec<String>,
    /// What runs in place of the producer.
    pub program: Option<String>,
    /// More arguments for the producer.
    pub producer_arguments: Vec<String>,
    /// How long a producer that is stopped waits for storage, in seconds; none for its default.
    pub drain_seconds: Option<u64>,
}

impl Plan {
    /// One camera that shows one clip, with a journal.
    pub fn new(name: impl Into<String>, recipe: Recipe) -> Self {
        Self {
            name: name.into(),
            recipes: vec![recipe],
            feeds: 1,
            head_start: Duration::ZERO,
            journals: true,
            process: contract::Process::default(),
            proxied: true,
            service_arguments: Vec::new(),
            program: None,
            producer_arguments: Vec::new(),
            drain_seconds: None,
        }
    }

    /// How many bytes of media the producer may hold in memory.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.process.memory_budget_bytes = bytes;
        self
    }

    /// With so many cameras and streams.
    #[must_use]
    pub fn feeds(self, feeds: usize) -> Self {
        Self { feeds, ..self }
    }
}

/// A running rig.
#[derive(Debug)]
pub struct Rig {
    /// What it was made by.
    pub plan: Plan,
    /// Everything that is written is in here.
    pub folder: PathBuf,
    /// The cameras, by feed.
    pub cameras: Vec<Camera>,
    /// What the producer reaches the service through.
    pub proxy: Proxy,
    /// The emulator.
    pub service: Service,
    /// For calls to the service past the proxy.
    pub config: SdkConfig,
    /// Whether the producer is given its AWS keys by its environment.
    pub keys_by_environment: bool,
    /// More environment of the producer.
    pub environment: Vec<(String, String)>,
    /// What the producer works by; see [`Rig::configure`].
    pub configuration: contract::Configuration,
    starts: u32,
}

/// The name of the stream of a feed.
pub fn stream(feed: usize) -> String {
    format!("feed-{feed}")
}

impl Rig {
    /// Starts all but the producer, in a folder of its own.
    pub async fn start(plan: Plan) -> Result<Self> {
        Self::start_with(plan, |_| Ok(Vec::new())).await
    }

    /// The same, with more arguments for the emulator that name files in the folder, which are made first.
    pub async fn start_with(
        plan: Plan,
        arguments: impl FnOnce(&Path) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("streamfleet-{}-{}", plan.name, std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let cameras = cameras(&plan, &folder).await?;
        let proxy = Proxy::start().await?;
        let before = plan.proxied.then_some(&proxy);
        let arguments = [plan.service_arguments.clone(), arguments(&folder)?].concat();
        let service = Service::start(&folder, before, &arguments).await?;
        let config = archive::sdk_config(&format!("http://{}", service.http)).await;
        let mut feeds = Vec::new();
        for (index, camera) in cameras.iter().enumerate() {
            let arn = archive::create_stream(&config, &stream(index)).await?;
            let source = contract::Source::Rtsp(contract::RtspSource::new(camera.url()));
            feeds.push(feed(index, source, arn, service.advertised(), &folder));
        }
        let mut process = plan.process.clone();
        if let Some(spool) = &mut process.spool {
            // An absolute path stays as it is.
            spool.path = folder.join(&spool.path).display().to_string();
            std::fs::create_dir_all(&spool.path)?;
        }
        let configuration =
            contract::Configuration { schema_version: contract::SCHEMA_VERSION, process, feeds };
        let environment = Vec::new();
        let rig = Self {
            plan,
            folder,
            cameras,
            proxy,
            service,
            config,
            environment,
            keys_by_environment: true,
            configuration,
            starts: 0,
        };
        rig.configure()?;
        Ok(rig)
    }

    /// Adds a feed from any source, with a stream of its own; [`Rig::configure`] tells the producer.
    pub async fn add_feed(&mut self, source: contract::Source) -> Result<()> {
        let index = self.configuration.feeds.len();
        let arn = archive::create_stream(&self.config, &stream(index)).await?;
        self.configuration.feeds.push(feed(index, source, arn, self.service.advertised(), &self.folder));
        Ok(())
    }

    /// Writes the configuration, for the next start of the producer or for the one that runs.
    pub fn configure(&self) -> Result<()> {
        // JSON is YAML too. Renamed, so that nobody reads half of it.
        let unfinished = self.folder.join("feeds.new");
        std::fs::write(&unfinished, serde_json::to_string(&self.configuration)?)?;
        Ok(std::fs::rename(unfinished, self.configuration_file())?)
    }

    /// Where the producer's configuration is.
    pub fn configuration_file(&self) -> PathBuf {
        self.folder.join("feeds.yaml")
    }

    /// Starts the producer, and waits until the camera of each configured feed plays to it.
    pub async fn produce(&mut self) -> Result<Producer> {
        let before = self.plays();
        let mut producer = self.launch()?;
        let playing = || {
            let now = self.plays();
            now.iter()
                .zip(&before)
                .take(self.configuration.feeds.len())
                .all(|(now, before)| now > before)
                .then_some(())
        };
        producer.wait_for(START_MAX, playing).await?;
        Ok(producer)
    }

    /// Starts the producer.
    pub fn launch(&mut self) -> Result<Producer> {
        self.starts += 1;
        let log = self.folder.join(format!("producer-{}.log", self.starts));
        let feeds = self.configuration_file();
        let more = |command: &mut Command| {
            if let Some(seconds) = self.plan.drain_seconds {
                command.args(["--drain-seconds", &seconds.to_string()]);
            }
            command.args(&self.plan.producer_arguments);
            if !self.keys_by_environment {
                command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
            }
            command.envs(self.environment.iter().cloned());
        };
        Producer::start(self.plan.program.as_deref(), &log, &feeds, more)
    }

    /// All that producers have logged so far.
    pub fn producer_log(&self) -> Result<String> {
        let logs = (1..=self.starts).map(|start| self.folder.join(format!("producer-{start}.log")));
        Ok(logs.map(std::fs::read_to_string).collect::<std::io::Result<Vec<_>>>()?.concat())
    }

    /// How often each camera was played so far.
    fn plays(&self) -> Vec<u64> {
        self.cameras.iter().map(|camera| camera.sent().plays).collect()
    }

    /// What a camera has journalled so far.
    pub fn journal(&self, feed: usize) -> Result<Vec<Entry>> {
        Ok(journal::read(&journal_file(&self.folder, feed))?)
    }

    /// Adds to what a camera has journalled: what it is to have sent before.
    pub fn append_to_journal(&self, feed: usize, lines: &str) -> Result<()> {
        let mut file = File::options().append(true).open(journal_file(&self.folder, feed))?;
        Ok(file.write_all(lines.as_bytes())?)
    }

    /// All pictures of a feed's stream.
    pub async fn archived(&self, feed: usize) -> Result<Vec<ArchivedPicture>> {
        archive::pictures(&self.config, &stream(feed)).await
    }

    /// Gives an order to all cameras.
    pub async fn order(&self, order: Order) -> Result<()> {
        for camera in &self.cameras {
            camera.order(order).await?;
        }
        Ok(())
    }

    /// Lets the producer store all that it has: the cameras fall silent first, so that nothing is under way.
    pub async fn finish(&self, producer: Producer) -> Result<()> {
        self.order(Order::SilenceOn).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let limit = Duration::from_secs(self.plan.drain_seconds.unwrap_or(20) + 20);
        let status = producer.terminate(limit).await?;
        ensure!(status.success(), "the producer ended with {status}");
        Ok(())
    }

    /// Stops everything, and removes the folder. Not done when something has failed: the logs are in it.
    pub async fn clear(self) -> Result<()> {
        for camera in self.cameras {
            camera.stop().await;
        }
        self.service.terminate().await?;
        std::fs::remove_dir_all(&self.folder).context("failed to remove the rig's folder")
    }
}

/// The cameras of a plan. Their key frames are spread over the time between two, as those of strangers are.
async fn cameras(plan: &Plan, folder: &Path) -> Result<Vec<Camera>> {
    let mut clips = Vec::new();
    for recipe in &plan.recipes {
        clips.push(Clip::read(&recipe.make(&cache_dir().join("media")).await?)?);
    }
    let first = plan.recipes.first().context("a camera needs a clip")?;
    let mut cameras = Vec::new();
    for index in 0..plan.feeds {
        let options = Options::on_loopback(clips[0].clone());
        let pictures = first.key_interval * index as u32 / plan.feeds as u32;
        cameras.push(
            Camera::start(Options {
                clips: clips.clone(),
                picture_period: first.picture_period(),
                head_start: plan.head_start + first.picture_period() * pictures,
                journal: plan.journals.then(|| journal_file(folder, index)),
                ..options
            })
            .await?,
        );
    }
    Ok(cameras)
}

fn journal_file(folder: &Path, feed: usize) -> PathBuf {
    folder.join(format!("journal-{feed}"))
}

fn feed(
    index: usize,
    source: contract::Source,
    arn: String,
    service: SocketAddr,
    folder: &Path,
) -> contract::Feed {
    let mut stream = contract::Stream::new(arn, REGION);
    stream.endpoint = Some(format!("https://{service}"));
    stream.ca_file = Some(folder.join("emulator/ca.crt").display().to_string());
    let mut feed = contract::Feed::new(format!("feed-{index}"), source, stream);
    feed.name = format!("tests/feed-{index}");
    "1".clone_into(&mut feed.revision);
    feed
}

/// The connections of a journal that have ended so far, with the reasons.
pub fn ends(journal: &[Entry]) -> Vec<(u64, EndReason)> {
    let end = |entry: &Entry| match entry {
        Entry::End { connection, reason, .. } => Some((*connection, *reason)),
        _ => None,
    };
    journal.iter().filter_map(end).collect()
}

/// The wall's time, in milliseconds of the Unix epoch.
pub fn unix_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
