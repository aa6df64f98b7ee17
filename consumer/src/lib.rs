//! Reading Kinesis Video Streams: what a stream's archive holds of a range of time, and that range as one playable file.
//!
//! [`Client`] knows how the services are reached, [`Archive`] lists and recalls fragments, [`clip`] writes a range, and
//! [`timeline`] has the plain values and decisions behind them. There is no Kubernetes here, and no credential: those
//! come from the SDK's default chain. What the archive leaves out of an answer is an error or is reported, never passed over.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use streamfleet_consumer::{Access, Client, Stream, clip, timeline};
//!
//! let client = Client::new(Access::of_region("eu-west-1")).await?;
//! let archive = client.archive(Stream::Name("front-door".into())).await?;
//! let range = timeline::Range { from: "2026-11-23T10:00:00Z".parse()?, to: "2026-11-23T10:05:00Z".parse()? };
//! let mut file = tokio::fs::File::create("front-door.mkv").await?;
//! let report = clip::write(&archive, range, &mut file).await?;
//! println!("{} fragments, {} gaps", report.fragments, report.gaps.len());
//! # Ok(())
//! # }
//! ```

mod archive;
mod client;
pub mod clip;
mod document;
mod error;
pub mod timeline;

pub use archive::{Archive, Listing};
pub use client::{Access, Client, Stream};
pub use error::{CallFailure, Error};
