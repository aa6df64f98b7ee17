//! What a server offers, and what of it is taken.

use streamfleet_contract::{Audio, SourceReason};
use streamfleet_media::rtp::UnsupportedPayload;
use streamfleet_media::rtp::message::Message;
use streamfleet_media::rtp::sdp::{Description, Offer, resolve};
use streamfleet_media::track::Codec;

use super::connection::shown;
use crate::source::SourceError;
use crate::source::outlet::{G711_NOT_WANTED, not_carried};

/// The media that are played, the video first.
#[derive(Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) offers: Vec<Offer>,
    /// The URL that the description's are relative to.
    pub(super) base: String,
    /// What the whole is controlled by.
    pub(super) url: String,
    /// Why the sound that is offered is not taken; empty where it is, or there is none.
    pub(super) left_out: String,
}

impl Choice {
    /// Chooses from the answer to a DESCRIBE of `url`.
    pub(super) fn from_answer(answer: &Message, url: &str, audio: Audio) -> Result<Self, SourceError> {
        let description = Description::parse(&answer.body)
            .map_err(|error| SourceError::new(SourceReason::InvalidMedia, shown(&error.to_string())))?;
        // RFC 2326 §C.1.1. Some cameras give only a path, or nothing, there.
        let headers = ["Content-Base", "Content-Location"].into_iter().filter_map(|name| answer.header(name));
        let base = headers.map(str::trim).find(|base| base.contains("://")).unwrap_or(url).to_owned();
        let url = resolve(&base, description.control.as_deref());
        let left_out = left_out(&description.offers);
        let offers = choose(description.offers, audio)?;
        let has_sound = offers.iter().filter_map(Offer::codec).any(|codec| !codec.is_video());
        Ok(Self { offers, base, url, left_out: left_out.filter(|_| !has_sound).unwrap_or_default() })
    }
}

/// Why the first sound that is offered would not be taken.
fn left_out(offers: &[Offer]) -> Option<String> {
    let sound = offers.iter().find(|offer| !offer.is_away && offer.media == "audio")?;
    Some(match sound.codec() {
        Some(_) => G711_NOT_WANTED.to_owned(),
        None => not_carried(&sound.name()),
    })
}

/// The first video that is carried, and the first sound that is carried and wanted.
fn choose(offers: Vec<Offer>, audio: Audio) -> Result<Vec<Offer>, SourceError> {
    let is_wanted = |offer: &Offer| match offer.codec() {
        Some(Codec::Aac) => audio != Audio::None,
        Some(Codec::PcmAlaw | Codec::PcmMulaw) => audio == Audio::All,
        _ => false,
    };
    let (videos, others): (Vec<_>, Vec<_>) =
        offers.into_iter().filter(|offer| !offer.is_away).partition(|offer| offer.media == "video");
    let names: Vec<String> = videos.iter().map(Offer::name).collect();
    let video = videos.into_iter().find(|offer| offer.codec().is_some());
    let sound = others.into_iter().find(is_wanted);
    if video.is_none() && !names.is_empty() {
        let message = format!("the camera's video is {}: set the camera to H.264 or H.265", names.join(", "));
        return Err(SourceError::new(SourceReason::UnsupportedCodec, message));
    }
    if video.is_none() && sound.is_none() {
        return Err(SourceError::new(SourceReason::NoVideo, "the camera offers no video"));
    }
    Ok(video.into_iter().chain(sound).collect())
}

/// The medium that was chosen cannot be taken apart.
pub(super) fn unsupported(error: &UnsupportedPayload) -> SourceError {
    SourceError::new(SourceReason::UnsupportedCodec, shown(&error.to_string()))
}

/// What a server has answered to SETUP (RFC 2326 §12.39).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Transport {
    /// The channels of packets and of reports.
    pub(super) channels: Option<[u8; 2]>,
    /// The ports that datagrams come from.
    pub(super) server_ports: Option<[u16; 2]>,
    /// The address that they come from, where it is not the server's.
    pub(super) source: Option<std::net::IpAddr>,
}

impl Transport {
    /// Reads a `Transport` header. What is missing or broken is as it was asked for.
    pub(super) fn parse(header: &str) -> Self {
        let mut transport = Self::default();
        for (name, value) in header.split(';').filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "interleaved" => transport.channels = pair(value, |n: u8| n.checked_add(1)),
                "server_port" => transport.server_ports = pair(value, |n: u16| n.checked_add(1)),
                "source" => transport.source = value.trim().parse().ok(),
                _ => {}
            }
        }
        transport
    }
}

