//! What a line is set to, and the readings of the clocks that it is given.

use std::{ops::RangeInclusive, time::Duration};

use streamfleet_media::limits::{
    FRAGMENTS_PER_SECOND_MAX, INGEST_BYTES_PER_SECOND_MAX, PUT_MEDIA_CALLS_PER_SECOND_MAX,
    PUT_MEDIA_IDLE_SECONDS_MAX, PUT_MEDIA_SESSION_SECONDS_MAX,
};

use crate::ingest::Rules;

/// How far a fragment's time may be ahead of our clock. An assumption: error 4007 is documented, its bound is not. It is
/// the bound of the signatures.
const FUTURE_MAX: Duration = Duration::from_mins(5);

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since any fixed moment; never goes back.
    pub mono: Duration,
    /// The service's wall clock in milliseconds since the epoch.
    pub wall_ms: u64,
}

/// What a line is set to. The default is the service's own limits.
#[derive(Clone, Debug)]
pub struct LineSettings {
    /// The stream's name, by which faults are aimed.
    pub stream: String,
    /// What media may be.
    pub rules: Rules,
    /// Time from `RECEIVED` to storing, drawn evenly. An assumption: the service does not document it.
    pub persist_delay: RangeInclusive<Duration>,
    /// Age at which a session ends with error 4003.
    pub session_limit: Duration,
    /// Silence after which a session is closed.
    pub idle_limit: Duration,
    /// Silence after which `IDLE` is sent, and again each time. An assumption.
    pub idle_ack_interval: Duration,
    /// How long an answer stays open behind an `ERROR`, unless the client ends first: the service's end is known to be
    /// slow.
    pub error_linger: Duration,
    /// How far a fragment may be ahead of the wall clock (error 4007). None: any time is taken.
    pub future_limit: Option<Duration>,
    /// How far a fragment may be behind the wall clock (error 4007). The service documents no such bound.
    pub past_limit: Option<Duration>,
    /// Requests in any second.
    pub calls_per_second: Option<u32>,
    /// Fragments in a second that are read; what exceeds it waits.
    pub fragments_per_second: Option<u32>,
    /// Bytes in a second that are read; what exceeds it waits.
    pub bytes_per_second: Option<u64>,
    /// Fragment numbers begin here.
    pub first_sequence: u64,
    /// Of all that is drawn at random.
    pub seed: u64,
}

impl LineSettings {
    /// The service's own limits, for a stream of this name.
    pub fn new(stream: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            rules: Rules::default(),
            persist_delay: Duration::from_millis(500)..=Duration::from_millis(1500),
            session_limit: Duration::from_secs(PUT_MEDIA_SESSION_SECONDS_MAX),
            idle_limit: Duration::from_secs(PUT_MEDIA_IDLE_SECONDS_MAX),
            idle_ack_interval: Duration::from_secs(5),
            error_linger: Duration::from_secs(2),
            future_limit: Some(FUTURE_MAX),
            past_limit: None,
            calls_per_second: Some(PUT_MEDIA_CALLS_PER_SECOND_MAX),
            fragments_per_second: Some(FRAGMENTS_PER_SECOND_MAX),
            bytes_per_second: Some(INGEST_BYTES_PER_SECOND_MAX),
            first_sequence: 1,
            seed: 0,
        }
    }
}
