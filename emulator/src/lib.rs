//! A local Kinesis Video Streams with STS and the alarms of CloudWatch, for development, tests and demos.
//!
//! It has the wire behaviour of the service as far as Streamfleet uses it: the control plane, `PutMedia` with
//! acknowledgements, `GetMedia`, the archive. State is on disk and survives `kill -9`. What is modelled on documents alone
//! is said in this crate's `README.md`, with the manual of the test hooks under `/_emulator/`.
//!
//! The way of a request: `wire` (listener, TLS, routing, signature, faults) → `control`, `put_media`, `get_media` or
//! `archive` → `store`. What media may be is decided by [`ingest`], a machine without I/O.

mod archive;
mod arrivals;
mod auth;
mod chunk;
mod clock;
pub mod cloudwatch;
pub mod control;
mod emulator;
mod endpoint;
mod error;
mod get_media;
mod hooks;
pub mod ingest;
mod number;
mod operation;
mod options;
mod plane;
mod put_media;
mod roles;
mod service;
mod store;
mod sts;
mod upload;
mod wire;

pub use auth::CredentialsError;
pub use emulator::{Emulator, StartError};
pub use error::ServiceError;
pub use number::FragmentNumber;
pub use options::{DEFAULT_ACCOUNT, Keep, Options};
pub use roles::RolesError;
pub use wire::TlsError;
