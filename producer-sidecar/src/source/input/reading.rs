//! From an input's bytes to its tracks and samples: finds out the container, and says what is wrong in the words of status.

use bytes::{Bytes, BytesMut};
use streamfleet_contract::{Container, SourceReason};
use streamfleet_media::container::{ContainerError, Demuxer, Detection, Item, Kind, detect};

use super::SourceError;

/// Pictures a second of a bare byte stream that is dated by arrival: only its order counts then.
const RATE_UNKNOWN: u32 = 1_000;

/// One input, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Reading {
    frame_rate: Option<u32>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first bytes, while there are too few to tell what they are.
    Detecting(BytesMut),
    Reading(Kind, Box<Demuxer>),
}

impl Reading {
    pub(super) fn new(container: Container, frame_rate: Option<u32>) -> Self {
        let state = match kind_of(container) {
            None => State::Detecting(BytesMut::new()),
            Some(kind) => reading(kind, frame_rate),
        };
        Self { frame_rate, state }
    }

    /// The container, once it is known.
    pub(super) fn kind(&self) -> Option<Kind> {
        match &self.state {
            State::Detecting(_) => None,
            State::Reading(kind, _) => Some(*kind),
        }
    }

    /// Whether its samples say when they are to be shown.
    pub(super) fn has_times(&self) -> bool {
        self.kind() != Some(Kind::AnnexB) || self.frame_rate.is_some()
    }

    /// Adds the next bytes. Take all items before the next.
    pub(super) fn push(&mut self, bytes: Bytes) -> Result<(), SourceError> {
        let held = match &mut self.state {
            State::Reading(_, demuxer) => {
                demuxer.push(bytes);
                return Ok(());
            }
            State::Detecting(held) => held,
        };
        held.extend_from_slice(&bytes);
        match detect(held) {
            Detection::More => Ok(()),
            Detection::Unknown => Err(unknown()),
            Detection::Found(kind) => {
                let held = held.split().freeze();
                self.state = reading(kind, self.frame_rate);
                self.push(held)
            }
        }
    }

    /// Says that no more bytes will come.
    pub(super) fn finish(&mut self) -> Result<(), SourceError> {
        match &mut self.state {
            State::Reading(_, demuxer) => {
                demuxer.finish();
                Ok(())
            }
            State::Detecting(held) if held.is_empty() => {
                Err(SourceError::new(SourceReason::InvalidMedia, "it is empty"))
            }
            State::Detecting(_) => Err(unknown()),
        }
    }

    /// The next item; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Item>, SourceError> {
        match &mut self.state {
            State::Detecting(_) => Ok(None),
            State::Reading(_, demuxer) => demuxer.next().map_err(|error| fault(&error)),
        }
    }
}

fn reading(kind: Kind, frame_rate: Option<u32>) -> State {
    State::Reading(kind, Box::new(Demuxer::new(kind, frame_rate.unwrap_or(RATE_UNKNOWN))))
}

/// The container that is configured; none where it is to be found out.
pub(super) fn kind_of(container: Container) -> Option<Kind> {
    match container {
        Container::Auto => None,
        Container::Mkv => Some(Kind::Mkv),
        Container::Mp4 => Some(Kind::Mp4),
        Container::MpegTs => Some(Kind::MpegTs),
        Container::AnnexB => Some(Kind::AnnexB),
    }
}

/// A fault of the container in the words of status.
pub(super) fn fault(error: &ContainerError) -> SourceError {
    let reason = match error {
        ContainerError::Invalid { .. } => SourceReason::InvalidMedia,
        ContainerError::UnsupportedCodec { .. } => SourceReason::UnsupportedCodec,
        ContainerError::NoVideo { .. } => SourceReason::NoVideo,
    };
    SourceError::new(reason, error.to_string())
}

fn unknown() -> SourceError {
    let message = "the first bytes are of no container that is carried: Matroska, MP4, MPEG-TS, or H.264 or H.265 with start codes";
    SourceError::new(SourceReason::InvalidMedia, message)
}
