//! What a fleet costs in which nothing happens.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Deserialize;

use super::site::Site;
use crate::e2e::emulator::is_read;
use crate::e2e::http;
use crate::resources;

/// How long it is watched: two sweeps of the alarms, four of the streams.
const WINDOW: Duration = Duration::from_mins(4);

/// What it costs.
#[derive(Debug, Default)]
pub struct Steady {
    /// The operator's own memory, in bytes.
    pub anonymous: u64,
    /// Reads of AWS.
    pub reads_per_second: f64,
    /// Those of them that list: `ListStreams` and `DescribeAlarms`.
    pub list_reads_per_second: f64,
    /// Calls that change something.
    pub mutating_calls: u64,
    /// Writes to the fleet's objects, and to their class where it was written at all.
    pub object_writes: u64,
    /// Processor time.
    pub cpu_percent: f64,
    /// All calls, for people.
    pub calls: String,
}

/// How often an operation was called.
#[derive(Debug, Deserialize)]
struct Count {
    calls: u64,
}

impl Steady {
    /// Watches a fleet that is at rest.
    pub async fn measure(site: &Site) -> Result<Self> {
        let hooks = site.world.emulator.hooks();
        let pid = site.world.operator()?.pid();
        http::request(hooks, "DELETE", "/_emulator/call-counts", "").await?;
        let (started, cpu, writes) = (Instant::now(), resources::cpu(pid)?, site.seen().writes());
        let class = site.class_version().await?;
        tokio::time::sleep(WINDOW).await;
        let used = resources::cpu(pid)?.saturating_sub(cpu);
        let took = started.elapsed().as_secs_f64();
        let is_class_written = site.class_version().await? != class;
        let counts = http::get(hooks, "/_emulator/call-counts").await?;
        let counts: BTreeMap<String, Count> = serde_json::from_slice(&counts)?;
        let sum = |wanted: fn(&str) -> bool| -> u64 {
            counts.iter().filter(|(name, _)| wanted(name)).map(|(_, count)| count.calls).sum()
        };
        let calls: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {:.2}/s", count.calls as f64 / took)).collect();
        Ok(Self {
            anonymous: resources::memory(pid)?.anonymous,
            reads_per_second: sum(is_read) as f64 / took,
            list_reads_per_second: sum(|name| matches!(name, "ListStreams" | "DescribeAlarms")) as f64 / took,
            mutating_calls: sum(|name| !is_read(name)),
            object_writes: site.seen().writes() - writes + u64::from(is_class_written),
            cpu_percent: used.as_secs_f64() / took * 100.0,
            calls: calls.join(", "),
        })
    }
}

impl fmt::Display for Steady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} MiB, {:.2} reads/s, {} mutating calls, {} writes, {:.2} % of a core",
            self.anonymous as f64 / f64::from(1 << 20),
            self.reads_per_second,
            self.mutating_calls,
            self.object_writes,
            self.cpu_percent
        )
    }
}
