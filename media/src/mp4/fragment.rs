//! Fragmented MP4, as it comes from a file or a pipe.

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};
use shiguredo_mp4::boxes::{MoofBox, MoovBox, StszBox};
use shiguredo_mp4::demux::Fmp4SegmentDemuxer;
use shiguredo_mp4::{Decode as _, Encode as _};

use super::tracks::{Found, Tracks};
use super::{FRAGMENT_BYTES_MAX, MOOV_BYTES_MAX, invalid};
use crate::container::whole::check_size;
use crate::container::{ContainerError, Item};

/// What to do about an MP4 that is not fragmented and comes from a pipe.
const NOT_FRAGMENTED: &str = "the MP4 is not fragmented, and can only be read from a file: write it with -movflags frag_keyframe+empty_moov";

/// Reads fragmented MP4: [`push`](Self::push) bytes, take items with [`next`](Self::next), [`finish`](Self::finish) at the end.
/// A fragment is kept until it is whole; whoever wrote it had to, too.
#[derive(Debug, Default)]
pub struct FragmentDemuxer {
    held: BytesMut,
    /// The position of the first byte that is held.
    offset: u64,
    /// Bytes of a box that is passed over, and have not come yet.
    passed_over: u64,
    film: Option<(Fmp4SegmentDemuxer, Tracks)>,
    /// The `moof` box at the beginning of what is held takes so many bytes; its samples follow.
    open: Option<usize>,
    ended: bool,
    ready: VecDeque<Item>,
}

/// The head of a box.
#[derive(Debug, Clone, Copy)]
struct BoxHead {
    name: [u8; 4],
    /// Bytes of the whole box; none for one that lasts to the end.
    size: Option<u64>,
}

impl FragmentDemuxer {
    /// Adds the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = self.passed_over.min(bytes.len() as u64);
        self.passed_over -= skipped;
        self.offset += skipped;
        self.held.extend_from_slice(&bytes[skipped as usize..]);
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// The next item; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Item>, ContainerError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if !self.step()? {
                return if self.ended { self.end() } else { Ok(None) };
            }
        }
    }

    /// Nothing may be open at the end.
    fn end(&self) -> Result<Option<Item>, ContainerError> {
        let end = self.offset + self.held.len() as u64;
        if self.film.is_none() {
            return Err(invalid(end, "it ends before the head of the film (moov)"));
        }
        if self.held.is_empty() && self.passed_over == 0 {
            Ok(None)
        } else {
            Err(invalid(end, "it ends within a box"))
        }
    }

    /// Takes one box; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, ContainerError> {
        let at = self.open.unwrap_or(0);
        let Some(head) = box_head(&self.held[at..]).map_err(|what| invalid(self.offset + at as u64, what))?
        else {
            return Ok(false);
        };
        match (&head.name, self.open) {
            (b"mdat", Some(moof)) => self.samples(moof, head),
            (name, Some(moof)) => {
                let what = format!("{} follows a moof box, where mdat should", name.escape_ascii());
                Err(invalid(self.offset + moof as u64, what))
            }
            (b"moov", None) => self.film(head),
            (b"moof", None) => {
                let size = self.bounded(head, MOOV_BYTES_MAX)?;
                // Its samples are at places in what is held: it stays there with them.
                let is_whole = self.held.len() >= size;
                self.open = is_whole.then_some(size);
                Ok(is_whole)
            }
            (b"mdat", None) if self.film.is_none() => Err(invalid(self.offset, NOT_FRAGMENTED)),
            _ => Ok(self.pass_over(head)),
        }
    }

    fn pass_over(&mut self, head: BoxHead) -> bool {
        let size = head.size.unwrap_or(u64::MAX);
        let here = size.min(self.held.len() as u64);
        self.held.advance(here as usize);
        self.offset += here;
        self.passed_over = size - here;
        true
    }

    /// The size of a box that must be kept whole.
    fn bounded(&self, head: BoxHead, limit: u64) -> Result<usize, ContainerError> {
        let name = head.name.escape_ascii();
        let size = head.size.ok_or_else(|| invalid(self.offset, format!("the {name} box has no size")))?;
        if size > limit {
            let what = format!("a {name} box of {size} bytes, more than the {limit} that are taken");
            return Err(invalid(self.offset, what));
        }
        Ok(size as usize)
    }

    fn film(&mut self, head: BoxHead) -> Result<bool, ContainerError> {
        let size = self.bounded(head, MOOV_BYTES_MAX)?;
        if self.held.len() < size {
            return Ok(false);
        }
        let data = self.held.split_to(size);
        let (moov, _) = MoovBox::decode(&data).map_err(|error| invalid(self.offset, error))?;
        if moov.mvex_box.is_none() || has_samples(&moov) {
            return Err(invalid(self.offset, NOT_FRAGMENTED));
        }
        let mut tracks = Tracks::new(&moov, self.offset)?;
        let mut demuxer = Fmp4SegmentDemuxer::new();
        demuxer.handle_init_segment(&data).map_err(|error| invalid(self.offset, error))?;
        self.ready.extend(tracks.left_out());
        self.ready.push_back(tracks.item());
        self.film = Some((demuxer, tracks));
        self.offset += size as u64;
        Ok(true)
    }

    /// The samples of a fragment whose `moof` takes so many bytes.
    fn samples(&mut self, moof: usize, mdat: BoxHead) -> Result<bool, ContainerError> {
        let Some((demuxer, tracks)) = &mut self.film else {
            return Err(invalid(self.offset, "a fragment before the head of the film (moov)"));
        };
        // A last fragment may last to the end.
        let size = match mdat.size {
            Some(size) => size.saturating_add(moof as u64),
            None if self.ended => self.held.len() as u64,
            None => (self.held.len() as u64).saturating_add(1),
        };
        if size > FRAGMENT_BYTES_MAX {
            let what =
                format!("a fragment of {size} bytes, more than the {FRAGMENT_BYTES_MAX} that are taken");
            return Err(invalid(self.offset, what));
        }
        if (self.held.len() as u64) < size {
            return Ok(false);
        }
        let mut data = self.held.split_to(size as usize);
        self.open = None;
        check_runs(&data[..moof]).map_err(|what| invalid(self.offset, what))?;
        rebase(&mut data[..moof], self.offset).map_err(|what| invalid(self.offset, what))?;
        let data = data.freeze();
        let read = demuxer.handle_media_segment(&data).map_err(|error| invalid(self.offset, error))?;
        let mut found: Vec<Found> = read.iter().map(Found::new).collect();
        // Each track lies in one piece: samples go out as they are decoded, both tracks beside each other.
        found.sort_by(Found::order);
        for sample in &found {
            check_size(super::NAME, sample.bytes, self.offset)?;
            let start = sample.offset as usize;
            let bytes = start.checked_add(sample.bytes).and_then(|end| data.get(start..end));
            let Some(_) = bytes else {
                return Err(invalid(self.offset, "a sample lies outside of its fragment"));
            };
            let bytes = data.slice(start..start + sample.bytes);
            self.ready.extend(tracks.sample(sample, &bytes)?.map(Item::Sample));
        }
        self.offset += size;
        Ok(true)
    }
}

