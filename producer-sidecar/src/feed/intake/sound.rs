//! Whether the audio track sends: only then it is announced to the service, which refuses fragments that lack a frame of
//! an announced track (error 4011), and only then key frames wait for it.

use super::Shared;

/// Sound that ends this long before a key frame is silent there.
const SILENT_MS_MIN: i64 = 1_000;

/// Sound that was silent is stored again when it has come for this long.
const STEADY_MS_MIN: i64 = 1_000;

/// A pause of this length begins anew what counts as steady.
const PAUSE_MS_MIN: i64 = 500;

/// How the audio track of a connection stands.
#[derive(Debug, Default)]
pub(super) struct Sound {
    is_selected: bool,
    is_stored: bool,
    /// Whether a key frame has come; before the first, all sound that comes counts.
    has_key: bool,
    /// The latest time that sound has come for, and when it began to come without a pause.
    latest_ms: Option<i64>,
    began_ms: i64,
    parameters: Option<Shared>,
}

impl Sound {
    pub(super) fn new(is_selected: bool) -> Self {
        Self { is_selected, ..Self::default() }
    }

    /// Sound is to be stored from now on, or not.
    pub(super) fn select(&mut self, is_selected: bool) {
        *self = Self { is_selected, has_key: self.has_key, ..Self::default() };
    }

    /// A piece of sound has come.
    pub(super) fn heard(&mut self, time_ms: i64) {
        let paused = self.latest_ms.is_none_or(|latest| time_ms - latest > PAUSE_MS_MIN);
        if paused {
            self.began_ms = time_ms;
        }
        self.latest_ms = self.latest_ms.max(Some(time_ms));
    }

    /// Moves all times.
    pub(super) fn shift(&mut self, by_ms: i64) {
        self.latest_ms = self.latest_ms.map(|ms| ms.saturating_add(by_ms));
        self.began_ms = self.began_ms.saturating_add(by_ms);
    }

    /// Whether a key frame at this time is to wait for sound.
    pub(super) fn is_awaited(&self, key_ms: i64) -> bool {
        let is_expected = self.is_stored || !self.has_key;
        self.is_selected && is_expected && self.latest_ms.is_none_or(|latest| latest < key_ms)
    }

    /// The parameters of the sound that is stored from the key frame at this time on. `coming` are those of the sound
    /// that comes next, if it is there.
    pub(super) fn at_key(&mut self, key_ms: i64, coming: Option<Shared>) -> Option<Shared> {
        self.parameters = coming.or_else(|| self.parameters.take());
        let heard = self.latest_ms.is_some_and(|latest| latest >= key_ms - SILENT_MS_MIN);
        let is_steady = self.latest_ms.is_some_and(|latest| latest - self.began_ms >= STEADY_MS_MIN);
        self.is_stored = self.is_selected && heard && (self.is_stored || !self.has_key || is_steady);
        self.has_key = true;
        self.parameters.clone().filter(|_| self.is_stored)
    }
}
