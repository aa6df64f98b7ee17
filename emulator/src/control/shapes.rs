//! The shapes of members: lengths, characters and ranges, as the service's API model has them.

use std::collections::BTreeMap;

use crate::error::ServiceError;

/// Longest retention: 10 years.
pub const RETENTION_HOURS_MAX: u32 = 87_600;
/// Tags on one stream.
pub const TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
/// Streams on one page of `ListStreams`.
pub const LIST_STREAMS_MAX: usize = 10_000;

type Checked = Result<(), ServiceError>;

fn check(holds: bool, member: &str, rule: &str) -> Checked {
    if holds { Ok(()) } else { Err(ServiceError::invalid_argument(format!("{member} must satisfy {rule}"))) }
}

fn is_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `StreamName`.
pub fn stream_name(name: &str) -> Checked {
    check(is_name(name, 256), "StreamName", "[a-zA-Z0-9_.-]+ and 1-256 characters")
}

/// `DeviceName`.
pub fn device_name(name: &str) -> Checked {
    check(is_name(name, 128), "DeviceName", "[a-zA-Z0-9_.-]+ and 1-128 characters")
}

/// `MediaType`: a list without spaces.
pub fn media_type(text: &str) -> Checked {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte))
    };
    let one = |one: &str| one.split_once('/').is_some_and(|(kind, name)| part(kind) && part(name));
    let holds = (1..=128).contains(&text.len()) && text.split(',').all(one);
    check(holds, "MediaType", "type/subtype(,type/subtype)* and 1-128 characters")
}

/// `KmsKeyId`. Whether the key exists is found only by the first `PutMedia`.
pub fn kms_key_id(text: &str) -> Checked {
    check((1..=2048).contains(&text.len()), "KmsKeyId", "1-2048 characters")
}

/// `DataRetentionInHours`.
pub fn retention(hours: i64) -> Result<u32, ServiceError> {
    let fits = u32::try_from(hours).ok().filter(|hours| *hours <= RETENTION_HOURS_MAX);
    fits.ok_or_else(|| ServiceError::invalid_argument("DataRetentionInHours must be 0-87600"))
}

/// `CurrentVersion`.
pub fn version(text: &str) -> Checked {
    let holds = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    check(holds, "CurrentVersion", "[a-zA-Z0-9]+ and 1-64 characters")
}

/// `NextToken` of the control plane.
pub fn next_token(text: &str) -> Checked {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    check(text.len() <= 1024 && text.bytes().all(known), "NextToken", "[a-zA-Z0-9+/=]*")
}

/// `Tags` of a stream: a map of 1 to 50.
pub fn tags(tags: &BTreeMap<String, String>) -> Checked {
    check(!tags.is_empty(), "Tags", "1-50 entries")?;
    for (key, value) in tags {
        tag_key(key)?;
        check(!key.to_ascii_lowercase().starts_with("aws:"), "Tags", "keys not beginning with aws:")?;
        let holds = value.chars().count() <= TAG_VALUE_CHARS_MAX && value.chars().all(is_tag_char);
        check(holds, "Tags", "values of 0-256 letters, digits, spaces and _.:/=+-@")?;
    }
    if tags.len() > TAGS_MAX { Err(ServiceError::too_many_tags()) } else { Ok(()) }
}

/// `TagKeyList`.
pub fn tag_keys(keys: &[String]) -> Checked {
    check((1..=TAGS_MAX).contains(&keys.len()), "TagKeyList", "1-50 entries")?;
    keys.iter().try_for_each(|key| tag_key(key))
}

fn tag_key(key: &str) -> Checked {
    let holds = (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count()) && key.chars().all(is_tag_char);
    check(holds, "Tags", "keys of 1-128 letters, digits, spaces and _.:/=+-@")
}

fn is_tag_char(char: char) -> bool {
    let is_separator = char.is_whitespace() && !char.is_control();
    char.is_alphanumeric() || is_separator || "_.:/=+-@".contains(char)
}

/// The parts of a stream's ARN.
#[derive(Debug, PartialEq, Eq)]
pub struct StreamArn<'a> {
    /// Region.
    pub region: &'a str,
    /// Account id.
    pub account: &'a str,
    /// Stream name.
    pub name: &'a str,
    /// Creation time in milliseconds since the epoch.
    pub created_ms: u64,
}

/// Reads `arn:{partition}:kinesisvideo:{region}:{account}:stream/{name}/{creation ms}`.
pub fn stream_arn(arn: &str) -> Option<StreamArn<'_>> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "kinesisvideo", region, account, resource] = parts[..] else { return None };
    let path: Vec<&str> = resource.split('/').collect();
    let ["stream", name, created] = path[..] else { return None };
    let holds = arn.len() <= 1024
        && partition.starts_with("aws")
        && !region.is_empty()
        && !account.is_empty()
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && is_name(name, 256)
        && created.bytes().all(|byte| byte.is_ascii_digit());
    let created_ms = created.parse().ok().filter(|_| holds)?;
    Some(StreamArn { region, account, name, created_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_take_what_the_service_takes() {
        assert!(stream_name("a_B.9-c").is_ok());
        assert!(media_type("video/h264,audio/aac").is_ok());
        assert_eq!(retention(87_600), Ok(87_600));
        assert!(tags(&BTreeMap::from([("streamfleet.io/name".into(), "Küche 1 @home".into())])).is_ok());
    }

    #[test]
    fn shapes_refuse_what_the_service_refuses() {
        let long = "x".repeat(257);
        for name in ["", "bad name", "sl/ash", long.as_str()] {
            assert!(stream_name(name).is_err(), "{name}");
        }
        for text in ["", "video", "video/h264, audio/aac", "video/", "a/b/c d"] {
            assert!(media_type(text).is_err(), "{text}");
        }
        assert!(retention(-1).is_err() && retention(87_601).is_err());
        assert!(version("not-one").is_err());
        assert!(tags(&BTreeMap::new()).is_err());
        let many: BTreeMap<String, String> = (0..51).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(tags(&many).unwrap_err().code, "TagsPerResourceExceededLimitException");
        assert!(tags(&BTreeMap::from([("k".into(), "semi;colon".into())])).is_err());
    }

    #[test]
    fn an_arn_is_taken_apart() {
        let arn = "arn:aws:kinesisvideo:eu-central-1:123456789012:stream/cam-1/1732012345678";
        let parts = stream_arn(arn).unwrap();
        assert_eq!((parts.region, parts.account, parts.name), ("eu-central-1", "123456789012", "cam-1"));
        assert_eq!(parts.created_ms, 1_732_012_345_678);
        assert_eq!(stream_arn("arn:aws:kinesisvideo:r:1:channel/c/1"), None);
        assert_eq!(stream_arn("cam-1"), None);
    }
}
