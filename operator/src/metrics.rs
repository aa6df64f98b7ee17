//! Metric names and help. Labels are bounded: kinds, operations, outcomes, accounts; never names of objects.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

type Count<L> = Family<L, Counter>;
type Level<L> = Family<L, Gauge<i64, AtomicI64>>;
type Ratio<L> = Family<L, Gauge<f64, AtomicU64>>;
type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of the process.
pub struct Metrics {
    registry: Registry,
    aws_requests: Count<RequestLabels>,
    aws_request_duration: Seconds<OperationLabels>,
    aws_rate_limit_wait: Seconds<OperationLabels>,
    aws_quota_used: Ratio<QuotaLabels>,
    kube_writes: Count<WriteLabels>,
    reconcile_duration: Seconds<ReconcileLabels>,
    queue_depth: Level<QueueLabels>,
    first_pass: Ratio<KindLabels>,
    time_to_ready: Seconds<KindLabels>,
    drift_detected: Count<DriftLabels>,
    drift_age: Gauge<f64, AtomicU64>,
    unreadable: Level<KindLabels>,
    observer_age: Ratio<FleetLabels>,
    observed: Mutex<HashMap<FleetLabels, Instant>>,
    leader: Gauge<i64, AtomicI64>,
    objects: Level<KindLabels>,
    streams: Level<ReadyLabels>,
    cameras: Level<ReadyLabels>,
    cameras_expected: Gauge<i64, AtomicI64>,
    cameras_ingesting: Gauge<i64, AtomicI64>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    service: &'static str,
    operation: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QuotaLabels {
    quota: &'static str,
    account: String,
    region: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabels {
    resource: String,
    verb: &'static str,
    code: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabels {
    kind: &'static str,
    lane: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DriftLabels {
    field: String,
    actor_type: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FleetLabels {
    account: String,
    region: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReadyLabels {
    ready: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new([0.01, 0.05, 0.25, 1.0, 5.0, 20.0, 60.0])
}

fn long_seconds() -> Histogram {
    Histogram::new([1.0, 5.0, 15.0, 60.0, 300.0, 1800.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("streamfleet_operator"),
            aws_requests: Family::default(),
            aws_request_duration: Family::new_with_constructor(seconds),
            aws_rate_limit_wait: Family::new_with_constructor(seconds),
            aws_quota_used: Family::default(),
            kube_writes: Family::default(),
            reconcile_duration: Family::new_with_constructor(seconds),
            queue_depth: Family::default(),
            first_pass: Family::default(),
            time_to_ready: Family::new_with_constructor(long_seconds),
            drift_detected: Family::default(),
            drift_age: Gauge::default(),
            unreadable: Family::default(),
            observer_age: Family::default(),
            observed: Mutex::default(),
            leader: Gauge::default(),
            objects: Family::default(),
            streams: Family::default(),
            cameras: Family::default(),
            cameras_expected: Gauge::default(),
            cameras_ingesting: Gauge::default(),
        };
        metrics.register_aws();
        metrics.register_work();
        metrics.register_fleet();
        metrics
    }
}

impl Metrics {
    fn register_aws(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "aws_requests",
            "Calls to AWS; codes other than ok that keep growing need somebody",
            self.aws_requests.clone(),
        );
        registry.register(
            "aws_request_duration_seconds",
            "How long calls to AWS took, without the wait for our own limit",
            self.aws_request_duration.clone(),
        );
        registry.register(
            "aws_rate_limit_wait_seconds",
            "How long calls waited for our own limit, which keeps the service's quota; long waits say that the quota is what \
             bounds the fleet's changes",
            self.aws_rate_limit_wait.clone(),
        );
        registry.register(
            "aws_quota_used_ratio",
            "How much of a quota of an account and region is used, from 0 to 1: by operation, of the calls a second that we make; for \
             streams, of those that there may be. At 1 no more can be made before it is raised",
            self.aws_quota_used.clone(),
        );
        registry.register(
            "fleet_observer_age_seconds",
            "How old the last list of all streams of an account and region is; drift is not seen before the next",
            self.observer_age.clone(),
        );
        registry.register(
            "drift_detected",
            "Settings that were found to differ from the spec by somebody else's doing",
            self.drift_detected.clone(),
        );
        registry.register(
            "drift_age_seconds",
            "For how long the oldest setting has differed from the spec by somebody else's doing, 0 where none does; what is to be \
             corrected is so within minutes, so that more is drift that is only reported or cannot be corrected",
            self.drift_age.clone(),
        );
    }

    fn register_work(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "reconcile_duration_seconds",
            "How long passes took by kind and result; failed ones are tried again with growing delays",
            self.reconcile_duration.clone(),
        );
        registry.register(
            "reconcile_queue_depth",
            "Objects that wait for a pass; fresh ones are new or have changed, and go first",
            self.queue_depth.clone(),
        );
        registry.register(
            "first_pass_seconds",
            "How long it took after this replica began to lead until every object had been looked at; absent before",
            self.first_pass.clone(),
        );
        registry.register(
            "time_to_ready_seconds",
            "From creation to Ready, of objects that became so for the first time",
            self.time_to_ready.clone(),
        );
        registry.register(
            "kube_writes",
            "Writes to the API server by resource; a steady fleet causes none",
            self.kube_writes.clone(),
        );
        registry.register(
            "leader",
            "1 where this replica works, 0 where it stands by; the sum over all is to be 1",
            self.leader.clone(),
        );
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The release that runs", build);
    }

    fn register_fleet(&mut self) {
        let registry = &mut self.registry;
        registry.register("objects", "Objects in the cluster by kind", self.objects.clone());
        registry.register(
            "unreadable_objects",
            "Objects that this release cannot read, by kind: nothing is done about them and by them; the log has their names",
            self.unreadable.clone(),
        );
        registry.register(
            "videostreams",
            "VideoStreams by their condition Ready; those that are not True are not as declared",
            self.streams.clone(),
        );
        registry.register(
            "cameras",
            "Cameras by their condition Ready; those that are not True are not being recorded",
            self.cameras.clone(),
        );
        registry.register(
            "cameras_expected",
            "Cameras that are to record: all that are not being deleted",
            self.cameras_expected.clone(),
        );
        registry.register(
            "cameras_ingesting",
            "Cameras whose video is stored now; fewer than expected means that something is lost",
            self.cameras_ingesting.clone(),
        );
    }

    /// Counts a call to AWS: the service such as `kinesisvideo`, its operation, `ok` or the kind of error, how long it took.
    pub fn aws_request(
        &self,
        service: &'static str,
        operation: &'static str,
        code: &'static str,
        took: Duration,
    ) {
        self.aws_requests.get_or_create(&RequestLabels { service, operation, code }).inc();
        self.aws_request_duration.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
    }

    /// Measures how long a call waited for our own limit.
    pub fn rate_limit_wait(&self, operation: &'static str, waited: Duration) {
        self.aws_rate_limit_wait.get_or_create(&OperationLabels { operation }).observe(waited.as_secs_f64());
    }

    /// Sets how much of a quota of an account and region is used, from 0 to 1.
    pub fn quota_used(&self, quota: &'static str, account: &str, region: &str, ratio: f64) {
        let labels = QuotaLabels { quota, account: account.to_owned(), region: region.to_owned() };
        self.aws_quota_used.get_or_create(&labels).set(ratio);
    }

    /// A quota of an account and region is not known.
    pub fn quota_unknown(&self, quota: &'static str, account: &str, region: &str) {
        let labels = QuotaLabels { quota, account: account.to_owned(), region: region.to_owned() };
        self.aws_quota_used.remove(&labels);
    }

    /// The streams of an account and region were listed just now.
    pub fn observed(&self, account: &str, region: &str) {
        let labels = FleetLabels { account: account.to_owned(), region: region.to_owned() };
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).insert(labels, Instant::now());
    }

    /// Nobody observes any account and region any more, as when this replica does not lead.
    pub fn unobserved(&self) {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.observer_age.clear();
        self.aws_quota_used.clear();
    }

    /// Counts a field that was found to differ. The type of actor is `unknown` where nothing says who did it.
    pub fn drift_detected(&self, field: &str, actor_type: &'static str) {
        self.drift_detected.get_or_create(&DriftLabels { field: field.to_owned(), actor_type }).inc();
    }

    /// Sets for how long the oldest drift has been there; zero where there is none.
    pub fn set_drift_age(&self, oldest: Duration) {
        self.drift_age.set(oldest.as_secs_f64());
    }

    /// Counts a write to the API server: the resource such as `videostreams/status`, the verb, the HTTP status or 0.
    pub fn kube_write(&self, resource: String, verb: &'static str, code: u16) {
        self.kube_writes.get_or_create(&WriteLabels { resource, verb, code }).inc();
    }

    /// Counts a pass of a controller.
    pub fn reconciled(&self, kind: &'static str, result: &'static str, took: Duration) {
        self.reconcile_duration.get_or_create(&ReconcileLabels { kind, result }).observe(took.as_secs_f64());
    }

    /// Sets how many objects of a kind wait in a lane.
    pub fn set_queue_depth(&self, kind: &'static str, lane: &'static str, depth: usize) {
        self.queue_depth.get_or_create(&QueueLabels { kind, lane }).set(depth as i64);
    }

    /// Every object of a kind has been looked at once since this replica leads.
    pub fn first_passes_done(&self, kind: &'static str, took: Duration) {
        self.first_pass.get_or_create(&KindLabels { kind }).set(took.as_secs_f64());
    }

    /// An object became Ready, so long after its creation.
    pub fn became_ready(&self, kind: &'static str, took: Duration) {
        self.time_to_ready.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// Sets whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Sets how many objects of a kind there are.
    pub fn set_objects(&self, kind: &'static str, count: usize) {
        self.objects.get_or_create(&KindLabels { kind }).set(count as i64);
    }

    /// Sets how many objects of a kind cannot be read.
    pub fn set_unreadable(&self, kind: &'static str, count: usize) {
        self.unreadable.get_or_create(&KindLabels { kind }).set(count as i64);
    }

    /// Sets how many `VideoStreams` have this value of `Ready`.
    pub fn set_streams(&self, ready: &'static str, count: usize) {
        self.streams.get_or_create(&ReadyLabels { ready }).set(count as i64);
    }

    /// Sets how many cameras have this value of `Ready`.
    pub fn set_cameras(&self, ready: &'static str, count: usize) {
        self.cameras.get_or_create(&ReadyLabels { ready }).set(count as i64);
    }

    /// Sets how many cameras are to record, and how many do.
    pub fn set_recording(&self, expected: usize, ingesting: usize) {
        self.cameras_expected.set(expected as i64);
        self.cameras_ingesting.set(ingesting as i64);
    }

    /// The text that is scraped.
    ///
    /// # Errors
    /// When a metric cannot be written, which would be a fault of the metrics library.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        for (labels, at) in self.observed.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.observer_age.get_or_create(labels).set(at.elapsed().as_secs_f64());
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_ask_for() {
        let metrics = Metrics::default();
        metrics.aws_request("kinesisvideo", "ListStreams", "ok", Duration::from_millis(20));
        metrics.rate_limit_wait("CreateStream", Duration::ZERO);
        metrics.quota_used("streams", "123456789012", "eu-west-1", 0.5);
        metrics.observed("123456789012", "eu-west-1");
        metrics.drift_detected("retentionHours", "unknown");
        metrics.kube_write("videostreams/status".to_owned(), "patch", 200);
        metrics.reconciled("VideoStream", "ok", Duration::from_millis(1));
        metrics.set_queue_depth("VideoStream", "fresh", 2);
        metrics.became_ready("VideoStream", Duration::from_secs(2));
        metrics.set_drift_age(Duration::from_secs(90));
        metrics.set_unreadable("Camera", 1);
        metrics.set_leader(true);
        let text = metrics.text().unwrap();
        for line in [
            "streamfleet_operator_aws_requests_total{service=\"kinesisvideo\",operation=\"ListStreams\",code=\"ok\"} 1",
            "streamfleet_operator_aws_request_duration_seconds_count{operation=\"ListStreams\"} 1",
            "streamfleet_operator_aws_rate_limit_wait_seconds_count{operation=\"CreateStream\"} 1",
            "streamfleet_operator_aws_quota_used_ratio{quota=\"streams\",account=\"123456789012\",region=\"eu-west-1\"} 0.5",
            "streamfleet_operator_fleet_observer_age_seconds{account=\"123456789012\",region=\"eu-west-1\"}",
            "streamfleet_operator_drift_detected_total{field=\"retentionHours\",actor_type=\"unknown\"} 1",
            "streamfleet_operator_kube_writes_total{resource=\"videostreams/status\",verb=\"patch\",code=\"200\"} 1",
            "streamfleet_operator_reconcile_duration_seconds_count{kind=\"VideoStream\",result=\"ok\"} 1",
            "streamfleet_operator_reconcile_queue_depth{kind=\"VideoStream\",lane=\"fresh\"} 2",
            "streamfleet_operator_time_to_ready_seconds_count{kind=\"VideoStream\"} 1",
            "streamfleet_operator_drift_age_seconds 90.0",
            "streamfleet_operator_unreadable_objects{kind=\"Camera\"} 1",
            "streamfleet_operator_leader 1",
            "streamfleet_operator_build_info{version=\"",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_quota_that_is_not_known_is_not_told_and_who_does_not_lead_tells_none() {
        let metrics = Metrics::default();
        let told = |metrics: &Metrics| metrics.text().unwrap().contains("quota_used_ratio{quota=\"streams\"");
        let (account, region) = ("123456789012", "eu-west-1");
        metrics.quota_used("streams", account, region, 0.5);
        assert!(told(&metrics));
        metrics.quota_unknown("streams", account, region);
        assert!(!told(&metrics));
        metrics.quota_used("streams", account, region, 0.5);
        metrics.unobserved();
        assert!(!told(&metrics));
    }
}
