//! Which of the replicas works: one holds a `Lease`, renews it, and checks before each write, to AWS or to the API server, that
//! enough of it is left. The others keep their caches warm and take over when it is released or runs out.
//!
//! Nobody's wall clock counts: a lease has run out when it has not changed for its whole length by our own monotonic clock, and
//! ours is valid from the moment before the request that renewed it. A replica that was stopped for a minute finds its lease
//! over at its first check, and what it had begun is looked at again before each further step and cut off. What the service had
//! got by then has the margin to take effect; what takes longer still is made harmless by version tokens, ARNs and names.
//!
//! The lease is given back only when nothing works under it any more; else it is left to run out.

mod election;
mod guard;
mod lease;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use guard::guarded;
pub use lease::{Candidate, stand};

/// How long a lease is valid after it was renewed.
pub const LEASE: Duration = Duration::from_secs(15);
/// How much of the lease must be left for a write to be sent, and to be on its way: the time that it may need to take effect once
/// the service has it. However long an attempt may take, it is cut off then.
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

/// Lends a replica the lease by hand, where the whole operator is run without an election.
#[derive(Debug)]
pub struct Lender {
    tenure: watch::Sender<Tenure>,
}

impl Lender {
    /// The replica holds the lease until then: when less than [`LEASE_MARGIN`] is left of it, it does not lead any more.
    pub fn lend_until(&self, end: Instant) {
        self.tenure.send_replace(Tenure::Until(end));
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

    /// That of a replica to which the lease is lent, and which does not hold it yet.
    pub fn lent() -> (Lender, Self) {
        let (sender, tenure) = watch::channel(Tenure::Vacant);
        (Lender { tenure: sender }, Self { tenure })
    }

    /// To be asked before each write, to AWS and to the API server.
    ///
    /// # Errors
    /// [`NotLeader`] when less than [`LEASE_MARGIN`] is left of the lease.
    pub fn check(&self) -> Result<(), NotLeader> {
        let tenure = *self.tenure.borrow();
        tenure.check(Instant::now())
    }

    /// Carries out what changes something, as long as this replica leads. That is looked at before each step of it, and not by a
    /// timer alone: a process that was stopped in between sends nothing more.
    ///
    /// # Errors
    /// [`NotLeader`] when it has not begun or was cut off, with [`LEASE_MARGIN`] left of the lease.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, NotLeader> {
        let mut work = std::pin::pin!(work);
        let steps = poll_fn(|context| match self.check() {
            Ok(()) => work.as_mut().poll(context).map(Ok),
            Err(error) => Poll::Ready(Err(error)),
        });
        tokio::select! {
            biased;
            result = steps => result,
            () = self.lost() => Err(NotLeader),
        }
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
            // Not in the match: what is borrowed must not be held while waiting.
            let now = *tenure.borrow_and_update();
            let end = match now {
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

/// A replica's part in the election: it renews the lease as long as this is there.
pub struct Stand {
    election: AbortOnDropHandle<()>,
    over: CancellationToken,
}

impl Stand {
    /// That of the only replica, which needs no lease.
    pub fn alone() -> Self {
        let election = AbortOnDropHandle::new(tokio::spawn(std::future::ready(())));
        Self { election, over: CancellationToken::new() }
    }

    /// Gives the lease back once what works under it has ended. What has not within this time is abandoned, and the lease runs out:
    /// what it had sent may still take effect, and the next leader is not to begin before.
    pub async fn end_after(self, work: impl Future<Output = ()>, within: Duration) {
        if tokio::time::timeout(within, work).await.is_err() {
            tracing::warn!("What was begun has not ended: the lease is not given back, it runs out");
            return;
        }
        self.over.cancel();
        // It ends by itself, within the time for an answer.
        let _ = self.election.await;
    }
}

/// Decides in tests who leads.
#[cfg(test)]
pub struct Reign(watch::Sender<Tenure>);

#[cfg(test)]
impl Reign {
    /// Of a replica that leads until it is told otherwise.
    pub fn begin() -> (Self, Leadership) {
        let (tenure, leadership) = watch::channel(Tenure::Sole);
        (Self(tenure), Leadership { tenure: leadership })
    }

    /// It does not lead any more.
    pub fn end(&self) {
        self.0.send_replace(Tenure::Vacant);
    }

    /// Its lease runs out then, unless it is renewed.
    pub fn lasts(&self, left: Duration) {
        self.0.send_replace(Tenure::Until(Instant::now() + left));
    }
}
