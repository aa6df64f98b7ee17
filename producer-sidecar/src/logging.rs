//! Log lines go to standard error. Foreign crates log errors alone: their other lines hold requests, answers and what
//! was read from files, and so might hold secrets.
//!
//! What happens to a feed again and again is one line in ten seconds; how many were left out is said when that time is
//! over ([`Quiet`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt as lines};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be understood.
    #[error("failed to parse the log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    #[error("failed to set up logging")]
    Init(#[from] TryInitError),
}

/// Within this time a line of one kind about one feed is written once.
const QUIET_FOR: Duration = Duration::from_secs(10);

/// So many kinds of lines are told apart; more are written as they come.
const KINDS_MAX: usize = 10_000;

/// Sets up logging for the process. [`Quiet::report`] is to be called about once a second.
pub fn init(filter: &str, json: bool) -> Result<Quiet, LoggingError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let quiet = Quiet::default();
    let lines = lines::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    // The last one is asked first: what is not logged at all is not counted as left out.
    let lines =
        lines.with_filter(quiet.clone()).with_filter(filter).with_filter(FilterFn::new(is_ours_or_error));
    tracing_subscriber::registry().with(lines).try_init()?;
    Ok(quiet)
}

fn is_ours_or_error(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("streamfleet") || *metadata.level() <= Level::ERROR
}

/// Keeps lines about feeds from repeating themselves. Lines for debugging are left alone.
#[derive(Debug, Clone, Default)]
pub struct Quiet {
    kinds: Arc<Mutex<HashMap<Kind, Count>>>,
}

/// A kind of line: where in the code it is, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    callsite: Identifier,
    feed: String,
    cause: String,
}

#[derive(Debug, Clone)]
struct Count {
    written_at: Instant,
    left_out: u64,
    line: String,
}

impl Quiet {
    /// Says how many lines were left out, of each kind whose time is over.
    pub fn report(&self) {
        for (kind, count) in self.due(Instant::now()) {
            tracing::info!(
                feed = kind.feed,
                cause = kind.cause,
                line = count.line,
                left_out = count.left_out,
                "Lines were left out"
            );
        }
    }

    fn due(&self, now: Instant) -> Vec<(Kind, Count)> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |count: &Count| now.duration_since(count.written_at) >= QUIET_FOR;
        let mut due: Vec<_> = kinds.extract_if(|_, count| over(count)).collect();
        due.retain(|(_, count)| count.left_out > 0);
        // The report is such a line too: what comes next waits for the end of the next ten seconds.
        for (kind, count) in &due {
            kinds.insert(kind.clone(), Count { written_at: now, left_out: 0, ..count.clone() });
        }
        due
    }

    fn admits(&self, kind: Kind, line: String, now: Instant) -> bool {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = kinds.get_mut(&kind)
            && now.duration_since(count.written_at) < QUIET_FOR
        {
            count.left_out += 1;
            return false;
        }
        if kinds.len() < KINDS_MAX {
            // What was left out before and is not reported yet is so later.
            let left_out = kinds.get(&kind).map_or(0, |count| count.left_out);
            kinds.insert(kind, Count { written_at: now, left_out, line });
        }
        true
    }
}

impl<S: Subscriber> Filter<S> for Quiet {
    fn enabled(&self, _metadata: &Metadata<'_>, _cx: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _cx: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == module_path!() {
            return true;
        }
        let mut about = About::default();
        event.record(&mut about);
        if about.feed.is_empty() {
            return true;
        }
        let kind = Kind { callsite: metadata.callsite(), feed: about.feed, cause: about.cause };
        self.admits(kind, about.line, Instant::now())
    }
}

/// What of an event's fields tells its kind.
#[derive(Default)]
struct About {
    feed: String,
    cause: String,
    line: String,
}

impl Visit for About {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "feed" | "stream" => value.clone_into(&mut self.feed),
            "reason" | "state" => self.cause.push_str(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "feed" | "stream" => self.feed = format!("{value:?}"),
            "reason" | "state" => {
                let between = if self.cause.is_empty() { "" } else { " " };
                self.cause = format!("{}{between}{value:?}", self.cause);
            }
            "message" => self.line = format!("{value:?}"),
            _ => {}
        }
    }
}

/// What tests have logged.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

#[cfg(test)]
impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(feed: &str, reason: &str) {
        tracing::warn!(feed, reason, "Video was given up");
    }

    #[test]
    fn a_line_about_a_feed_is_written_once_in_ten_seconds_for_each_cause() {
        let (quiet, written) = (Quiet::default(), Written::default());
        let lines = lines::layer().with_writer(written.clone()).with_ansi(false).with_filter(quiet.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            for _ in 0..5 {
                trouble("a", "full");
                trouble("b", "full");
                trouble("a", "refused");
                tracing::info!("About no feed");
                tracing::debug!(feed = "a", "For debugging");
            }
            let later = Instant::now() + QUIET_FOR;
            let mut due: Vec<_> =
                quiet.due(later).iter().map(|(kind, count)| (kind.feed.clone(), count.left_out)).collect();
            due.sort();
            assert_eq!(due, [("a".to_owned(), 4), ("a".to_owned(), 4), ("b".to_owned(), 4)]);
            assert!(quiet.due(later).is_empty(), "said once");
        });
        let text = written.text();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!((count("given up"), count("About no feed"), count("For debugging")), (3, 5, 5), "{text}");
    }

    #[test]
    fn what_comes_when_the_time_is_over_is_written_and_what_was_left_out_is_still_told() {
        let quiet = Quiet::default();
        let kind = || Kind { callsite: Identifier(CALLSITE), feed: "a".to_owned(), cause: String::new() };
        let start = Instant::now();
        let admits = |seconds| quiet.admits(kind(), "line".to_owned(), start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 9, 10, 11].map(admits), [true, false, false, true, false]);
        let due = quiet.due(start + Duration::from_secs(20));
        assert_eq!(due.iter().map(|(_, count)| count.left_out).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn the_cause_of_lines_that_were_left_out_has_no_blank_behind_it() {
        let quiet = Quiet::default();
        let lines = lines::layer().with_writer(Written::default).with_filter(quiet.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            for _ in 0..2 {
                tracing::info!(feed = "a", state = ?Some(1), reason = ?Some(2), "Changed");
            }
        });
        let causes: Vec<_> =
            quiet.due(Instant::now() + QUIET_FOR).into_iter().map(|(kind, _)| kind.cause).collect();
        assert_eq!(causes, ["Some(1) Some(2)"]);
    }

    struct NoCallsite;

    impl tracing::callsite::Callsite for NoCallsite {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    static CALLSITE: &NoCallsite = &NoCallsite;
}
