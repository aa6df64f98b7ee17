//! Metric names and help. Labels are bounded by the configuration: a feed's id and name, and closed sets of words.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use streamfleet_contract::{SpoolState, SpoolStatus};

/// Which feed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FeedLabels {
    /// The feed's id.
    pub feed: String,
    /// The feed's name for people.
    pub name: String,
}

/// Which feed, and of what kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// The feed's id.
    pub feed: String,
    /// The feed's name for people.
    pub name: String,
    /// The kind; the help of each metric says of what.
    pub kind: String,
}

type FloatCounter = Counter<f64, AtomicU64>;
type FloatGauge = Gauge<f64, AtomicU64>;

/// Seconds from a fragment's end to its acknowledgement as stored.
const LATENCY_BUCKETS: [f64; 11] = [0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0];

#[derive(Debug, Clone)]
struct LatencyHistogram;

impl MetricConstructor<Histogram> for LatencyHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_BUCKETS)
    }
}

/// The runtime's tasks, counted when somebody looks.
#[derive(Debug)]
struct Tasks;

impl Collector for Tasks {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Ok(()) };
        let tasks = ConstGauge::new(i64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX));
        let help = "Tasks of the runtime; with the same feeds and connections it is always the same number";
        tasks.encode(encoder.encode_descriptor("tasks", help, None, tasks.metric_type())?)
    }
}

/// How the spool stands. Left out while there is none: a gauge at 0 would tell of a spool that fails.
#[derive(Debug, Clone, Default)]
struct SpoolMetrics {
    is_there: Arc<AtomicBool>,
    used: Gauge,
    max: Gauge,
    leftover: Gauge,
    ready: Gauge,
    failures: Family<CauseLabels, Counter>,
}

impl Collector for SpoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        if !self.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let leftover = "Bytes in the spool that belong to feeds that are not configured any more";
        for (name, help, gauge) in [
            ("spool_used_bytes", "Bytes that the spool takes", &self.used),
            ("spool_max_bytes", "Bytes that the spool may take", &self.max),
            ("spool_leftover_bytes", leftover, &self.leftover),
            ("spool_ready", "1 while the spool takes video, 0 while it is full or fails", &self.ready),
        ] {
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let (failures, help) =
            (&self.failures, "What the spool could not do, by cause (full, volume, damaged)");
        failures.encode(encoder.encode_descriptor("spool_failures", help, None, failures.metric_type())?)
    }
}

