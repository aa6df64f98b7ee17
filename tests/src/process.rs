//! Processes on the host that outlive the command which started them: started in a session of their own with their
//! output in a file, recorded by id and start time (an id alone may be somebody else's by the time it is stopped).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A process that was started by us, found again from its record.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The name under which it was started.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Its start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    started: u64,
    /// The record on disk.
    record: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A folder of records (`NAME.pid`) with the logs beside them (`NAME.log`).
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at this path; made when the first process is started.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Starts the command in a session of its own, without input, with its output appended to `NAME.log`. An error when
    /// a process of this name still runs: without its record nobody would stop it.
    pub fn start(&self, name: &str, command: &Command) -> Result<Recorded> {
        self.start_with_input(name, command, "")
    }

    /// The same with something to read on its standard input: for what must not be an argument.
    pub fn start_with_input(&self, name: &str, command: &Command, input: &str) -> Result<Recorded> {
        if let Some(running) = self.find(name).filter(Recorded::is_alive) {
            bail!("{name} runs already, as process {}", running.pid);
        }
        fs::create_dir_all(&self.path).with_context(|| format!("failed to make {}", self.path.display()))?;
        let log = self.log(name);
        let output = File::options().create(true).append(true).open(&log)?;
        let mut child = in_session(command)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        let pid = child.id();
        // Dropped, and so closed, at once; a process that does not read it is no error.
        drop(child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())));
        let started = start_time(pid).unwrap_or_default();
        let record = self.path.join(format!("{name}.pid"));
        fs::write(&record, format!("{pid} {started}\n"))?;
        reap_in_background(child);
        Ok(Recorded { name: name.to_owned(), pid, started, record, log })
    }

    /// The log of the process of this name.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.log"))
    }

    /// The process of this name, if it was recorded (it may have ended).
    pub fn find(&self, name: &str) -> Option<Recorded> {
        self.all().into_iter().find(|process| process.name == name)
    }

    /// All records, by name.
    pub fn all(&self) -> Vec<Recorded> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let mut all: Vec<_> = entries.flatten().filter_map(|entry| read_record(&entry.path())).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

impl Recorded {
    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Sends a signal by name (`TERM`, `KILL`, `STOP` ...); a process that has ended is no error.
    pub fn signal(&self, signal: &str) {
        if self.is_alive() {
            signal_process(self.pid, signal);
        }
    }

    /// Asks it to end, waits for up to `grace`, then kills it; removes the record. One that survives keeps its record.
    pub fn stop(&self, grace: Duration) {
        self.signal("TERM");
        if !wait_until(grace, || !self.is_alive()) {
            self.signal("KILL");
            wait_until(Duration::from_secs(5), || !self.is_alive());
        }
        if !self.is_alive() {
            drop(fs::remove_file(&self.record));
        }
    }

    /// An error with the end of the log when it has ended.
    pub fn check(&self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        bail!("{} has ended; the end of {}:\n{}", self.name, self.log.display(), tail(&self.log, 20));
    }
}

/// The last lines of a file, indented; empty when there is none.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().flat_map(|line| ["    ", line, "\n"]).collect()
}

/// Polls until the condition holds; false when the time is over.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(50));
    }
}

/// Runs a command to its end and gives its output; an error names the command and holds what it said.
pub fn output(command: &mut Command) -> Result<String> {
    output_of(command, "")
}

/// The same with something to read on its standard input.
pub fn output_of(command: &mut Command, input: &str) -> Result<String> {
    let shown = shown(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to run {shown}"))?;
    // Inputs are far smaller than a pipe's buffer times the pace of the reader; one that ends early says why itself.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().with_context(|| format!("failed to run {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Sends a signal to a process id, by the system's `kill`.
pub fn signal_process(pid: u32, signal: &str) {
    // Already gone is what was wanted.
    drop(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).stderr(Stdio::null()).status());
}

/// The program and the first arguments of a command, for messages.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().take(4).map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// The same command under `setsid`, so that a hang-up or Ctrl-C at the terminal does not reach it.
fn in_session(command: &Command) -> Command {
    let mut wrapped = Command::new("setsid");
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// Collects the exit status while we live, so that an ended child is not taken for a living one.
fn reap_in_background(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

fn read_record(path: &Path) -> Option<Recorded> {
    let name = path.file_name()?.to_str()?.strip_suffix(".pid")?.to_owned();
    let text = fs::read_to_string(path).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let log = path.with_extension("log");
    let record = path.to_owned();
    Some(Recorded { name, pid: pid.parse().ok()?, started: started.parse().ok()?, record, log })
}

/// The start time of a process that has not ended; `None` for zombies and for ids without a process.
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&read_stat(pid).ok()?)
}

fn read_stat(pid: u32) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/stat"))
}

/// Field 22 of `/proc/PID/stat`, unless the state (field 3) is zombie or dead. The second field is the name in
/// parentheses, which may itself hold spaces and parentheses: count from the last one.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_read_behind_a_name_with_parentheses() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(parse_stat(stat), Some(4711));
    }

    #[test]
    fn zombie_counts_as_ended() {
        let stat = "12 (a) Z 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(parse_stat(stat), None);
    }

    #[test]
    fn started_process_is_found_by_its_record_and_stopped() {
        let path = std::env::temp_dir().join(format!("streamfleet-process-{}", std::process::id()));
        let folder = Folder::new(&path);
        let mut command = Command::new("sleep");
        command.arg("600");
        let started = folder.start("sleeper", &command).unwrap();
        let found = folder.find("sleeper").unwrap();
        assert_eq!(found.pid, started.pid);
        assert!(found.is_alive());
        // A second one of the name would take the first one's record.
        assert!(folder.start("sleeper", &command).unwrap_err().to_string().contains("runs already"));
        assert_eq!(folder.find("sleeper").unwrap().pid, started.pid);
        found.stop(Duration::from_secs(5));
        assert!(!found.is_alive());
        assert!(folder.find("sleeper").is_none());
        fs::remove_dir_all(path).unwrap();
    }
}
