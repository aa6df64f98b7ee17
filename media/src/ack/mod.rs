//! The acknowledgements that `PutMedia` answers with: JSON objects, one a line, while the upload goes on.
//!
//! The form is the one seen on the wire (`awslabs` producer issues 226, 575 and 127); the API page describes another. Every
//! field but the event's kind may be missing, unknown fields and kinds are tolerated.

mod error_id;
mod parser;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fragment::FragmentNumber;
pub use error_id::{ErrorClass, ErrorId};
pub use parser::{AckError, AckParser};

/// One acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// What has happened.
    pub kind: AckKind,
    /// Time of the fragment's Cluster, in units of the producer's own scale.
    pub timecode: Option<i64>,
    /// The number that the service gave the fragment.
    pub number: Option<FragmentNumber>,
    /// The error, of kind [`AckKind::Error`].
    pub error: Option<ErrorId>,
    /// Name of the error as it was on the wire; the service may name an error otherwise than [`ErrorId::name`].
    pub error_code: Option<String>,
}

/// Kinds of acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// The first byte of the fragment has been seen.
    Buffering,
    /// The whole fragment has been received.
    Received,
    /// The fragment is stored and can be read.
    Persisted,
    /// The fragment, or the whole session, has failed. The service ends the connection.
    Error,
    /// Nothing has come for a while.
    Idle,
    /// A kind that this library does not know.
    Unknown(String),
}

impl AckKind {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Buffering => "BUFFERING",
            Self::Received => "RECEIVED",
            Self::Persisted => "PERSISTED",
            Self::Error => "ERROR",
            Self::Idle => "IDLE",
            Self::Unknown(word) => word,
        }
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Self {
        match word {
            "BUFFERING" => Self::Buffering,
            "RECEIVED" => Self::Received,
            "PERSISTED" => Self::Persisted,
            "ERROR" => Self::Error,
            "IDLE" => Self::Idle,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl Ack {
    /// An acknowledgement of a fragment that is well.
    pub const fn of(kind: AckKind, timecode: i64, number: FragmentNumber) -> Self {
        Self { kind, timecode: Some(timecode), number: Some(number), error: None, error_code: None }
    }

    /// An error; `timecode` and `number` where it is one fragment's.
    pub fn failure(error: ErrorId, timecode: Option<i64>, number: Option<FragmentNumber>) -> Self {
        Self {
            kind: AckKind::Error,
            timecode,
            number,
            error: Some(error),
            error_code: Some(error.name().to_owned()),
        }
    }

    /// The service has received nothing for a while.
    pub const fn idle() -> Self {
        Self { kind: AckKind::Idle, timecode: None, number: None, error: None, error_code: None }
    }

    /// The line that goes on the wire, with its line feed.
    pub fn to_line(&self) -> String {
        let wire = Wire {
            event_type: self.kind.as_str().to_owned(),
            fragment_timecode: self.timecode,
            // An error of no fragment has been seen with an empty number; IDLE without any.
            fragment_number: match (&self.number, &self.kind) {
                (Some(number), _) => Some(number.to_string()),
                (None, AckKind::Error) => Some(String::new()),
                (None, _) => None,
            },
            error_code: self.error_code.clone(),
            error_id: self.error,
        };
        let mut line = serde_json::to_string(&wire).unwrap_or_default();
        line.push('\n');
        line
    }

    /// Reads one line, without its line feed.
    fn from_line(line: &[u8]) -> Result<Self, serde_json::Error> {
        let wire: Wire = serde_json::from_slice(line)?;
        Ok(Self {
            kind: AckKind::from_word(&wire.event_type),
            timecode: wire.fragment_timecode,
            number: wire.fragment_number.and_then(|number| number.parse().ok()),
            error: wire.error_id,
            error_code: wire.error_code,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    event_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "integer")]
    fragment_timecode: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    fragment_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    error_code: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "code",
        deserialize_with = "error_id"
    )]
    error_id: Option<ErrorId>,
}

/// Numbers and strings stand for each other in the documentation; what is neither counts as missing.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Integer(i64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Scalar {
    fn integer(self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(value),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Other(_) => None,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Integer(value) => Some(value.to_string()),
            Self::Text(text) => Some(text),
            Self::Other(_) => None,
        }
    }
}

fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Scalar::deserialize(deserializer).map(Scalar::integer)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Scalar::deserialize(deserializer).map(Scalar::text)
}

fn error_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ErrorId>, D::Error> {
    let code = Scalar::deserialize(deserializer)?.integer();
    Ok(code.and_then(|code| u32::try_from(code).ok()).map(ErrorId::from_code))
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn code<S: Serializer>(id: &Option<ErrorId>, serializer: S) -> Result<S::Ok, S::Error> {
    id.map(ErrorId::code).serialize(serializer)
}
