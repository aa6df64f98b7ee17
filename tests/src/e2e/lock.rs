//! One operator at a time on a cluster.

use std::fs::File;

use anyhow::{Context as _, Result};

use crate::cluster::Cluster;

/// The right to run an operator on a cluster. Held by at most one test of all processes; released when dropped.
#[derive(Debug)]
pub struct OperatorLock {
    _file: File,
}

impl OperatorLock {
    /// Waits until no other test holds it.
    pub async fn acquire(cluster: &Cluster) -> Result<Self> {
        let path = cluster.layout().state_dir().join("operator.lock");
        let waiting = tokio::task::spawn_blocking(move || {
            let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
            file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
            Ok(Self { _file: file })
        });
        waiting.await.context("the wait for the lock was broken off")?
    }
}
