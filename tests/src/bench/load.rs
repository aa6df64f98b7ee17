//! Cameras with a service, and windows of what reads them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use streamfleet_contract::Feed;
use tokio::time::Instant;

use super::held::{Held, Start};
use super::latency::Latency;
use super::peers::Peer;
use super::{ensure_real_time, mib};
use crate::camera::{Camera, Sent};
use crate::figures::Figure;
use crate::resources::Memory;
use crate::rig::{Plan, Producer, Rig};
use crate::steps::Steps;

/// From the first picture until rates, buffers and caches are what they stay. ffmpeg looks at five seconds of a stream
/// before it begins.
const WARM_UP: Duration = Duration::from_secs(8);
/// How long processes may take until all of them have begun.
const START_MAX: Duration = Duration::from_mins(1);
/// How long a producer that is stopped may take to have the rest stored.
const STOP_MAX: Duration = Duration::from_mins(1);
/// The number of feeds whose latency is measured.
const LATENCY_FEEDS: usize = 10;

/// Cameras with a service, and what was found out with them so far.
pub(super) struct Load {
    pub(super) rig: Rig,
    all: Vec<Feed>,
    /// For each feed the pictures that have come to the service, as far as was asked.
    arrived: Vec<u64>,
    held: Vec<Held>,
    latency: Latency,
}

/// What was measured in one window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Per cent of a core for each stream.
    pub(super) cpu_percent: f64,
    /// At its end, of all streams together.
    pub(super) memory: Memory,
}

impl Load {
    pub(super) async fn start(plan: Plan, steps: &Steps) -> Result<Self> {
        let rig = Rig::start(plan).await?;
        steps.done(format!("{} cameras, service at {}", rig.cameras.len(), rig.service.https));
        let all = rig.configuration.feeds.clone();
        let arrived = vec![0; all.len()];
        Ok(Self { rig, all, arrived, held: Vec::new(), latency: Latency::default() })
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.rig.clear().await
    }

    /// From now on the producer is to carry the first so many feeds.
    pub(super) fn configure(&mut self, feeds: usize) -> Result<()> {
        self.rig.configuration.feeds = self.all[..feeds].to_vec();
        self.rig.configure()
    }

    /// Whether the cameras keep real time while somebody reads them who does nothing else.
    pub(super) async fn check_cameras(&self, feeds: usize, time: Duration, steps: &Steps) -> Result<()> {
        let log = self.rig.folder.join("reader.log");
        let before = self.plays();
        let reader = Peer::reader(&self.urls(feeds), WARM_UP + time, &log)?;
        self.wait_for_plays(&before, feeds).await?;
        // Each camera begins with its next key frame.
        tokio::time::sleep(WARM_UP / 2).await;
        let (mut reader, window) = self.window(reader, feeds, time, Peer::cpu).await?;
        let cpu = window.context("a raw reader falls behind")?.0;
        steps.say(format!(
            "{feeds} feeds: cameras keep real time; a raw reader takes {cpu:.3} % of a core for each"
        ));
        // It ends by itself after its time, and fails when a camera has let it go.
        reader.cpu().ok();
        reader.ended().await
    }

    /// One window of our producer.
    pub(super) async fn ours(&mut self, feeds: usize, time: Duration) -> Result<Window> {
        self.configure(feeds)?;
        let start = Start::now(&self.rig, feeds).await?;
        let producer = self.rig.produce().await?;
        tokio::time::sleep(WARM_UP).await;
        let (seen, began) = (self.arrived(feeds).await?, crate::rig::unix_ms());
        let (producer, window) = self.window(producer, feeds, time, |producer| producer.cpu()).await?;
        let (cpu_percent, sent) = window?;
        let arrived = self.arrived(feeds).await? - seen;
        ensure_real_time("our producer", arrived, sent as f64)?;
        let memory = producer.memory()?;
        self.held.push(start.held(&self.rig, &producer).await?);
        if feeds == LATENCY_FEEDS {
            let until = began + time.as_millis() as i64;
            self.latency.collect(&self.rig, feeds, began..until).await?;
        }
        self.end(producer).await?;
        Ok(Window { cpu_percent, memory })
    }

    /// One window of ffmpeg, a process for each feed.
    pub(super) async fn ffmpeg(&mut self, feeds: usize, time: Duration) -> Result<Window> {
        let before = self.plays();
        let peer =
            Peer::ffmpeg(&self.urls(feeds), self.rig.service.https, &self.rig.folder.join("ffmpeg.log"))?;
        self.wait_for_plays(&before, feeds).await?;
        tokio::time::sleep(WARM_UP).await;
        let seen = discarded(self.rig.service.http).await?;
        let bytes = self.sent(feeds).bytes;
        let (peer, window) = self.window(peer, feeds, time, Peer::cpu).await?;
        let cpu_percent = window?.0;
        let bytes = self.sent(feeds).bytes - bytes;
        let arrived = discarded(self.rig.service.http).await? - seen;
        // It writes in blocks of its own size.
        ensure_real_time("ffmpeg", arrived, bytes as f64)?;
        let memory = peer.memory()?;
        peer.stop().await?;
        Ok(Window { cpu_percent, memory })
    }

