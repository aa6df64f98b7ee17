//! The producer sidecar: reads cameras, cuts their video into fragments, and has Amazon Kinesis Video Streams store them.
//!
//! `source` → `buffer` ← `session` (pure) → `upload`, one chain for each feed, tied together in [`feed`]; [`supervisor`]
//! keeps as many as the configuration names. [`admin`] shows how they stand.

pub mod admin;
pub mod board;
pub mod buffer;
pub mod clock;
pub mod config;
pub mod feed;
pub mod logging;
pub mod metrics;
pub mod session;
pub mod source;
pub mod spool;
pub mod supervisor;
pub mod upload;
