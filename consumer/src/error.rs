//! What can go wrong in reading, in words that can be acted on. No credentials and no signed URL in any of them.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::Timestamp;

use crate::timeline::Range;

/// Why a stream could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate authorities cannot be used.
    #[error("failed to read the CA bundle: {0}")]
    CaBundle(String),
    /// A call failed for good.
    #[error("failed to {doing}: {failure}")]
    Call {
        /// What the call was for, as in "list fragments".
        doing: &'static str,
        /// Why it failed.
        failure: CallFailure,
    },
    /// There is nothing in the range.
    #[error("{}", nothing_in_range(*range, *before, *after))]
    NothingInRange {
        /// What was asked for.
        range: Range,
        /// The last frame before it, if one is near.
        before: Option<Timestamp>,
        /// The first frame after it, if one is near.
        after: Option<Timestamp>,
    },
    /// The archive answered with its own error in the middle of the media.
    #[error("failed to recall fragment {number}: the archive answers {code}{}", in_parentheses(message))]
    Archive {
        /// The fragment's number, or what was asked for next where the error names none.
        number: String,
        /// The service's error id or code.
        code: String,
        /// The service's words, where it has any.
        message: String,
    },
    /// Fragments that were listed did not come, however often they were asked for.
    #[error("failed to recall {missing} of {asked} fragments: the archive ends its answer before {next}")]
    Incomplete {
        /// How many were asked for.
        asked: usize,
        /// How many did not come.
        missing: usize,
        /// The number of the first one that did not.
        next: String,
    },
    /// The answer stops in the middle.
    #[error("failed to recall fragments: the answer broke off: {0}")]
    BrokeOff(String),
    /// What came is not what the service describes.
    #[error("failed to read recalled media: {0}")]
    Media(String),
    /// The clip could not be written.
    #[error("failed to write the clip")]
    Write(#[source] std::io::Error),
}

impl Error {
    /// Puts an SDK error into words.
    pub(crate) fn call<E, R>(doing: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
        R: fmt::Debug + 'static,
    {
        Self::Call { doing, failure: CallFailure::of(error) }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFailure {
    /// The default chain found no credentials, or could not get them.
    Credentials(String),
    /// No answer: no address, no connection, no trust, or too slow.
    Unreachable(String),
    /// The service answered with an error.
    Refused {
        /// The service's error code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// Anything else.
    Unexpected(String),
}

impl CallFailure {
    fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
        R: fmt::Debug + 'static,
    {
        if let Some(service) = error.as_service_error() {
            let code = service.code().unwrap_or("an error without a code");
            return Self::Refused { code: code.to_owned(), message: harmless(code, service.message()) };
        }
        let chain = chain(error);
        if sources(error).any(<dyn StdError>::is::<CredentialsError>) {
            return Self::Credentials(chain);
        }
        match error {
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => Self::Unreachable(chain),
            _ => Self::Unexpected(chain),
        }
    }
}

/// The service's own words, bounded. Not for a refused signature: there the service quotes the request as it should have
/// been signed, its session token among it.
fn harmless(code: &str, message: Option<&str>) -> String {
    let message = message.filter(|_| !code.contains("Signature")).unwrap_or_default();
    message.chars().take(512).collect()
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(chain) => {
                write!(
                    f,
                    "no AWS credentials could be had from the environment, a profile or an identity ({chain})"
                )
            }
            Self::Unreachable(chain) => write!(f, "no answer ({chain})"),
            Self::Refused { code, message } if message.is_empty() => f.write_str(code),
            Self::Refused { code, message } => write!(f, "{code}: {message}"),
            Self::Unexpected(text) => f.write_str(text),
        }
    }
}

fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// The causes, outermost first, each once.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for source in sources(error) {
        // Some causes are lists over several lines.
        let text = source.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

fn in_parentheses(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

fn nothing_in_range(range: Range, before: Option<Timestamp>, after: Option<Timestamp>) -> String {
    let near = match (before, after) {
        (None, None) => ", nor within an hour of that".to_owned(),
        (Some(before), None) => format!("; the last picture before that is of {before:.3}"),
        (None, Some(after)) => format!("; the first picture after that is of {after:.3}"),
        (Some(before), Some(after)) => format!("; the nearest pictures are of {before:.3} and {after:.3}"),
    };
    format!("nothing is stored between {:.3} and {:.3}{near}", range.from, range.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_signature_shows_nothing_of_the_request_that_its_text_quotes() {
        let text = Some("The Canonical String should have been x-amz-security-token:hunter2");
        assert_eq!(harmless("InvalidSignatureException", text), "");
        assert_eq!(harmless("SignatureDoesNotMatch", text), "");
        assert_eq!(harmless("ResourceNotFoundException", Some("no stream x")), "no stream x");
        assert_eq!(harmless("InternalFailure", Some(&"x".repeat(9_999))).len(), 512);
    }

    #[test]
    fn an_empty_range_names_what_is_near() {
        let at = |s: &str| -> Timestamp { s.parse().unwrap() };
        let range = Range { from: at("2026-11-23T10:00:00Z"), to: at("2026-11-23T10:05:00Z") };
        assert_eq!(
            Error::NothingInRange { range, before: None, after: Some(at("2026-11-23T10:07:00.25Z")) }
                .to_string(),
            "nothing is stored between 2026-11-23T10:00:00.000Z and 2026-11-23T10:05:00.000Z; \
             the first picture after that is of 2026-11-23T10:07:00.250Z"
        );
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        let inner = std::io::Error::other("connection refused");
        let outer = Error::Write(inner);
        assert_eq!(chain(&outer), "failed to write the clip: connection refused");
    }
}
