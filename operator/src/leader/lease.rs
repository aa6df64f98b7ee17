//! The calls by which a candidate stands for election.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::election::{Election, Step};
use super::{LEASE, Leadership, NotLeader, Stand, Tenure};

/// How often the leader renews its lease: some tries may fail before it runs out.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How often a standby looks whether the lease is free.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long an answer of the API server is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// Why a look at the lease came to nothing.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The API server says no, or cannot be reached.
    #[error("failed to {0} the lease: {1}")]
    Refused(&'static str, String),
    /// It does not answer.
    #[error("no answer of the API server within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
}

/// Who stands for election, and for which lease.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The namespace of the lease.
    pub namespace: String,
    /// The name of the lease: one for each set of objects that is worked on.
    pub lease: String,
    /// Who we are, for people: the name of the pod.
    pub pod: String,
}

/// Stands for election until the answer is dropped or ended. It says at any time whether this replica leads; the client must not be
/// one that asks it in turn.
pub fn stand(client: &Client, candidate: &Candidate) -> (Leadership, Stand) {
    let (tenure, leadership) = watch::channel(Tenure::Vacant);
    let identity = format!("{}_{:016x}", candidate.pod, fastrand::u64(..));
    let standing = Standing {
        api: Api::namespaced(client.clone(), &candidate.namespace),
        election: Election::new(&candidate.lease, &identity),
        lease: candidate.lease.clone(),
        tenure,
    };
    tracing::info!(
        namespace = candidate.namespace,
        lease = candidate.lease,
        identity,
        "Replica stands for election"
    );
    let over = CancellationToken::new();
    let election = AbortOnDropHandle::new(tokio::spawn(standing.run(over.clone())));
    (Leadership { tenure: leadership }, Stand { election, over })
}

struct Standing {
    api: Api<Lease>,
    election: Election,
    lease: String,
    tenure: watch::Sender<Tenure>,
}

impl Standing {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let started = Instant::now();
            match self.round().await {
                Ok(Some(end)) => self.set(Tenure::Until(end)),
                Ok(None) => self.set(Tenure::Vacant),
                // What we held we hold until it runs out: that a request failed, or that somebody changed the lease between
                // reading and writing, does not say that it is another's.
                Err(error) => {
                    tracing::warn!(lease = self.lease, error = %error, "Lease could not be taken or renewed");
                    if self.check().is_err() {
                        self.set(Tenure::Vacant);
                    }
                }
            }
            let pause = if self.check().is_ok() { RENEW_EVERY } else { LOOK_EVERY };
            tokio::select! {
                () = tokio::time::sleep_until(started + pause) => {}
                () = stop.cancelled() => break,
            }
        }
        self.set(Tenure::Vacant);
        if let Err(error) = self.release().await {
            tracing::warn!(error = %error, "Lease could not be given back, it runs out");
        }
    }

    fn check(&self) -> Result<(), NotLeader> {
        self.tenure.borrow().check(Instant::now())
    }

    fn set(&self, tenure: Tenure) {
        let before = self.tenure.send_replace(tenure);
        match (before, tenure) {
            (Tenure::Vacant, Tenure::Until(_)) => tracing::info!(lease = self.lease, "Replica leads"),
            (Tenure::Until(_), Tenure::Vacant) => {
                tracing::warn!(lease = self.lease, "Replica does not lead any more");
            }
            _ => {}
        }
    }

    /// Reads the lease, and takes or renews it where that is ours to do. The answer is until when we hold it.
    async fn round(&mut self) -> Result<Option<Instant>, Error> {
        let read = answer("read", self.api.get_opt(&self.lease)).await?;
        // From before the request: the API server may have taken it at any time since.
        let asked = Instant::now();
        let params = PostParams::default();
        let written = match self.election.next(read, asked, Timestamp::now()) {
            Step::Wait => return Ok(None),
            Step::Create(lease) => answer("create", self.api.create(&params, &lease)).await,
            Step::Replace(lease) => answer("renew", self.api.replace(&self.lease, &params, &lease)).await,
        };
        written.map(|_| Some(asked + LEASE))
    }

    async fn release(&self) -> Result<(), Error> {
        let Some(lease) = answer("read", self.api.get_opt(&self.lease)).await? else { return Ok(()) };
        if let Some(released) = self.election.released(lease, Timestamp::now()) {
            let params = PostParams::default();
            answer("release", self.api.replace(&self.lease, &params, &released)).await?;
            tracing::info!(lease = self.lease, "Lease is given back");
        }
        Ok(())
    }
}

async fn answer<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(ANSWER_WITHIN, call).await {
        Ok(Ok(answer)) => Ok(answer),
        // The text of the API server alone: kube's own shows the whole answer.
        Ok(Err(kube::Error::Api(status))) => Err(Error::Refused(what, status.message)),
        Ok(Err(error)) => Err(Error::Refused(what, error.to_string())),
        Err(_) => Err(Error::Silent),
    }
}
