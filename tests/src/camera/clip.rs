//! A clip: the recorded pictures that a camera shows in a loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use streamfleet_media::h264::{AvcConfiguration, NalKind, Sps, length_prefixed, nal_kind, nals_annexb, sei};
use streamfleet_media::track::{Codec, TrackParameters};
use thiserror::Error;

use super::rtp::{Payload, payloads};

/// Recorded pictures, the first of them a key frame.
#[derive(Debug, Clone)]
pub struct Clip {
    pub(super) pictures: Vec<Arc<Picture>>,
    pub(super) sps: Bytes,
    pub(super) pps: Bytes,
}

/// A picture as it is stored.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Whether decoding can begin here.
    pub key: bool,
    /// [`picture_digest`].
    pub digest: String,
    /// NAL units with a length of four bytes before each.
    pub data: Bytes,
}

/// One recorded picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Whether decoding can begin here.
    pub key: bool,
    /// Its NAL units without start codes: parameter sets where the recording has them, then the slices.
    pub nals: Vec<Bytes>,
    /// The sequence parameter set that holds for it.
    pub sps: Bytes,
    /// [`picture_digest`] of the set and the units.
    pub digest: String,
    /// What goes into packets before the slices, and the slices.
    pub(super) payloads: [Vec<Payload>; 2],
}

/// Why a recording cannot be shown.
#[derive(Debug, Error)]
pub enum ClipError {
    /// The file cannot be read.
    #[error("failed to read the recording {path:?}")]
    Read {
        /// The recording's file.
        path: PathBuf,
        /// Why it could not be read.
        source: std::io::Error,
    },
    /// A camera must be able to begin with its first picture, again and again.
    #[error("the recording does not begin with parameter sets and an IDR picture")]
    NoKeyFrame,
    /// Pictures are shown in the order of the file, a period apart.
    #[error("picture {number} of the recording has B slices: encode it with bframes=0")]
    Reordered {
        /// Counted from 0.
        number: usize,
    },
}

impl Clip {
    /// Reads a recording: H.264 as Annex B has it, without B slices.
    pub fn read(path: &Path) -> Result<Self, ClipError> {
        let recording =
            std::fs::read(path).map_err(|source| ClipError::Read { path: path.to_owned(), source })?;
        Self::parse(&recording.into())
    }

    /// Takes a recording apart. Access unit delimiters and the encoder's own SEI are left out.
    pub fn parse(recording: &Bytes) -> Result<Self, ClipError> {
        let mut pictures: Vec<Picture> = Vec::new();
        let mut ahead: Vec<Bytes> = Vec::new();
        let (mut sps, mut pps) = (None, None);
        let mut in_force = Bytes::new();
        for nal in nals_annexb(recording).map(|nal| recording.slice_ref(nal)) {
            match nal_kind(&nal) {
                Some(NalKind::Sps) => {
                    sps.get_or_insert_with(|| nal.clone());
                    in_force = nal.clone();
                    ahead.push(nal);
                }
                Some(NalKind::Pps) => {
                    pps.get_or_insert_with(|| nal.clone());
                    ahead.push(nal);
                }
                Some(NalKind::Slice | NalKind::Idr) if is_b_slice(&nal) => {
                    let number = pictures.len();
                    return Err(ClipError::Reordered { number });
                }
                Some(kind @ (NalKind::Slice | NalKind::Idr)) => match pictures.last_mut() {
                    Some(picture) if !starts_picture(&nal) => picture.nals.push(nal),
                    _ => {
                        let mut nals = std::mem::take(&mut ahead);
                        nals.push(nal);
                        let (key, sps) = (kind == NalKind::Idr, in_force.clone());
                        pictures.push(Picture {
                            key,
                            nals,
                            sps,
                            digest: String::new(),
                            payloads: Default::default(),
                        });
                    }
                },
                _ => {}
            }
        }
        let (Some(sps), Some(pps), Some(Picture { key: true, .. })) = (sps, pps, pictures.first()) else {
            return Err(ClipError::NoKeyFrame);
        };
        Ok(Self {
            pictures: pictures.into_iter().map(|picture| Arc::new(picture.finish())).collect(),
            sps,
            pps,
        })
    }

    /// The picture that a camera shows as number `number` when it shows this clip from its start on, marked, as it is stored.
    pub fn frame(&self, number: u64) -> Frame {
        let picture = &self.pictures[(number % self.pictures.len() as u64) as usize];
        let is_slice = |nal: &&Bytes| matches!(nal_kind(nal), Some(NalKind::Slice | NalKind::Idr));
        let mark = sei::build_picture_number(number);
        let slices = picture.nals.iter().filter(is_slice).map(AsRef::as_ref);
        Frame {
            key: picture.key,
            digest: picture.digest.clone(),
            data: length_prefixed(std::iter::once(&mark[..]).chain(slices)),
        }
    }

    /// What a decoder must know first, as it is stored.
    pub fn parameters(&self) -> Result<TrackParameters, ClipError> {
        let configuration =
            AvcConfiguration { sps: vec![self.sps.clone()], pps: vec![self.pps.clone()], length_size: 4 };
        let sps = Sps::parse(&self.sps).map_err(|_| ClipError::NoKeyFrame)?;
        let record = configuration.to_record().ok_or(ClipError::NoKeyFrame)?;
        Ok(TrackParameters::video(Codec::H264, record, sps.width, sps.height))
    }

