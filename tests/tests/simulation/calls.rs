//! Whether the session keeps to the number of calls that it may make.

use std::time::Duration;

use streamfleet_media::ack::{ErrorClass, ErrorId};
use streamfleet_media::limits::PUT_MEDIA_CALLS_PER_SECOND_MAX;
use streamfleet_producer::session::Refusal;

/// Each attempt may cost two: `GetDataEndpoint` and `PutMedia`.
const CALLS_EACH: usize = 2;

/// So many fragments may be skipped before one is stored.
const SKIPPED_MAX: u32 = 2;

/// Attempts of the outage that is under way, if one is.
#[derive(Debug, Default)]
pub struct Calls {
    all: Vec<Duration>,
    /// Those since something was stored, without those that made no call.
    outage: Vec<Duration>,
    held_until: Duration,
    /// Fragments that were skipped since something was stored.
    skipped: u32,
}

impl Calls {
    /// Something was stored.
    pub fn on_stored(&mut self) {
        self.outage.clear();
        self.skipped = 0;
    }

    /// A fragment that was refused is skipped. Gives what is wrong with it.
    pub fn on_skipped(&mut self) -> Option<String> {
        self.skipped += 1;
        (self.skipped > SKIPPED_MAX).then(|| format!("{} are skipped, and nothing was stored", self.skipped))
    }

    /// The session that stands was told an error.
    pub fn on_error(&mut self, error: ErrorId, now: Duration) {
        if error.class() == ErrorClass::Hold {
            self.held_until = now + Duration::from_secs(30);
        }
    }

    /// An attempt was refused; without credentials it made no call.
    pub fn on_refused(&mut self, refusal: Refusal) {
        if refusal == Refusal::CredentialsMissing {
            self.outage.pop();
            self.all.pop();
        }
    }

    /// An attempt. Gives what is wrong with it.
    pub fn on_open(&mut self, now: Duration) -> Option<String> {
        self.all.push(now);
        self.outage.push(now);
        let within = |times: &[Duration], length: u64| {
            times.iter().rev().take_while(|&&at| now.saturating_sub(at) < Duration::from_secs(length)).count()
        };
        if now < self.held_until {
            return Some(format!("an attempt while the service wants none before {:?}", self.held_until));
        }
        if within(&self.all, 1) * CALLS_EACH > PUT_MEDIA_CALLS_PER_SECOND_MAX as usize {
            return Some("more calls in a second than the service takes".to_owned());
        }
        let begin = self.outage.first().copied().unwrap_or(now) + Duration::from_secs(10);
        let later = self.outage.partition_point(|&at| at < begin);
        if later > 6 {
            return Some(format!(
                "{later} attempts in the first ten seconds of an outage: {:?}",
                self.outage
            ));
        }
        let in_a_minute = within(&self.outage[later..], 60);
        (in_a_minute > 5)
            .then(|| format!("{in_a_minute} attempts in a minute of an outage: {:?}", self.outage))
    }
}
