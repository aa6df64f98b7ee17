//! Tracks of containers that hold whole samples and a description of each track: Matroska and MP4.

use bytes::Bytes;

use super::{ContainerError, SAMPLE_BYTES_MAX};
use crate::h264::AvcConfiguration;
use crate::h265::HevcConfiguration;
use crate::picture::PictureBuilder;
use crate::track::{Access, Codec, Sample, TrackParameters};

/// Makes samples in our form from those of a container.
#[derive(Debug)]
pub(crate) struct WholeTrack {
    codec: Codec,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Pictures of NAL units with so many bytes of length before each.
    Video { builder: Box<PictureBuilder>, length_size: u8 },
    /// Frames of sound; the parameters until they have been given.
    Audio { parameters: Option<TrackParameters> },
}

impl WholeTrack {
    /// A video track by the NAL units of its description.
    pub(crate) fn video<'a>(
        codec: Codec,
        length_size: u8,
        sets: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut builder = Box::new(PictureBuilder::new(codec)?);
        for set in sets {
            builder.push(set);
        }
        Some(Self { codec, content: Content::Video { builder, length_size } })
    }

    /// A video track by its `avcC` or `hvcC`; the error says what is wrong with it.
    pub(crate) fn by_record(codec: Codec, record: &Bytes) -> Result<Option<Self>, String> {
        match codec {
            Codec::H264 => {
                let found = AvcConfiguration::parse(record).map_err(|error| error.to_string())?;
                let sets = found.sps.iter().chain(&found.pps).map(|set| &set[..]);
                Ok(Self::video(codec, found.length_size, sets))
            }
            Codec::H265 => {
                let found = HevcConfiguration::parse(record).map_err(|error| error.to_string())?;
                let sets = found.vps.iter().chain(&found.sps).chain(&found.pps).map(|set| &set[..]);
                Ok(Self::video(codec, found.length_size, sets))
            }
            Codec::Aac | Codec::PcmAlaw | Codec::PcmMulaw => Ok(None),
        }
    }

    /// An audio track.
    pub(crate) fn audio(parameters: TrackParameters) -> Self {
        Self { codec: parameters.codec, content: Content::Audio { parameters: Some(parameters) } }
    }

    pub(crate) const fn codec(&self) -> Codec {
        self.codec
    }

    /// The sample with these bytes; `None` where there is no slice in it, and for a frame of sound without bytes.
    pub(crate) fn sample(&mut self, track: u8, (ticks, rate): (i64, u32), payload: &Bytes) -> Option<Sample> {
        let (access, data, parameters) = match &mut self.content {
            Content::Video { builder, length_size } => {
                for nal in nals(payload, *length_size) {
                    builder.push(nal);
                }
                let picture = builder.finish()?;
                (picture.access, picture.data, picture.parameters)
            }
            Content::Audio { .. } if payload.is_empty() => return None,
            // Not a slice of what was read: that would keep all of it in memory for as long as this.
            Content::Audio { parameters } => {
                (Access::Continue, Bytes::copy_from_slice(payload), parameters.take())
            }
        };
        Some(Sample { track, ticks, rate, access, lost: 0, data, parameters })
    }
}

/// Refuses samples that are too large to be any.
pub(crate) fn check_size(container: &'static str, bytes: usize, offset: u64) -> Result<(), ContainerError> {
    if bytes <= SAMPLE_BYTES_MAX {
        return Ok(());
    }
    let what = format!("a sample of {bytes} bytes, more than the {SAMPLE_BYTES_MAX} that are taken");
    Err(ContainerError::invalid(container, offset, what))
}

/// The NAL units of a frame with lengths of 1 to 4 bytes. Ends early where a length does not fit.
fn nals(mut frame: &[u8], length_size: u8) -> impl Iterator<Item = &[u8]> {
    let size = usize::from(length_size.clamp(1, 4));
    std::iter::from_fn(move || {
        let (length, rest) = frame.split_at_checked(size)?;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (nal, rest) = rest.split_at_checked(length)?;
        frame = rest;
        Some(nal)
    })
    .filter(|nal| !nal.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_all_sizes_are_read_and_one_that_does_not_fit_ends_the_frame() {
        let frames: [&[u8]; 4] = [
            &[2, 7, 8, 0, 1, 9, 5, 1],
            &[0, 2, 7, 8, 0, 0, 0, 1, 9, 0, 5, 1],
            &[0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 1, 9, 0, 0, 5, 1],
            &[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 5, 1],
        ];
        for (size, frame) in (1..).zip(frames) {
            let found: Vec<_> = nals(frame, size).collect();
            assert_eq!(found, [&[7, 8][..], &[9]], "lengths of {size}");
            for end in 0..frame.len() {
                assert!(nals(&frame[..end], size).count() <= 2);
            }
        }
        assert_eq!(nals(&[0xFF; 9], 4).count(), 0);
    }
}
