//! The API of Streamfleet: the types of group `streamfleet.io`, their validation rules, their condition types and
//! reasons, and the names that hang on them.
//!
//! No I/O, no async, no AWS. The manifests in `manifests/` are generated from these types by `crdgen` and committed;
//! a test compares them.

pub mod conditions;
pub mod types;
pub mod v1alpha1;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use conditions::{CameraReason, ConditionType, StreamClassReason, VideoStreamReason};
pub use v1alpha1::*;

/// The API group.
pub const GROUP: &str = "streamfleet.io";

/// The finalizer on `VideoStream` and `StreamClass` objects.
pub const FINALIZER: &str = "streamfleet.io/stream";

/// An annotation that asks for a check of the stream now: any value that `status.lastHandledCheck` does not have yet.
pub const CHECK_REQUESTED: &str = "streamfleet.io/check-requested";

/// Keys of the tags that say whose a KVS stream is.
pub mod ownership_tags {
    /// Which installation of Streamfleet made the stream.
    pub const INSTALLATION: &str = "streamfleet.io/installation";
    /// The namespace of the `VideoStream`.
    pub const NAMESPACE: &str = "streamfleet.io/namespace";
    /// The name of the `VideoStream`.
    pub const NAME: &str = "streamfleet.io/name";
    /// The UID of the `VideoStream`; it informs, and decides nothing: an object that is applied again has another.
    pub const UID: &str = "streamfleet.io/uid";
    /// Every key that begins so is ours.
    pub const PREFIX: &str = "streamfleet.io/";
}

/// The custom resource definitions of every kind, in the order in which they are written.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    vec![StreamClass::crd(), VideoStream::crd(), Camera::crd()]
}

/// The file name and the text of each manifest.
///
/// # Errors
/// When a definition cannot be written as YAML.
pub fn manifests() -> Result<Vec<(String, String)>, ManifestError> {
    all_crds()
        .into_iter()
        .map(|crd| {
            let file = format!("{}.yaml", crd.spec.names.plural);
            // Through a JSON value, so that empty defaults of the Go types do not appear.
            let value = serde_json::to_value(&crd).map_err(ManifestError::Value)?;
            let yaml = serde_saphyr::to_string(&value).map_err(ManifestError::Yaml)?;
            Ok((
                file,
                format!("# Generated from crds/src by `cargo run -p streamfleet-crds --bin crdgen`.\n{yaml}"),
            ))
        })
        .collect()
}

/// Why a manifest could not be written.
#[derive(Debug)]
pub enum ManifestError {
    /// The definition has no JSON form.
    Value(serde_json::Error),
    /// The JSON form has no YAML form.
    Yaml(serde_saphyr::ser_error::Error),
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(error) => write!(f, "failed to convert a definition to JSON: {error}"),
            Self::Yaml(error) => write!(f, "failed to write a definition as YAML: {error}"),
        }
    }
}

impl std::error::Error for ManifestError {}
