//! The emulator over real connections: the AWS SDKs as clients, and a raw client for `PutMedia`, which no SDK has.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, as tests do")]

mod cloudwatch;
mod control;
mod durability;
mod faults;
mod plane;
mod put_media;
mod reading;
mod sts;
mod support;
mod upload_faults;