/// `4-5`, or `4` alone, which means the same.
fn pair<N: std::str::FromStr + Copy>(text: &str, next: impl Fn(N) -> Option<N>) -> Option<[N; 2]> {
    let (first, second) = text.split_once('-').unwrap_or((text, ""));
    let first: N = first.trim().parse().ok()?;
    Some([first, second.trim().parse().ok().or_else(|| next(first))?])
}

/// A session's name and after how many seconds it ends without a sign of life (RFC 2326 §12.37).
pub(super) fn session(header: &str) -> (String, Option<u64>) {
    let mut parts = header.split(';');
    let name = parts.next().unwrap_or_default().trim().to_owned();
    let timeout =
        parts.filter_map(|part| part.trim().strip_prefix("timeout=")).find_map(|s| s.trim().parse().ok());
    (name, timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(media: &str, audio: Audio) -> Result<Vec<String>, SourceError> {
        let offers = Description::parse(format!("v=0\n{media}").as_bytes()).unwrap().offers;
        choose(offers, audio).map(|offers| offers.iter().map(Offer::name).collect())
    }

    const MJPEG: &str = "m=video 0 RTP/AVP 26\n";
    const H265: &str = "m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n";
    const H264: &str = "m=video 0 RTP/AVP 97\na=rtpmap:97 H264/90000\n";
    const PCMU: &str = "m=audio 0 RTP/AVP 0\n";
    const AAC: &str = "m=audio 0 RTP/AVP 98\na=rtpmap:98 mpeg4-generic/48000\n";

    #[test]
    fn the_first_video_that_is_carried_and_the_sound_that_is_wanted_are_chosen() {
        let all = [PCMU, MJPEG, H265, AAC, H264].concat();
        assert_eq!(chosen(&all, Audio::Auto).unwrap(), ["H.265", "AAC"]);
        assert_eq!(chosen(&all, Audio::All).unwrap(), ["H.265", "pcmu"]);
        assert_eq!(chosen(&all, Audio::None).unwrap(), ["H.265"]);
        assert_eq!(chosen(AAC, Audio::Auto).unwrap(), ["AAC"], "sound alone");
    }

    #[test]
    fn sound_that_is_not_taken_is_said() {
        let of = |sound: &str| {
            left_out(&Description::parse(format!("v=0\n{H264}{sound}").as_bytes()).unwrap().offers)
        };
        assert_eq!(of(PCMU).as_deref(), Some(G711_NOT_WANTED));
        let opus = of("m=audio 0 RTP/AVP 98\na=rtpmap:98 opus/48000/2\n");
        assert!(opus.as_deref().unwrap().contains("opus"), "{opus:?}");
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_codec_that_is_not_carried_is_named() {
        let other = "m=video 0 RTP/AVP 96\na=rtpmap:96 VP8/90000\n";
        let error = chosen(&[MJPEG, other, AAC].concat(), Audio::Auto).unwrap_err();
        assert_eq!(error.reason, SourceReason::UnsupportedCodec);
        assert!(error.message.contains("MJPEG, vp8"), "{error}");
        assert!(error.message.contains("set the camera to H.264"), "{error}");
        for audio in [Audio::Auto, Audio::None] {
            assert_eq!(chosen(PCMU, audio).unwrap_err().reason, SourceReason::NoVideo);
        }
        let back = "m=audio 0 RTP/AVP 98\na=rtpmap:98 mpeg4-generic/48000\na=sendonly\n";
        assert_eq!(chosen(back, Audio::All).unwrap_err().reason, SourceReason::NoVideo);
    }

    #[test]
    fn answers_to_setup_are_read_as_cameras_write_them() {
        let tcp = Transport::parse("RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=4cacc3d1;mode=\"play\"");
        assert_eq!(tcp, Transport { channels: Some([2, 3]), ..Transport::default() });
        let udp = "RTP/AVP;unicast;client_port=5-6;server_port=49152; source=192.0.2.7";
        let expected = Transport {
            channels: None,
            server_ports: Some([49_152, 49_153]),
            source: Some([192, 0, 2, 7].into()),
        };
        assert_eq!(Transport::parse(udp), expected);
        assert_eq!(Transport::parse("interleaved=300-301;server_port=x"), Transport::default());
        assert_eq!(session(" 9a90de54; timeout=120"), ("9a90de54".to_owned(), Some(120)));
        assert_eq!(session("12345678"), ("12345678".to_owned(), None));
    }
}
