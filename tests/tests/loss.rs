//! Must show 4 of issue 4: what has left the camera is in the archive, whatever breaks in between. Counted from outside:
//! the camera's journal against what the plain SDK reads from the archive.

#![expect(clippy::print_stdout, reason = "the counts are to be seen")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_config::SdkConfig;
use streamfleet_contract as contract;
use streamfleet_tests::archive::{self, KEY, REGION};
use streamfleet_tests::camera::{Camera, Clip, Options, Order, Recipe};
use streamfleet_tests::journal::{self, ArchivedPicture, EndReason, Entry};
use streamfleet_tests::programs::Program;
use streamfleet_tests::proxy::Proxy;
use tokio::time::Instant;

const STREAM: &str = "loss";
/// The camera's pictures in a second.
const RATE: usize = 25;
/// What a fragment lasts at least, in seconds, and what the emulator takes to store one at most.
const FRAGMENT_SECONDS: usize = 2;
const PERSIST_SECONDS_MAX: usize = 2;
/// How far a stored picture's time may be from when the camera took it.
const CLOCK_ERROR_MS_MAX: i64 = 500;

/// Camera, service and producer, with a proxy before the service.
struct Way {
    folder: PathBuf,
    camera: Camera,
    proxy: Proxy,
    emulator: Program,
    config: SdkConfig,
    /// Starts of the producer so far.
    starts: u32,
}

