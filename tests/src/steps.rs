//! Lines of progress with their times, for somebody who watches a long command.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Prints one line per step, each with the time since the start.
#[derive(Debug)]
pub struct Steps {
    started: Instant,
    /// Milliseconds from `started` to the last line.
    last: AtomicU64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Steps {
    /// Starts the clock.
    pub fn start() -> Self {
        Self::default()
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Something that is now being done or still going on.
    pub fn say(&self, text: impl AsRef<str>) {
        line(&format!("[{:6.1} s] {}", self.elapsed().as_secs_f64(), text.as_ref()));
    }

    /// Something that is now done, with the time it took since the line before.
    pub fn done(&self, text: impl AsRef<str>) {
        let now = self.elapsed().as_millis() as u64;
        let took = now.saturating_sub(self.last.swap(now, Ordering::Relaxed));
        self.say(format!("{} ({:.1} s)", text.as_ref(), took as f64 / 1000.0));
    }

    /// Text without a time: tables, figures, commands to try.
    pub fn text(&self, text: impl AsRef<str>) {
        line(text.as_ref());
    }
}

#[expect(clippy::print_stdout, reason = "this is the face of a command-line tool")]
fn line(text: &str) {
    println!("{text}");
}
