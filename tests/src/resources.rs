//! What a process costs, as the kernel counts it in `/proc` (proc(5)).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// `/proc/PID/stat` counts processor time in hundredths of a second on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// What of a process is in memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it: code, files and its own.
    pub resident: u64,
    /// Its own: heap and stacks.
    pub anonymous: u64,
}

/// Processor time that a process has used so far, its own and the kernel's for it.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    cpu_of(&stat).with_context(|| format!("failed to understand /proc/{pid}/stat"))
}

/// What a process has in memory now.
pub fn memory(pid: u32) -> Result<Memory> {
    let rollup = read(pid, "smaps_rollup")?;
    memory_of(&rollup).with_context(|| format!("failed to understand /proc/{pid}/smaps_rollup"))
}

/// The share of a core that a process takes in this time.
pub async fn share_of_a_core(pid: u32, during: Duration) -> Result<f64> {
    let (before, started) = (cpu(pid)?, Instant::now());
    tokio::time::sleep(during).await;
    Ok(cpu(pid)?.saturating_sub(before).as_secs_f64() / started.elapsed().as_secs_f64())
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> Result<usize> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd"));
    Ok(folder.with_context(|| format!("failed to list the descriptors of process {pid}"))?.count())
}

/// How many threads a process has.
pub fn threads(pid: u32) -> Result<usize> {
    let folder = fs::read_dir(format!("/proc/{pid}/task"));
    Ok(folder.with_context(|| format!("failed to list the threads of process {pid}"))?.count())
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
}

/// The fields after the name, which may itself have spaces and brackets: `utime` and `stime` are the 14th and 15th of all.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place - 3)?.parse::<u32>().ok();
    Some(TICK * (ticks(14)? + ticks(15)?))
}

fn memory_of(rollup: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    };
    Some(Memory { resident: bytes("Rss:")?, anonymous: bytes("Anonymous:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "17 (a (b) c) S 1 17 17 0 -1 4194560 900 0 0 0 123 45 6 7 20 0 1 0 99 0 0";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(1_680)));
        assert_eq!(cpu_of("17 (a) S 1"), None);
    }

    #[test]
    fn memory_is_counted_in_bytes() {
        let rollup = "55-7f ---p 0 00:00 0 [rollup]\nRss:   2048 kB\nPss: 5 kB\nAnonymous:    1024 kB\n";
        assert_eq!(memory_of(rollup), Some(Memory { resident: 2 << 20, anonymous: 1 << 20 }));
        assert_eq!(memory_of("Rss: 1 kB\n"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let own = std::process::id();
        assert!(memory(own).unwrap().anonymous > 0);
        assert!(descriptors(own).unwrap() >= 3);
        assert!(threads(own).unwrap() >= 1);
        assert!(cpu(own).is_ok());
    }
}
