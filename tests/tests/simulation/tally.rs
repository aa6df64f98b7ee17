//! What a run has seen, so that a simulation that has stopped to try something is noticed.

use std::collections::BTreeMap;
use std::fmt;

use streamfleet_media::ack::ErrorId;
use streamfleet_producer::session::State;

/// Counts by name.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Things that have happened to the session.
    pub events: BTreeMap<&'static str, u64>,
    /// Errors that it was told, by number.
    pub errors: BTreeMap<u32, u64>,
    /// What it was doing after each event.
    pub states: BTreeMap<State, u64>,
    /// All events.
    pub total: u64,
}

impl Tally {
    /// Counts something that has happened.
    pub fn event(&mut self, what: &'static str) {
        *self.events.entry(what).or_default() += 1;
    }

    /// Counts an error.
    pub fn error(&mut self, id: ErrorId) {
        *self.errors.entry(id.code()).or_default() += 1;
    }

    /// Counts a state.
    pub fn state(&mut self, state: State) {
        self.total += 1;
        *self.states.entry(state).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        for (what, times) in &other.events {
            *self.events.entry(what).or_default() += times;
        }
        for (code, times) in &other.errors {
            *self.errors.entry(*code).or_default() += times;
        }
        for (state, times) in &other.states {
            *self.states.entry(*state).or_default() += times;
        }
    }

    /// What is expected and was seen fewer times than this.
    pub fn below(
        &self,
        least: u64,
        events: &[&'static str],
        errors: &[u32],
        states: &[State],
    ) -> Vec<String> {
        let rare = |what: String, times: Option<&u64>| {
            let times = times.copied().unwrap_or_default();
            (times < least).then(|| format!("{what}: {times}"))
        };
        let events = events.iter().filter_map(|name| rare(format!("event {name}"), self.events.get(name)));
        let errors = errors.iter().filter_map(|code| rare(format!("error {code}"), self.errors.get(code)));
        let states =
            states.iter().filter_map(|state| rare(format!("state {state:?}"), self.states.get(state)));
        events.chain(errors).chain(states).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} events; of them, and beside them:", self.total)?;
        let events: Vec<_> = self.events.iter().map(|(what, times)| format!("{what} {times}")).collect();
        writeln!(f, "  {}", events.join(", "))?;
        let errors: Vec<_> = self.errors.iter().map(|(code, times)| format!("{code}: {times}")).collect();
        writeln!(f, "  errors: {}", errors.join(", "))?;
        let states: Vec<_> = self.states.iter().map(|(state, times)| format!("{state:?} {times}")).collect();
        writeln!(f, "  states: {}", states.join(", "))
    }
}
