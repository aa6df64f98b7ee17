//! What makes calls slow: they wait for their turn, or take effect when nobody waits for their answer any more.

use std::time::Duration;

use crate::world::World;

/// What makes calls slow.
#[derive(Debug, Clone, Default)]
pub struct Slow {
    /// How long a call that may destroy footage waits for its turn.
    pub row: Duration,
    /// Those that have waited, or do.
    pub waited: Vec<&'static str>,
    /// The next call of this operation takes effect so long after its sender has given it up.
    pub late: Option<(&'static str, Duration)>,
}

impl Slow {
    /// How late this call takes effect, if it does.
    pub fn takes_late(&mut self, operation: &str) -> Option<Duration> {
        self.late.take_if(|(late, _)| *late == operation).map(|(_, after)| after)
    }
}

impl World {
    /// A call waits for its turn.
    pub async fn wait_in_row(&self, operation: &'static str) {
        let row = {
            let mut inner = self.lock();
            inner.slow.waited.push(operation);
            inner.slow.row
        };
        if !row.is_zero() {
            tokio::time::sleep(row).await;
        }
    }
}
