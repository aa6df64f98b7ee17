//! Must show 4 of issue 4: what has left the camera is in the archive, whatever breaks in between. Counted from outside:
//! the camera's journal against what the plain SDK reads from the archive.

#![expect(clippy::print_stdout, reason = "the counts are to be seen")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_config::SdkConfig;
use streamfleet_contract as contract;
use streamfleet_tests::archive::{self, KEY, REGION};
use streamfleet_tests::camera::{Camera, Clip, Options, Order, Recipe};
use streamfleet_tests::e2e::http;
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
/// More than the longest outage here fills.
const BUFFER: u64 = 64 << 20;
/// How far a stored picture's time may be from when the camera took it: of most pictures, and of any on a busy machine.
const CLOCK_ERROR_MS_USUAL: i64 = 250;
const CLOCK_ERROR_MS_MAX: i64 = 2_000;

/// Camera, service and producer, with a proxy before the service.
struct Way {
    /// How long a producer that is stopped waits for storage; none for its default.
    drain_seconds: Option<u64>,
    folder: PathBuf,
    camera: Camera,
    proxy: Proxy,
    emulator: Emulator,
    config: SdkConfig,
    /// Starts of the producer so far.
    starts: u32,
}

impl Way {
    /// Starts all but the producer, in a folder of this test's own. The producer may hold so many bytes of media.
    async fn start(name: &str, memory_budget_bytes: u64) -> Result<Self> {
        Self::start_with(name, memory_budget_bytes, &[Recipe::default()]).await
    }

    /// As [`Way::start`], with the clips that the camera can show.
    async fn start_with(name: &str, memory_budget_bytes: u64, recipes: &[Recipe]) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("streamfleet-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("aws"))?;
        let mut clips = Vec::new();
        for recipe in recipes {
            clips.push(Clip::read(&recipe.make(&folder).await?)?);
        }
        let journal = Some(folder.join("journal"));
        let options = Options { journal, ..Options::on_loopback(clips.remove(0)) };
        let options = Options { clips: [options.clips, clips].concat(), ..options };
        let camera = Camera::start(options).await?;
        let proxy = Proxy::start().await?;
        let emulator = Emulator::start(&folder, &proxy).await?;
        let config = archive::sdk_config(&format!("http://{}", emulator.http)).await;
        let arn = archive::create_stream(&config, STREAM).await?;
        let mut feeds = configuration(&camera, &proxy, arn, &folder);
        feeds.process.memory_budget_bytes = memory_budget_bytes;
        // JSON is YAML too.
        std::fs::write(folder.join("feeds.yaml"), serde_json::to_string(&feeds)?)?;
        Ok(Self { folder, camera, proxy, emulator, config, starts: 0, drain_seconds: None })
    }

    /// Starts the producer, and waits until the camera plays to it.
    async fn produce(&mut self) -> Result<Program> {
        self.starts += 1;
        let plays = self.plays()?;
        let log = self.folder.join(format!("producer-{}.log", self.starts));
        let feeds = self.folder.join("feeds.yaml");
        let mut producer = Program::start("streamfleet-producer", &log, |command| {
            command.arg("run").arg("--config").arg(&feeds).args(["--admin-listen", "127.0.0.1:0"]);
            if let Some(seconds) = self.drain_seconds {
                command.args(["--drain-seconds", &seconds.to_string()]);
            }
            command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", KEY);
            command.env("AWS_EC2_METADATA_DISABLED", "true");
        })?;
        let playing = || (self.plays().ok()? > plays).then_some(());
        producer.wait_for(Duration::from_secs(20), playing).await?;
        Ok(producer)
    }

    /// Orders one fault from the service.
    async fn fail(&self, action: &str, more: &[(&str, serde_json::Value)]) -> Result<()> {
        let mut order = serde_json::json!({"action": action, "stream": STREAM, "count": 1});
        for (name, value) in more {
            order[*name] = value.clone();
        }
        http::request(self.emulator.http, "POST", "/_emulator/faults", &order.to_string()).await?;
        Ok(())
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
        let limit = Duration::from_secs(self.drain_seconds.unwrap_or(20) + 20);
        let status = producer.terminate(limit).await?;
        ensure!(status.success(), "the producer ended with {status}");
        Ok(())
    }

    /// Removes the folder. Not done when a test fails: the logs are in it.
    async fn clear(self) -> Result<()> {
        self.camera.stop().await;
        self.emulator.program.terminate(Duration::from_secs(10)).await?;
        std::fs::remove_dir_all(&self.folder).context("failed to remove the test's folder")
    }
}

/// The service: it keeps its addresses when it is started again.
struct Emulator {
    program: Program,
    http: SocketAddr,
    https: SocketAddr,
}