/// Samples that a fragment may have: those of a minute of sound with some to spare. The head of a run may name any number of
/// samples in a few bytes (§8.8.8, `trun` without fields of each sample), and all are kept in memory.
const SAMPLES_MAX: u64 = 1 << 16;

/// Looks at how many samples the runs of a `moof` name, before they are read.
fn check_runs(moof: &[u8]) -> Result<(), String> {
    let mut samples: u64 = 0;
    for (_, track) in children(moof).filter(|(name, _)| name == b"traf") {
        for (_, run) in children(track).filter(|(name, _)| name == b"trun") {
            // Size, name, version with flags, and the count.
            let count = run.get(12..16).and_then(|count| count.try_into().ok()).map_or(0, u32::from_be_bytes);
            samples += u64::from(count);
        }
    }
    if samples > SAMPLES_MAX {
        return Err(format!("a fragment of {samples} samples, more than the {SAMPLES_MAX} that are taken"));
    }
    Ok(())
}

/// The boxes within a box, whole; up to the first that does not fit.
fn children(parent: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = parent.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let head = box_head(rest).ok().flatten()?;
        let size = head.size.map_or(Some(rest.len()), |size| usize::try_from(size).ok())?;
        let (child, behind) = rest.split_at_checked(size)?;
        rest = behind;
        Some((head.name, child))
    })
}

/// Makes places in the file into places in the fragment, which begins at `offset` of the file. Where a track says from where
/// its places count (§8.8.7, `base-data-offset-present`; ffmpeg does without `default_base_moof`), it means the file.
fn rebase(moof: &mut [u8], offset: u64) -> Result<(), String> {
    let (mut fragment, _) = MoofBox::decode(moof).map_err(|error| error.to_string())?;
    let mut bases =
        fragment.traf_boxes.iter_mut().filter_map(|track| track.tfhd_box.base_data_offset.as_mut());
    let mut changed = false;
    bases
        .try_for_each(|base| {
            changed = true;
            *base = base.checked_sub(offset)?;
            Some(())
        })
        .ok_or("a track's samples lie before its fragment")?;
    if changed {
        let written = fragment.encode_to_vec().map_err(|error| error.to_string())?;
        if written.len() != moof.len() {
            return Err("the fragment's head has boxes that are not known".to_owned());
        }
        moof.copy_from_slice(&written);
    }
    Ok(())
}

/// Whether the film's head lists samples itself, as that of a plain MP4 does.
fn has_samples(moov: &MoovBox) -> bool {
    moov.trak_boxes.iter().any(|trak| match &trak.mdia_box.minf_box.stbl_box.stsz_box {
        StszBox::Fixed { sample_count, .. } => *sample_count > 0,
        StszBox::Variable { entry_sizes } => !entry_sizes.is_empty(),
    })
}

/// Reads the head of a box (ISO/IEC 14496-12 §4.2); `None` when more bytes are needed.
fn box_head(bytes: &[u8]) -> Result<Option<BoxHead>, String> {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let Some((name, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let (size, least) = match u32::from_be_bytes(*size) {
        0 => return Ok(Some(BoxHead { name: *name, size: None })),
        1 => match rest.first_chunk() {
            Some(size) => (u64::from_be_bytes(*size), 16),
            None => return Ok(None),
        },
        size => (u64::from(size), 8),
    };
    if size < least {
        return Err(format!("the {} box says that it has {size} bytes", name.escape_ascii()));
    }
    Ok(Some(BoxHead { name: *name, size: Some(size) }))
}
