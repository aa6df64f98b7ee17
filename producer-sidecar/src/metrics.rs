//! Metric names and help. Labels are bounded by the configuration: a feed's id and name, and closed sets of words.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

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

/// All metrics of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    frames: Family<FeedLabels, Counter>,
    bytes: Family<FeedLabels, Counter>,
    discarded: Family<FeedLabels, Counter>,
    acknowledgements: Family<KindLabels, Counter>,
    errors: Family<KindLabels, Counter>,
    connects: Family<KindLabels, Counter>,
    gap_seconds: Family<KindLabels, FloatCounter>,
    buffered_bytes: Family<FeedLabels, Gauge>,
    buffered_seconds: Family<FeedLabels, FloatGauge>,
    last_stored: Family<FeedLabels, FloatGauge>,
    latency: Family<FeedLabels, Histogram, LatencyHistogram>,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            frames: Family::default(),
            bytes: Family::default(),
            discarded: Family::default(),
            acknowledgements: Family::default(),
            errors: Family::default(),
            connects: Family::default(),
            gap_seconds: Family::default(),
            buffered_bytes: Family::default(),
            buffered_seconds: Family::default(),
            last_stored: Family::default(),
            latency: Family::new_with_constructor(LatencyHistogram),
        };
        metrics.register_counters(registry);
        metrics.register_gauges(registry);
        metrics
    }

    fn register_counters(&self, registry: &mut Registry) {
        registry.register("frames", "Pictures that came from the camera", self.frames.clone());
        registry.register("media_bytes", "Bytes of pictures that came from the camera", self.bytes.clone());
        registry.register(
            "discarded_frames",
            "Pictures that cannot be stored because their key frame is missing or too long ago",
            self.discarded.clone(),
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
        registry.register(
            "gap_seconds",
            "Seconds of video that were not stored, by reason",
            self.gap_seconds.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register("buffered_bytes", "Media that waits to be stored", self.buffered_bytes.clone());
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

    /// The metrics of one feed.
    pub fn feed(&self, id: &str, name: &str) -> FeedMetrics {
        FeedMetrics {
            all: self.clone(),
            labels: FeedLabels { feed: id.to_owned(), name: name.to_owned() },
            frames: self
                .frames
                .get_or_create_owned(&FeedLabels { feed: id.to_owned(), name: name.to_owned() }),
            bytes: self.bytes.get_or_create_owned(&FeedLabels { feed: id.to_owned(), name: name.to_owned() }),
        }
    }
}

/// The metrics of one feed.
#[derive(Debug, Clone)]
pub struct FeedMetrics {
    all: Metrics,
    labels: FeedLabels,
    /// Kept, since they count each picture.
    frames: Counter,
    bytes: Counter,
}

impl FeedMetrics {
    /// A picture came.
    pub fn frame(&self, bytes: u64) {
        self.frames.inc();
        self.bytes.inc_by(bytes);
    }

    /// A picture cannot be stored.
    pub fn discarded(&self) {
        self.all.discarded.get_or_create(&self.labels).inc();
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
        self.all.last_stored.get_or_create(&self.labels).set(wall_ms as f64 / 1_000.0);
    }

    /// The service answered with an error.
    pub fn error(&self, id: u32) {
        self.all.errors.get_or_create(&self.kind(&id.to_string())).inc();
    }

    /// A connection was made.
    pub fn connected(&self, side: &str) {
        self.all.connects.get_or_create(&self.kind(side)).inc();
    }

    /// Video was not stored.
    pub fn gap(&self, reason: &str, length_ms: i64) {
        self.all.gap_seconds.get_or_create(&self.kind(reason)).inc_by(length_ms.max(0) as f64 / 1_000.0);
    }

    /// What waits to be stored.
    pub fn buffered(&self, bytes: u64, milliseconds: i64) {
        self.all.buffered_bytes.get_or_create(&self.labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.all.buffered_seconds.get_or_create(&self.labels).set(milliseconds as f64 / 1_000.0);
    }

    /// Forgets the feed's gauges, which would else show its last values for ever.
    pub fn forget(&self) {
        self.all.buffered_bytes.remove(&self.labels);
        self.all.buffered_seconds.remove(&self.labels);
        self.all.last_stored.remove(&self.labels);
    }

    fn kind(&self, kind: &str) -> KindLabels {
        KindLabels { feed: self.labels.feed.clone(), name: self.labels.name.clone(), kind: kind.to_owned() }
    }
}