impl Emulator {
    /// Starts the emulator with the proxy as what it advertises.
    async fn start(folder: &Path, proxy: &Proxy) -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self::run(folder, proxy, any, any)?;
        let file = folder.join("emulator/addresses.json");
        let addresses =
            || serde_json::from_slice::<BTreeMap<String, SocketAddr>>(&std::fs::read(&file).ok()?).ok();
        let addresses = program.wait_for(Duration::from_secs(20), addresses).await?;
        let (http, https) = (addresses["http"], addresses["https"]);
        proxy.forward_to(https);
        Ok(Self { program, http, https })
    }

    fn run(folder: &Path, proxy: &Proxy, http: SocketAddr, https: SocketAddr) -> Result<Program> {
        Program::start("streamfleet-emulator", &folder.join("emulator.log"), |command| {
            command.arg("--listen").arg(http.to_string()).arg("--listen-tls").arg(https.to_string());
            command.arg("--data").arg(folder.join("emulator"));
            command.arg("--advertise").arg(format!("https://{}", proxy.address()));
        })
    }

    /// Kills the emulator, and starts it again over the same data.
    async fn kill_and_start(&mut self, folder: &Path, proxy: &Proxy) -> Result<()> {
        self.program.kill().await?;
        self.program = Self::run(folder, proxy, self.http, self.https)?;
        let listens = || std::net::TcpStream::connect(self.https).ok();
        self.program.wait_for(Duration::from_secs(20), listens).await?;
        Ok(())
    }
}

