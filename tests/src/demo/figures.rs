//! The demo's figures against what they may be. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// From a Camera's appearance to its first PERSISTED, on a warm cluster with one key frame a second.
pub const FIRST_PERSISTED_LIMIT: Duration = Duration::from_secs(10);
/// From the start of a second demo on a machine, whose tools are there, until all cameras are Ready.
pub const READY_LIMIT: Duration = Duration::from_mins(1);
/// Anonymous memory of the operator, idle with the demo applied.
pub const OPERATOR_MEMORY_LIMIT: u64 = 25 << 20;
/// Anonymous memory of a producer beyond the media that it holds.
pub const PRODUCER_MEMORY_LIMIT: u64 = 8 << 20;

/// What was measured on the way.
#[derive(Debug, Clone)]
pub struct Figures {
    /// From a Camera's appearance to its first PERSISTED, by camera; empty where the cameras were there before.
    pub first_persisted: BTreeMap<String, Duration>,
    /// From the demo's start until all cameras were Ready.
    pub ready: Duration,
    /// The memory of operator and producers, some seconds after the last thing that was done to them.
    pub memory: Vec<Memory>,
}

/// One memory figure.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Whose.
    pub name: String,
    /// Anonymous memory in bytes, less the media held.
    pub anonymous: u64,
    /// The media held, in bytes.
    pub media: u64,
    /// What it may be.
    pub limit: u64,
}

/// A figure beside its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For people, with the limit.
    pub text: String,
    /// Whether it is above the limit.
    pub is_over: bool,
}

impl Figures {
    /// Every figure with its limit. Only a second demo on a machine has a limit for the time until all are Ready.
    pub fn verdicts(&self, is_second: bool) -> Vec<Verdict> {
        let first = self.first_persisted.iter().map(|(camera, time)| {
            seconds(&format!("{camera}: applied -> first PERSISTED"), *time, Some(FIRST_PERSISTED_LIMIT))
        });
        let ready = seconds("start -> all cameras Ready", self.ready, is_second.then_some(READY_LIMIT));
        let memory = self.memory.iter().map(Memory::verdict);
        first.chain([ready]).chain(memory).collect()
    }
}

impl Memory {
    fn verdict(&self) -> Verdict {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let media = match self.media {
            0 => String::new(),
            media => format!(" beside {:.1} MiB of media", mib(media)),
        };
        let figure = format!("{}: {:.1} MiB of anonymous memory{media}", self.name, mib(self.anonymous));
        Verdict::new(&figure, &format!("{:.0} MiB", mib(self.limit)), self.anonymous > self.limit)
    }
}

impl Verdict {
    fn new(figure: &str, limit: &str, is_over: bool) -> Self {
        let word = if is_over { "OVER THE LIMIT" } else { "ok" };
        Self { text: format!("{figure}, at most {limit}: {word}"), is_over }
    }
}

fn seconds(what: &str, time: Duration, limit: Option<Duration>) -> Verdict {
    let figure = format!("{what} {:.1} s", time.as_secs_f64());
    match limit {
        Some(limit) => Verdict::new(&figure, &format!("{} s", limit.as_secs()), time > limit),
        None => Verdict { text: format!("{figure}, the first time here"), is_over: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(first: u64, ready: u64, operator: u64) -> Figures {
        Figures {
            first_persisted: [("door".to_owned(), Duration::from_secs(first))].into(),
            ready: Duration::from_secs(ready),
            memory: vec![Memory {
                name: "operator".to_owned(),
                anonymous: operator,
                media: 0,
                limit: OPERATOR_MEMORY_LIMIT,
            }],
        }
    }

    fn over(figures: &Figures, is_second: bool) -> Vec<bool> {
        figures.verdicts(is_second).into_iter().map(|verdict| verdict.is_over).collect()
    }

    #[test]
    fn a_figure_at_its_limit_is_within_it_and_one_above_is_not() {
        assert_eq!(over(&figures(10, 60, 25 << 20), true), [false, false, false]);
        assert_eq!(over(&figures(11, 61, (25 << 20) + 1), true), [true, true, true]);
    }

    #[test]
    fn the_first_demo_on_a_machine_may_take_its_time() {
        assert_eq!(over(&figures(10, 1_000, 0), false), [false, false, false]);
    }

    #[test]
    fn the_line_names_figure_limit_and_verdict() {
        let texts: Vec<_> =
            figures(11, 20, 0).verdicts(true).into_iter().map(|verdict| verdict.text).collect();
        assert_eq!(texts[0], "door: applied -> first PERSISTED 11.0 s, at most 10 s: OVER THE LIMIT");
        assert_eq!(texts[1], "start -> all cameras Ready 20.0 s, at most 60 s: ok");
        assert_eq!(texts[2], "operator: 0.0 MiB of anonymous memory, at most 25 MiB: ok");
    }
}
