//! Collects a document's [`Header`] from the elements before its first Cluster.

use bytes::Bytes;

use super::{AudioFormat, Header, Track, TrackKind, VideoFormat, ids};
use crate::ebml::{Data, varint};
use crate::limits::TIMECODE_SCALE_NS;

/// A header in the making. Feed it with the masters and values inside the Segment.
#[derive(Debug, Default)]
pub(super) struct HeaderBuilder {
    timecode_scale: Option<u64>,
    tracks: Vec<Track>,
    entry: Option<Entry>,
    /// Bytes of all values seen, kept or not.
    size: usize,
}

#[derive(Debug, Default)]
struct Entry {
    number: u64,
    uid: u64,
    kind: u64,
    name: Option<String>,
    codec_id: String,
    codec_private: Bytes,
    width: Option<u64>,
    height: Option<u64>,
    sampling_frequency: Option<f64>,
    channels: Option<u64>,
    bit_depth: Option<u64>,
}

impl HeaderBuilder {
    pub(super) fn start(&mut self, id: u32) {
        if id == ids::TRACK_ENTRY {
            self.entry = Some(Entry::default());
        }
    }

    pub(super) fn end(&mut self, id: u32) {
        if id == ids::TRACK_ENTRY
            && let Some(entry) = self.entry.take()
        {
            self.tracks.push(entry.into_track());
        }
    }

    /// Takes a value in, and returns how many bytes of values there have been: the caller says what is too many.
    pub(super) fn value(&mut self, data: &Data) -> usize {
        if data.id == ids::TIMECODE_SCALE {
            self.timecode_scale = Some(varint::unsigned(&data.payload));
        } else if let Some(entry) = &mut self.entry {
            entry.value(data);
        }
        self.size += data.raw.len();
        self.size
    }

    pub(super) fn build(&mut self) -> Header {
        let built = std::mem::take(self);
        // A scale of zero would make every time zero: a device that writes it means the default.
        let timecode_scale = built.timecode_scale.filter(|scale| *scale > 0).unwrap_or(TIMECODE_SCALE_NS);
        Header { timecode_scale, tracks: built.tracks }
    }
}

impl Entry {
    fn value(&mut self, data: &Data) {
        let payload = &data.payload;
        match data.id {
            ids::TRACK_NUMBER => self.number = varint::unsigned(payload),
            ids::TRACK_UID => self.uid = varint::unsigned(payload),
            ids::TRACK_TYPE => self.kind = varint::unsigned(payload),
            ids::NAME => self.name = Some(varint::text(payload)),
            ids::CODEC_ID => self.codec_id = varint::text(payload),
            ids::CODEC_PRIVATE => self.codec_private = payload.clone(),
            ids::PIXEL_WIDTH => self.width = Some(varint::unsigned(payload)),
            ids::PIXEL_HEIGHT => self.height = Some(varint::unsigned(payload)),
            ids::SAMPLING_FREQUENCY => self.sampling_frequency = varint::float(payload),
            ids::CHANNELS => self.channels = Some(varint::unsigned(payload)),
            ids::BIT_DEPTH => self.bit_depth = Some(varint::unsigned(payload)),
            _ => {}
        }
    }

    fn into_track(self) -> Track {
        let kind = TrackKind::from_number(self.kind);
        let video = self.width.zip(self.height).map(|(width, height)| VideoFormat { width, height });
        // Both have defaults in the specification: 8000 Hz, one channel.
        let audio = (kind == TrackKind::Audio).then(|| AudioFormat {
            sampling_frequency: self.sampling_frequency.unwrap_or(8000.0),
            channels: self.channels.unwrap_or(1),
            bit_depth: self.bit_depth,
        });
        Track {
            number: self.number,
            uid: self.uid,
            kind,
            name: self.name,
            codec_id: self.codec_id,
            codec_private: self.codec_private,
            video,
            audio,
        }
    }
}
