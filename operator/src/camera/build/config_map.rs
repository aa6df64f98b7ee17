//! The configuration of a producer, as the file that it reads.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use streamfleet_contract::{Configuration, CredentialFiles, Feed, SCHEMA_VERSION, StoredAt, Stream};

use super::deployment::{CONFIG_FOLDER, credentials_folder};
use super::source::{self, CAMERA_CA_FILE};
use super::{BuildError, ProducerPlan};
use crate::labels;

/// The file with the feeds.
pub const FEEDS_FILE: &str = "feeds.yaml";
/// The file with the certificate authorities of the class.
const CA_FILE: &str = "ca.crt";

/// The `ConfigMap`.
pub fn config_map(plan: &ProducerPlan<'_>, feed: Feed) -> Result<ConfigMap, BuildError> {
    let process = source::process(&plan.producer.buffer);
    let configuration = Configuration { schema_version: SCHEMA_VERSION, process, feeds: vec![feed] };
    let text = serde_saphyr::to_string(&configuration).map_err(BuildError::Configuration)?;
    let mut data = BTreeMap::from([(FEEDS_FILE.to_owned(), text)]);
    if let Some(bundle) = &plan.place.ca_bundle {
        data.insert(CA_FILE.to_owned(), bundle.clone());
    }
    if let Some(bundle) = source::camera_ca(&plan.camera.spec.source) {
        data.insert(CAMERA_CA_FILE.to_owned(), bundle.to_owned());
    }
    let name = labels::producer_name(&plan.camera.name_any());
    Ok(ConfigMap {
        metadata: labels::owned_by_camera(plan.camera, name),
        data: Some(data),
        ..ConfigMap::default()
    })
}

/// The one feed of a Camera. Its revision is a hash of all the rest, the certificate authorities included.
pub fn feed(plan: &ProducerPlan<'_>) -> Result<Feed, BuildError> {
    let camera = plan.camera;
    let id = camera.uid().unwrap_or_default();
    let credentials = camera.spec.credentials_ref.as_ref().map(|_| CredentialFiles {
        username_file: format!("{}/username", credentials_folder(&id)),
        password_file: format!("{}/password", credentials_folder(&id)),
    });
    let mut stream = Stream::new(plan.stream_arn, plan.place.region.clone());
    stream.endpoint.clone_from(&plan.place.kinesis_video);
    stream.ca_file = plan.place.ca_bundle.as_ref().map(|_| format!("{CONFIG_FOLDER}/{CA_FILE}"));
    stream.role_arn.clone_from(&plan.producer.role_arn);
    stream.sts_endpoint = plan.producer.role_arn.as_ref().and_then(|_| plan.place.sts.clone());
    stream.retention_hours =
        plan.retention_hours.and_then(|hours| u32::try_from(hours).ok()).filter(|&hours| hours > 0);
    let mut feed = Feed::new(id, source::source(&camera.spec.source)?, stream);
    feed.name = format!("{}/{}", camera.namespace().unwrap_or_default(), camera.name_any());
    feed.credentials = credentials;
    feed.stored_at = if plan.retention_hours == Some(0) { StoredAt::Received } else { StoredAt::Persisted };
    feed.audio = source::audio(camera.spec.audio);
    feed.fragment.target_seconds = u32::try_from(camera.spec.fragment.target_seconds).unwrap_or(2);
    feed.offline_after_seconds = u32::try_from(camera.spec.offline_after_seconds).unwrap_or(30);
    let mut text = serde_json::to_string(&feed).map_err(BuildError::Revision)?;
    text.push_str(plan.place.ca_bundle.as_deref().unwrap_or_default());
    text.push_str(source::camera_ca(&camera.spec.source).unwrap_or_default());
    feed.revision = format!("{:016x}", labels::stable_hash(text.as_bytes()));
    Ok(feed)
}
