//! What was applied last for each Camera, so that a pass which would change nothing sends nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;
use tokio::time::Instant;

use crate::backoff::jittered;
use crate::labels::stable_hash;
use crate::watch::live_digest;

/// How often a `ConfigMap` is applied though it was applied before and the producer runs by it: the operator does not watch
/// `ConfigMaps`, which would take the right to read all of the cluster's.
const CONFIG_EVERY: Duration = Duration::from_hours(6);

/// What was applied last, by the UID of the Camera. Empty after a start: then everything is applied once, which changes
/// nothing where nothing differs.
#[derive(Debug, Default)]
pub struct Applied {
    records: Mutex<HashMap<String, Record>>,
}

#[derive(Debug, Clone, Default)]
struct Record {
    /// What was wanted of the `ConfigMap`, and until when that is good.
    config: Option<(u64, Instant)>,
    /// What was wanted of the `Deployment`, and what it was then.
    deployment: Option<(u64, String)>,
}

impl Applied {
    /// Whether the `ConfigMap` need not be applied: it was, just so, and the producer runs by it, which it says by the revision.
    pub(super) fn has_config(&self, uid: &str, wanted: &ConfigMap, is_in_force: bool, now: Instant) -> bool {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.get(uid).and_then(|record| record.config.as_ref());
        is_in_force && record.is_some_and(|(digest, until)| *digest == digest_of(wanted) && now < *until)
    }

    /// The `ConfigMap` was applied.
    pub(super) fn note_config(&self, uid: &str, wanted: &ConfigMap, now: Instant) {
        let config = Some((digest_of(wanted), now + jittered(CONFIG_EVERY)));
        self.records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(uid.to_owned())
            .or_default()
            .config = config;
    }

    /// Whether the `Deployment` need not be applied: it was, just so, and it is as it was then.
    pub(super) fn has_deployment(&self, uid: &str, wanted: &Deployment, present: &Deployment) -> bool {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.get(uid).and_then(|record| record.deployment.as_ref());
        record.is_some_and(|(digest, live)| *digest == digest_of(wanted) && *live == live_digest(present))
    }

    /// The `Deployment` was applied; the API server answered so.
    pub(super) fn note_deployment(&self, uid: &str, wanted: &Deployment, answer: &Deployment) {
        let deployment = Some((digest_of(wanted), live_digest(answer)));
        self.records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(uid.to_owned())
            .or_default()
            .deployment = deployment;
    }

    /// Forgets a Camera: its producer was stopped, or it is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn digest_of(wanted: &impl Serialize) -> u64 {
    stable_hash(&serde_json::to_vec(wanted).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(text: &str) -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "name": "a" }, "data": { "feeds.yaml": text } }))
            .unwrap()
    }

    fn deployment(image: &str, replicas: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": {
                "replicas": replicas, "selector": {},
                "template": { "spec": { "containers": [{ "name": "producer", "image": image }] } },
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_config_map_is_applied_again_when_it_differs_is_not_in_force_or_was_long_ago() {
        let (applied, now) = (Applied::default(), Instant::now());
        assert!(!applied.has_config("u", &config("1"), true, now), "nothing was applied yet");
        applied.note_config("u", &config("1"), now);
        assert!(applied.has_config("u", &config("1"), true, now));
        assert!(!applied.has_config("u", &config("2"), true, now));
        assert!(!applied.has_config("u", &config("1"), false, now));
        assert!(!applied.has_config("other", &config("1"), true, now));
        assert!(applied.has_config("u", &config("1"), true, now + CONFIG_EVERY.mul_f64(0.8)));
        assert!(!applied.has_config("u", &config("1"), true, now + CONFIG_EVERY.mul_f64(1.2)));
        applied.forget("u");
        assert!(!applied.has_config("u", &config("1"), true, now));
    }

    #[test]
    fn a_deployment_is_applied_again_when_something_else_is_wanted_or_somebody_changed_it() {
        let applied = Applied::default();
        let wanted = deployment("x", 1);
        assert!(!applied.has_deployment("u", &wanted, &wanted), "nothing was applied yet");
        // What the API server fills in is part of its answer.
        let mut answer = wanted.clone();
        answer.metadata.uid = Some("1".to_owned());
        applied.note_deployment("u", &wanted, &answer);
        assert!(applied.has_deployment("u", &wanted, &answer));
        assert!(!applied.has_deployment("u", &deployment("y", 1), &answer));
        let scaled = Deployment { spec: deployment("x", 0).spec, ..answer.clone() };
        assert!(!applied.has_deployment("u", &wanted, &scaled));
        let mut made_again = answer;
        made_again.metadata.uid = Some("2".to_owned());
        assert!(!applied.has_deployment("u", &wanted, &made_again));
    }
}
