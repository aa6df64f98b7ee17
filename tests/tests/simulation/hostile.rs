//! A peer that does whatever a service, and the network before it, could do: late, double, missing, wrong and reordered
//! words, errors with and without a name, closes, silence, a window that shuts.

use std::collections::BTreeMap;

use streamfleet_media::ack::{Ack, AckKind, ErrorId};
use streamfleet_media::fragment::FragmentNumber;
use streamfleet_producer::session::{Ending, Input, Refusal, SessionId};

use crate::world::{Event, Peer, World};

/// How hostile it is, and what it remembers.
#[derive(Debug)]
pub struct Hostile {
    /// Chances in percent, of each fragment or session.
    error: u32,
    silence: u32,
    refusal: u32,
    /// Whether all refusals say that somebody else holds the stream.
    held: bool,
    cut: u32,
    stall: u32,
    /// The longest time that storing takes.
    storing_ms: u64,
    /// What is wrong with a poisoned group.
    poison: BTreeMap<i64, (ErrorId, bool)>,
}

/// What is said of a fragment, by its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// BUFFERING.
    Buffering(i64),
    /// RECEIVED.
    Received(i64),
    /// PERSISTED.
    Persisted(i64),
    /// An error, which names the fragment by its time, by its number alone, or not at all.
    Error(u32, i64, Named),
    /// PERSISTED of something that never was.
    Foreign(i64),
    /// IDLE.
    Idle,
    /// A word that nobody knows.
    Unknown(i64),
}

/// How an error names its fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// By time and number.
    Fully,
    /// By number; the time is 0.
    ByNumber,
    /// Not at all.
    Not,
}

impl Hostile {
    /// One of a drawn temper.
    pub fn new(random: &mut fastrand::Rng) -> Self {
        let mut draw = |most: u32| if random.bool() { random.u32(0..=most) } else { 1 };
        let (error, silence, refusal, cut, stall) = (draw(25), draw(40), draw(60), draw(30), draw(6));
        let held = random.u32(0..12) == 0;
        let refusal = if held { 97 } else { refusal };
        let storing_ms = [100, 1_500, 8_000, 25_000][random.usize(..4)];
        Self { error, silence, refusal, held, cut, stall, storing_ms, poison: BTreeMap::new() }
    }
}

impl World {
    fn hostile(&self) -> Option<&Hostile> {
        match &self.peer {
            Peer::Hostile(hostile) => Some(hostile),
            Peer::Service(_) => None,
        }
    }

    /// The hostile peer answers to a request, in its own way.
    pub fn hostile_answer(&mut self, id: u64) {
        let Some(refusal) = self.hostile().map(|hostile| hostile.refusal) else { return };
        if self.chance(refusal) {
            let (name, refusal) = self.drawn_refusal();
            if let Some(wire) = self.wires.get_mut(&id) {
                wire.over = true;
            }
            return self.close(name, id, Ending::Refused(refusal, String::new()));
        }
        self.takes = true;
        self.handle("accepted", Input::Opened(SessionId(id)));
        let cut = self.hostile().map_or(0, |hostile| hostile.cut);
        if self.chance(cut) {
            let (delay, good) = (self.random.u64(1..30_000), self.random.bool());
            self.after(delay, Event::End(id, good));
        }
        if self.chance(20) {
            let delay = self.random.u64(1..20_000);
            self.after(delay, Event::Say(id, Word::Idle));
        }
    }

    fn drawn_refusal(&mut self) -> (&'static str, Refusal) {
        const ALL: [(&str, Refusal); 8] = [
            ("refused Unreachable", Refusal::Unreachable),
            ("refused ConnectionLimit", Refusal::ConnectionLimit),
            ("refused CredentialsMissing", Refusal::CredentialsMissing),
            ("refused CredentialsRefused", Refusal::CredentialsRefused),
            ("refused Throttled", Refusal::Throttled),
            ("refused ClockCorrected", Refusal::ClockCorrected),
            ("refused StreamNotFound", Refusal::StreamNotFound),
            ("refused Other", Refusal::Other),
        ];
        let held = self.hostile().is_some_and(|hostile| hostile.held);
        ALL[if held { 1 } else { self.random.usize(..ALL.len()) }]
    }

    /// It received the beginning of a fragment.
    pub fn hostile_begun(&mut self, id: u64, time_ms: i64) {
        let Some((silence, stall)) = self.hostile().map(|hostile| (hostile.silence, hostile.stall)) else {
            return;
        };
        if !self.chance(silence / 4) {
            let delay = self.random.u64(5..300);
            self.after(delay, Event::Say(id, Word::Buffering(time_ms)));
        }
        if self.chance(5) {
            self.after(1, Event::Say(id, Word::Foreign(time_ms + 7)));
            self.after(1, Event::Say(id, Word::Unknown(time_ms)));
            // Too early: its end is not sent.
            self.after(1, Event::Say(id, Word::Persisted(time_ms)));
            self.after(2, Event::Say(id, Word::Received(time_ms)));
        }
        if self.chance(3) {
            self.say_error(id, time_ms);
        }
        if self.chance(stall) {
            self.tally.event("takes nothing");
            self.takes = false;
            let delay = self.random.u64(100..60_000);
            self.after(delay, Event::TakeAgain(id));
        }
    }

