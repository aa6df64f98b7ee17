//! MPEG transport streams (ISO/IEC 13818-1): the first video and the first AAC stream of the first program.
//!
//! Our own and no crate: `mpeg2ts-reader` (the one that is kept) wants whole packets that begin at the right byte, leaves joining
//! PES packets to its caller, writes a log line for each packet that is damaged, and knows neither offsets nor lost packets.
//! What it would save are the bit fields of four headers.

mod audio;
mod marks;
mod packet;
mod pes;
mod section;
#[cfg(test)]
pub(crate) mod tests;
mod video;

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};

use self::audio::AudioStream;
use self::packet::{Continuity, Order, PACKET, Packet, SYNC};
use self::pes::{Clock, Head};
use self::section::{Sections, StreamEntry};
use self::video::VideoStream;
use crate::container::{ContainerError, Item};
use crate::track::Codec;

/// The container's name in messages.
const NAME: &str = "MPEG-TS";

/// The stream of the table of programs.
const PROGRAMS_PID: u16 = 0;

/// Stream types that are carried (ISO/IEC 13818-1 table 2-34).
const KIND_H264: u8 = 0x1B;
const KIND_H265: u8 = 0x24;
const KIND_AAC_ADTS: u8 = 0x0F;

/// Video of other codecs, by its stream type.
const OTHER_VIDEO: [(u8, &str); 8] = [
    (0x01, "MPEG-1"),
    (0x02, "MPEG-2"),
    (0x10, "MPEG-4 part 2"),
    (0x20, "H.264 MVC"),
    (0x21, "JPEG 2000"),
    (0x33, "H.266"),
    (0x42, "AVS"),
    (0xEA, "VC-1"),
];

/// Sound that is not carried, by its stream type.
const OTHER_SOUND: [(u8, &str); 5] =
    [(0x03, "MPEG-1 audio"), (0x04, "MPEG-2 audio"), (0x11, "AAC in LATM"), (0x81, "AC-3"), (0x87, "E-AC-3")];

/// Bytes without a packet after which it is no transport stream.
const RESYNC_BYTES_MAX: u64 = 64 << 10;

/// From this many bytes on, the count of packets (four bits) may not show that some are missing.
const COUNTED_BYTES: u64 = 15 * PACKET as u64;

/// Bytes without tables after which there is no program. They come at least twice a second.
const PROGRAM_BYTES_MAX: u64 = 16 << 20;

/// Bytes that the head of a PES packet may have.
const PES_HEAD_MAX: usize = 9 + 255;

/// Reads a transport stream: [`push`](Self::push) bytes, take items with [`next`](Self::next), [`finish`](Self::finish) at the
/// end.
#[derive(Debug, Default)]
pub struct Demuxer {
    held: BytesMut,
    /// The position of the first byte that is held.
    offset: u64,
    /// Bytes since the last packet that was one.
    skipped: u64,
    programs: Sections,
    map: Option<(u16, Sections)>,
    /// What the map lists now.
    entries: Vec<StreamEntry>,
    streams: Vec<Elementary>,
    clock: Clock,
    ready: VecDeque<Item>,
    failed: Option<ContainerError>,
}

/// One stream that is carried.
#[derive(Debug)]
struct Elementary {
    pid: u16,
    codec: Codec,
    continuity: Continuity,
    state: State,
    content: Content,
}

/// Where a stream stands between two of its packets.
#[derive(Debug)]
enum State {
    /// Before its first PES packet.
    Waiting,
    /// In the head of one.
    Head(Vec<u8>),
    /// Behind that.
    Payload,
}

#[derive(Debug)]
enum Content {
    Video(Box<VideoStream>),
    Audio(AudioStream),
}

