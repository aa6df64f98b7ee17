//! What a camera sends, measured over its groups of pictures.

use streamfleet_contract::Media;

use streamfleet_media::track::{CodecParameters, Format};

/// Measures frame rate, key frame interval and bit rate.
#[derive(Debug, Default)]
pub struct Meter {
    current: Option<Group>,
    last: Option<(Group, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    start_ms: i64,
    units: u32,
    bytes: u64,
}

impl Meter {
    /// A picture came; of sound alone, a piece of it.
    pub fn unit(&mut self, time_ms: i64, key: bool, bytes: u64) {
        if key {
            if let Some(group) = self.current {
                self.last = Some((group, time_ms - group.start_ms));
            }
            self.current = Some(Group { start_ms: time_ms, units: 1, bytes });
        } else if let Some(group) = &mut self.current {
            group.units += 1;
            group.bytes += bytes;
        }
    }

    /// A piece of sound came.
    pub fn sound(&mut self, bytes: u64) {
        if let Some(group) = &mut self.current {
            group.bytes += bytes;
        }
    }

    /// The camera is away: what comes next does not follow what came before.
    pub fn interrupted(&mut self) {
        self.current = None;
    }

    /// What is known.
    pub fn media(&self, codec: &CodecParameters) -> Media {
        let measured = self.last.filter(|(_, interval)| *interval > 0);
        let rate = |amount: u64, per_ms: u64| {
            measured.map_or(0, |(_, interval)| amount.saturating_mul(per_ms) / interval.unsigned_abs())
        };
        let (units, bytes) = measured.map_or((0, 0), |(group, _)| (u64::from(group.units), group.bytes));
        let shown = codec.tracks.first();
        let (width, height) = match shown.map(|track| track.format) {
            Some(Format::Video(format)) => (format.width as u32, format.height as u32),
            _ => (0, 0),
        };
        Media {
            codec: shown.map_or_else(String::new, |track| track.codec.name().to_owned()),
            audio_codec: codec.audio().map(|track| track.codec.name().to_owned()),
            width,
            height,
            frame_rate_millis: u32::try_from(rate(units, 1_000_000)).unwrap_or(u32::MAX),
            key_frame_interval_ms: measured
                .map_or(0, |(_, interval)| u32::try_from(interval).unwrap_or(u32::MAX)),
            bitrate: rate(bytes, 8_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use streamfleet_media::track::{Codec, TrackParameters};

    #[test]
    fn rates_are_those_of_the_last_whole_group() {
        let codec = CodecParameters::single(TrackParameters::video(Codec::H264, Bytes::new(), 1_280, 720));
        let mut meter = Meter::default();
        assert_eq!(meter.media(&codec).frame_rate_millis, 0);
        for n in 0..=50 {
            meter.unit(n * 40, n % 25 == 0, 2_000);
        }
        let media = meter.media(&codec);
        assert_eq!((media.frame_rate_millis, media.key_frame_interval_ms), (25_000, 1_000));
        assert_eq!(media.bitrate, 25 * 2_000 * 8);
        meter.interrupted();
        meter.unit(100_000, true, 1);
        assert_eq!(meter.media(&codec).key_frame_interval_ms, 1_000, "an interruption is not an interval");
    }
}
