//! What a producer process says about its feeds.

use serde::{Deserialize, Serialize};

/// The answer of `/status`. `Feeds` is what can be written as a list of [`FeedStatus`] where nobody needs all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status<Feeds = Vec<FeedStatus>> {
    /// The version of this document, see [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Differs for each start of a process, so that a reader knows a successor from its predecessor.
    pub instance: String,
    /// Grows with each change of a state, reason, codec or gap of any feed; not with times and counters.
    pub generation: u64,
    /// One entry for each configured feed.
    pub feeds: Feeds,
    /// How the spool stands; absent where none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolStatus>,
}

/// How the spool stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpoolStatus {
    /// Whether it takes video.
    pub state: SpoolState,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Bytes on the volume.
    pub used_bytes: u64,
    /// How many may be.
    pub max_bytes: u64,
    /// How many of `usedBytes` belong to feeds that are not configured any more, or to a stream that was replaced.
    #[serde(default)]
    pub leftover_bytes: u64,
}

/// Whether the spool takes video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpoolState {
    /// It does.
    Ready,
    /// Its size, a feed's part of it, or the volume is full. Memory and the overflow policy decide meanwhile.
    Full,
    /// The volume cannot be written or read.
    Failed,
}

/// What is true of one feed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedStatus {
    /// The feed's id, as configured.
    pub id: String,
    /// The revision that is in force.
    pub revision: String,
    /// The camera's side.
    pub source: SourceStatus,
    /// The stream's side.
    pub upload: UploadStatus,
    /// What the camera sends; absent until the first key frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    /// The newest frame that has come from the camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Mark>,
    /// The newest fragment that the stream has acknowledged as stored: its last frame, and when that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Mark>,
    /// What waits to be stored.
    #[serde(default)]
    pub backlog: Backlog,
    /// How often a connection to the camera was made again since the process started.
    #[serde(default)]
    pub source_reconnects: u64,
    /// How many PutMedia sessions were opened since the process started.
    #[serde(default)]
    pub upload_sessions: u64,
    /// The newest gaps, oldest first, at most 1,000.
    #[serde(default)]
    pub gaps: Vec<Gap>,
}

/// The camera's side of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// How far the connection has come.
    pub state: SourceState,
    /// Why it is so.
    pub reason: SourceReason,
    /// For people; free of secrets.
    #[serde(default)]
    pub message: String,
    /// Since when state and reason hold, in milliseconds of the Unix epoch.
    pub since_ms: i64,
}

/// How far the connection to a camera has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceState {
    /// A first connection is being made.
    Connecting,
    /// Video arrives.
    Streaming,
    /// No video arrives; it is tried again.
    Failed,
}

/// Why a source is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceReason {
    /// A connection is being made; nothing has gone wrong yet.
    Connecting,
    /// Video arrives.
    Streaming,
    /// The camera's name has no address.
    HostNotFound,
    /// No connection, or none that answers.
    Unreachable,
    /// A file with the camera's credentials is missing or empty.
    CredentialsMissing,
    /// The camera refuses the credentials, or asks for some where none are configured.
    AuthenticationFailed,
    /// The camera answers with an error, such as "not found" for the path.
    Refused,
    /// The camera offers no video.
    NoVideo,
    /// The camera's video has a codec that the producer does not carry.
    UnsupportedCodec,
    /// What the camera sends breaks its own format.
    InvalidMedia,
    /// The connection stands, but no frame has come for a while.
    Silent,
    /// The camera changes its parameter sets more than three times a minute; each change costs a session.
    UnstableParameterSets,
    /// The server has no place for another session; it is tried again.
    ServerBusy,
    /// The certificate of an `rtsps` server is not trusted.
    CertificateNotTrusted,
    /// A file, pipe or socket cannot be opened.
    InputUnavailable,
    /// A file that is played once has come to its end.
    Ended,
    /// The camera ended the connection.
    Disconnected,
}

/// The stream's side of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadStatus {
    /// Whether video is being stored.
    pub state: UploadState,
    /// Why it is so.
    pub reason: UploadReason,
    /// For people; free of secrets. Names the service's own error where there is one.
    #[serde(default)]
    pub message: String,
    /// Since when state and reason hold, in milliseconds of the Unix epoch.
    pub since_ms: i64,
}

/// Whether a feed's video is being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UploadState {
    /// Nothing to upload yet, or nothing stored yet.
    Waiting,
    /// Fragments were acknowledged as stored within the last `offlineAfterSeconds`.
    Storing,
    /// Nothing was stored for longer than that, or the service refuses.
    Failed,
}

