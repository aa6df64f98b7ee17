//! What a feed logs: a line for each thing that happens to it.

use super::*;

/// What is logged while this is kept.
pub(super) fn logged() -> (crate::logging::Written, tracing::subscriber::DefaultGuard) {
    let written = crate::logging::Written::default();
    let lines = tracing_subscriber::fmt().with_writer(written.clone()).with_ansi(false).finish();
    (written, tracing::subscriber::set_default(lines))
}

pub(super) fn lines_with(written: &crate::logging::Written, what: &str) -> Vec<String> {
    written.text().lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_gap_that_ends_is_one_line_in_the_log_with_its_times_and_its_reason() {
    let (written, _guard) = logged();
    let world = World::new("line", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..2).await;
    let failed = SourceEvent::State(SourceState::Failed, SourceReason::Disconnected, String::new());
    driver.on_source(failed, driver.ctx.clock.now());
    driver.take_groups(5..7).await;
    let lines = lines_with(&written, "A gap");
    assert_eq!(lines.len(), 1, "{}", written.text());
    for wanted in [
        "WARN",
        "CameraLost",
        "start=\"2023-11-14T22:13:21.9Z\"",
        "end=\"2023-11-14T22:13:25Z\"",
        "seconds=3.1",
    ] {
        assert!(lines[0].contains(wanted), "{wanted}: {}", lines[0]);
    }
}

#[tokio::test]
async fn each_gap_is_one_line_also_one_that_another_ends_and_one_that_lasts() {
    let (written, _guard) = logged();
    let world = World::new("each", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..2).await;
    driver.open_gap(at(2), GapReason::Refused, "4002");
    driver.gap(at(0), at(1), GapReason::Expired, "");
    driver.open_gap(at(3), GapReason::CameraLost, "");
    driver.gap(at(1), at(2), GapReason::PacketLoss, "");
    driver.take_groups(5..6).await;
    driver.open_gap(at(6), GapReason::BufferOverflow, "");
    driver.ctx.record.replace();
    driver.finish().await;
    driver.ctx.record =
        Record::new(driver.ctx.record.book(), driver.ctx.post.clone(), driver.ctx.metrics.clone());
    driver.finish().await;
    for (reason, seconds) in [("Refused", 1), ("Expired", 1), ("CameraLost", 2), ("PacketLoss", 1)] {
        let lines = lines_with(&written, &format!("reason={reason}"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&format!("seconds={seconds}")), "{lines:?}");
    }
    let lasting = lines_with(&written, "A gap that lasts");
    assert_eq!(lasting.len(), 1, "the successor of a stream that was replaced tells it: {lasting:?}");
    assert!(lasting[0].contains("BufferOverflow"));
}

#[tokio::test]
async fn the_end_says_whether_everything_is_stored() {
    let (written, _guard) = logged();
    let world = World::new("end", 10 << 20);
    world.driver(|_| {}).await.finish().await;
    assert_eq!(lines_with(&written, "The feed has ended, and all its video is stored").len(), 1);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..3).await;
    driver.finish().await;
    let lines = lines_with(&written, "The feed has ended before everything was stored");
    let said = ["groups=3", "seconds=2.9", "spooled_groups=0", "lost_seconds=2.9"];
    assert!(lines.len() == 1 && said.iter().all(|said| lines[0].contains(said)), "{lines:?}");
    let backlog = world.board.status().feeds[0].backlog;
    assert_eq!((backlog.gops, backlog.milliseconds), (3, 2_900));
    let world = World::new("end-spooled", 10 << 20).with_spool(SpoolMode::Overflow, 100 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..3).await;
    driver.finish().await;
    assert_eq!(lines_with(&written, "waits in the spool groups=3").len(), 0);
    let lines = lines_with(&written, "what is not stored waits in the spool");
    assert!(lines.len() == 1 && lines[0].contains("groups=3 seconds=2.9"), "{lines:?}");
}

#[tokio::test]
async fn a_trouble_and_its_end_are_one_line_each() {
    let (written, _guard) = logged();
    let world = World::new("trouble", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..2).await;
    driver.judge(driver.ctx.clock.now());
    let before = written.text().lines().count();
    let said = |before: usize| written.text().lines().skip(before).map(str::to_owned).collect::<Vec<_>>();
    let trouble = || Report::Trouble(UploadReason::EndpointUnreachable, "no route".to_owned());
    driver.on_report(trouble());
    driver.on_report(trouble());
    let lines = said(before);
    assert!(lines.len() == 1 && lines[0].contains("cannot be stored for now"), "{lines:?}");
    assert!(lines[0].contains("EndpointUnreachable") && lines[0].contains("no route"), "{lines:?}");
    driver.on_report(Report::Stored { start_ms: at(0), last_ms: at(1) });
    let lines = said(before + 1);
    assert!(lines.len() == 1 && lines[0].contains("Storing"), "{lines:?}");
}
