//! How fast what has waited is caught up while the camera goes on. The wait is real: a producer of its own has its endpoint
//! taken away while other things are measured.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use crate::camera::Recipe;
use crate::figures::Figure;
use crate::rig::{Plan, Producer, Rig};
use crate::steps::Steps;

/// What waits all the time: the open fragment, and what is not yet acknowledged.
const USUAL: Duration = Duration::from_secs(8);
/// Until the first fragment is stored.
const START: Duration = Duration::from_secs(15);
/// Slower than real time it would never end.
const CATCH_UP_MAX: Duration = Duration::from_mins(5);

/// A producer whose video waits.
pub(super) struct Backlog {
    rig: Rig,
    producer: Producer,
    since: Instant,
}

impl Backlog {
    /// Starts cameras, service and producer, and takes the endpoint away.
    pub(super) async fn start(memory: u64) -> Result<Self> {
        let mut rig = Rig::start(Plan::new("bench-backlog", Recipe::full_hd()).memory(memory)).await?;
        let producer = rig.produce().await?;
        tokio::time::sleep(START).await;
        let stored = producer.feed(0).await?.stored;
        ensure!(stored.is_some(), "nothing was stored in the first {START:?}:\n{}", producer.log_end());
        rig.proxy.turn_away();
        Ok(Self { rig, producer, since: Instant::now() })
    }

    /// Waits until so much video waits, gives the endpoint back, and counts the seconds. Nothing of it may be lost.
    pub(super) async fn catch_up(mut self, enough: Duration, steps: &Steps) -> Result<Vec<Figure>> {
        let rest = enough.saturating_sub(self.since.elapsed());
        if !rest.is_zero() {
            steps.say(format!(
                "waiting {} s more, until {} s of video wait",
                rest.as_secs(),
                enough.as_secs()
            ));
        }
        tokio::time::sleep(rest).await;
        let waited = self.producer.feed(0).await?.backlog;
        let before = self.rig.proxy.connections();
        self.rig.proxy.admit().await?;
        let admitted = Instant::now();
        while self.rig.proxy.connections() == before {
            ensure!(admitted.elapsed() < CATCH_UP_MAX, "no attempt after {CATCH_UP_MAX:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (began, retried) = (Instant::now(), admitted.elapsed());
        while Duration::from_millis(self.producer.feed(0).await?.backlog.milliseconds) > USUAL {
            ensure!(began.elapsed() < CATCH_UP_MAX, "not caught up after {CATCH_UP_MAX:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let took = began.elapsed();
        let Self { rig, producer, .. } = self;
        rig.finish(producer).await?;
        let (journal, archive) = (rig.journal(0)?, rig.archived(0).await?);
        let counts = crate::journal::compare(&journal, &archive, &[]);
        ensure!(counts.is_complete(), "lost on the way: {counts}");
        rig.clear().await.context("failed to end the backlog's rig")?;
        let seconds = Duration::from_millis(waited.milliseconds).as_secs_f64();
        let note = format!(
            "{seconds:.0} s, {:.0} MB in {:.1} s; first attempt {:.1} s after the endpoint was back; lost {}",
            waited.bytes as f64 / 1e6,
            took.as_secs_f64(),
            retried.as_secs_f64(),
            counts.lost.len()
        );
        let rate = seconds / took.as_secs_f64();
        let name = format!("catch_up_{}s_4mbit", enough.as_secs());
        Ok(vec![Figure::new(name, rate, "x real time").at_least(15.0).aim(20.0).note(note)])
    }
}
