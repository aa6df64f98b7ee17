//! What a server offers: the part of SDP (RFC 8866) that RTSP uses (RFC 2326 appendix C), read by `sdp-types`.

mod fields;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use self::fields::{essential_lines, numbered, rtpmap};
use crate::nal::nals_annexb;
use crate::track::Codec;

pub use self::fields::resolve;

/// The longest description that is read, and the most media in it, and formats of one.
const BYTES_MAX: usize = 48 << 10;
const MEDIA_MAX: usize = 64;
const FORMATS_MAX: usize = 16;

/// Cameras forget padding, and fill up with bits that are not zero.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A description of what can be played.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// What the whole presentation is controlled by: an absolute or relative URL, or `*`.
    pub control: Option<String>,
    /// The media, one format of each.
    pub offers: Vec<Offer>,
}

/// A medium in the first of its formats that is carried, or else the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// `video`, `audio`, `application`...
    pub media: String,
    /// The RTP payload type.
    pub payload_type: u8,
    /// The encoding's name in lower case.
    pub encoding: String,
    /// Ticks a second of its media clock.
    pub rate: u32,
    /// Channels of sound.
    pub channels: u16,
    /// What it is controlled by: an absolute or relative URL.
    pub control: Option<String>,
    /// Pictures a second, where the server says so.
    pub frame_rate: Option<f32>,
    /// It goes from the client to the server (ONVIF's back channel), or nowhere.
    pub is_away: bool,
    parameters: Vec<(String, String)>,
}

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It is longer than any real one.
    #[error("the description is longer than {BYTES_MAX} bytes")]
    TooLong,
    /// It is no SDP.
    #[error("the description is no SDP: {0}")]
    Invalid(String),
}

impl Description {
    /// Reads a description. Lines that nothing here needs are passed over unread: cameras write much that is invalid.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > BYTES_MAX {
            return Err(SdpError::TooLong);
        }
        let session = sdp_types::Session::parse(essential_lines(bytes).as_bytes())
            .map_err(|error| SdpError::Invalid(error.to_string()))?;
        let control = value(&session.attributes, "control").next().map(str::to_owned);
        let offers = session.medias.iter().take(MEDIA_MAX).filter_map(Offer::of).collect();
        Ok(Self { control, offers })
    }
}

fn value<'a>(attributes: &'a [sdp_types::Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = attributes.iter().filter(move |attribute| attribute.attribute.eq_ignore_ascii_case(name));
    named.filter_map(|attribute| attribute.value.as_deref().map(str::trim))
}

impl Offer {
    fn of(media: &sdp_types::Media) -> Option<Self> {
        let types = media.fmt.split_ascii_whitespace().filter_map(|number| number.parse().ok());
        let mut formats =
            types.take(FORMATS_MAX).filter_map(|payload_type| Self::of_type(media, payload_type)).peekable();
        let first = formats.peek().cloned();
        formats.find(|format| format.codec().is_some()).or(first)
    }

    fn of_type(media: &sdp_types::Media, payload_type: u8) -> Option<Self> {
        let of_type = |name| value(&media.attributes, name).find_map(|line| numbered(line, payload_type));
        let (encoding, rate, channels) = match of_type("rtpmap") {
            Some(map) => rtpmap(map)?,
            None => static_type(payload_type)?,
        };
        let is_audio = media.media.eq_ignore_ascii_case("audio");
        // Some cameras call their own video "sendonly"; their back channels are sound.
        let is_away = media.has_attribute("inactive") || is_audio && media.has_attribute("sendonly");
        let parameters = of_type("fmtp").map(fields::parameters).unwrap_or_default();
        Some(Self {
            media: media.media.to_ascii_lowercase(),
            payload_type,
            encoding,
            rate,
            channels,
            control: value(&media.attributes, "control").next().map(str::to_owned),
            frame_rate: value(&media.attributes, "framerate").find_map(|rate| rate.parse().ok()),
            is_away,
            parameters,
        })
    }

    /// Its codec; `None` for one that is not carried.
    pub fn codec(&self) -> Option<Codec> {
        match (self.media.as_str(), self.encoding.as_str()) {
            ("video", "h264") => Some(Codec::H264),
            ("video", "h265" | "hevc") => Some(Codec::H265),
            ("audio", "mpeg4-generic") => Some(Codec::Aac),
            ("audio", "pcma") => Some(Codec::PcmAlaw),
            ("audio", "pcmu") => Some(Codec::PcmMulaw),
            _ => None,
        }
    }

    /// The codec's name as people know it; else as the server calls it, cut short.
    pub fn name(&self) -> String {
        match self.encoding.as_str() {
            "h264" => "H.264".to_owned(),
            "h265" | "hevc" => "H.265".to_owned(),
            "jpeg" => "MJPEG".to_owned(),
            "mp4v-es" => "MPEG-4 Part 2".to_owned(),
            "mpeg4-generic" => "AAC".to_owned(),
            "mp4a-latm" => "AAC in LATM".to_owned(),
            other => shown(other),
        }
    }

    /// A format parameter (`fmtp`) by its name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameter sets that come beside the media (RFC 6184 §8.1, RFC 7798 §7.1). Broken ones are left out.
    pub fn parameter_sets(&self) -> Vec<Vec<u8>> {
        let names = ["sprop-vps", "sprop-sps", "sprop-pps", "sprop-parameter-sets"];
        let lists = names.iter().filter_map(|name| self.parameter(name));
        let decoded = lists.flat_map(|list| list.split(',')).filter_map(|set| BASE64.decode(set.trim()).ok());
        decoded
            .flat_map(|set| {
                // Some cameras put start codes before them.
                let units: Vec<Vec<u8>> = nals_annexb(&set).map(<[u8]>::to_vec).collect();
                if units.is_empty() { vec![set] } else { units }
            })
            .collect()
    }
}

/// Foreign text as it may be shown.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(32).collect()
}

/// The payload types that need no `rtpmap` (RFC 3551 §6), as far as cameras have them.
fn static_type(payload_type: u8) -> Option<(String, u32, u16)> {
    let (encoding, rate) = match payload_type {
        0 => ("pcmu", 8_000),
        3 => ("gsm", 8_000),
        4 => ("g723", 8_000),
        8 => ("pcma", 8_000),
        9 => ("g722", 8_000),
        14 => ("mpa", 90_000),
        18 => ("g729", 8_000),
        26 => ("jpeg", 90_000),
        32 => ("mpv", 90_000),
        33 => ("mp2t", 90_000),
        _ => return None,
    };
    Some((encoding.to_owned(), rate, 1))
}
