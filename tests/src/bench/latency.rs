//! How long a picture takes from the camera's last byte to the service's: the camera's journal and the emulator's
//! arrivals, joined by the numbers in the pictures.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use crate::figures::{Figure, percentile};
use crate::journal::Entry;
use crate::rig::{Arrival, Rig};

/// A picture that has not arrived so long after its window is lost.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);

/// What pictures took, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Latency {
    milliseconds: Vec<f64>,
}

impl Latency {
    /// Adds the pictures of the first feeds whose last byte left the camera in this time (milliseconds of the Unix epoch).
    /// All of them: it is waited for those that are on their way, else a feed that stands still at the end of a window would
    /// leave no trace.
    pub(super) async fn collect(&mut self, rig: &Rig, feeds: usize, time: Range<i64>) -> Result<()> {
        let deadline = Instant::now() + ARRIVAL_MAX;
        for feed in 0..feeds {
            let sent = sent(&rig.journal(feed)?, time.clone());
            ensure!(!sent.is_empty(), "the camera of feed {feed} has sent nothing");
            loop {
                let (found, missing) = join(&sent, &rig.service.arrivals(feed, 0).await?);
                if missing == 0 {
                    self.milliseconds.extend(found);
                    break;
                }
                ensure!(
                    Instant::now() < deadline,
                    "{missing} of {} pictures of feed {feed} have not arrived {ARRIVAL_MAX:?} later",
                    sent.len()
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        let at = |part| percentile(&self.milliseconds, part);
        let note =
            format!("{} pictures, {:.1} ms at most", self.milliseconds.len(), at(1.0).unwrap_or_default());
        vec![
            Figure::new("latency_p99_10x4mbit", at(0.99), "ms").at_most(80.0).aim(60.0).note(note),
            Figure::new("latency_p50_10x4mbit", at(0.5), "ms"),
        ]
    }
}

/// The pictures that left the camera in this time, with when.
fn sent(journal: &[Entry], time: Range<i64>) -> Vec<(u64, i64)> {
    let picture = |entry: &Entry| match entry {
        Entry::Picture { number, unix_ms, .. } if time.contains(unix_ms) => Some((*number, *unix_ms)),
        _ => None,
    };
    journal.iter().filter_map(picture).collect()
}

/// What the pictures took that have arrived, in milliseconds, and how many have not.
fn join(sent: &[(u64, i64)], arrivals: &[Arrival]) -> (Vec<f64>, usize) {
    let arrived: BTreeMap<u64, u64> =
        arrivals.iter().filter_map(|arrival| Some((arrival.number?, arrival.us))).collect();
    let took = |(number, ms): &(u64, i64)| Some(*arrived.get(number)? as f64 / 1_000.0 - *ms as f64);
    let found: Vec<f64> = sent.iter().filter_map(took).collect();
    let missing = sent.len() - found.len();
    (found, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_has_not_arrived_is_missing_wherever_it_is() {
        let arrival = |number: u64, us: u64| Arrival { n: number, us, number: Some(number) };
        let sent = [(1, 1_000), (2, 1_040), (3, 1_080), (4, 1_120)];
        let all =
            [arrival(1, 1_010_000), arrival(2, 1_060_500), arrival(3, 1_090_000), arrival(4, 1_500_000)];
        assert_eq!(join(&sent, &all), (vec![10.0, 20.5, 10.0, 380.0], 0));
        // The newest, as of a feed that stands still, and one in between.
        assert_eq!(join(&sent, &all[..2]).1, 2);
        assert_eq!(join(&sent, &[all[0], all[1], all[3]]).1, 1);
    }
}
