//! What a parser would see on a good day, for the fuzzer to spoil.

mod containers;
mod network;

use bytes::{Bytes, BytesMut};
use streamfleet_media::ack::{Ack, AckKind, ErrorId};
use streamfleet_media::h264::AvcConfiguration;
use streamfleet_media::nal::nals_avcc;
use streamfleet_media::pattern::Pattern;
use streamfleet_media::spool::{Head, SegmentHeader, encode_parameters};
use streamfleet_media::track::{Access, AccessUnit, CodecParameters, Sample, TrackParameters};

/// A seed: its target, its name, its bytes.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// All seeds.
pub fn all() -> Vec<Seed> {
    let mut seeds = vec![
        ("acknowledgements", "life", acknowledgements()),
        ("spool", "segment", [&[0][..], &segment()].concat()),
        ("spool", "records", [&[1][..], b"\x00\x03abc\x01\x00\x02\x04data\x02\x02more"].concat()),
        ("configuration", "one", CONFIGURATION.as_bytes().to_vec()),
        ("configuration", "files", FILES.as_bytes().to_vec()),
    ];
    seeds.extend(parameters());
    seeds.extend(network::seeds());
    seeds.extend(containers::seeds());
    seeds
}

/// Some pictures of the test pattern.
fn clip(pictures: usize) -> (TrackParameters, Vec<Sample>) {
    let mut pattern = Pattern::new(160, 96, 10).expect("the size is allowed");
    let samples = (0..pictures as i64).map(|n| pattern.picture(n, 1_700_000_000_000 + n * 100)).collect();
    (pattern.parameters().clone(), samples)
}

/// The NAL units of a picture, its parameter sets first where decoding can start.
fn nals(parameters: &TrackParameters, sample: &Sample) -> Vec<Bytes> {
    let sets = AvcConfiguration::parse(&parameters.private).expect("the pattern's record is good");
    let sets = sets.sps.into_iter().chain(sets.pps).filter(|_| sample.access == Access::Start);
    sets.chain(nals_avcc(&sample.data).map(Bytes::copy_from_slice)).collect()
}

/// Pictures with start codes.
fn byte_stream(parameters: &TrackParameters, samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::new();
    for nal in samples.iter().flat_map(|sample| nals(parameters, sample)) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(&nal);
    }
    out
}

fn acknowledgements() -> Vec<u8> {
    let number =
        || "91343852333181432392682062622220590765191907586".parse().expect("it is a fragment number");
    let mut text = String::from("\x46");
    for kind in [AckKind::Buffering, AckKind::Received, AckKind::Persisted] {
        text.push_str(&Ack::of(kind, 1_700_000_000_000, number()).to_line());
    }
    text.push_str(&Ack::idle().to_line());
    text.push_str(&Ack::failure(ErrorId::from_code(4_006), Some(5), Some(number())).to_line());
    text.into_bytes()
}

fn segment() -> Vec<u8> {
    let (parameters, samples) = clip(3);
    let header =
        SegmentHeader { feed: "a".to_owned(), arn: "arn:x".to_owned(), retention_hours: 24, sequence: 7 };
    let mut out = BytesMut::from(&header.encode()[..]);
    let payload = encode_parameters(&CodecParameters { tracks: vec![parameters] });
    out.extend_from_slice(&Head::parameters(&payload).encode());
    out.extend_from_slice(&payload);
    out.extend_from_slice(&Head::group(10).encode());
    for (time_ms, sample) in (0..).zip(samples) {
        let data = sample.data.slice(..sample.data.len().min(300));
        let unit = AccessUnit { track: 0, time_ms, key: time_ms == 0, data };
        out.extend_from_slice(&Head::unit(&unit).encode());
        out.extend_from_slice(&unit.data);
    }
    out.to_vec()
}

fn parameters() -> Vec<Seed> {
    let (parameters, samples) = clip(1);
    let sets = nals(&parameters, &samples[0]);
    let with = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    vec![
        ("parameters", "avcc", with(0, &parameters.private)),
        ("parameters", "sps", with(1, &sets[0])),
        ("parameters", "sets", with(2, &[&sets[0][..], &[0xFF], &sets[1][..]].concat())),
        ("parameters", "hvcc", with(3, &hvcc())),
        ("parameters", "h265-sps", with(4, H265_SPS)),
        ("parameters", "h265-sets", with(5, &[H265_VPS, &[0xFF], H265_SPS, &[0xFF], H265_PPS].concat())),
        ("parameters", "aac", with(6, &[0x11, 0x90])),
        ("parameters", "adts", with(6, &[0xFF, 0xF1, 0x4C, 0x80, 0x01, 0xBF, 0xFC, 0x21, 0x00])),
        ("parameters", "sei", with(7, &streamfleet_media::h264::sei::build_picture_number(7))),
    ]
}

/// Parameter sets of H.265 that x265 wrote: Main, 640 by 360.
const H265_VPS: &[u8] = &[
    0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
    0x00, 0x03, 0x00, 0x3f, 0x95, 0x98, 0x09,
];
const H265_SPS: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
    0x3f, 0xa0, 0x05, 0x02, 0x01, 0x69, 0x65, 0x95, 0x9a, 0x49, 0x32, 0xbc, 0x04, 0x04, 0x00, 0x00, 0x03,
    0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0x64, 0x20,
];
const H265_PPS: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];

fn hvcc() -> Vec<u8> {
    let mut sets = streamfleet_media::h265::ParameterSets::new();
    for nal in [H265_VPS, H265_SPS, H265_PPS] {
        sets.update(nal);
    }
    sets.hvcc().map(|record| record.to_vec()).unwrap_or_default()
}

const CONFIGURATION: &str = "schemaVersion: 1
process: {memoryBudgetBytes: 1000000, spool: {path: /spool, maxBytes: 5, mode: Journal}, uplink: {catchUpBytesPerSecond: 9}}
feeds:
- id: a
  name: ns/a
  revision: '1'
  source: {rtsp: {url: \"rtsp://door.example/live\", transport: Udp, tls: {insecureSkipVerify: true}}}
  credentials: {usernameFile: /u, passwordFile: /p}
  stream: {arn: \"arn:aws:kinesisvideo:eu-west-1:1:stream/x/1\", region: eu-west-1, endpoint: \"https://x\", roleArn: r}
  storedAt: Received
  fragment: {targetSeconds: 2}
  audio: Auto
  timestamps: Camera
  overflow: DropOldest
  offlineAfterSeconds: 30
";

const FILES: &str = "{\"schemaVersion\": 1, \"feeds\": [
  {\"id\": \"f\", \"source\": {\"file\": {\"path\": \"/a.mkv\", \"container\": \"Mkv\", \"loop\": true, \"frameRate\": 25}},
   \"stream\": {\"arn\": \"arn:aws:kinesisvideo:eu-west-1:1:stream/y/1\", \"region\": \"eu-west-1\"}},
  {\"id\": \"t\", \"source\": {\"testPattern\": {\"width\": 320}},
   \"stream\": {\"arn\": \"arn:aws:kinesisvideo:eu-west-1:1:stream/z/1\", \"region\": \"eu-west-1\"}}]}
";