    /// Bytes of all pictures with a length of four bytes before each unit, as they are stored.
    pub fn bytes(&self) -> u64 {
        self.pictures.iter().map(|picture| picture.bytes()).sum()
    }

    /// How many pictures there are in one round.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Never true: [`Clip::parse`] refuses an empty one.
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }
}

impl Picture {
    fn finish(mut self) -> Self {
        self.digest = picture_digest(&self.sps, self.nals.iter().map(AsRef::as_ref));
        let is_slice = |nal: &Bytes| matches!(nal_kind(nal), Some(NalKind::Slice | NalKind::Idr));
        let (ahead, slices) =
            self.nals.split_at(self.nals.iter().position(is_slice).unwrap_or(self.nals.len()));
        self.payloads = [ahead, slices].map(|nals| nals.iter().flat_map(payloads).collect());
        self
    }

    /// Its size as it is stored: a length of four bytes before each unit.
    pub fn bytes(&self) -> u64 {
        self.nals.iter().map(|nal| nal.len() as u64 + 4).sum()
    }
}

/// What is the same of a picture wherever it has travelled: the start of SHA-256 over the sequence parameter set that
/// holds for it and its slices, in hexadecimal. Where parameter sets stand, SEI and delimiters do not count: they are
/// moved on the way.
pub fn picture_digest<'a>(sps: &[u8], nals: impl Iterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new_with_prefix(sps);
    for nal in nals.filter(|nal| matches!(nal_kind(nal), Some(NalKind::Slice | NalKind::Idr))) {
        digest.update(nal);
    }
    hex::encode(&digest.finalize()[..8])
}

/// Whether a slice is its picture's first: `first_mb_in_slice` is 0 (H.264 §7.3.3), whose code is a single one.
fn starts_picture(slice: &[u8]) -> bool {
    slice.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

/// Whether `slice_type` (H.264 table 7-6) is B.
fn is_b_slice(slice: &[u8]) -> bool {
    let mut bits = slice[1..].iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    exp_golomb(&mut bits)
        .and_then(|_first_mb| exp_golomb(&mut bits))
        .is_some_and(|slice_type| slice_type % 5 == 1)
}

/// An unsigned Exp-Golomb code (H.264 §9.1); none when it is cut or longer than 32 bits.
fn exp_golomb(bits: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut zeros = 0;
    while bits.next()? == 0 {
        zeros += 1;
        if zeros > 31 {
            return None;
        }
    }
    let mut value = 1;
    for _ in 0..zeros {
        value = value << 1 | u64::from(bits.next()?);
    }
    Some(value - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Slice headers: first_mb_in_slice 0 ("1"), then slice_type 7 = I ("0001000"), 5 = P ("00110"), 6 = B ("00111").
    const IDR: &[u8] = &[0x65, 0x88, 0xaa];
    const P: &[u8] = &[0x41, 0b1001_1010, 0xbb];
    const B: &[u8] = &[0x01, 0b1001_1110, 0xcc];
    const P_SECOND_SLICE: &[u8] = &[0x41, 0b0100_0110, 0xdd];
    const SPS: &[u8] = &[0x67, 0x4d, 0x40, 0x1e, 9];
    const PPS: &[u8] = &[0x68, 1];
    const DELIMITER: &[u8] = &[9, 0xf0];

    fn recording(units: &[&[u8]]) -> Bytes {
        let mut bytes = Vec::new();
        for (index, unit) in units.iter().enumerate() {
            bytes.extend_from_slice(if index % 2 == 0 { &[0, 0, 0, 1] } else { &[0, 0, 1] });
            bytes.extend_from_slice(unit);
        }
        bytes.into()
    }

    #[test]
    fn slices_of_one_picture_stay_together_and_parameter_sets_go_ahead_of_it() {
        let clip =
            Clip::parse(&recording(&[DELIMITER, SPS, PPS, IDR, DELIMITER, P, P_SECOND_SLICE, P])).unwrap();
        let shape: Vec<(bool, usize)> = clip.pictures.iter().map(|p| (p.key, p.nals.len())).collect();
        assert_eq!(shape, [(true, 3), (false, 2), (false, 1)]);
        assert_eq!((&clip.sps[..], &clip.pps[..]), (SPS, PPS));
        assert_eq!(clip.pictures[1].nals[1], P_SECOND_SLICE);
    }

    #[test]
    fn b_slices_and_a_late_key_frame_are_refused() {
        assert!(matches!(
            Clip::parse(&recording(&[SPS, PPS, IDR, B])),
            Err(ClipError::Reordered { number: 1 })
        ));
        assert!(matches!(Clip::parse(&recording(&[SPS, PPS, P, IDR])), Err(ClipError::NoKeyFrame)));
        assert!(matches!(Clip::parse(&Bytes::new()), Err(ClipError::NoKeyFrame)));
    }

    #[test]
    fn a_digest_depends_on_slices_and_the_parameter_set_and_on_nothing_else() {
        let digest = picture_digest(SPS, [SPS, PPS, IDR].into_iter());
        assert_eq!(digest, picture_digest(SPS, [DELIMITER, IDR].into_iter()));
        assert_ne!(digest, picture_digest(SPS, [IDR, P].into_iter()));
        assert_ne!(digest, picture_digest(PPS, [IDR].into_iter()));
        assert_eq!(digest.len(), 16);
    }
}
