//! What a producer holds: its memory, and how much of that is media which was accepted and is not yet acknowledged. The
//! media is counted from outside: what the cameras have sent less what the service lists as stored.

use anyhow::Result;

use crate::archive;
use crate::rig::{Producer, Rig, stream};

/// The counters when a producer is started.
pub(super) struct Start {
    sent: Vec<u64>,
    stored: Vec<u64>,
}

/// What one process holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) feeds: usize,
    pub(super) anonymous: u64,
    /// Media that was accepted and is not stored.
    pub(super) media: u64,
    /// The same as the producer says it.
    pub(super) says: u64,
}

impl Held {
    /// Bytes beside media.
    pub(super) fn beside(&self) -> f64 {
        self.anonymous as f64 - self.media as f64
    }

    /// Bytes beside the media that the producer says it holds.
    pub(super) fn beside_what_it_says(&self) -> f64 {
        self.anonymous as f64 - self.says as f64
    }
}

impl Start {
    /// Reads the counters of the first feeds.
    pub(super) async fn now(rig: &Rig, feeds: usize) -> Result<Self> {
        let mut start = Self { sent: Vec::new(), stored: Vec::new() };
        for feed in 0..feeds {
            start.sent.push(rig.cameras[feed].sent().bytes);
            start.stored.push(archive::stored_bytes(&rig.config, &stream(feed)).await?);
        }
        Ok(start)
    }

    /// What the producer that was started then holds now. Feeds are looked at one after the other; memory is the mean of
    /// before and after.
    pub(super) async fn held(&self, rig: &Rig, producer: &Producer) -> Result<Held> {
        let before = producer.memory()?.anonymous;
        let says_before = backlog(producer).await?;
        let mut media = 0;
        for (feed, (sent, stored)) in self.sent.iter().zip(&self.stored).enumerate() {
            let listed = archive::stored_bytes(&rig.config, &stream(feed)).await?;
            let sent = rig.cameras[feed].sent().bytes - sent;
            // A stored fragment has a few bytes more than its pictures: a thousandth, which is left out of the account.
            media += sent.saturating_sub(listed - stored);
        }
        let says = u64::midpoint(says_before, backlog(producer).await?);
        let anonymous = u64::midpoint(before, producer.memory()?.anonymous);
        Ok(Held { feeds: self.sent.len(), anonymous, media, says })
    }
}

/// What the producer says that it holds.
async fn backlog(producer: &Producer) -> Result<u64> {
    Ok(producer.status().await?.feeds.iter().map(|feed| feed.backlog.bytes).sum())
}
