//! Limits and formats of the service, as far as the API needs them. Source: `DataRetentionInHours`, `StreamName` and
//! `ResourceTags` in the service's API model.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The longest retention that the service takes, in hours: ten years.
pub const RETENTION_HOURS_MAX: i32 = 87_600;

/// The retention of a stream where neither it nor its class says one.
pub const RETENTION_HOURS_DEFAULT: i32 = 24;

/// The most tags that a stream can have.
pub const STREAM_TAGS_MAX: usize = 50;

/// The longest name that a stream can have.
pub const STREAM_NAME_MAX: usize = 256;

/// Whether the service takes this name for a stream: 1 to 256 of `[a-zA-Z0-9_.-]`.
pub fn is_stream_name(name: &str) -> bool {
    (1..=STREAM_NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The name of a stream whose object does not say one.
pub fn default_stream_name(prefix: &str, namespace: &str, name: &str) -> String {
    // A namespace holds no dot, so that two objects never have the same default.
    format!("{prefix}{namespace}.{name}")
}

/// The condition of this type, if there is one.
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is there and `True`.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find_condition(conditions, type_).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_keep_to_the_alphabet_and_length_of_the_service() {
        for valid in ["a", "shop.front_door-1", &"x".repeat(256)] {
            assert!(is_stream_name(valid), "{valid}");
        }
        for invalid in ["", "a b", "tür", "a/b", &"x".repeat(257)] {
            assert!(!is_stream_name(invalid), "{invalid}");
        }
    }
}