impl Demuxer {
    /// Adds the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.held.extend_from_slice(bytes);
        while self.failed.is_none() && self.align() {
            let packet: [u8; PACKET] = std::array::from_fn(|at| self.held[at]);
            self.skip(PACKET);
            if std::mem::take(&mut self.skipped) >= COUNTED_BYTES {
                self.interrupt_all();
            }
            // One that is damaged is missed by its stream's count.
            if let Some(packet) = Packet::parse(&packet) {
                self.packet(&packet);
            }
        }
        if self.streams.is_empty() && self.failed.is_none() && self.offset > PROGRAM_BYTES_MAX {
            self.failed = Some(no_program(self.offset));
        }
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        if self.streams.is_empty() && self.failed.is_none() {
            self.failed = Some(no_program(self.offset));
        }
        for index in 0..self.streams.len() {
            if let Content::Video(video) = &mut self.streams[index].content {
                video.finish();
            }
            self.collect(index);
        }
    }

    /// The next item; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Item>, ContainerError> {
        match (self.ready.pop_front(), &self.failed) {
            (Some(item), _) => Ok(Some(item)),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(None),
        }
    }

    /// Leaves out what is no packet; whether a whole one is held then.
    fn align(&mut self) -> bool {
        if self.held.len() >= PACKET && self.held[0] == SYNC && (self.skipped == 0 || self.is_packet(0)) {
            return true;
        }
        if self.held.len() < 2 * PACKET {
            // One more packet tells which of the bytes that look like a beginning is one.
            return false;
        }
        let found = (0..self.held.len() - PACKET).find(|at| self.is_packet(*at));
        let count = found.unwrap_or(self.held.len() - PACKET);
        self.skip(count);
        self.skipped += count as u64;
        if self.skipped > RESYNC_BYTES_MAX {
            let what = format!("no packet in the {} bytes before", self.skipped);
            self.failed = Some(ContainerError::invalid(NAME, self.offset, what));
            return false;
        }
        found.is_some()
    }

    /// Whether a packet begins here, and another one behind it.
    fn is_packet(&self, at: usize) -> bool {
        self.held.get(at) == Some(&SYNC) && self.held.get(at + PACKET) == Some(&SYNC)
    }

    fn skip(&mut self, count: usize) {
        self.held.advance(count);
        self.offset += count as u64;
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        if packet.pid == PROGRAMS_PID {
            if let Some(map) = self.programs.push(packet).as_deref().and_then(section::program_map)
                && self.map.as_ref().is_none_or(|(pid, _)| *pid != map)
            {
                self.map = Some((map, Sections::default()));
            }
        } else if let Some((pid, sections)) = &mut self.map
            && *pid == packet.pid
        {
            if let Some(entries) = sections.push(packet).as_deref().and_then(section::streams) {
                self.program(entries);
            }
        } else if let Some(index) = self.streams.iter().position(|stream| stream.pid == packet.pid) {
            self.streams[index].packet(packet, &mut self.clock);
            self.collect(index);
        }
    }

    fn collect(&mut self, index: usize) {
        match &mut self.streams[index].content {
            Content::Video(video) => self.ready.extend(std::iter::from_fn(|| video.next()).map(Item::Sample)),
            Content::Audio(audio) => self.ready.extend(std::iter::from_fn(|| audio.next()).map(Item::Sample)),
        }
    }

    /// Takes the streams of a program up, where they are others than before.
    fn program(&mut self, entries: Vec<StreamEntry>) {
        if entries == self.entries {
            return;
        }
        let streams = chosen(&entries);
        let has_video = streams.first().is_some_and(|stream| stream.codec.is_video());
        let other = entries.iter().find_map(|entry| OTHER_VIDEO.iter().find(|(kind, _)| *kind == entry.kind));
        if let Some((_, codec)) = other.filter(|_| !has_video) {
            let codec = (*codec).to_owned();
            self.failed = Some(ContainerError::UnsupportedCodec { container: NAME, codec });
        } else if streams.is_empty() {
            let kinds: Vec<_> = entries.iter().take(8).map(|entry| format!("0x{:02X}", entry.kind)).collect();
            let what = format!("stream types {}", kinds.join(", "));
            self.failed = Some(ContainerError::NoVideo { container: NAME, what });
        } else {
            let has_sound = streams.iter().any(|stream| !stream.codec.is_video());
            let sound =
                entries.iter().find_map(|entry| OTHER_SOUND.iter().find(|(kind, _)| *kind == entry.kind));
            let sound = sound.filter(|_| !has_sound);
            self.ready.extend(sound.map(|(_, codec)| Item::LeftOut((*codec).to_owned())));
            self.entries = entries;
            self.ready.push_back(Item::Tracks(streams.iter().map(|stream| stream.codec).collect()));
            self.streams = streams;
        }
    }

    /// Packets are missing, of whichever stream.
    fn interrupt_all(&mut self) {
        for stream in &mut self.streams {
            stream.interrupt(1);
        }
    }
}

