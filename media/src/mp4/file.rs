//! Plain MP4 files: where to read next, and what was found there.

use bytes::Bytes;
use shiguredo_mp4::Decode as _;
use shiguredo_mp4::boxes::MoovBox;
use shiguredo_mp4::demux::{Input, Mp4FileDemuxer};

use super::tracks::{Found, Tracks};
use super::{MOOV_BYTES_MAX, NAME, invalid};
use crate::container::whole::check_size;
use crate::container::{ContainerError, Item};

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// These bytes of the file are needed: give them with [`FileDemuxer::give`].
    Read {
        /// Where they begin.
        position: u64,
        /// How many they are.
        bytes: usize,
    },
    /// An item.
    Item(Item),
    /// The file is fragmented: read it with [`super::FragmentDemuxer`].
    Fragmented,
    /// There are no more samples.
    End,
}

/// Looks up one sample after the other, in the order of decoding, all tracks beside each other.
#[derive(Debug)]
pub struct FileDemuxer {
    demuxer: Mp4FileDemuxer,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The head of the film is looked for.
    Opening,
    /// It was found, and the film is fragmented.
    Fragmented,
    /// It was found; its tracks have not been said yet.
    Opened(Tracks),
    Reading(Tracks),
    /// The bytes of a sample are awaited.
    Awaiting(Tracks, Box<Found>),
    /// They came.
    Ready(Tracks, Box<Item>),
    /// An error was given out.
    Failed,
}

impl Default for FileDemuxer {
    fn default() -> Self {
        Self { demuxer: Mp4FileDemuxer::new(), state: State::Opening }
    }
}

impl FileDemuxer {
    /// What comes next; an error ends it.
    pub fn step(&mut self) -> Result<Step, ContainerError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Opening => {
                self.state = State::Opening;
                self.opening()
            }
            State::Fragmented => {
                self.state = State::Fragmented;
                Ok(Step::Fragmented)
            }
            State::Opened(mut tracks) => {
                if let Some(left_out) = tracks.left_out() {
                    self.state = State::Opened(tracks);
                    return Ok(Step::Item(left_out));
                }
                let item = tracks.item();
                self.state = State::Reading(tracks);
                Ok(Step::Item(item))
            }
            State::Ready(tracks, item) => {
                self.state = State::Reading(tracks);
                Ok(Step::Item(*item))
            }
            State::Reading(tracks) => self.look_up(tracks),
            State::Awaiting(tracks, found) => {
                let step = Step::Read { position: found.offset, bytes: found.bytes };
                self.state = State::Awaiting(tracks, found);
                Ok(step)
            }
            State::Failed => Ok(Step::End),
        }
    }

    fn opening(&mut self) -> Result<Step, ContainerError> {
        if let Some(wanted) = self.demuxer.required_input() {
            let position = wanted.position;
            return match wanted.size {
                Some(bytes) if bytes as u64 <= MOOV_BYTES_MAX => Ok(Step::Read { position, bytes }),
                Some(bytes) => {
                    let what =
                        format!("a head of {bytes} bytes, more than the {MOOV_BYTES_MAX} that are taken");
                    Err(invalid(position, what))
                }
                None => Err(invalid(position, "the head of the film (moov) has no size")),
            };
        }
        match self.demuxer.tracks() {
            Err(error) => Err(invalid(0, error)),
            Ok(_) => Err(invalid(0, "it has no head of a film (moov)")),
        }
    }

    fn look_up(&mut self, tracks: Tracks) -> Result<Step, ContainerError> {
        loop {
            let next = self.demuxer.next_sample().map_err(|error| invalid(0, error))?;
            let Some(found) = next.as_ref().map(Found::new) else { return Ok(Step::End) };
            check_size(NAME, found.bytes, found.offset)?;
            if found.bytes > 0 && tracks.has(found.track_id) {
                let step = Step::Read { position: found.offset, bytes: found.bytes };
                self.state = State::Awaiting(tracks, Box::new(found));
                return Ok(step);
            }
        }
    }

    /// Gives the bytes that [`Step::Read`] asked for; fewer where the file ends before.
    pub fn give(&mut self, position: u64, data: &Bytes) -> Result<(), ContainerError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Awaiting(mut tracks, found) => {
                if data.len() != found.bytes || position != found.offset {
                    return Err(invalid(position + data.len() as u64, "the file ends within a sample"));
                }
                self.state = match tracks.sample(&found, data)? {
                    Some(sample) => State::Ready(tracks, Box::new(Item::Sample(sample))),
                    None => State::Reading(tracks),
                };
                Ok(())
            }
            State::Opening => self.give_head(position, data),
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    fn give_head(&mut self, position: u64, data: &Bytes) -> Result<(), ContainerError> {
        let wanted = self.demuxer.required_input();
        if let Some(wanted) = wanted
            && wanted.size.is_some_and(|size| data.len() < size)
        {
            let end = position + data.len() as u64;
            return Err(invalid(end, "the file ends before the head of the film (moov)"));
        }
        self.demuxer.handle_input(Input { position, data });
        self.state = State::Opening;
        if self.demuxer.required_input().is_none() {
            // Checks what was read; the film's head is what came last.
            self.demuxer.tracks().map_err(|error| invalid(position, error))?;
            let (moov, _) = MoovBox::decode(data).map_err(|error| invalid(position, error))?;
            self.state = match moov.mvex_box {
                Some(_) => State::Fragmented,
                None => State::Opened(Tracks::new(&moov, position)?),
            };
        }
        Ok(())
    }
}