/// All metrics of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    frames: Family<FeedLabels, Counter>,
    bytes: Family<FeedLabels, Counter>,
    acknowledgements: Family<KindLabels, Counter>,
    errors: Family<KindLabels, Counter>,
    connects: Family<KindLabels, Counter>,
    dropped: Family<KindLabels, Counter>,
    lost_packets: Family<FeedLabels, Counter>,
    gaps: Family<KindLabels, Counter>,
    gap_seconds: Family<KindLabels, FloatCounter>,
    recovered_seconds: Family<FeedLabels, FloatCounter>,
    buffered_bytes: Family<KindLabels, Gauge>,
    buffered_seconds: Family<FeedLabels, FloatGauge>,
    last_stored: Family<FeedLabels, FloatGauge>,
    latency: Family<FeedLabels, Histogram, LatencyHistogram>,
    spool: SpoolMetrics,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            frames: Family::default(),
            bytes: Family::default(),
            dropped: Family::default(),
            lost_packets: Family::default(),
            acknowledgements: Family::default(),
            errors: Family::default(),
            connects: Family::default(),
            gaps: Family::default(),
            gap_seconds: Family::default(),
            recovered_seconds: Family::default(),
            buffered_bytes: Family::default(),
            buffered_seconds: Family::default(),
            last_stored: Family::default(),
            latency: Family::new_with_constructor(LatencyHistogram),
            spool: SpoolMetrics::default(),
        };
        metrics.register_counters(registry);
        registry.register_collector(Box::new(Tasks));
        metrics.register_losses(registry);
        metrics.register_gauges(registry);
        registry.register_collector(Box::new(metrics.spool.clone()));
        metrics
    }

    fn register_counters(&self, registry: &mut Registry) {
        registry.register(
            "frames",
            "Pictures and pieces of sound that came from the source",
            self.frames.clone(),
        );
        registry.register(
            "media_bytes",
            "Bytes of pictures and sound that came from the source",
            self.bytes.clone(),
        );
        registry.register(
            "acknowledgements",
            "Acknowledgements by kind; where PERSISTED stays behind RECEIVED, the service does not store",
            self.acknowledgements.clone(),
        );
        registry.register("errors", "Error acknowledgements by the service's error id", self.errors.clone());
        registry.register(
            "connects",
            "Connections made, by side (source, upload); many mean that the other side ends them",
            self.connects.clone(),
        );
    }

    fn register_losses(&self, registry: &mut Registry) {
        registry.register(
            "dropped_units",
            "Pictures and pieces of sound that came and are not stored, by cause; those of a gap are counted in that",
            self.dropped.clone(),
        );
        registry.register(
            "lost_packets",
            "Packets that the camera sent and that did not come; pictures are damaged by it",
            self.lost_packets.clone(),
        );
        registry.register("gaps", "Stretches of video that were not stored, by reason", self.gaps.clone());
        registry.register(
            "gap_seconds",
            "Seconds of video that were not stored, by reason",
            self.gap_seconds.clone(),
        );
        registry.register(
            "gap_recovered_seconds",
            "Seconds of video that were counted as gaps and were stored later after all",
            self.recovered_seconds.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register(
            "buffered_bytes",
            "Media that waits to be stored, by place (memory, spool)",
            self.buffered_bytes.clone(),
        );
        registry.register(
            "buffered_seconds",
            "From the oldest picture that waits to be stored to the newest; growing means that the upload is behind",
            self.buffered_seconds.clone(),
        );
        registry.register(
            "last_stored_timestamp_seconds",
            "When a fragment was last acknowledged as stored",
            self.last_stored.clone(),
        );
        registry.register_with_unit(
            "storage_latency",
            "From the end of a fragment to its acknowledgement as stored",
            Unit::Seconds,
            self.latency.clone(),
        );
    }

    /// How the spool stands.
    pub fn spool(&self, status: &SpoolStatus) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.spool.used.set(bytes(status.used_bytes));
        self.spool.max.set(bytes(status.max_bytes));
        self.spool.leftover.set(bytes(status.leftover_bytes));
        self.spool.ready.set(i64::from(status.state == SpoolState::Ready));
        self.spool.is_there.store(true, Ordering::Relaxed);
    }

    /// The spool could not do something.
    pub fn spool_failed(&self, cause: &str) {
        self.spool.failures.get_or_create(&CauseLabels { kind: cause.to_owned() }).inc();
    }

    /// So much more of a gap of a feed that is not configured. Its name is not known; and no other series is made, which would
    /// stay for ever.
    pub fn gap_of(&self, id: &str, reason: &str, length_ms: i64) {
        let labels = KindLabels { feed: id.to_owned(), name: id.to_owned(), kind: reason.to_owned() };
        self.gap_seconds.get_or_create(&labels).inc_by(length_ms.max(0) as f64 / 1_000.0);
    }

    /// The metrics of one feed.
    pub fn feed(&self, id: &str, name: &str) -> FeedMetrics {
        let labels = FeedLabels { feed: id.to_owned(), name: name.to_owned() };
        let place =
            |kind: &str| KindLabels { feed: id.to_owned(), name: name.to_owned(), kind: kind.to_owned() };
        FeedMetrics {
            frames: self.frames.get_or_create_owned(&labels),
            bytes: self.bytes.get_or_create_owned(&labels),
            in_memory: self.buffered_bytes.get_or_create_owned(&place(MEMORY)),
            on_spool: self.buffered_bytes.get_or_create_owned(&place(SPOOL)),
            buffered_seconds: self.buffered_seconds.get_or_create_owned(&labels),
            last_stored: Arc::default(),
            all: self.clone(),
            labels,
        }
    }
}

/// A cause that concerns the whole process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabels {
    /// The cause; the help of each metric says which there are.
    pub kind: String,
}

const MEMORY: &str = "memory";
const SPOOL: &str = "spool";

/// The metrics of one feed.
#[derive(Debug, Clone)]
pub struct FeedMetrics {
    all: Metrics,
    labels: FeedLabels,
    // Kept, since they change with each picture or each second.
    frames: Counter,
    bytes: Counter,
    in_memory: Gauge,
    on_spool: Gauge,
    buffered_seconds: FloatGauge,
    /// Made with the first fragment that is stored: before, there is no such time.
    last_stored: Arc<OnceLock<FloatGauge>>,
}

impl FeedMetrics {
    /// A picture or a piece of sound came.
    pub fn frame(&self, bytes: u64) {
        self.frames.inc();
        self.bytes.inc_by(bytes);
    }

    /// Pictures or pieces of sound that came are not stored; `cause` is one of a closed set of words.
    pub fn dropped(&self, cause: &str, count: u64) {
        self.all.dropped.get_or_create(&self.kind(cause)).inc_by(count);
    }

    /// Packets did not come.
    pub fn lost_packets(&self, count: u64) {
        self.all.lost_packets.get_or_create(&self.labels).inc_by(count);
    }

