//! What a candidate does at each look at the `Lease`: pure, time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;

use super::LEASE;

/// What to send next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nobody has ever held it: create this.
    Create(Box<Lease>),
    /// It is ours to renew, or free to be taken: replace it by this, which the API server refuses where it has changed since.
    Replace(Box<Lease>),
    /// Somebody else holds it.
    Wait,
}

/// The memory of a candidate.
#[derive(Debug)]
pub(super) struct Election {
    name: String,
    identity: String,
    seen: Option<Seen>,
}

/// A state of the lease that somebody else holds, and since when we have seen it so.
#[derive(Debug, PartialEq)]
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

impl Election {
    /// A candidate who has seen nothing yet. The identity has to be unlike that of any other process, earlier ones included.
    pub(super) fn new(name: &str, identity: &str) -> Self {
        Self { name: name.to_owned(), identity: identity.to_owned(), seen: None }
    }

    /// What to do about the lease as it was read now. `wall` is only written into the lease, for people.
    pub(super) fn next(&mut self, lease: Option<Lease>, now: Instant, wall: Timestamp) -> Step {
        let Some(lease) = lease else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let fresh = Lease { metadata, spec: None };
            return Step::Create(Box::new(self.claimed(fresh, wall)));
        };
        if !self.is_ours(&lease) && !self.has_run_out(&lease, now) {
            return Step::Wait;
        }
        Step::Replace(Box::new(self.claimed(lease, wall)))
    }

    /// The lease without a holder, where it is ours: the next candidate need not wait for its end.
    pub(super) fn released(&self, lease: Lease, wall: Timestamp) -> Option<Lease> {
        if !self.is_ours(&lease) {
            return None;
        }
        let Lease { metadata, spec } = lease;
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            renew_time: Some(MicroTime(wall)),
            ..spec.unwrap_or_default()
        };
        Some(Lease { metadata, spec: Some(spec) })
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == Some(&self.identity)
    }

    /// Whether nobody holds the lease, or its holder has not renewed it for its whole length since we saw it first.
    fn has_run_out(&mut self, lease: &Lease, now: Instant) -> bool {
        if holder(lease).is_none() {
            return true;
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let length = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let length = length.map_or(LEASE, Duration::from_secs);
        match &self.seen {
            Some(seen) if seen.spec == spec => now.saturating_duration_since(seen.since) >= length,
            _ => {
                self.seen = Some(Seen { spec, since: now });
                false
            }
        }
    }

    /// The lease with us as its holder, from now.
    fn claimed(&self, lease: Lease, wall: Timestamp) -> Lease {
        let was_ours = self.is_ours(&lease);
        let Lease { metadata, spec } = lease;
        let transitions = spec.as_ref().map(|spec| spec.lease_transitions.unwrap_or(0));
        let spec = spec.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE.as_secs() as i32),
            acquire_time: spec.acquire_time.filter(|_| was_ours).or(Some(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(transitions.map_or(0, |count| count + i32::from(!was_ours))),
            ..spec
        };
        Lease { metadata, spec: Some(spec) }
    }
}

/// Who holds a lease; an empty name is nobody.
fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}
