//! The limits of the service that concern media, each with its source.
//!
//! Sources: "quotas" is the developer guide's page *Amazon Kinesis Video Streams service quotas*; "`PutMedia`" is the
//! API page of that operation; "producer SDK" is `awslabs/amazon-kinesis-video-streams-pic`. Sizes are bytes, times
//! milliseconds unless the name says otherwise.

/// Shortest fragment that the service promises to take, in milliseconds (quotas, hard). The last fragment of a session
/// may be shorter.
pub const FRAGMENT_MS_MIN: u64 = 1_000;

/// Longest fragment, in milliseconds (quotas, hard). The older text of `PutMedia` says 10 s.
pub const FRAGMENT_MS_MAX: u64 = 20_000;

/// Largest fragment, in bytes: "50 MB" (quotas, hard). Read as 10⁶, the stricter of the two readings.
pub const FRAGMENT_BYTES_MAX: u64 = 50_000_000;

/// Fragments that one stream takes in a second (quotas, hard).
pub const FRAGMENTS_PER_SECOND_MAX: u32 = 5;

/// Tracks in one session (quotas, soft).
pub const TRACKS_MAX: usize = 3;

/// Metadata tags on one fragment (quotas, hard).
pub const TAGS_PER_FRAGMENT_MAX: usize = 10;

/// Bytes in the name of a metadata tag (quotas).
pub const TAG_NAME_BYTES_MAX: usize = 128;

/// Bytes in the value of a metadata tag (quotas).
pub const TAG_VALUE_BYTES_MAX: usize = 256;

/// Names of a producer's tags must not begin with this (`PutMedia`), save those that the service itself documents.
pub const TAG_RESERVED_PREFIX: &str = "AWS";

/// Name of the tag, without a value, that closes the fragment before it at once (producer SDK: `Stream.h`,
/// `docs/intermittent_producer.md`).
pub const TAG_END_OF_FRAGMENT: &str = "AWS_KINESISVIDEO_END_OF_FRAGMENT";

/// Name of the tag, without a value, by which an image is made of a fragment (developer guide, *Image generation*).
pub const TAG_IMAGE_GENERATION: &str = "AWS_KINESISVIDEO_IMAGE_GENERATION";

/// Name of the tag whose value begins the name of that image (developer guide, *Image generation*).
pub const TAG_IMAGE_PREFIX: &str = "AWS_KINESISVIDEO_IMAGE_PREFIX";

/// Name of the tag by which a message is sent of a fragment (developer guide, *Notifications*).
pub const TAG_NOTIFICATION: &str = "AWS_KINESISVIDEO_NOTIFICATION";

/// Bytes of codec private data that the producer SDK takes (producer SDK).
pub const CODEC_PRIVATE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one parameter set of H.264 or H.265 that is taken in. Our own bound: the largest that the standards can
/// express without extensions, with all scaling lists, takes less than half of it; all sets together stay within
/// [`CODEC_PRIVATE_BYTES_MAX`] for each kind.
pub const PARAMETER_SET_BYTES_MAX: usize = 4_096;

/// Characters of a codec id or a track name that the producer SDK takes (producer SDK).
pub const CODEC_ID_CHARS_MAX: usize = 32;

/// Bytes that one stream takes in a second: 12.5 MB/s (quotas, soft).
pub const INGEST_BYTES_PER_SECOND_MAX: u64 = 12_500_000;

/// `PutMedia` requests to one stream in a second (quotas, hard).
pub const PUT_MEDIA_CALLS_PER_SECOND_MAX: u32 = 5;

/// `PutMedia` connections to one stream at a time (quotas, hard); the newcomer is refused.
pub const PUT_MEDIA_CONNECTIONS_MAX: usize = 1;

/// Age at which the service ends a `PutMedia` connection, in seconds (quotas; seen at 45:00).
pub const PUT_MEDIA_SESSION_SECONDS_MAX: u64 = 45 * 60;

/// Age by which a producer should have rotated, in seconds (producer SDK: `MAX_ENFORCED_TOKEN_EXPIRATION_DURATION`).
pub const PUT_MEDIA_SESSION_SECONDS_ROTATE: u64 = 40 * 60;

/// Silence after which the service closes a `PutMedia` connection, in seconds (`PutMedia`).
pub const PUT_MEDIA_IDLE_SECONDS_MAX: u64 = 30;

/// `GetMedia` connections to one stream at a time (quotas, hard); the newcomer is refused.
pub const GET_MEDIA_CONNECTIONS_MAX: usize = 3;

/// `GetMedia` requests to one stream in a second (quotas, hard).
pub const GET_MEDIA_CALLS_PER_SECOND_MAX: u32 = 5;

/// Bytes that one `GetMedia` connection delivers in a second: 25 MB/s (quotas, soft).
pub const GET_MEDIA_BYTES_PER_SECOND_MAX: u64 = 25_000_000;

/// Digits in a fragment number, at most (API model: `^[0-9]+$`, 1–128).
pub const FRAGMENT_NUMBER_DIGITS_MAX: usize = 128;

/// Fragments that one `GetMediaForFragmentList` may name (API model).
pub const FRAGMENT_LIST_MAX: usize = 1_000;

/// Characters of one acknowledgement (producer SDK: `AckParser`).
pub const ACK_CHARS_MAX: usize = 1_024;

/// The time scale that everything here writes, in nanoseconds: one timecode is a millisecond (producer SDK default).
pub const TIMECODE_SCALE_NS: u64 = 1_000_000;

/// Finest time scale that the producer SDK takes, in nanoseconds.
pub const TIMECODE_SCALE_NS_MIN: u64 = 100;

/// Coarsest time scale that the producer SDK takes, in nanoseconds.
pub const TIMECODE_SCALE_NS_MAX: u64 = 1_000_000_000;

/// Largest single element that the readers here take into memory: nothing in a fragment can be larger than a fragment.
pub const ELEMENT_BYTES_MAX: u64 = FRAGMENT_BYTES_MAX;

/// Depth of nested masters that the readers follow. The format needs 8; recursive chapters and tags a few more.
pub const ELEMENT_DEPTH_MAX: usize = 32;

/// Bytes that may precede the first Cluster of a document. Our own bound: private data of [`TRACKS_MAX`] tracks, twice,
/// and room for what other writers add.
pub const HEADER_BYTES_MAX: usize = 2 * TRACKS_MAX * CODEC_PRIVATE_BYTES_MAX + (1 << 20);
