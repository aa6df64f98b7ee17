//! The producer as a process, with what it says about itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result};
use streamfleet_contract as contract;
use tokio::process::Command;

use crate::archive::KEY;
use crate::e2e::http;
use crate::programs::Program;
use crate::resources::{self, Memory};

/// A running producer.
#[derive(Debug)]
pub struct Producer {
    program: Program,
    id: u32,
    admin: SocketAddr,
}

impl Producer {
    /// Starts the producer, or what runs in its place, over a configuration file.
    pub fn start(
        program: Option<&str>,
        log: &Path,
        feeds: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        // Free a moment ago; whoever takes it meanwhile makes the start fail, which is seen.
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let program = Program::start(program.unwrap_or("streamfleet-producer"), log, |command| {
            command.arg("run").arg("--config").arg(feeds).arg("--admin-listen").arg(admin.to_string());
            command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", KEY);
            command.env("AWS_EC2_METADATA_DISABLED", "true");
            configure(command);
        })?;
        let id = program.id().context("the producer has ended at once")?;
        Ok(Self { program, id, admin })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// As [`Program::wait_for`].
    pub async fn wait_for<T>(&mut self, limit: Duration, condition: impl Fn() -> Option<T>) -> Result<T> {
        self.program.wait_for(limit, condition).await
    }

    /// What it says about its feeds.
    pub async fn status(&self) -> Result<contract::Status> {
        let answer = http::get(self.admin, "/status").await?;
        serde_json::from_slice(&answer).context("failed to understand the producer's status")
    }

    /// The status of a feed.
    pub async fn feed(&self, feed: usize) -> Result<contract::FeedStatus> {
        let id = format!("feed-{feed}");
        let status = self.status().await?;
        status.feeds.into_iter().find(|feed| feed.id == id).with_context(|| format!("no status of {id}"))
    }

    /// The sum of all series of a metric, such as `streamfleet_producer_frames_total`; none where there is none.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>> {
        self.metric_with(name, &[]).await
    }

    /// The sum of the series of a metric that have all these labels, such as `feed="feed-0"`; none where there is none.
    pub async fn metric_with(&self, name: &str, labels: &[String]) -> Result<Option<f64>> {
        let text = String::from_utf8(http::get(self.admin, "/metrics").await?)?;
        Ok(sum_of(&text, name, labels))
    }

    /// What it has in memory.
    pub fn memory(&self) -> Result<Memory> {
        resources::memory(self.id)
    }

    /// The processor time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        resources::cpu(self.id)
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(self, limit: Duration) -> Result<ExitStatus> {
        self.program.terminate(limit).await
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(mut self) -> Result<()> {
        self.program.kill().await
    }

    /// The end of its log.
    pub fn log_end(&self) -> String {
        self.program.log_end()
    }
}

/// A series is a line `NAME VALUE` or `NAME{LABELS} VALUE`.
fn sum_of(text: &str, name: &str, labels: &[String]) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_whole =
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label.as_str()));
        rest.rsplit_once(' ').filter(|_| is_whole)?.1.parse::<f64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_series() {
        let text = "# HELP a b\na_total{feed=\"1 2\"} 3\na_total{feed=\"2\"} 4.5\na_total_more 9\n";
        assert_eq!(sum_of(text, "a_total", &[]), Some(7.5));
        assert_eq!(sum_of(text, "a_total_more", &[]), Some(9.0));
        assert_eq!(sum_of(text, "b", &[]), None);
        assert_eq!(sum_of(text, "a_total", &["feed=\"2\"".to_owned()]), Some(4.5));
        assert_eq!(sum_of(text, "a_total", &["feed=\"3\"".to_owned()]), None);
    }
}