    fn say_error(&mut self, id: u64, time_ms: i64) {
        let error = self.drawn_error();
        let named = [Named::Fully, Named::Fully, Named::ByNumber, Named::Not][self.random.usize(..4)];
        let delay = self.random.u64(1..700);
        self.after(delay, Event::Say(id, Word::Error(error.code(), time_ms, named)));
    }

    /// A fragment is whole: what comes of it is drawn.
    pub fn hostile_closed(&mut self, id: u64, time_ms: i64) {
        if let Some((error, is_named)) = self.poison_of(id, time_ms) {
            let named = if is_named { Named::Fully } else { Named::Not };
            return self.after(5, Event::Say(id, Word::Error(error.code(), time_ms, named)));
        }
        let Some(hostile) = self.hostile() else { return };
        let (error, silence, storing_ms) = (hostile.error, hostile.silence, hostile.storing_ms);
        if self.chance(error) {
            return self.say_error(id, time_ms);
        }
        let delay = self.random.u64(5..500);
        if self.is_calm() {
            self.after(1, Event::Say(id, Word::Buffering(time_ms)));
        }
        if !self.chance(silence / 4) {
            self.after(delay, Event::Say(id, Word::Received(time_ms)));
        }
        if self.chance(silence) {
            return self.tally.event("storage not told");
        }
        let later = delay + self.random.u64(50..storing_ms);
        self.after(later, Event::Say(id, Word::Persisted(time_ms)));
        if self.chance(8) {
            self.tally.event("told twice");
            self.after(later + 3, Event::Say(id, Word::Persisted(time_ms)));
        }
    }

    /// Whether a fragment has a group that nobody will ever take, and how that is said.
    fn poison_of(&mut self, id: u64, time_ms: i64) -> Option<(ErrorId, bool)> {
        let parts = self.wires.get(&id)?.whole.get(&time_ms)?;
        parts.iter().find(|(gop, _)| self.poison.contains(gop))?;
        let poisons = [4001, 4002, 4004, 4006, 4010, 4012];
        let drawn = (ErrorId::from_code(poisons[self.random.usize(..6)]), self.random.u32(0..3) > 0);
        match &mut self.peer {
            Peer::Hostile(hostile) => Some(*hostile.poison.entry(time_ms).or_insert(drawn)),
            Peer::Service(_) => None,
        }
    }

    /// The body has ended.
    pub fn hostile_finished(&mut self, id: u64) {
        if self.chance(12) {
            return self.tally.event("does not end");
        }
        let Some(storing_ms) = self.hostile().map(|hostile| hostile.storing_ms) else { return };
        let delay = self.random.u64(100..600 + storing_ms * 2);
        self.after(delay, Event::End(id, true));
    }

    /// It says something.
    pub fn say(&mut self, id: u64, word: &Word) {
        let Some(over) = self.wires.get(&id).map(|wire| wire.over) else { return };
        let newest = self.wires.keys().next_back().copied().unwrap_or_default();
        // What comes of a session long gone is lost on the way; of the last two half arrives.
        if over && (id + 1 < newest || self.random.bool()) {
            return;
        }
        let ack = |kind, at: i64| Ack::of(kind, at, number(id, at));
        let (name, late_name, ack) = match *word {
            Word::Buffering(at) => ("BUFFERING", "late BUFFERING", ack(AckKind::Buffering, at)),
            Word::Received(at) => ("RECEIVED", "late RECEIVED", ack(AckKind::Received, at)),
            Word::Persisted(at) => ("PERSISTED", "late PERSISTED", ack(AckKind::Persisted, at)),
            Word::Foreign(at) => {
                ("PERSISTED of nothing", "PERSISTED of nothing", ack(AckKind::Persisted, at))
            }
            Word::Unknown(at) => {
                ("an unknown word", "an unknown word", ack(AckKind::Unknown("ARCHIVED".to_owned()), at))
            }
            Word::Idle => ("IDLE", "late IDLE", Ack::idle()),
            Word::Error(code, at, named) => {
                let error = ErrorId::from_code(code);
                let (name, time, number) = match named {
                    Named::Fully => ("an error of a fragment", Some(at), Some(number(id, at))),
                    Named::ByNumber => ("an error of a number", Some(0), Some(number(id, at))),
                    Named::Not => ("an error of nothing", None, None),
                };
                (name, "a late error", Ack::failure(error, time, number))
            }
        };
        let is_error = matches!(word, Word::Error(..));
        self.tell(if over { late_name } else { name }, id, ack);
        if is_error && !over {
            self.check(self.current != Some(id), || "a session goes on after an error".to_owned());
        }
    }
}

fn number(id: u64, time_ms: i64) -> FragmentNumber {
    format!("9{id:020}{:020}", time_ms.unsigned_abs()).parse().unwrap()
}