fn configuration(camera: &Camera, proxy: &Proxy, arn: String, folder: &Path) -> contract::Configuration {
    let source = contract::Source::Rtsp(contract::RtspSource::new(camera.url()));
    let mut stream = contract::Stream::new(arn, REGION);
    stream.endpoint = Some(format!("https://{}", proxy.address()));
    stream.ca_file = Some(folder.join("emulator/ca.crt").display().to_string());
    let mut feed = contract::Feed::new("loss", source, stream);
    feed.name = "tests/loss".to_owned();
    feed.revision = "1".to_owned();
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
    ensure!(!archive.is_empty(), "nothing is stored");
    let mut by_time: Vec<&ArchivedPicture> = archive.iter().collect();
    by_time.sort_by_key(|picture| (picture.unix_ms, picture.number));
    for pair in by_time.windows(2) {
        ensure!(pair[0].number <= pair[1].number, "order and time differ: {:?} {:?}", pair[0], pair[1]);
    }
    let taken = |number: u64| unix_ms + (number * picture_micros / 1000) as i64;
    let mut distances: Vec<i64> =
        archive.iter().map(|picture| (picture.unix_ms - taken(picture.number)).abs()).collect();
    distances.sort_unstable();
    let (usual, distance) = (distances[distances.len() / 2], distances[distances.len() - 1]);
    ensure!(usual <= CLOCK_ERROR_MS_USUAL, "half of the pictures' times are {usual} ms off, or more");
    ensure!(distance <= CLOCK_ERROR_MS_MAX, "a picture's time is {distance} ms off");
    Ok(distance)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_parameter_sets_marks_on_slices_and_jumping_timestamps_lose_nothing() {
    let two_slices = Recipe { width: 320, height: 180, slices: 2, ..Recipe::default() };
    let mut way = Way::start_with("odd", BUFFER, &[two_slices, Recipe::default()]).await.unwrap();
    let producer = way.produce().await.unwrap();
    let orders = [
        Order::MarkerSlice,
        Order::Clip(1),
        Order::TimestampJump(600_000),
        Order::Clip(0),
        Order::MarkerPicture,
        Order::TimestampJump(-3_600_000),
        Order::ClockShift(-86_400_000),
        Order::ReportsOff,
    ];
    for order in orders {
        // Neither at a key frame's moment nor at a fragment's.
        tokio::time::sleep(Duration::from_millis(2_300)).await;
        way.camera.order(order).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal().unwrap(), way.archived().await.unwrap());
    let comparison = journal::compare(&journal, &archive, &[]);
    println!("{comparison}");
    assert!(comparison.is_complete() && comparison.repeated.is_empty(), "{comparison}");
    assert!(comparison.journalled > 20 * RATE, "{comparison}");
    assert_eq!(ends(&journal).len(), 1, "the producer does not leave for what the camera may do");
    check_times(&journal, &archive).unwrap();
    way.clear().await.unwrap();
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
    let mut way = Way::start("loss", BUFFER).await.unwrap();
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
    let mut way = Way::start("kill", BUFFER).await.unwrap();
    let mut producer = way.produce().await.unwrap();
    let mut last_stored = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(6_000..10_000))).await;
        producer.kill().await.unwrap();
        last_stored.push(way.archived().await.unwrap().iter().map(|picture| picture.number).max().unwrap());
        producer = way.produce().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal().unwrap(), way.archived().await.unwrap());
    let comparison = journal::compare(&journal, &archive, &[]);
    println!("{comparison}");
    let mut explained = 0;
    for (connection, last_stored) in (1..).zip(last_stored) {
        let sent = pictures_over(&journal, connection);
        let lost: Vec<u64> = comparison.lost.iter().filter(|number| sent.contains(number)).copied().collect();
        let seconds = lost.len() as f32 / RATE as f32;
        println!(
            "SIGKILL {connection}: {} pictures are lost, {seconds:.2} s; {last_stored} was stored",
            lost.len()
        );
        // In one piece up to the connection's end, behind what was stored.
        assert_eq!(lost, sent[sent.len() - lost.len()..]);
        assert!(lost.iter().all(|number| *number > last_stored), "{lost:?}");
        assert!(lost.len() <= RATE * (2 * FRAGMENT_SECONDS + PERSIST_SECONDS_MAX), "{lost:?}");
        explained += lost.len();
    }
    assert_eq!(comparison.lost.len(), explained, "{comparison}");
    assert!(comparison.unknown.is_empty() && comparison.altered.is_empty(), "{comparison}");
    check_times(&journal, &archive).unwrap();
    way.clear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_that_the_service_will_never_take_is_all_that_is_lost() {
    let mut way = Way::start("poison", BUFFER).await.unwrap();
    let producer = way.produce().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    // Error 4006: the fragment is no valid Matroska.
    way.fail("ack-error", &[("operation", "PutMedia".into()), ("errorId", 4006.into())]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal().unwrap(), way.archived().await.unwrap());
    let comparison = journal::compare(&journal, &archive, &[]);
    println!("{comparison}");
    let lost = &comparison.lost;
    assert!((1..=RATE * FRAGMENT_SECONDS).contains(&lost.len()), "{comparison}");
    assert!(lost.windows(2).all(|pair| pair[1] == pair[0] + 1), "{comparison}");
    assert!(comparison.unknown.is_empty() && comparison.altered.is_empty(), "{comparison}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_outage_drops_from_a_small_buffer_shows_in_the_count() {
    // Seven seconds of about 100 kB each, enough while all is well, and an outage of fourteen.
    let mut way = Way::start("small", 700_000).await.unwrap();
    let mut producer = way.produce().await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let (before, began) = (way.journal().unwrap().len(), unix_ms());
    way.proxy.refuse().await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    let uploads = way.proxy.connections();
    way.proxy.admit().await.unwrap();
    let again = || (way.proxy.connections() > uploads).then_some(());
    producer.wait_for(Duration::from_secs(40), again).await.unwrap();
    let ended = unix_ms();
    tokio::time::sleep(Duration::from_secs(8)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal().unwrap(), way.archived().await.unwrap());
    let comparison = journal::compare(&journal, &archive, &[]);
    println!("{comparison}");
    assert!(!comparison.is_complete() && journal.len() > before);
    // At least what does not fit, and nothing that came before or after.
    assert!(comparison.lost.len() >= 5 * RATE, "{comparison}");
    let Some(Entry::Start { unix_ms, picture_micros }) = journal.first() else {
        panic!("{:?}", journal.first())
    };
    let taken = |number: u64| unix_ms + (number * picture_micros / 1000) as i64;
    let in_flight_ms = 1000 * (FRAGMENT_SECONDS + PERSIST_SECONDS_MAX) as i64;
    // What waits for its acknowledgement fills the buffer for some time yet.
    let outage = began - in_flight_ms..=ended + in_flight_ms;
    assert!(comparison.lost.iter().all(|number| outage.contains(&taken(*number))), "{comparison}");
    way.clear().await.unwrap();
}

fn unix_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What may go wrong at a moment.
#[derive(Debug, Clone, Copy)]
enum Fault {
    CutUpload,
    CutUploadAfterBytes,
    StallUpload,
    Outage,
    KillService,
    ResetRtsp,
    CloseRtsp,
    Vanish,
    Silence,
    RestartProducer,
    OtherClip,
    TimestampJump,
    MarkerOnEachSlice,
    ErrorOfService,
    ThrottledUploads,
}

const FAULTS: [Fault; 15] = [
    Fault::CutUpload,
    Fault::CutUploadAfterBytes,
    Fault::StallUpload,
    Fault::Outage,
    Fault::KillService,
    Fault::ResetRtsp,
    Fault::CloseRtsp,
    Fault::Vanish,
    Fault::Silence,
    Fault::RestartProducer,
    Fault::OtherClip,
    Fault::TimestampJump,
    Fault::MarkerOnEachSlice,
    Fault::ErrorOfService,
    Fault::ThrottledUploads,
];

/// Plays a fault to its end.
async fn play(way: &mut Way, producer: Program, fault: Fault, random: &mut fastrand::Rng) -> Result<Program> {
    let some_seconds = Duration::from_millis(random.u64(1000..6000));
    match fault {
        Fault::CutUpload => way.proxy.cut(),
        Fault::CutUploadAfterBytes => way.proxy.cut_after(random.u32(0..200_000)),
        Fault::StallUpload => {
            way.proxy.stall();
            tokio::time::sleep(some_seconds * 4).await;
            way.proxy.flow();
        }
        Fault::Outage => {
            way.proxy.refuse().await;
            tokio::time::sleep(some_seconds * 2).await;
            way.proxy.admit().await?;
        }
        Fault::KillService => {
            let Way { emulator, folder, proxy, .. } = way;
            emulator.kill_and_start(folder, proxy).await?;
        }
        Fault::ResetRtsp => way.camera.order(Order::CutReset).await?,
        Fault::CloseRtsp => way.camera.order(Order::CutClose).await?,
        Fault::Vanish => {
            way.camera.order(Order::Vanish).await?;
            tokio::time::sleep(some_seconds).await;
            way.camera.order(Order::Return).await?;
        }
        Fault::Silence => {
            way.camera.order(Order::SilenceOn).await?;
            tokio::time::sleep(some_seconds).await;
            way.camera.order(Order::SilenceOff).await?;
        }
        Fault::OtherClip => way.camera.order(Order::Clip(random.usize(0..2))).await?,
        Fault::TimestampJump => {
            // Up to an hour, forth or back.
            way.camera.order(Order::TimestampJump(random.i64(-3_600_000..3_600_000))).await?;
        }
        Fault::MarkerOnEachSlice => way.camera.order(Order::MarkerSlice).await?,
        Fault::ErrorOfService => {
            // All of them are cured by sending again.
            let id = [4000, 4003, 5000, 5001][random.usize(0..4)];
            way.fail("ack-error", &[("operation", "PutMedia".into()), ("errorId", id.into())]).await?;
        }
        Fault::ThrottledUploads => {
            way.fail("throttle", &[("operation", "PutMedia".into()), ("count", 2.into())]).await?;
            way.proxy.cut();
        }
        Fault::RestartProducer => {
            let limit = Duration::from_secs(way.drain_seconds.unwrap_or(20) + 20);
            let status = producer.terminate(limit).await?;
            ensure!(status.success(), "the producer ended with {status} after SIGTERM");
            return way.produce().await;
        }
    }
    Ok(producer)
}

/// Faults one after another, drawn from a seed, each kind once in a round.
async fn bad_luck(way: &mut Way, seed: u64, rounds: u32) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut producer = way.produce().await?;
    for _ in 0..rounds {
        let mut faults = FAULTS;
        random.shuffle(&mut faults);
        for fault in faults {
            tokio::time::sleep(Duration::from_millis(random.u64(500..5000))).await;
            println!("{fault:?}");
            producer = play(way, producer, fault, &mut random).await?;
        }
    }
    // Time to come back from the last.
    tokio::time::sleep(Duration::from_secs(20)).await;
    way.finish(producer).await
}

