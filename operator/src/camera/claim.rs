//! The claim of a Camera on its `VideoStream`: one Camera writes a stream.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use streamfleet_crds::{Camera, VideoStream, Writer};

use crate::apply::CLAIM_MANAGER;

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This Camera writes the stream.
    Held,
    /// Another one does; its name.
    Other(String),
    /// The stream has changed while it was claimed, or is going: it is tried again.
    Later,
}

/// Claims the stream for this Camera.
pub async fn claim(
    api: &Api<VideoStream>,
    camera: &Camera,
    cached: &VideoStream,
) -> Result<Claim, kube::Error> {
    let uid = camera.uid().unwrap_or_default();
    if let Some(claim) = decided(cached.writer(), &uid) {
        return Ok(claim);
    }
    if cached.metadata.deletion_timestamp.is_some() {
        return Ok(Claim::Later);
    }
    // Free, as far as is known. The version makes it a comparison and a change in one.
    let writer = Writer { name: camera.name_any(), uid };
    let patch = json!({
        "metadata": { "uid": cached.metadata.uid, "resourceVersion": cached.resource_version() },
        "status": { "writer": writer },
    });
    let params = PatchParams { field_manager: Some(CLAIM_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(&cached.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(Claim::Held),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(Claim::Later),
        Err(error) => Err(error),
    }
}

/// The claim as it stands; `None` where nobody has one. A claim whose Camera is gone is taken back by the `VideoStream`'s
/// controller, once its pod has ended.
fn decided(writer: Option<&Writer>, uid: &str) -> Option<Claim> {
    let writer = writer?;
    Some(if writer.uid == uid { Claim::Held } else { Claim::Other(writer.name.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_by_uid_and_not_by_name() {
        let writer = Writer { name: "door".to_owned(), uid: "old".to_owned() };
        assert_eq!(decided(Some(&writer), "old"), Some(Claim::Held));
        assert_eq!(decided(Some(&writer), "new"), Some(Claim::Other("door".to_owned())));
        assert_eq!(decided(None, "new"), None);
    }
}
