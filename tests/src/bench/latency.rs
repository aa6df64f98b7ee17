//! How long a picture takes from the camera's last byte to the service's: the camera's journal and the emulator's
//! arrivals, joined by the numbers in the pictures.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, ensure};

use crate::figures::{Figure, percentile};
use crate::journal::Entry;
use crate::rig::Rig;

/// What pictures took, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Latency {
    milliseconds: Vec<f64>,
}

impl Latency {
    /// Adds the pictures of the first feeds whose last byte left the camera in this time (milliseconds of the Unix epoch).
    pub(super) async fn collect(&mut self, rig: &Rig, feeds: usize, time: Range<i64>) -> Result<()> {
        for feed in 0..feeds {
            let sent = sent(&rig.journal(feed)?, time.clone());
            let arrivals = rig.service.arrivals(feed, 0).await?;
            let arrived: BTreeMap<u64, u64> =
                arrivals.iter().filter_map(|arrival| Some((arrival.number?, arrival.us))).collect();
            // The newest may still be on their way.
            let newest = arrived.keys().next_back().copied().unwrap_or_default();
            let due = sent.iter().filter(|(number, _)| *number <= newest);
            let found: Vec<f64> = due
                .filter_map(|(number, ms)| Some(*arrived.get(number)? as f64 / 1_000.0 - *ms as f64))
                .collect();
            ensure!(
                found.len() as f64 >= 0.9 * sent.len() as f64,
                "only {} of {} pictures of feed {feed} have arrived",
                found.len(),
                sent.len()
            );
            self.milliseconds.extend(found);
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
