//! What the operator and the producer sidecar say to each other: a [`Configuration`] downwards, by `ConfigMap`, and a
//! [`Status`] upwards, by a long poll of the pod's `/status`.
//!
//! Both are versioned by [`SCHEMA_VERSION`]. A reader of version N also reads N−1; unknown fields are ignored, so that
//! a newer operator can speak to an older pod. Nothing in either is confidential: credentials are named by file.
//!
//! This crate is a leaf: serde only, no I/O.

mod configuration;
mod problems;
mod status;

pub use configuration::{
    Audio, Configuration, Container, CredentialFiles, Feed, FileSource, Fragment, Overflow, PipeSource,
    Process, RtspSource, RtspTls, RtspTransport, Source, Spool, SpoolMode, StoredAt, Stream, TestPattern,
    Timestamps, Uplink,
};
pub use problems::{TAG_NAME_BYTES_MAX, TAG_RESERVED_PREFIX, TAG_VALUE_BYTES_MAX, TAGS_MAX, parse_problems};
pub use status::{
    Backlog, FeedStatus, Gap, GapReason, Mark, Media, SourceReason, SourceState, SourceStatus, SpoolState,
    SpoolStatus, Status, UploadReason, UploadState, UploadStatus,
};

/// The version that this crate writes.
pub const SCHEMA_VERSION: u32 = 1;

/// The port on which a producer pod answers `/healthz`, `/readyz`, `/status` and `/metrics`.
pub const ADMIN_PORT: u16 = 8080;

/// The longest that `/status` holds a request back before it answers without a change, in seconds.
pub const STATUS_MAX_WAIT_SECONDS: u64 = 60;

/// The path of the status document. Query parameters: `instance` and `generation` as last seen, and `wait` in seconds.
/// It answers at once when either differs, else on the next change or after `wait`.
pub const STATUS_PATH: &str = "/status";
