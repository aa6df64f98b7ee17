//! Must show 4 of issue 4: what has left the camera is in the archive, whatever breaks in between. Counted from outside:
//! the camera's journal against what the plain SDK reads from the archive.

#![expect(clippy::print_stdout, reason = "the counts are to be seen")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use streamfleet_tests::camera::{Order, Recipe};
use streamfleet_tests::journal::{self, EndReason, Entry};
use streamfleet_tests::rig::{Plan, Producer, Rig, check_times, ends, stream, unix_ms};
use tokio::time::Instant;

/// The camera's pictures in a second.
const RATE: usize = 25;
/// What a fragment lasts at least, in seconds, and what the emulator takes to store one at most.
const FRAGMENT_SECONDS: usize = 2;
const PERSIST_SECONDS_MAX: usize = 2;
/// More than the longest outage here fills.
const BUFFER: u64 = 64 << 20;
/// A rig with one camera whose producer may hold so many bytes of media.
async fn rig(name: &str, memory_budget_bytes: u64, recipes: &[Recipe]) -> Result<Rig> {
    let plan = Plan { recipes: recipes.to_vec(), ..Plan::new(name, recipes[0]) };
    Rig::start(plan.memory(memory_budget_bytes)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_parameter_sets_marks_on_slices_and_jumping_timestamps_lose_nothing() {
    let two_slices = Recipe { width: 320, height: 180, slices: 2, ..Recipe::default() };
    let mut way = rig("odd", BUFFER, &[two_slices, Recipe::default()]).await.unwrap();
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
        way.cameras[0].order(order).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal(0).unwrap(), way.archived(0).await.unwrap());
    let comparison = journal::compare(&journal, &archive, &[]);
    println!("{comparison}");
    assert!(comparison.is_complete() && comparison.repeated.is_empty(), "{comparison}");
    assert!(comparison.journalled > 20 * RATE, "{comparison}");
    assert_eq!(ends(&journal).len(), 1, "the producer does not leave for what the camera may do");
    check_times(&journal, &archive).unwrap();
    way.clear().await.unwrap();
}

/// What happens in the two minutes; gives the connections at whose ends pictures may be missing.
async fn two_bad_minutes(way: &mut Rig) -> Result<Vec<u64>> {
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
    let plays = way.cameras[0].sent().plays;
    println!("{:>5.1} s: RTSP connection cut", began.elapsed().as_secs_f32());
    way.cameras[0].order(Order::CutReset).await?;
    let again = || (way.cameras[0].sent().plays > plays).then_some(());
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
    let journal = way.journal(0)?;
    let ended = ends(&journal);
    ensure!(ended.len() == 2 && ended[0].1 == EndReason::Cut, "connections ended that nobody cut: {ended:?}");
    way.finish(producer).await?;
    Ok(ended.into_iter().map(|(connection, _)| connection).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_two_minutes_of_cuts_and_outages() {
    let mut way = rig("loss", BUFFER, &[Recipe::default()]).await.unwrap();
    let excused = two_bad_minutes(&mut way).await.unwrap();
    let (journal, archive) = (way.journal(0).unwrap(), way.archived(0).await.unwrap());
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
    let mut way = rig("kill", BUFFER, &[Recipe::default()]).await.unwrap();
    let mut producer = way.produce().await.unwrap();
    let mut last_stored = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(6_000..10_000))).await;
        producer.kill().await.unwrap();
        last_stored.push(way.archived(0).await.unwrap().iter().map(|picture| picture.number).max().unwrap());
        producer = way.produce().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal(0).unwrap(), way.archived(0).await.unwrap());
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
    let mut way = rig("poison", BUFFER, &[Recipe::default()]).await.unwrap();
    let producer = way.produce().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    // Error 4006: the fragment is no valid Matroska.
    way.service
        .fail(&stream(0), "ack-error", &[("operation", "PutMedia".into()), ("errorId", 4006.into())])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal(0).unwrap(), way.archived(0).await.unwrap());
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
    let mut way = rig("small", 700_000, &[Recipe::default()]).await.unwrap();
    let mut producer = way.produce().await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let (before, began) = (way.journal(0).unwrap().len(), unix_ms());
    way.proxy.refuse().await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    let uploads = way.proxy.connections();
    way.proxy.admit().await.unwrap();
    let again = || (way.proxy.connections() > uploads).then_some(());
    producer.wait_for(Duration::from_secs(40), again).await.unwrap();
    let ended = unix_ms();
    tokio::time::sleep(Duration::from_secs(8)).await;
    way.finish(producer).await.unwrap();
    let (journal, archive) = (way.journal(0).unwrap(), way.archived(0).await.unwrap());
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
async fn play(
    way: &mut Rig,
    producer: Producer,
    fault: Fault,
    random: &mut fastrand::Rng,
) -> Result<Producer> {
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
            way.service.kill_and_start().await?;
        }
        Fault::ResetRtsp => way.cameras[0].order(Order::CutReset).await?,
        Fault::CloseRtsp => way.cameras[0].order(Order::CutClose).await?,
        Fault::Vanish => {
            way.cameras[0].order(Order::Vanish).await?;
            tokio::time::sleep(some_seconds).await;
            way.cameras[0].order(Order::Return).await?;
        }
        Fault::Silence => {
            way.cameras[0].order(Order::SilenceOn).await?;
            tokio::time::sleep(some_seconds).await;
            way.cameras[0].order(Order::SilenceOff).await?;
        }
        Fault::OtherClip => way.cameras[0].order(Order::Clip(random.usize(0..2))).await?,
        Fault::TimestampJump => {
            // Up to an hour, forth or back.
            way.cameras[0].order(Order::TimestampJump(random.i64(-3_600_000..3_600_000))).await?;
        }
        Fault::MarkerOnEachSlice => way.cameras[0].order(Order::MarkerSlice).await?,
        Fault::ErrorOfService => {
            // All of them are cured by sending again.
            let id = [4000, 4003, 5000, 5001][random.usize(0..4)];
            way.service
                .fail(&stream(0), "ack-error", &[("operation", "PutMedia".into()), ("errorId", id.into())])
                .await?;
        }
        Fault::ThrottledUploads => {
            way.service
                .fail(&stream(0), "throttle", &[("operation", "PutMedia".into()), ("count", 2.into())])
                .await?;
            way.proxy.cut();
        }
        Fault::RestartProducer => {
            let limit = Duration::from_secs(way.plan.drain_seconds.unwrap_or(20) + 20);
            let status = producer.terminate(limit).await?;
            ensure!(status.success(), "the producer ended with {status} after SIGTERM");
            return way.produce().await;
        }
    }
    Ok(producer)
}

/// Faults one after another, drawn from a seed, each kind once in a round.
async fn bad_luck(way: &mut Rig, seed: u64, rounds: u32) -> Result<()> {
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
    let mut way = rig(&format!("luck-{seed}"), BUFFER, &clips).await.unwrap();
    // Buffers are in memory: what a stop in the middle of an outage finds waiting is stored only if the outage ends before
    // the time to drain does. Here that is long enough for the longest pause between attempts.
    way.plan.drain_seconds = Some(60);
    bad_luck(&mut way, seed, rounds).await.unwrap();
    let (journal, archive) = (way.journal(0).unwrap(), way.archived(0).await.unwrap());
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
