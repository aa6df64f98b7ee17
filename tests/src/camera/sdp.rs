//! The session description that a camera answers DESCRIBE with (RFC 4566, RFC 6184 §8.2.1).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::clip::Clip;
use super::rtp::{CLOCK_RATE, PAYLOAD_TYPE};

/// What the one track is called, relative to the stream's URL.
pub(super) const TRACK: &str = "track1";

/// Describes a clip as one H.264 track.
pub(super) fn describe(clip: &Clip, picture_period: Duration) -> String {
    let profile = hex::encode_upper(clip.sps.get(1..4).unwrap_or_default());
    let (sps, pps) = (STANDARD.encode(&clip.sps), STANDARD.encode(&clip.pps));
    let rate = 1.0 / picture_period.as_secs_f64();
    [
        "v=0".to_owned(),
        "o=- 1 1 IN IP4 0.0.0.0".to_owned(),
        "s=Streamfleet test camera".to_owned(),
        "c=IN IP4 0.0.0.0".to_owned(),
        "t=0 0".to_owned(),
        "a=control:*".to_owned(),
        "a=range:npt=now-".to_owned(),
        format!("m=video 0 RTP/AVP {PAYLOAD_TYPE}"),
        format!("a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_RATE}"),
        format!(
            "a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sps},{pps}"
        ),
        format!("a=framerate:{rate:.3}"),
        format!("a=control:{TRACK}"),
        String::new(),
    ]
    .join("\r\n")
}