/// `STREAMFLEET_FAULT_SEED` plays one again, `STREAMFLEET_FAULT_ROUNDS` makes it longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_faults_drawn_from_a_seed() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = from_environment("STREAMFLEET_FAULT_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds = from_environment("STREAMFLEET_FAULT_ROUNDS").unwrap_or(1) as u32;
    println!("STREAMFLEET_FAULT_SEED={seed}");
    let two_slices = Recipe { width: 320, height: 180, slices: 2, ..Recipe::default() };
    let clips = [Recipe::default(), two_slices];
    let mut way = Way::start_with(&format!("luck-{seed}"), BUFFER, &clips).await.unwrap();
    // Buffers are in memory: what a stop in the middle of an outage finds waiting is stored only if the outage ends before
    // the time to drain does. Here that is long enough for the longest pause between attempts.
    way.drain_seconds = Some(60);
    bad_luck(&mut way, seed, rounds).await.unwrap();
    let (journal, archive) = (way.journal().unwrap(), way.archived().await.unwrap());
    // All ends but the last, which comes after silence, are faults of ours.
    let ended = ends(&journal);
    let excused: Vec<u64> = ended.iter().rev().skip(1).map(|(connection, _)| *connection).collect();
    let comparison = journal::compare(&journal, &archive, &excused);
    println!("{comparison}");
    assert!(comparison.is_complete(), "{comparison}; connections ended: {ended:?}");
    // The producer gives up no connection by itself. Each round has a reset, a close, a vanishing and a restart, each of
    // which finds a connection or none; then comes the end.
    assert!(ended.len() <= 4 * rounds as usize + 1, "{ended:?}");
    check_times(&journal, &archive).unwrap();
    way.clear().await.unwrap();
}