/// Why an upload is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UploadReason {
    /// There was no frame to upload yet.
    NoMedia,
    /// A session is being opened, or its first acknowledgement is awaited.
    Opening,
    /// Fragments are stored as they come.
    Persisting,
    /// Fragments are stored, but older ones still wait: the backlog says how many seconds.
    CatchingUp,
    /// The camera sends nothing, so there is nothing to store.
    SourceLost,
    /// The KVS endpoint cannot be reached, or its certificate is not trusted.
    EndpointUnreachable,
    /// No AWS credentials were found.
    AwsCredentialsMissing,
    /// AWS refuses the credentials or what they may do.
    AwsCredentialsRefused,
    /// The stream does not exist (any more) under this ARN.
    StreamNotFound,
    /// Another producer holds the stream's one connection.
    StreamHeldElsewhere,
    /// The service asks for fewer calls.
    Throttled,
    /// The service refused a fragment with an error that sending again does not cure.
    FragmentRefused,
    /// The service cannot use the stream's KMS key, and everything waits.
    KmsKeyUnusable,
    /// The service keeps everything waiting: an error of the stream or the clock.
    OnHold,
    /// A session stands, but no acknowledgement of storage has come.
    NoPersistedAcks,
}

/// What a camera sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// The codec of the sound that is stored, such as `AAC`; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<String>,
    /// The codec, such as `H264`.
    pub codec: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second, times 1,000, measured; 0 while unknown.
    pub frame_rate_millis: u32,
    /// Seconds between key frames, in milliseconds, measured; 0 while unknown.
    pub key_frame_interval_ms: u32,
    /// Bits a second, measured; 0 while unknown.
    pub bitrate: u64,
}

/// A place in the video, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The frame's producer time, in milliseconds of the Unix epoch.
    pub media_ms: i64,
    /// When it happened, in milliseconds of the Unix epoch.
    pub wall_ms: i64,
}

/// What waits to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Bytes of media in memory.
    pub bytes: u64,
    /// Bytes that the feed's files take in the spool.
    #[serde(default)]
    pub spool_bytes: u64,
    /// Groups of pictures.
    pub gops: u64,
    /// From the oldest waiting frame to the newest, in milliseconds.
    pub milliseconds: u64,
}

/// A stretch of time whose video was not stored. Times are those of pictures, by the feed's timeline, so that they can be
/// compared with the archive; a hole there and a gap here differ by one picture at each end at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Counts up from 1 for each feed and process.
    pub sequence: u64,
    /// The time of the first picture that is missing; where that never came, of the last one before it. In milliseconds of
    /// the Unix epoch.
    pub start_ms: i64,
    /// The time of the first picture after it, or of the last that is missing where none followed at once; absent while
    /// the gap is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<i64>,
    /// What caused it.
    pub reason: GapReason,
    /// More about the cause, such as the service's error id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Whether it was stored all the same, later.
    #[serde(default)]
    pub recovered: bool,
}

/// What caused a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GapReason {
    /// The camera sent nothing.
    CameraLost,
    /// The buffer was full.
    BufferOverflow,
    /// The service will never take this fragment; the detail has its error id.
    Refused,
    /// It waited longer than the stream keeps anything.
    Expired,
    /// The process ended, or its time to stop was up, before it was stored.
    Stopped,
    /// The stream was replaced by another of its name while it waited.
    StreamReplaced,
    /// A defect of the producer.
    InternalError,
    /// What the camera sent was incomplete: packets were lost on the way.
    PacketLoss,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_a_newer_producer_adds_are_ignored() {
        let status: Status = serde_json::from_str(
            r#"{"schemaVersion":1,"instance":"i","generation":7,"new":1,"feeds":[{"id":"a","revision":"r",
            "source":{"state":"Streaming","reason":"Streaming","sinceMs":1,"new":2},
            "upload":{"state":"Storing","reason":"Persisting","sinceMs":1}}]}"#,
        )
        .unwrap();
        assert_eq!(status.feeds[0].upload.state, UploadState::Storing);
        assert_eq!(status.feeds[0].backlog, Backlog::default());
    }

    #[test]
    fn times_are_integers_of_milliseconds_on_the_wire() {
        let mark = Mark { media_ms: 1_700_000_000_123, wall_ms: 1_700_000_000_456 };
        assert_eq!(
            serde_json::to_string(&mark).unwrap(),
            r#"{"mediaMs":1700000000123,"wallMs":1700000000456}"#
        );
    }
}
