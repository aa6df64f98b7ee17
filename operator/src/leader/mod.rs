//! Which of the replicas works: one holds a `Lease`, renews it, and checks before each write, to AWS or to the API server, that
//! enough of it is left. The others keep their caches warm and take over when it is released or runs out.
//!
//! Nobody's wall clock counts: a lease has run out when it has not changed for its whole length by our own monotonic clock, and
//! ours is valid from the moment before the request that renewed it. A replica that was stopped for a minute finds its lease
//! over at its first check. A write that had passed its check just before is made harmless by version tokens, ARNs and names.

mod election;
mod guard;
mod lease;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use guard::guarded;
pub use lease::{Candidate, stand};

/// How long a lease is valid after it was renewed.
pub const LEASE: Duration = Duration::from_secs(15);
/// How much of the lease must be left for a write to be sent: the time that it may need to take effect.
pub const LEASE_MARGIN: Duration = Duration::from_secs(3);

/// Somebody else may be working by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead (any more)")]
pub struct NotLeader;

/// Until when this replica leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenure {
    /// There is no election: it always leads.
    Sole,
    /// It holds the lease until then, unless it is renewed.
    Until(Instant),
    /// It does not lead.
    Vacant,
}

impl Tenure {
    fn check(self, now: Instant) -> Result<(), NotLeader> {
        match self {
            Self::Sole => Ok(()),
            Self::Until(end) if end.saturating_duration_since(now) > LEASE_MARGIN => Ok(()),
            Self::Until(_) | Self::Vacant => Err(NotLeader),
        }
    }
}

/// Whether this replica leads; cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Leadership {
    tenure: watch::Receiver<Tenure>,
}

impl Leadership {
    /// That of the only replica: it always leads.
    pub fn sole() -> Self {
        Self { tenure: watch::channel(Tenure::Sole).1 }
    }

    /// To be asked before each write, to AWS and to the API server.
    ///
    /// # Errors
    /// [`NotLeader`] when less than [`LEASE_MARGIN`] is left of the lease.
    pub fn check(&self) -> Result<(), NotLeader> {
        let tenure = *self.tenure.borrow();
        tenure.check(Instant::now())
    }

    /// Returns when this replica leads.
    pub async fn gained(&self) {
        let mut tenure = self.tenure.clone();
        if tenure.wait_for(|tenure| tenure.check(Instant::now()).is_ok()).await.is_err() {
            // The election has ended: nobody will make us the leader.
            std::future::pending::<()>().await;
        }
    }

    /// Returns when this replica does not lead any more.
    pub async fn lost(&self) {
        let mut tenure = self.tenure.clone();
        loop {
            let end = match *tenure.borrow_and_update() {
                Tenure::Sole => return std::future::pending().await,
                Tenure::Vacant => return,
                Tenure::Until(end) => end,
            };
            let last = end.checked_sub(LEASE_MARGIN).unwrap_or(end);
            tokio::select! {
                () = tokio::time::sleep_until(last) => {
                    if tenure.borrow().check(Instant::now()).is_err() {
                        return;
                    }
                }
                changed = tenure.changed() => if changed.is_err() {
                    return tokio::time::sleep_until(last).await;
                },
            }
        }
    }
}
