//! What the service says about a fragment, in Matroska tags around it.

use super::FragmentNumber;

/// The tags by which the service describes a fragment, in both spellings: those that `GetMedia` is seen to write, and
/// those that the documentation of `GetMediaForFragmentList` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FragmentTag {
    /// Number of the fragment.
    FragmentNumber,
    /// When the service began to receive it, in seconds with three decimals.
    ServerTimestamp,
    /// When the producer made it, in seconds with three decimals.
    ProducerTimestamp,
    /// How far behind the newest fragment the reader is, in milliseconds.
    MillisBehindNow,
    /// Where to go on in a next `GetMedia`.
    ContinuationToken,
    /// Number of an error.
    ErrorId,
    /// Name of an error.
    ErrorCode,
}

impl FragmentTag {
    /// What every name of the service's tags begins with.
    pub const PREFIX: &'static str = "AWS_KINESISVIDEO";

    /// The name that `GetMedia` writes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FragmentNumber => "AWS_KINESISVIDEO_FRAGMENT_NUMBER",
            Self::ServerTimestamp => "AWS_KINESISVIDEO_SERVER_TIMESTAMP",
            Self::ProducerTimestamp => "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP",
            Self::MillisBehindNow => "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW",
            Self::ContinuationToken => "AWS_KINESISVIDEO_CONTINUATION_TOKEN",
            Self::ErrorId => "AWS_KINESISVIDEO_ERROR_ID",
            Self::ErrorCode => "AWS_KINESISVIDEO_ERROR_CODE",
        }
    }

    /// The tag with this name, in either spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "AWS_KINESISVIDEO_FRAGMENT_NUMBER" => Self::FragmentNumber,
            "AWS_KINESISVIDEO_SERVER_TIMESTAMP" | "AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP" => {
                Self::ServerTimestamp
            }
            "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP" | "AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP" => {
                Self::ProducerTimestamp
            }
            "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW" => Self::MillisBehindNow,
            "AWS_KINESISVIDEO_CONTINUATION_TOKEN" => Self::ContinuationToken,
            "AWS_KINESISVIDEO_ERROR_ID" | "AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE" => Self::ErrorId,
            "AWS_KINESISVIDEO_ERROR_CODE" | "AWS_KINESISVIDEO_EXCEPTION_MESSAGE" => Self::ErrorCode,
            _ => return None,
        })
    }
}

/// What the service said about one fragment. All fields are optional: a fragment of an error has no times, one of an
/// archive no continuation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FragmentMetadata {
    /// Number of the fragment.
    pub number: Option<FragmentNumber>,
    /// When the service began to receive it, in milliseconds since 1970.
    pub server_timestamp: Option<u64>,
    /// When the producer made it, in milliseconds since 1970 (or since its start, in relative mode).
    pub producer_timestamp: Option<u64>,
    /// How far behind the newest fragment the reader is, in milliseconds.
    pub millis_behind_now: Option<u64>,
    /// Where to go on in a next `GetMedia`.
    pub continuation_token: Option<String>,
    /// Number of the error that stands in place of the fragment.
    pub error_id: Option<u32>,
    /// Name of the error, or its message.
    pub error_code: Option<String>,
}

impl FragmentMetadata {
    /// Takes a tag in; false when it is not one of the service's. Values that cannot be read are left out.
    pub fn take_tag(&mut self, name: &str, value: &str) -> bool {
        let Some(tag) = FragmentTag::from_name(name) else { return false };
        match tag {
            FragmentTag::FragmentNumber => self.number = value.parse().ok(),
            FragmentTag::ServerTimestamp => self.server_timestamp = millis(value),
            FragmentTag::ProducerTimestamp => self.producer_timestamp = millis(value),
            FragmentTag::MillisBehindNow => self.millis_behind_now = value.parse().ok(),
            FragmentTag::ContinuationToken => self.continuation_token = Some(value.to_owned()),
            FragmentTag::ErrorId => self.error_id = value.parse().ok(),
            FragmentTag::ErrorCode => self.error_code = Some(value.to_owned()),
        }
        true
    }

    /// Whether this stands for an error of the service and not for media: it has an error, and no server time.
    pub const fn is_error(&self) -> bool {
        self.server_timestamp.is_none() && (self.error_id.is_some() || self.error_code.is_some())
    }

    /// Whether `GetMedia` has delivered the fragment to its end: only then may a reader go on behind it.
    pub const fn is_complete(&self) -> bool {
        self.millis_behind_now.is_some() && self.continuation_token.is_some()
    }
}

/// Decimal seconds in milliseconds, rounded up, as the Java parser does.
fn millis(seconds: &str) -> Option<u64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let (thousandths, rest) = fraction.split_at(fraction.len().min(3));
    let thousandths: u64 = format!("{thousandths:0<3}").parse().ok()?;
    let beyond = u64::from(rest.bytes().any(|byte| byte != b'0'));
    whole.checked_mul(1000)?.checked_add(thousandths + beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_milliseconds() {
        let table = [
            ("1511852109.126", Some(1_511_852_109_126)),
            ("0.000", Some(0)),
            ("5", Some(5_000)),
            ("5.5", Some(5_500)),
            ("5.0001", Some(5_001)),
            ("5.0010", Some(5_001)),
            ("-1.0", None),
            ("1.-1", None),
            ("", None),
            ("1e9", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(millis(text), expected, "{text:?}");
        }
    }

    #[test]
    fn both_spellings_are_understood() {
        for names in [
            ["AWS_KINESISVIDEO_SERVER_TIMESTAMP", "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP"],
            ["AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", "AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP"],
        ] {
            let mut metadata = FragmentMetadata::default();
            assert!(metadata.take_tag(names[0], "1.5"));
            assert!(metadata.take_tag(names[1], "2.5"));
            assert_eq!((metadata.server_timestamp, metadata.producer_timestamp), (Some(1500), Some(2500)));
        }
        assert!(!FragmentMetadata::default().take_tag("COMPATIBLE_BRANDS", "isom"));
    }

    #[test]
    fn an_error_has_no_server_time() {
        let mut metadata = FragmentMetadata::default();
        metadata.take_tag("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "12");
        metadata.take_tag("AWS_KINESISVIDEO_ERROR_ID", "4000");
        metadata.take_tag("AWS_KINESISVIDEO_ERROR_CODE", "FRAGMENT_NOT_FOUND");
        assert!(metadata.is_error() && !metadata.is_complete());
        metadata.take_tag("AWS_KINESISVIDEO_SERVER_TIMESTAMP", "1.0");
        assert!(!metadata.is_error());
    }
}