impl Way {
    /// Starts all but the producer, in a folder of this test's own.
    async fn start(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("streamfleet-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("aws"))?;
        let clip = Clip::read(&Recipe::default().make(&folder).await?)?;
        let options = Options { journal: Some(folder.join("journal")), ..Options::on_loopback(clip) };
        let camera = Camera::start(options).await?;
        let proxy = Proxy::start().await?;
        let (emulator, http) = start_emulator(&folder, &proxy).await?;
        let config = archive::sdk_config(&http).await;
        let arn = archive::create_stream(&config, STREAM).await?;
        let feeds = configuration(&camera, &proxy, arn, &folder);
        // JSON is YAML too.
        std::fs::write(folder.join("feeds.yaml"), serde_json::to_string(&feeds)?)?;
        Ok(Self { folder, camera, proxy, emulator, config, starts: 0 })
    }

    /// Starts the producer, and waits until the camera plays to it.
    async fn produce(&mut self) -> Result<Program> {
        self.starts += 1;
        let plays = self.plays()?;
        let log = self.folder.join(format!("producer-{}.log", self.starts));
        let feeds = self.folder.join("feeds.yaml");
        let mut producer = Program::start("streamfleet-producer", &log, |command| {
            command.arg("run").arg("--config").arg(&feeds).args(["--admin-listen", "127.0.0.1:0"]);
            command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", KEY);
            command.env("AWS_EC2_METADATA_DISABLED", "true");
        })?;
        let playing = || (self.plays().ok()? > plays).then_some(());
        producer.wait_for(Duration::from_secs(20), playing).await?;
        Ok(producer)
    }

    fn journal(&self) -> Result<Vec<Entry>> {
        Ok(journal::read(&self.folder.join("journal"))?)
    }

    fn plays(&self) -> Result<usize> {
        Ok(self.journal()?.iter().filter(|entry| matches!(entry, Entry::Play { .. })).count())
    }

    async fn archived(&self) -> Result<Vec<ArchivedPicture>> {
        archive::pictures(&self.config, STREAM).await
    }

    /// Lets the producer store all that it has: the camera falls silent first, so that nothing is under way.
    async fn finish(&self, producer: Program) -> Result<()> {
        self.camera.order(Order::SilenceOn).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = producer.terminate(Duration::from_secs(30)).await?;
        ensure!(status.success(), "the producer ended with {status}");
        Ok(())
    }

    /// Removes the folder. Not done when a test fails: the logs are in it.
    async fn clear(self) -> Result<()> {
        self.camera.stop().await;
        self.emulator.terminate(Duration::from_secs(10)).await?;
        std::fs::remove_dir_all(&self.folder).context("failed to remove the test's folder")
    }
}

/// Starts the emulator with the proxy as what it advertises, and gives its plain address.
async fn start_emulator(folder: &std::path::Path, proxy: &Proxy) -> Result<(Program, String)> {
    let data = folder.join("emulator");
    let mut emulator = Program::start("streamfleet-emulator", &folder.join("emulator.log"), |command| {
        command.args(["--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0", "--data"]).arg(&data);
        command.arg("--advertise").arg(format!("https://{}", proxy.address()));
    })?;
    let addresses = || {
        let text = std::fs::read_to_string(data.join("addresses.json")).ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()
    };
    let addresses = emulator.wait_for(Duration::from_secs(20), addresses).await?;
    let address = |kind: &str| addresses[kind].as_str().with_context(|| format!("no {kind} in {addresses}"));
    let address = |kind: &str| -> Result<SocketAddr> { Ok(address(kind)?.parse()?) };
    proxy.forward_to(address("https")?);
    Ok((emulator, format!("http://{}", address("http")?)))
}

fn configuration(
    camera: &Camera,
    proxy: &Proxy,
    arn: String,
    folder: &std::path::Path,
) -> contract::Configuration {
    let feed = contract::Feed {
        id: "loss".to_owned(),
        name: "tests/loss".to_owned(),
        revision: "1".to_owned(),
        source: contract::Source::Rtsp(contract::RtspSource { url: camera.url() }),
        credentials: None,
        stream: contract::Stream {
            arn,
            region: REGION.to_owned(),
            endpoint: Some(format!("https://{}", proxy.address())),
            ca_file: Some(folder.join("emulator/ca.crt").display().to_string()),
        },
        stored_at: contract::StoredAt::Persisted,
        fragment: contract::Fragment::default(),
        offline_after_seconds: 30,
    };
    contract::Configuration {
        schema_version: contract::SCHEMA_VERSION,
        process: contract::Process::default(),
        feeds: vec![feed],
    }
}

/// The connections that have ended so far, with the reasons.
fn ends(journal: &[Entry]) -> Vec<(u64, EndReason)> {
    let end = |entry: &Entry| match entry {
        Entry::End { connection, reason, .. } => Some((*connection, *reason)),
        _ => None,
    };
    journal.iter().filter_map(end).collect()
}

/// Numbers rise with the producer's time, and each picture's time is near the moment that the camera took it at. Gives
/// the largest distance, in milliseconds.
fn check_times(journal: &[Entry], archive: &[ArchivedPicture]) -> Result<i64> {
    let Some(Entry::Start { unix_ms, picture_micros }) = journal.first() else {
        anyhow::bail!("the journal does not begin with the camera's start")
    };
    let mut by_time: Vec<&ArchivedPicture> = archive.iter().collect();
    by_time.sort_by_key(|picture| (picture.unix_ms, picture.number));
    for pair in by_time.windows(2) {
        ensure!(pair[0].number <= pair[1].number, "order and time differ: {:?} {:?}", pair[0], pair[1]);
    }
    let taken = |number: u64| unix_ms + (number * picture_micros / 1000) as i64;
    let distance = archive.iter().map(|picture| (picture.unix_ms - taken(picture.number)).abs()).max();
    let distance = distance.context("nothing is stored")?;
    ensure!(distance <= CLOCK_ERROR_MS_MAX, "a picture's time is {distance} ms off");
    Ok(distance)
}

/// What happens in the two minutes; gives the connections at whose ends pictures may be missing.
async fn two_bad_minutes(way: &mut Way) -> Result<Vec<u64>> {
    let began = Instant::now();
    let at = |seconds: u64| tokio::time::sleep_until(began + Duration::from_secs(seconds));
    let mut producer = way.produce().await?;

    at(15).await;
    let uploads = way.proxy.connections();
    println!("{:>5.1} s: upload cut", began.elapsed().as_secs_f32());
    way.proxy.cut();
    let again = || (way.proxy.connections() > uploads).then_some(());
    producer.wait_for(Duration::from_secs(10), again).await.context("no new upload after a cut")?;

    at(30).await;
    let uploads = way.proxy.connections();
    // Half a fragment of about 100 kB a second.
    way.proxy.cut_after(90_000);
    let again = || (!way.proxy.cut_is_due() && way.proxy.connections() > uploads).then_some(());
    producer
        .wait_for(Duration::from_secs(10), again)
        .await
        .context("no new upload after a cut in a fragment")?;
    println!("{:>5.1} s: upload cut in the middle of a fragment", began.elapsed().as_secs_f32());

    at(45).await;
    let plays = way.plays()?;
    println!("{:>5.1} s: RTSP connection cut", began.elapsed().as_secs_f32());
    way.camera.order(Order::CutReset).await?;
    let again = || (way.plays().ok()? > plays).then_some(());
    producer.wait_for(Duration::from_secs(20), again).await.context("no new PLAY after a cut")?;

    at(65).await;
    println!("{:>5.1} s: endpoint gone for 10 s", began.elapsed().as_secs_f32());
    way.proxy.refuse().await;
    at(75).await;
    let uploads = way.proxy.connections();
    way.proxy.admit().await?;
    let again = || (way.proxy.connections() > uploads).then_some(());
    producer.wait_for(Duration::from_secs(30), again).await.context("no new upload after the outage")?;

    at(95).await;
    println!("{:>5.1} s: SIGTERM, and started again", began.elapsed().as_secs_f32());
    let status = producer.terminate(Duration::from_secs(30)).await?;
    ensure!(status.success(), "the producer ended with {status} after SIGTERM");
    let producer = way.produce().await?;

    at(120).await;
    let journal = way.journal()?;
    let ended = ends(&journal);
    ensure!(ended.len() == 2 && ended[0].1 == EndReason::Cut, "connections ended that nobody cut: {ended:?}");
    way.finish(producer).await?;
    Ok(ended.into_iter().map(|(connection, _)| connection).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_two_minutes_of_cuts_and_outages() {
    let mut way = Way::start("loss").await.unwrap();
    let excused = two_bad_minutes(&mut way).await.unwrap();
    let (journal, archive) = (way.journal().unwrap(), way.archived().await.unwrap());
    let comparison = journal::compare(&journal, &archive, &excused);
    println!("{comparison}");
    println!("largest distance of a picture's time: {} ms", check_times(&journal, &archive).unwrap());
    assert!(comparison.is_complete(), "{comparison}");
    // More than 100 of the 120 seconds were sent, so that the count means something.
    assert!(comparison.journalled > 100 * RATE, "{comparison}");
    // Sent again after each of the three broken uploads: what was on its way, and what was stored but not yet said to be.
    let explained = 3 * RATE * (2 * FRAGMENT_SECONDS + PERSIST_SECONDS_MAX);
    assert!(comparison.repeated.len() <= explained, "{comparison}");
    way.clear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_producer_loses_only_what_came_after_the_last_stored_fragment() {
    let mut way = Way::start("kill").await.unwrap();
    let producer = way.produce().await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    producer.kill().await.unwrap();
    let stored_before = way.archived().await.unwrap();
    let producer = way.produce().await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal().unwrap(), way.archived().await.unwrap());
    let comparison = journal::compare(&journal, &archive, &[]);
    println!("{comparison}");
    let last_stored = stored_before.iter().map(|picture| picture.number).max().unwrap();
    let lost = comparison.lost.len();
    println!(
        "after SIGKILL {lost} pictures are lost, {:.2} s; picture {last_stored} was stored",
        lost as f32 / RATE as f32
    );
    // Pictures of the first connection only, in one piece up to its end, behind the last stored one.
    let killed: Vec<u64> = pictures_over(&journal, 1);
    assert!(!killed.is_empty() && comparison.lost.iter().all(|number| *number > last_stored), "{comparison}");
    assert_eq!(comparison.lost, killed[killed.len() - lost..]);
    assert!(lost <= RATE * (2 * FRAGMENT_SECONDS + PERSIST_SECONDS_MAX), "{comparison}");
    assert!(comparison.unknown.is_empty() && comparison.altered.is_empty(), "{comparison}");
    check_times(&journal, &archive).unwrap();
    way.clear().await.unwrap();
}

/// The pictures that were sent over one connection.
fn pictures_over(journal: &[Entry], wanted: u64) -> Vec<u64> {
    let sent = |entry: &Entry| match entry {
        Entry::Picture { connection, number, .. } if *connection == wanted => Some(*number),
        _ => None,
    };
    journal.iter().filter_map(sent).collect()
}