    /// One window of GStreamer, one process with a branch for each feed. It has no sink that could count.
    pub(super) async fn gstreamer(&mut self, feeds: usize, time: Duration) -> Result<Window> {
        let before = self.plays();
        let peer = Peer::gstreamer(&self.urls(feeds), &self.rig.folder.join("gstreamer.log"))?;
        self.wait_for_plays(&before, feeds).await?;
        tokio::time::sleep(WARM_UP).await;
        let (peer, window) = self.window(peer, feeds, time, Peer::cpu).await?;
        let cpu_percent = window?.0;
        let memory = peer.memory()?;
        peer.stop().await?;
        Ok(Window { cpu_percent, memory })
    }

    /// Memory beside media: what each stream adds to the process with one.
    pub(super) fn memory_figures(&self) -> Vec<Figure> {
        let of = |feeds: usize| -> Option<Held> {
            let mut all: Vec<Held> = self.held.iter().filter(|held| held.feeds == feeds).copied().collect();
            all.sort_by(|a, b| a.beside().total_cmp(&b.beside()));
            all.get(all.len() / 2).copied()
        };
        let (one, fifty) = (of(1), of(50));
        let each = |beside: fn(&Held) -> f64| {
            one.zip(fifty).map(|(one, fifty)| {
                (beside(&fifty) - beside(&one)) / f64::from(1 << 20) / (fifty.feeds - one.feeds) as f64
            })
        };
        let note = fifty.map_or_else(String::new, |held| {
            let media = mib(held.media);
            let says = held.says as f64 / held.media.max(1) as f64;
            format!(
                "50 feeds: {:.1} MiB, {media:.1} of it media (the producer says {says:.2} of that)",
                mib(held.anonymous)
            )
        });
        vec![
            Figure::new("memory_per_further_stream", each(Held::beside), "MiB")
                .at_most(0.5)
                .aim(0.3)
                .note(note),
            // With less media, since it counts none that is on its way to it or to the archive's list.
            Figure::new("memory_per_further_stream_by_its_own_count", each(Held::beside_what_it_says), "MiB"),
            Figure::new(
                "memory_beside_media_1_feed",
                one.map(|held| held.beside() / f64::from(1 << 20)),
                "MiB",
            ),
        ]
    }

    /// From the camera's journal to the last byte at the service.
    pub(super) fn latency_figures(&self) -> Vec<Figure> {
        self.latency.figures()
    }

    /// Measures for so long. Gives back what was measured, and the per cent of a core for each feed with the pictures that
    /// the cameras have sent; an error in place of these when the cameras were behind.
    async fn window<T>(
        &self,
        mut of: T,
        feeds: usize,
        time: Duration,
        cpu: impl Fn(&mut T) -> Result<Duration>,
    ) -> Result<(T, Result<(f64, u64)>)> {
        let (began, used, sent) = (Instant::now(), cpu(&mut of)?, self.sent(feeds));
        tokio::time::sleep(time).await;
        let used = cpu(&mut of)?.saturating_sub(used);
        let (took, sent) = (began.elapsed(), self.sent(feeds).pictures - sent.pictures);
        let rate = self.rig.plan.recipes[0].rate;
        let due = took.as_secs_f64() * f64::from(rate) * feeds as f64;
        let percent = 100.0 * used.as_secs_f64() / took.as_secs_f64() / feeds as f64;
        Ok((of, ensure_real_time("a camera", sent, due).map(|()| (percent, sent))))
    }

    async fn end(&self, producer: Producer) -> Result<()> {
        let status = producer.terminate(STOP_MAX).await?;
        anyhow::ensure!(status.success(), "the producer ended with {status}");
        Ok(())
    }

    fn urls(&self, feeds: usize) -> Vec<String> {
        self.rig.cameras[..feeds].iter().map(Camera::url).collect()
    }

    fn plays(&self) -> Vec<u64> {
        self.rig.cameras.iter().map(|camera| camera.sent().plays).collect()
    }

    async fn wait_for_plays(&self, before: &[u64], feeds: usize) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while self.plays().iter().zip(before).take(feeds).any(|(now, before)| now <= before) {
            anyhow::ensure!(Instant::now() < deadline, "not all cameras are played after {START_MAX:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What the first cameras have sent together.
    fn sent(&self, feeds: usize) -> Sent {
        self.rig.cameras[..feeds].iter().map(Camera::sent).fold(Sent::default(), |sum, sent| Sent {
            plays: sum.plays + sent.plays,
            pictures: sum.pictures + sent.pictures,
            bytes: sum.bytes + sent.bytes,
        })
    }

    /// Pictures of the first feeds that the service has read so far.
    async fn arrived(&mut self, feeds: usize) -> Result<u64> {
        for feed in 0..feeds {
            let arrivals = self.rig.service.arrivals(feed, self.arrived[feed]).await?;
            self.arrived[feed] = arrivals.last().map_or(self.arrived[feed], |arrival| arrival.n);
        }
        Ok(self.arrived[..feeds].iter().sum())
    }
}

/// Bytes that `/discard` has taken so far.
async fn discarded(hooks: SocketAddr) -> Result<u64> {
    let answer = crate::e2e::http::get(hooks, "/_emulator/discarded").await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    answer["bytes"].as_u64().context("the emulator does not say how much it has discarded")
}
