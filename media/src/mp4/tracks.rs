//! The tracks of an MP4: what is carried of them, and how their samples become ours.

use bytes::Bytes;
use shiguredo_mp4::boxes::{Avc1Box, MoovBox, SampleEntry, TrakBox};
use shiguredo_mp4::{BoxSize, BoxType, Decode as _};

use super::NAME;
use crate::aac;
use crate::container::whole::WholeTrack;
use crate::container::{ContainerError, Item};
use crate::track::{Codec, Sample};

/// Handlers of tracks (ISO/IEC 14496-12 §8.4.3).
const HANDLER_VIDEO: [u8; 4] = *b"vide";
const HANDLER_SOUND: [u8; 4] = *b"soun";

/// Bytes of a sample entry that are the same for all video codecs, behind the box's head (§12.1.3).
const VISUAL_ENTRY_BYTES: usize = 78;

/// The tracks that are carried, the video first.
#[derive(Debug, Default)]
pub(super) struct Tracks(Vec<Track>, Option<String>);

#[derive(Debug)]
struct Track {
    id: u32,
    rate: u32,
    /// Ticks between the beginning of the track's own time and that of the film, as its edit list says.
    shift: i64,
    whole: WholeTrack,
}

/// Where a sample lies, and when it is shown.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) track_id: u32,
    /// The presentation time by the track's own clock.
    pub(super) ticks: i64,
    /// When it is to be decoded, in ticks of so many a second.
    decoded: (u64, u32),
    pub(super) offset: u64,
    pub(super) bytes: usize,
    /// The description, where it is another than before.
    pub(super) entry: Option<SampleEntry>,
}

impl Found {
    pub(super) fn new(sample: &shiguredo_mp4::demux::Sample<'_>) -> Self {
        let decoded = i64::try_from(sample.timestamp).unwrap_or(i64::MAX);
        Self {
            track_id: sample.track.track_id,
            ticks: decoded.saturating_add(sample.composition_time_offset.unwrap_or(0)),
            decoded: (sample.timestamp, sample.track.timescale.get()),
            offset: sample.data_offset,
            bytes: sample.data_size,
            entry: sample.sample_entry.cloned(),
        }
    }

    /// Which of two samples is to be decoded first.
    pub(super) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let scaled = |ticks: u64, rate: u32| u128::from(ticks) * u128::from(rate);
        scaled(self.decoded.0, other.decoded.1).cmp(&scaled(other.decoded.0, self.decoded.1))
    }
}

impl Tracks {
    /// The tracks of a film: its first video track and its first audio track that are carried.
    pub(super) fn new(moov: &MoovBox, offset: u64) -> Result<Self, ContainerError> {
        let mut tracks: Vec<Track> = Vec::new();
        for trak in &moov.trak_boxes {
            let Some(entry) = trak.mdia_box.minf_box.stbl_box.stsd_box.entries.first() else { continue };
            let Some(whole) = whole(entry).map_err(|what| ContainerError::invalid(NAME, offset, what))?
            else {
                continue;
            };
            if tracks.iter().all(|known| known.whole.codec().is_video() != whole.codec().is_video()) {
                let rate = trak.mdia_box.mdhd_box.timescale.get();
                let shift = shift(trak, rate, moov.mvhd_box.timescale.get());
                tracks.push(Track { id: trak.tkhd_box.track_id, rate, shift, whole });
            }
        }
        tracks.sort_by_key(|track| !track.whole.codec().is_video());
        let has_video = tracks.first().is_some_and(|track| track.whole.codec().is_video());
        let of = |trak: &TrakBox, handler| trak.mdia_box.hdlr_box.handler_type == handler;
        if let Some(video) =
            moov.trak_boxes.iter().find(|trak| of(trak, HANDLER_VIDEO)).filter(|_| !has_video)
        {
            return Err(ContainerError::UnsupportedCodec { container: NAME, codec: entry_name(video) });
        }
        if tracks.is_empty() {
            let sound = moov.trak_boxes.iter().filter(|trak| of(trak, HANDLER_SOUND)).take(8);
            let what = sound.map(entry_name).collect::<Vec<_>>().join(", ");
            return Err(ContainerError::NoVideo { container: NAME, what });
        }
        let has_sound = tracks.iter().any(|track| !track.whole.codec().is_video());
        let sound = moov.trak_boxes.iter().find(|trak| of(trak, HANDLER_SOUND)).filter(|_| !has_sound);
        Ok(Self(tracks, sound.map(entry_name)))
    }

    /// The sound that is not carried, where none is: said before the tracks, once.
    pub(super) fn left_out(&mut self) -> Option<Item> {
        self.1.take().map(Item::LeftOut)
    }

    /// What is said before the first sample.
    pub(super) fn item(&self) -> Item {
        Item::Tracks(self.0.iter().map(|track| track.whole.codec()).collect())
    }