    /// An acknowledgement came.
    pub fn acknowledged(&self, kind: &str) {
        self.all.acknowledgements.get_or_create(&self.kind(kind)).inc();
    }

    /// A fragment is stored, so long after its end.
    pub fn stored(&self, latency: Option<std::time::Duration>, wall_ms: i64) {
        if let Some(latency) = latency {
            self.all.latency.get_or_create(&self.labels).observe(latency.as_secs_f64());
        }
        let last = self.last_stored.get_or_init(|| self.all.last_stored.get_or_create_owned(&self.labels));
        last.set(wall_ms as f64 / 1_000.0);
    }

    /// The service answered with an error.
    pub fn error(&self, id: &str) {
        self.all.errors.get_or_create(&self.kind(id)).inc();
    }

    /// A connection was made.
    pub fn connected(&self, side: &str) {
        self.all.connects.get_or_create(&self.kind(side)).inc();
    }

    /// Another gap was recorded.
    pub fn gap_began(&self, reason: &str) {
        self.all.gaps.get_or_create(&self.kind(reason)).inc();
    }

    /// So much more of a gap.
    pub fn gap(&self, reason: &str, length_ms: i64) {
        self.all.gap_seconds.get_or_create(&self.kind(reason)).inc_by(length_ms.max(0) as f64 / 1_000.0);
    }

    /// Of a gap so much is stored after all.
    pub fn recovered(&self, length_ms: i64) {
        self.all.recovered_seconds.get_or_create(&self.labels).inc_by(length_ms.max(0) as f64 / 1_000.0);
    }

    /// What waits to be stored.
    pub fn buffered(&self, memory_bytes: u64, spool_bytes: u64, milliseconds: i64) {
        self.in_memory.set(i64::try_from(memory_bytes).unwrap_or(i64::MAX));
        self.on_spool.set(i64::try_from(spool_bytes).unwrap_or(i64::MAX));
        self.buffered_seconds.set(milliseconds as f64 / 1_000.0);
    }

    /// Forgets the feed's gauges, which would else show its last values for ever.
    pub fn forget(&self) {
        // A fragment that is stored while the feed ends does not make it anew.
        _ = self.last_stored.set(FloatGauge::default());
        self.all.buffered_bytes.remove(&self.kind(MEMORY));
        self.all.buffered_bytes.remove(&self.kind(SPOOL));
        self.all.buffered_seconds.remove(&self.labels);
        self.all.last_stored.remove(&self.labels);
    }

    fn kind(&self, kind: &str) -> KindLabels {
        KindLabels { feed: self.labels.feed.clone(), name: self.labels.name.clone(), kind: kind.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn ready() -> SpoolStatus {
        let (used_bytes, max_bytes, leftover_bytes) = (0, 0, 0);
        let (state, message) = (SpoolState::Ready, String::new());
        SpoolStatus { state, message, used_bytes, max_bytes, leftover_bytes }
    }

    #[test]
    fn every_metric_is_documented() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/producer.md");
        let page = std::fs::read_to_string(page).unwrap();
        let mut registry = Registry::with_prefix("streamfleet_producer");
        let metrics = Metrics::register(&mut registry);
        let feed = metrics.feed("a", "a");
        feed.dropped("leading", 1);
        feed.lost_packets(1);
        feed.acknowledged("received");
        feed.stored(Some(std::time::Duration::from_millis(700)), 1);
        feed.error("4006");
        feed.connected("source");
        feed.gap_began("expired");
        feed.gap("expired", 1);
        feed.recovered(1);
        metrics.spool_failed("full");
        metrics.spool(&ready());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let names: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
        assert_eq!(names.len(), 19, "{names:?}");
        for name in names {
            let short = name.trim_start_matches("streamfleet_producer_spool");
            assert!(page.contains(&format!("`{name}`")) || page.contains(&format!("`{short}`")), "{name}");
        }
    }

    #[test]
    fn what_was_forgotten_does_not_come_back_with_a_last_fragment() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let feed = metrics.feed("a", "a");
        let ending = feed.clone();
        feed.forget();
        ending.stored(None, 1_000);
        ending.buffered(1, 1, 1);
        let again = metrics.feed("b", "b");
        again.stored(None, 1_000);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for gauge in ["last_stored_timestamp_seconds", "buffered_seconds", "buffered_bytes"] {
            assert!(!text.contains(&format!("{gauge}{{feed=\"a\"")), "{text}");
            assert!(text.contains(&format!("{gauge}{{feed=\"b\"")), "{text}");
        }
    }

    #[test]
    fn without_a_spool_no_metric_speaks_of_it() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(!text.contains("spool_"), "{text}");
        metrics.spool(&ready());
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("\nspool_ready 1\n"), "{text}");
    }
}
