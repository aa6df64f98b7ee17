//! Where sources put what they yield: the feed's channel, in its order.

use streamfleet_contract::{SourceReason, SourceState};
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
}

impl Outlet {
    /// An outlet into the feed's channel.
    pub fn new(clock: Clock, events: mpsc::Sender<SourceEvent>) -> Self {
        Self { clock, events, connected: false }
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
        self.send(SourceEvent::Connected(tracks)).await?;
        self.state(SourceState::Streaming, SourceReason::Streaming, String::new()).await
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
