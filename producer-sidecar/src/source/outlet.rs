//! Where sources put what they yield: the feed's channel, in its order.

use streamfleet_contract::{Audio, SourceReason, SourceState};
use streamfleet_media::track::{Codec, Sample, SenderReport};
use tokio::sync::mpsc;

use super::SourceEvent;
use crate::clock::{Clock, Now};

/// The feed is gone: nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Hands on what a source yields, and waits while the feed is behind.
#[derive(Debug)]
pub struct Outlet {
    clock: Clock,
    events: mpsc::Sender<SourceEvent>,
    connected: bool,
    audio: Audio,
    left_out: String,
}

/// What is said of sound that is never stored.
pub fn not_carried(codec: &str) -> String {
    format!("the sound is left out: its codec is {codec}, and only AAC and G.711 are carried")
}

/// What is said of sound that is stored where the settings ask for it.
pub const G711_NOT_WANTED: &str = "the sound is left out: it is G.711, which is stored where audio is All";

impl Outlet {
    /// An outlet into the feed's channel.
    pub fn new(clock: Clock, events: mpsc::Sender<SourceEvent>) -> Self {
        Self { clock, events, connected: false, audio: Audio::default(), left_out: String::new() }
    }

    /// The same, where other sound is wanted than by default.
    #[must_use]
    pub fn wanting(self, audio: Audio) -> Self {
        Self { audio, ..self }
    }

    /// Remembers why sound that the source has is not stored, until the connection is told.
    pub fn leave_out(&mut self, why: String) {
        self.left_out = why;
    }

    /// The process's clocks.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Reads the process's clocks.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Says that media comes, of these tracks: before the first sample of each connection.
    pub async fn connected(&mut self, tracks: Vec<Codec>) -> Result<(), Closed> {
        self.connected = true;
        let mut left_out = std::mem::take(&mut self.left_out);
        let is_g711 = |codec: &Codec| matches!(codec, Codec::PcmAlaw | Codec::PcmMulaw);
        if self.audio == Audio::Auto && tracks.iter().any(is_g711) && !tracks.contains(&Codec::Aac) {
            G711_NOT_WANTED.clone_into(&mut left_out);
        }
        if self.audio == Audio::None {
            left_out.clear();
        }
        self.send(SourceEvent::Connected(tracks)).await?;
        self.state(SourceState::Streaming, SourceReason::Streaming, left_out).await
    }

    /// Hands on a sample whose first byte was read at `read_at`.
    pub async fn sample(&self, sample: Sample, read_at: Now) -> Result<(), Closed> {
        self.send(SourceEvent::Sample(sample, read_at)).await
    }

    /// Hands on a sender report that was read at `read_at`.
    pub async fn report(&self, report: SenderReport, read_at: Now) -> Result<(), Closed> {
        self.send(SourceEvent::Report(report, read_at)).await
    }

    /// Says how the source stands.
    pub async fn state(
        &self,
        state: SourceState,
        reason: SourceReason,
        message: String,
    ) -> Result<(), Closed> {
        self.send(SourceEvent::State(state, reason, message)).await
    }

    /// Whether media has come since this was last asked.
    pub(super) fn take_connected(&mut self) -> bool {
        std::mem::take(&mut self.connected)
    }

    async fn send(&self, event: SourceEvent) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sound_that_is_left_out_is_said_once_a_connection() {
        let (sender, mut events) = mpsc::channel(8);
        let mut outlet = Outlet::new(Clock::start(), sender);
        let g711 = vec![Codec::H264, Codec::PcmAlaw];
        let cases = [
            (Audio::Auto, g711.clone(), "", G711_NOT_WANTED),
            (Audio::All, g711.clone(), "", ""),
            (Audio::None, g711, "", ""),
            (Audio::Auto, vec![Codec::H264, Codec::PcmAlaw, Codec::Aac], "", ""),
            (Audio::Auto, vec![Codec::H264], "MP3", "MP3"),
            (Audio::Auto, vec![Codec::H264], "", ""),
            (Audio::None, vec![Codec::H264], "MP3", ""),
        ];
        for (audio, tracks, left_out, expected) in cases {
            outlet = outlet.wanting(audio);
            outlet.leave_out(left_out.to_owned());
            outlet.connected(tracks).await.unwrap();
            assert!(matches!(events.recv().await, Some(SourceEvent::Connected(_))));
            let Some(SourceEvent::State(_, _, message)) = events.recv().await else { panic!("no state") };
            assert_eq!(message, expected);
        }
    }
}
