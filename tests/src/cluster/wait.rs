//! Waiting for a state with a deadline; the error says what the state was at the end.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a state is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// What a look at the state found.
#[derive(Debug)]
pub enum Look<T> {
    /// The state that was waited for.
    Done(T),
    /// Not yet; the text says what there was instead.
    NotYet(String),
}

/// Looks until it is done. Errors of a look count as "not yet".
///
/// ```no_run
/// # async fn example(pods: kube::Api<k8s_openapi::api::core::v1::Pod>) -> anyhow::Result<()> {
/// use std::time::Duration;
/// use streamfleet_tests::cluster::wait::{Look, until};
/// until(Duration::from_secs(30), "no pod is left", async || {
///     let left = pods.list(&Default::default()).await?.items.len();
///     Ok(if left == 0 { Look::Done(()) } else { Look::NotYet(format!("{left} pods")) })
/// })
/// .await
/// # }
/// ```
pub async fn until<T: Debug>(
    limit: Duration,
    what: &str,
    look: impl AsyncFn() -> Result<Look<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        let seen = match look().await {
            Ok(Look::Done(value)) => return Ok(value),
            Ok(Look::NotYet(seen)) => seen,
            Err(error) => format!("{error:#}"),
        };
        if started.elapsed() >= limit {
            bail!("waited {} s until {what}; at the end: {seen}", limit.as_secs());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
