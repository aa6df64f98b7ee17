//! What settings cost that could be avoided. Pure. Prices: `AWS IoT` blog on the warm tier, January 2026.

use streamfleet_crds::StorageTier;

use crate::video_stream::validate::Desired;

/// Footage in the warm tier is paid for this long, even where it is deleted before: 30 days.
const WARM_MINIMUM_HOURS: i32 = 720;
/// In the warm tier fragments are paid by number. With 30 days of storage it costs as much as the hot tier at fragments of 1.06 s
/// for 4 Mbit/s, and so of 4 s for 1 Mbit/s.
const WARM_FRAGMENT_SECONDS: i32 = 4;

/// The warnings for these settings; `fragment_seconds` is how long the fragments of the Camera are that writes the stream.
pub fn warnings(desired: &Desired, fragment_seconds: Option<i32>) -> Vec<String> {
    let mut warnings = Vec::new();
    if desired.storage_tier != StorageTier::Warm {
        return warnings;
    }
    if desired.retention_hours < WARM_MINIMUM_HOURS {
        warnings.push(format!(
            "Warm storage is paid for at least {WARM_MINIMUM_HOURS} hours, and the stream keeps video for {}: spec.storageTier \
             Hot may cost less",
            desired.retention_hours
        ));
    }
    if let Some(seconds) = fragment_seconds.filter(|seconds| *seconds < WARM_FRAGMENT_SECONDS) {
        warnings.push(format!(
            "Warm storage is paid by the fragment, and those of the camera are of {seconds} s: longer ones \
             (spec.fragment.targetSeconds of the Camera) cost less"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::desired;
    use super::*;

    #[test]
    fn only_warm_storage_is_warned_about() {
        let count = |spec, seconds| warnings(&desired(spec), seconds).len();
        assert_eq!(count(json!({ "storageTier": "Hot", "retentionHours": 24 }), Some(1)), 0);
        assert_eq!(count(json!({ "storageTier": "Warm", "retentionHours": 720 }), Some(4)), 0);
        assert_eq!(count(json!({ "storageTier": "Warm", "retentionHours": 719 }), None), 1);
        assert_eq!(count(json!({ "storageTier": "Warm", "retentionHours": 719 }), Some(2)), 2);
    }
}
