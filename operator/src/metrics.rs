//! Metric names and help. Labels are bounded: kinds, operations and outcomes, never names of objects.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The metrics of the process.
pub struct Metrics {
    registry: Registry,
    aws_calls: Family<CallLabels, Counter>,
    reconciles: Family<ReconcileLabels, Histogram, fn() -> Histogram>,
    objects: Family<KindLabels, Gauge<i64, AtomicI64>>,
    cameras: Family<ReadyLabels, Gauge<i64, AtomicI64>>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReadyLabels {
    ready: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new([0.01, 0.05, 0.25, 1.0, 5.0, 20.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("streamfleet_operator");
        let metrics = Self {
            aws_calls: Family::default(),
            reconciles: Family::new_with_constructor(seconds),
            objects: Family::default(),
            cameras: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "aws_calls",
            "Calls to AWS by operation and outcome; outcomes other than ok that keep growing need somebody",
            metrics.aws_calls.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "How long passes took by kind and outcome; failed ones are tried again with growing delays",
            metrics.reconciles.clone(),
        );
        registry.register("objects", "Objects in the cluster by kind", metrics.objects.clone());
        registry.register(
            "cameras",
            "Cameras by their condition Ready; those that are not True are not being recorded",
            metrics.cameras.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts a call to AWS.
    pub fn aws_call(&self, operation: &'static str, outcome: &'static str) {
        self.aws_calls.get_or_create(&CallLabels { operation, outcome }).inc();
    }

    /// Counts a pass of a controller.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).observe(took.as_secs_f64());
    }

    /// Sets how many objects of a kind there are.
    pub fn set_objects(&self, kind: &'static str, count: usize) {
        self.objects.get_or_create(&KindLabels { kind }).set(count as i64);
    }

    /// Sets how many cameras have this value of `Ready`.
    pub fn set_cameras(&self, ready: &'static str, count: usize) {
        self.cameras.get_or_create(&ReadyLabels { ready }).set(count as i64);
    }

    /// The text that is scraped.
    ///
    /// # Errors
    /// When a metric cannot be written, which would be a fault of the metrics library.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
