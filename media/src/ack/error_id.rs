//! The error numbers of acknowledgements: names, and what a producer is to do.
//!
//! Numbers and names: `AckErrorCode` of the Java SDK; those of 4009–4012 are inferred from the producer SDK.

use std::fmt;

/// An error number in an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorId {
    /// 4000
    StreamReadError,
    /// 4001
    MaxFragmentSizeReached,
    /// 4002
    MaxFragmentDurationReached,
    /// 4003
    MaxConnectionDurationReached,
    /// 4004
    FragmentTimecodeLesserThanPrevious,
    /// 4005, no longer sent
    MoreThanOneTrackFound,
    /// 4006
    InvalidMkvData,
    /// 4007
    InvalidProducerTimestamp,
    /// 4008
    StreamNotActive,
    /// 4009
    FragmentMetadataLimitReached,
    /// 4010
    TrackNumberMismatch,
    /// 4011
    FramesMissingForTrack,
    /// 4012
    MoreThanAllowedTracksFound,
    /// 4500
    KmsKeyAccessDenied,
    /// 4501
    KmsKeyDisabled,
    /// 4502
    KmsKeyValidationError,
    /// 4503
    KmsKeyUnavailable,
    /// 4504
    KmsKeyInvalidUsage,
    /// 4505
    KmsKeyInvalidState,
    /// 4506
    KmsKeyNotFound,
    /// 4507, known to the producer SDK alone
    StreamDeleted,
    /// 5000
    InternalError,
    /// 5001
    ArchivalError,
    /// Any other number.
    Other(u32),
}

/// What a producer is to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The fragment will never be taken: skip it, name it, count it.
    Poison,
    /// The fragment can be mended and sent again: without its tags (4009), without the silent track (4011).
    Curable,
    /// Something outside the fragment is wrong (clock, stream, key): keep everything, try again slowly, say so.
    Hold,
    /// Send the fragment again at once.
    Resend,
}

/// Numbers, variants and names in one place.
const KNOWN: [(u32, ErrorId, &str); 23] = [
    (4000, ErrorId::StreamReadError, "STREAM_READ_ERROR"),
    (4001, ErrorId::MaxFragmentSizeReached, "MAX_FRAGMENT_SIZE_REACHED"),
    (4002, ErrorId::MaxFragmentDurationReached, "MAX_FRAGMENT_DURATION_REACHED"),
    (4003, ErrorId::MaxConnectionDurationReached, "MAX_CONNECTION_DURATION_REACHED"),
    (4004, ErrorId::FragmentTimecodeLesserThanPrevious, "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS"),
    (4005, ErrorId::MoreThanOneTrackFound, "MORE_THAN_ONE_TRACK_FOUND"),
    (4006, ErrorId::InvalidMkvData, "INVALID_MKV_DATA"),
    (4007, ErrorId::InvalidProducerTimestamp, "INVALID_PRODUCER_TIMESTAMP"),
    (4008, ErrorId::StreamNotActive, "STREAM_NOT_ACTIVE"),
    (4009, ErrorId::FragmentMetadataLimitReached, "FRAGMENT_METADATA_LIMIT_REACHED"),
    (4010, ErrorId::TrackNumberMismatch, "TRACK_NUMBER_MISMATCH"),
    (4011, ErrorId::FramesMissingForTrack, "FRAMES_MISSING_FOR_TRACK"),
    (4012, ErrorId::MoreThanAllowedTracksFound, "MORE_THAN_ALLOWED_TRACKS_FOUND"),
    (4500, ErrorId::KmsKeyAccessDenied, "KMS_KEY_ACCESS_DENIED"),
    (4501, ErrorId::KmsKeyDisabled, "KMS_KEY_DISABLED"),
    (4502, ErrorId::KmsKeyValidationError, "KMS_KEY_VALIDATION_ERROR"),
    (4503, ErrorId::KmsKeyUnavailable, "KMS_KEY_UNAVAILABLE"),
    (4504, ErrorId::KmsKeyInvalidUsage, "KMS_KEY_INVALID_USAGE"),
    (4505, ErrorId::KmsKeyInvalidState, "KMS_KEY_INVALID_STATE"),
    (4506, ErrorId::KmsKeyNotFound, "KMS_KEY_NOT_FOUND"),
    (4507, ErrorId::StreamDeleted, "STREAM_DELETED"),
    (5000, ErrorId::InternalError, "INTERNAL_ERROR"),
    (5001, ErrorId::ArchivalError, "ARCHIVAL_ERROR"),
];

impl ErrorId {
    /// The error with this number.
    pub fn from_code(code: u32) -> Self {
        KNOWN.iter().find(|known| known.0 == code).map_or(Self::Other(code), |known| known.1)
    }

    /// Its number on the wire.
    pub fn code(self) -> u32 {
        match self {
            Self::Other(code) => code,
            known => KNOWN.iter().find(|entry| entry.1 == known).map_or(0, |entry| entry.0),
        }
    }

    /// Its name on the wire; `UNKNOWN` for a number that is not known.
    pub fn name(self) -> &'static str {
        KNOWN.iter().find(|known| known.1 == self).map_or("UNKNOWN", |known| known.2)
    }

    /// Whether the stream's KMS key is what is wrong.
    pub fn is_of_key(self) -> bool {
        matches!(self.code(), 4500..=4506)
    }

    /// What a producer is to do about it.
    pub fn class(self) -> ErrorClass {
        match self.code() {
            4001 | 4002 | 4004 | 4006 | 4010 | 4012 => ErrorClass::Poison,
            4009 | 4011 => ErrorClass::Curable,
            4007 | 4008 | 4500..=4599 => ErrorClass::Hold,
            _ => ErrorClass::Resend,
        }
    }
}

impl fmt::Display for ErrorId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.code(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_round_trip() {
        for (code, id, name) in KNOWN {
            assert_eq!((ErrorId::from_code(code), id.code(), id.name()), (id, code, name));
        }
        assert_eq!(ErrorId::from_code(4999), ErrorId::Other(4999));
        assert_eq!(ErrorId::Other(4999).to_string(), "4999 UNKNOWN");
    }

    #[test]
    fn every_number_has_the_class_that_the_design_gives_it() {
        let class = |code| ErrorId::from_code(code).class();
        assert!(
            [4001, 4002, 4004, 4006, 4010, 4012].into_iter().all(|code| class(code) == ErrorClass::Poison)
        );
        assert!([4009, 4011].into_iter().all(|code| class(code) == ErrorClass::Curable));
        assert!([4007, 4008].into_iter().chain(4500..=4507).all(|code| class(code) == ErrorClass::Hold));
        assert!(
            [4000, 4003, 4005, 5000, 5001, 5999, 1, 4600]
                .into_iter()
                .all(|code| class(code) == ErrorClass::Resend)
        );
    }
}
