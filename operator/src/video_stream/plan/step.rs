//! The calls that change something. One on a stream that is there carries the [`Fence`] under which it was decided, one that
//! makes a stream the [`Vacancy`].

use std::collections::BTreeMap;

use streamfleet_crds::{ImageGeneration, Notification, StorageTier};

use super::retention::RetentionStep;
use crate::aws::{NewStream, StreamUpdate};
use crate::video_stream::observed::{Fence, Vacancy};

/// A call that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the stream.
    Create(Vacancy, NewStream),
    /// Change the one that is there.
    Change(Fence, Call),
}

/// A change of a stream that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `UpdateDataRetention`; it has passed the guard.
    Retention(RetentionStep),
    /// `UpdateStream`.
    Update(StreamUpdate),
    /// `UpdateStreamStorageConfiguration`.
    Tier(StorageTier),
    /// `TagStream`.
    Tag(BTreeMap<String, String>),
    /// `UntagStream`.
    Untag(Vec<String>),
    /// `UpdateImageGenerationConfiguration`; `None` deletes the configuration.
    Images(Option<ImageGeneration>),
    /// `UpdateNotificationConfiguration`; `None` deletes the configuration.
    Notify(Option<Notification>),
}

impl Call {
    /// The operation of the service's API.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Retention(_) => "UpdateDataRetention",
            Self::Update(_) => "UpdateStream",
            Self::Tier(_) => "UpdateStreamStorageConfiguration",
            Self::Tag(_) => "TagStream",
            Self::Untag(_) => "UntagStream",
            Self::Images(_) => "UpdateImageGenerationConfiguration",
            Self::Notify(_) => "UpdateNotificationConfiguration",
        }
    }
}

impl Step {
    /// The operation of the service's API.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Create(..) => "CreateStream",
            Self::Change(_, call) => call.operation(),
        }
    }

    /// Whether it destroys footage.
    pub const fn is_destructive(&self) -> bool {
        match self {
            Self::Create(..) => false,
            Self::Change(_, call) => match call {
                Call::Retention(step) => step.is_decrease(),
                Call::Update(_)
                | Call::Tier(_)
                | Call::Tag(_)
                | Call::Untag(_)
                | Call::Images(_)
                | Call::Notify(_) => false,
            },
        }
    }
}
