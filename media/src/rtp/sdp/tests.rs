use super::*;

const CAMERA: &str = "v=0\r\no=- nonsense\r\ns=\r\nt=0 0 0\r\na=control:rtsp://h/live/\r\na=range:npt=0-\r\n\
    m=video 0 RTP/AVP 96\r\nb=AS:5000\r\na=rtpmap:96 H264/90000 \r\na=framerate:0S\r\na=framerate:25\r\n\
    a=fmtp:96 profile-level-id=4d0020; packetization-mode=1;\
    sprop-parameter-sets=J00AII1qBQB5oQAAAwABAAADACiE,KO48gA==\r\na=control:trackID=1\r\na=sendonly\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/2\r\n\
    a=fmtp:97 streamtype=5;mode=AAC-hbr;sizelength=13;config=1410; profile=1;\r\na=control:trackID=2\r\n\
    m=audio 0 RTP/AVP 0\r\na=control:trackID=3\r\na=sendonly\r\n\
    m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=fmtp:107\r\n";

#[test]
fn a_camera_s_description_is_read_whatever_else_is_wrong_in_it() {
    let description = Description::parse(CAMERA.as_bytes()).unwrap();
    assert_eq!(description.control.as_deref(), Some("rtsp://h/live/"));
    let codecs: Vec<_> = description.offers.iter().map(Offer::codec).collect();
    assert_eq!(codecs, [Some(Codec::H264), Some(Codec::Aac), Some(Codec::PcmMulaw), None]);
    let [video, audio, back, _] = &description.offers[..] else { panic!("{description:?}") };
    assert_eq!((video.payload_type, video.rate, video.frame_rate), (96, 90_000, Some(25.0)));
    assert_eq!((video.control.as_deref(), video.is_away), (Some("trackID=1"), false));
    let sets = video.parameter_sets();
    assert_eq!(sets.iter().map(|set| set[0] & 0x1F).collect::<Vec<_>>(), [7, 8]);
    assert_eq!((audio.rate, audio.channels, audio.parameter("config")), (16_000, 2, Some("1410")));
    assert!(back.is_away && !audio.is_away);
}

#[test]
fn what_is_no_description_is_refused_and_one_without_media_is_not() {
    for text in ["no description", "", "a=control:*\r\nm=video 0 RTP/AVP 96\r\n"] {
        assert!(matches!(Description::parse(text.as_bytes()), Err(SdpError::Invalid(_))), "{text:?}");
    }
    assert_eq!(Description::parse(&vec![b'v'; BYTES_MAX + 1]), Err(SdpError::TooLong));
    assert_eq!(Description::parse(b"v=0\n").unwrap().offers, []);
}

#[test]
fn of_several_formats_the_first_that_is_carried_is_taken() {
    let text = "v=0\nm=video 0 RTP/AVP 97 98\na=rtpmap:97 VP8/90000\na=rtpmap:98 HEVC/90000\n\
        m=video 0 RTP/AVP 26\nm=video 0 RTP/AVP 99\nm=audio 0 RTP/AVP 100\na=rtpmap:100 L16/0\n";
    let offers = Description::parse(text.as_bytes()).unwrap().offers;
    let named: Vec<_> = offers.iter().map(|offer| (offer.payload_type, offer.name())).collect();
    assert_eq!(named, [(98, "H.265".to_owned()), (26, "MJPEG".to_owned())]);
}

#[test]
fn parameter_sets_without_padding_or_with_start_codes_are_found() {
    let text = "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\na=fmtp:96 sprop-vps=QAEM; sprop-sps=AAAAAUIBAQ;\
        sprop-pps=RAHB,!!!\n";
    let offers = Description::parse(text.as_bytes()).unwrap().offers;
    assert_eq!(offers[0].parameter_sets(), [vec![0x40, 1, 12], vec![0x42, 1, 1], vec![0x44, 1, 0xC1]]);
}

#[test]
fn controls_are_put_behind_their_base() {
    let cases = [
        ("rtsp://h/live/", Some("track1"), "rtsp://h/live/track1"),
        ("rtsp://h/live", Some("track1"), "rtsp://h/live/track1"),
        ("rtsp://h/live/", Some("/track1"), "rtsp://h/live/track1"),
        ("rtsp://h/cam?a=1&b=2", Some("trackID=0"), "rtsp://h/cam?a=1&b=2/trackID=0"),
        ("rtsp://h/live", Some("rtsp://other/x?a=1"), "rtsp://other/x?a=1"),
        ("rtsp://h/live", Some("*"), "rtsp://h/live"),
        ("rtsp://h/live", None, "rtsp://h/live"),
    ];
    for (base, control, expected) in cases {
        assert_eq!(resolve(base, control), expected);
    }
}
