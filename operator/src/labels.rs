//! Label and annotation keys, object names, selectors and owner references of what the operator makes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use streamfleet_crds::Camera;

/// The label whose value says what an object is part of.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// The label whose value says who made an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The label with the name of the Camera (shortened with a hash where it is too long for a label).
pub const CAMERA_LABEL: &str = "streamfleet.io/camera";
/// The label with the UID of the Camera: a Camera that was deleted and made again has the same name.
pub const CAMERA_UID_LABEL: &str = "streamfleet.io/camera-uid";
/// The value of [`NAME_LABEL`] on producer objects.
pub const PRODUCER: &str = "streamfleet-producer";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "streamfleet";
/// The annotation on a pod whose change makes the kubelet look at the pod, and so at its `ConfigMap`, at once.
pub const REVISION_ANNOTATION: &str = "streamfleet.io/feeds-revision";
/// The annotation on a cached `Deployment`, and on no real one, with the digest of what is not kept of it.
pub const LIVE_DIGEST: &str = "streamfleet.io/live-digest";

/// The longest value of a label, and the longest name that a pod's host name can follow.
const LABEL_MAX: usize = 63;

/// The selector of everything that belongs to producers.
pub fn producers_selector() -> String {
    format!("{NAME_LABEL}={PRODUCER},{MANAGED_BY_LABEL}={MANAGED_BY}")
}

/// The selector of what belongs to the producer of one Camera.
pub fn camera_selector(camera: &str) -> String {
    format!("{},{CAMERA_LABEL}={}", producers_selector(), camera_label(camera))
}

/// The labels of the objects of a Camera's producer.
pub fn producer_labels(camera: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME_LABEL.to_owned(), PRODUCER.to_owned()),
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
        (CAMERA_LABEL.to_owned(), camera_label(camera)),
    ])
}

/// The value of [`CAMERA_LABEL`] for a Camera of this name.
pub fn camera_label(camera: &str) -> String {
    shortened(camera)
}

/// The name of the `Deployment` and `ConfigMap` of a Camera's producer.
pub fn producer_name(camera: &str) -> String {
    shortened(&format!("streamfleet-{camera}"))
}

/// A name of at most 63 characters: the beginning and a hash of the whole where it is longer.
fn shortened(name: &str) -> String {
    if name.len() <= LABEL_MAX {
        return name.to_owned();
    }
    let kept = name[..LABEL_MAX - 9].trim_end_matches(['.', '-']);
    format!("{kept}-{:08x}", stable_hash(name.as_bytes()) as u32)
}

/// FNV-1a, 64 bits: names and revisions are kept across processes and releases, so the hash is one that never changes.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The metadata of an object that belongs to a Camera: it goes when the Camera goes.
pub fn owned_by_camera(camera: &Camera, name: String) -> ObjectMeta {
    let mut labels = producer_labels(&camera.name_any());
    labels.extend(camera.uid().map(|uid| (CAMERA_UID_LABEL.to_owned(), uid)));
    ObjectMeta {
        name: Some(name),
        namespace: camera.namespace(),
        labels: Some(labels),
        owner_references: owner_reference(camera).map(|reference| vec![reference]),
        ..ObjectMeta::default()
    }
}

/// The reference that makes a Camera the controller of an object.
pub fn owner_reference(camera: &Camera) -> Option<OwnerReference> {
    camera.controller_owner_ref(&())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_so_that_they_stay_apart() {
        let long = "a".repeat(80);
        let other = format!("{}b", "a".repeat(79));
        for name in [producer_name(&long), camera_label(&long)] {
            assert!(name.len() <= 63, "{name}");
        }
        assert_ne!(producer_name(&long), producer_name(&other));
        assert_eq!(producer_name("front-door"), "streamfleet-front-door");
    }

    #[test]
    fn the_hash_is_the_same_in_every_release() {
        // The published test vector of FNV-1a for "foobar".
        assert_eq!(stable_hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