    /// Whether samples of this track are carried.
    pub(super) fn has(&self, id: u32) -> bool {
        self.0.iter().any(|track| track.id == id)
    }

    /// The sample with these bytes; `None` where it is of no use.
    pub(super) fn sample(&mut self, found: &Found, data: &Bytes) -> Result<Option<Sample>, ContainerError> {
        let known = (0..).zip(&mut self.0).find(|(_, track)| track.id == found.track_id);
        let Some((index, track)) = known else { return Ok(None) };
        if let Some(entry) = &found.entry {
            // The first was read with the film's head. Another one may follow it, but not another codec.
            let what = "the description of a track changes to one that is not carried";
            match whole(entry).map_err(|what| ContainerError::invalid(NAME, found.offset, what))? {
                Some(next) if next.codec() == track.whole.codec() => track.whole = next,
                _ => return Err(ContainerError::invalid(NAME, found.offset, what)),
            }
        }
        let time = (found.ticks.saturating_add(track.shift), track.rate);
        Ok(track.whole.sample(index, time, data))
    }
}

/// A track by its description; `None` where it is not carried.
fn whole(entry: &SampleEntry) -> Result<Option<WholeTrack>, String> {
    Ok(match entry {
        SampleEntry::Avc1(entry) => avc(entry),
        SampleEntry::Hvc1(entry) => hevc(&entry.hvcc_box),
        SampleEntry::Hev1(entry) => hevc(&entry.hvcc_box),
        SampleEntry::Mp4a(entry) => {
            let specific = &entry.esds_box.es.dec_config_descr.dec_specific_info;
            let Some(specific) = specific else { return Ok(None) };
            let config = Bytes::copy_from_slice(&specific.payload);
            Some(WholeTrack::audio(aac::parameters(&config).map_err(|error| error.to_string())?))
        }
        // As `avc1`, but parameter sets may also stand in the samples (ISO/IEC 14496-15 §5.4.2.1), as they may everywhere here.
        SampleEntry::Unknown(entry) if entry.box_type == BoxType::Normal(*b"avc3") => {
            if entry.payload.len() < VISUAL_ENTRY_BYTES {
                return Err("the description of a track is cut short".to_owned());
            }
            let mut renamed = Vec::with_capacity(8 + entry.payload.len());
            let size = BoxSize::with_payload_size(Avc1Box::TYPE, entry.payload.len() as u64).get() as u32;
            renamed.extend(size.to_be_bytes());
            renamed.extend(b"avc1");
            renamed.extend(&entry.payload);
            let (entry, _) = Avc1Box::decode(&renamed).map_err(|error| error.to_string())?;
            avc(&entry)
        }
        _ => None,
    })
}

fn avc(entry: &Avc1Box) -> Option<WholeTrack> {
    let record = &entry.avcc_box;
    let sets = record.sps_list.iter().chain(&record.pps_list).map(|set| &set[..]);
    WholeTrack::video(Codec::H264, record.length_size_minus_one.get() + 1, sets)
}

fn hevc(record: &shiguredo_mp4::boxes::HvccBox) -> Option<WholeTrack> {
    let sets = record.nalu_arrays.iter().flat_map(|array| &array.nalus).map(|set| &set[..]);
    WholeTrack::video(Codec::H265, record.length_size_minus_one.get() + 1, sets)
}

/// What the edit list adds to a track's times (§8.6.6): what is left out at its beginning (frames that a decoder needs to
/// start, the delay of reordered pictures), and how much later than others it begins. Later edits are not followed.
fn shift(trak: &TrakBox, rate: u32, film_rate: u32) -> i64 {
    let list = trak.edts_box.as_ref().and_then(|edits| edits.elst_box.as_ref());
    let mut shift: i128 = 0;
    for edit in list.iter().flat_map(|list| &list.entries) {
        if edit.media_time >= 0 {
            shift -= i128::from(edit.media_time);
            break;
        }
        shift += i128::from(edit.edit_duration) * i128::from(rate) / i128::from(film_rate);
    }
    shift.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4)) as i64
}

/// What the first description of a track is called.
fn entry_name(trak: &TrakBox) -> String {
    let entries = &trak.mdia_box.minf_box.stbl_box.stsd_box.entries;
    let kind = entries.first().map(|entry| match entry {
        SampleEntry::Vp08(_) => "VP8".to_owned(),
        SampleEntry::Vp09(_) => "VP9".to_owned(),
        SampleEntry::Av01(_) => "AV1".to_owned(),
        SampleEntry::Opus(_) => "Opus".to_owned(),
        SampleEntry::Flac(_) => "FLAC".to_owned(),
        SampleEntry::Unknown(entry) => entry.box_type.as_bytes().escape_ascii().to_string(),
        _ => "unknown".to_owned(),
    });
    kind.unwrap_or_else(|| "unknown".to_owned())
}
