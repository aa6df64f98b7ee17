//! What all requests share.

use std::sync::{Arc, atomic::AtomicU64};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{Credentials, Revoked},
    cloudwatch::live::Live,
    error::ServiceError,
    hooks::{calls::Calls, faults::Faults, outage::Outage},
    options::Options,
    roles::Roles,
    store::Catalog,
};

/// What all requests share.
#[derive(Debug)]
pub struct Service {
    /// How it is set up.
    pub options: Options,
    /// The streams.
    pub catalog: Catalog,
    /// Alarms and metrics.
    pub cloudwatch: Live,
    /// The known keys.
    pub credentials: Credentials,
    /// Accounts whose keys do not work any more.
    pub revoked: Revoked,
    /// What roles demand.
    pub roles: Roles,
    /// The log of calls.
    pub calls: Calls,
    /// Faults in force.
    pub faults: Faults,
    /// Bytes that `/discard` has taken.
    pub discarded: AtomicU64,
    /// Whether nothing is answered.
    pub outage: Outage,
    /// Cancelled when the emulator is to end.
    pub shutdown: CancellationToken,
    /// Work that must be done before the process may end: storing received fragments.
    pub tasks: TaskTracker,
}

/// Runs work that blocks on the disk off the threads that serve connections.
pub async fn blocking<T, F>(service: &Arc<Service>, work: F) -> Result<T, ServiceError>
where
    T: Send + 'static,
    F: FnOnce(&Service) -> Result<T, ServiceError> + Send + 'static,
{
    let service = service.clone();
    tokio::task::spawn_blocking(move || work(&service))
        .await
        .unwrap_or_else(|_| Err(ServiceError::internal("the operation panicked")))
}
