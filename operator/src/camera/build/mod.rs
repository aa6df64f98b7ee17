//! The Kubernetes objects of a Camera: plain values from checked input.

mod config_map;
mod deployment;
mod source;
mod video_stream;

pub use config_map::{FEEDS_FILE, config_map, feed};
pub use deployment::deployment;
pub use video_stream::video_stream;

use streamfleet_crds::{Camera, ProducerDefaults};

use crate::aws::Place;

/// All that the objects of a Camera's producer are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerPlan<'a> {
    /// The Camera.
    pub camera: &'a Camera,
    /// The ARN of its stream.
    pub stream_arn: &'a str,
    /// For how many hours the stream keeps what is stored, as far as that is known. Where it is 0 the stream never says that
    /// something is persisted.
    pub retention_hours: Option<i32>,
    /// Where the stream is.
    pub place: &'a Place,
    /// How the class wants producers to be made.
    pub producer: &'a ProducerDefaults,
    /// The image where the class names none.
    pub default_image: &'a str,
}

/// Why an object could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration could not be written as YAML.
    #[error("failed to write the producer's configuration")]
    Configuration(#[source] serde_saphyr::ser_error::Error),
    /// The feed could not be written as JSON, for its revision.
    #[error("failed to compute the feed's revision")]
    Revision(#[source] serde_json::Error),
    /// The Camera names no source, which its rules refuse.
    #[error("the camera names no source")]
    NoSource,
}