/// The streams that are carried, the video first.
fn chosen(entries: &[StreamEntry]) -> Vec<Elementary> {
    let codec_of = |kind: u8| match kind {
        KIND_H264 => Some(Codec::H264),
        KIND_H265 => Some(Codec::H265),
        KIND_AAC_ADTS => Some(Codec::Aac),
        _ => None,
    };
    let carried = || entries.iter().filter_map(|entry| Some((entry.pid, codec_of(entry.kind)?)));
    let video = carried().find(|(_, codec)| codec.is_video());
    let audio = carried().find(|(_, codec)| !codec.is_video());
    let stream = |(track, (pid, codec))| {
        let content = match VideoStream::new(track, codec) {
            Some(video) => Content::Video(Box::new(video)),
            None => Content::Audio(AudioStream::new(track)),
        };
        Elementary { pid, codec, continuity: Continuity::default(), state: State::Waiting, content }
    };
    (0..).zip(video.into_iter().chain(audio)).map(stream).collect()
}

fn no_program(offset: u64) -> ContainerError {
    ContainerError::NoVideo { container: NAME, what: format!("no program is listed in {offset} bytes") }
}

impl Elementary {
    fn packet(&mut self, packet: &Packet<'_>, clock: &mut Clock) {
        if packet.payload.is_empty() {
            return;
        }
        match self.continuity.next(packet) {
            Order::Repeated => return,
            Order::Next(0) => {}
            Order::Next(lost) => self.interrupt(lost),
        }
        if packet.scrambled {
            return self.interrupt(1);
        }
        if packet.starts {
            self.state = State::Head(Vec::new());
        }
        match &mut self.state {
            State::Waiting => {}
            State::Payload => self.content.push(packet.payload),
            State::Head(held) => {
                held.extend_from_slice(packet.payload);
                let rest = match pes::head(held) {
                    Head::More if held.len() < PES_HEAD_MAX => return,
                    Head::More | Head::Invalid => {
                        self.state = State::Waiting;
                        return self.content.interrupt(1);
                    }
                    Head::Whole { bytes, time } => {
                        if let Some(time) = time {
                            self.content.mark(clock.ticks(time));
                        }
                        held.split_off(bytes)
                    }
                };
                self.state = State::Payload;
                self.content.push(&rest);
            }
        }
    }

    fn interrupt(&mut self, lost: u32) {
        if matches!(self.state, State::Head(_)) {
            self.state = State::Waiting;
        }
        self.content.interrupt(lost);
    }
}

impl Content {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Video(video) => video.push(bytes),
            Self::Audio(audio) => audio.push(bytes),
        }
    }

    fn mark(&mut self, ticks: i64) {
        match self {
            Self::Video(video) => video.mark(ticks),
            Self::Audio(audio) => audio.mark(ticks),
        }
    }

    fn interrupt(&mut self, lost: u32) {
        match self {
            Self::Video(video) => video.interrupt(lost),
            Self::Audio(audio) => audio.interrupt(lost),
        }
    }
}
