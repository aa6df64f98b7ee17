use super::*;
use crate::container::tests::{RATE, SOUND, byte_stream, clip, sound};
use crate::track::{Access, Sample};

const MAP_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const SOUND_PID: u16 = 0x101;

/// Writes packets, as plainly as can be.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    counts: std::collections::BTreeMap<u16, u8>,
}

impl Writer {
    /// A unit that begins with a packet of its own; the last packet is filled up in front.
    fn unit(&mut self, pid: u16, mut bytes: &[u8]) {
        let mut starts = 0x40;
        while !bytes.is_empty() {
            let count = self.counts.entry(pid).or_insert(15);
            *count = (*count + 1) % 16;
            let taken = bytes.len().min(184);
            let stuffing = 184 - taken;
            let control = if stuffing > 0 { 0x30 } else { 0x10 };
            self.out.extend([0x47, starts | (pid >> 8) as u8, pid as u8, control | *count]);
            if stuffing > 0 {
                let mut field = vec![0xFF; stuffing];
                field[0] = stuffing as u8 - 1;
                if stuffing > 1 {
                    field[1] = 0;
                }
                self.out.extend(field);
            }
            self.out.extend(&bytes[..taken]);
            bytes = &bytes[taken..];
            starts = 0;
        }
    }

    fn table(&mut self, pid: u16, table: u8, content: &[u8]) {
        let length = (5 + content.len() + 4) as u8;
        let mut section = [&[table, 0xB0, length, 0, 1, 0xC1, 0, 0], content].concat();
        section.extend(section::checksum(&section).to_be_bytes());
        self.unit(pid, &[&[0], &section[..]].concat());
    }

    fn tables(&mut self, streams: &[(u8, u16)]) {
        self.table(PROGRAMS_PID, 0, &[0, 1, 0xE0 | (MAP_PID >> 8) as u8, MAP_PID as u8]);
        let entry = |(kind, pid): &(u8, u16)| [*kind, 0xE0 | (pid >> 8) as u8, *pid as u8, 0xF0, 0];
        let entries: Vec<u8> = streams.iter().flat_map(entry).collect();
        self.table(MAP_PID, 2, &[&[0xE1, 0, 0xF0, 0], &entries[..]].concat());
    }

    fn pes(&mut self, pid: u16, id: u8, time: u64, payload: &[u8]) {
        let field = [
            0x21 | (time >> 29 & 0x0E) as u8,
            (time >> 22) as u8,
            1 | (time >> 14) as u8 & 0xFE,
            (time >> 7) as u8,
            1 | (time << 1) as u8,
        ];
        let head = [&[0, 0, 1, id, 0, 0, 0x80, 0x80, 5][..], &field].concat();
        self.unit(pid, &[&head, payload].concat());
    }

    fn picture(&mut self, sample: &Sample, time: u64) {
        let payload = [&[0, 0, 0, 1, 9, 0xF0][..], &byte_stream(sample)].concat();
        self.pes(VIDEO_PID, 0xE0, time, &payload);
    }
}

fn adts(frame: &[u8]) -> Vec<u8> {
    let length = frame.len() + 7;
    // AAC-LC, index 11 (8,000 a second), one channel.
    let head = [
        0xFF,
        0xF1,
        0x40 | 11 << 2,
        0x40 | (length >> 11) as u8,
        (length >> 3) as u8,
        (length << 5) as u8 | 0x1F,
        0xFC,
    ];
    [&head, frame].concat()
}

/// The time of the first picture: the clock wraps in the middle of a second.
const START: u64 = (1 << 33) - 50_000;

fn time(number: u64) -> u64 {
    (START + number * 90_000 / u64::from(RATE)) % (1 << 33)
}

/// A transport stream of these pictures, with a frame of sound beside each.
pub(crate) fn stream(clip: &[Sample], with_sound: bool) -> Vec<u8> {
    let mut writer = Writer::default();
    let streams = [(KIND_H264, VIDEO_PID), (KIND_AAC_ADTS, SOUND_PID)];
    for (number, sample) in (0..).zip(clip) {
        if sample.access == Access::Start {
            writer.tables(&streams[..if with_sound { 2 } else { 1 }]);
        }
        writer.picture(sample, time(number));
        if with_sound {
            writer.pes(SOUND_PID, 0xC0, time(number), &adts(&sound(number as u8)));
        }
    }
    assert_eq!(adts(&[0])[2] & 0x3C, 11 << 2, "{SOUND:?}");
    writer.out
}

fn read(input: &[u8]) -> (Vec<Item>, Option<ContainerError>) {
    let mut demuxer = Demuxer::default();
    demuxer.push(input);
    demuxer.finish();
    let mut items = Vec::new();
    loop {
        match demuxer.next() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}

fn pictures(items: &[Item]) -> Vec<&Sample> {
    let samples =
        items.iter().filter_map(|item| if let Item::Sample(sample) = item { Some(sample) } else { None });
    samples.filter(|sample| sample.track == 0).collect()
}

#[test]
fn a_packet_that_is_missing_is_counted_with_the_picture_that_lacks_it() {
    let clip = clip(10);
    let whole = stream(&clip, false);
    let (items, _) = read(&whole);
    assert!(pictures(&items).iter().all(|sample| sample.lost == 0));
    for packet in 2..whole.len() / PACKET {
        let mut cut = whole.clone();
        cut.drain(packet * PACKET..(packet + 1) * PACKET);
        let (items, error) = read(&cut);
        assert_eq!(error, None);
        let pictures = pictures(&items);
        let (intact, damaged): (Vec<&Sample>, Vec<&Sample>) =
            pictures.iter().partition(|sample| sample.lost == 0);
        assert!(
            intact.iter().all(|sample| clip.iter().any(|put| put.data == sample.data)),
            "packet {packet}"
        );
        // Nothing can be seen to be missing before the first and behind the last.
        let is_seen = packet > 2 && packet + 1 < whole.len() / PACKET;
        assert_eq!(damaged.len(), usize::from(is_seen), "packet {packet}");
    }
}

#[test]
fn a_packet_that_comes_twice_changes_nothing() {
    let clip = clip(3);
    let whole = stream(&clip, false);
    for packet in 2..whole.len() / PACKET {
        let at = packet * PACKET;
        let twice = [&whole[..at + PACKET], &whole[at..]].concat();
        assert_eq!(read(&twice), read(&whole), "packet {packet}");
    }
}

#[test]
fn the_place_is_found_again_behind_foreign_bytes() {
    let clip = clip(10);
    let whole = stream(&clip, false);
    let packets = whole.len() / PACKET;
    for foreign in [1, 100, 187, 188, 5_000] {
        let at = packets / 2 * PACKET;
        let mixed = [&whole[..at], &vec![0x47; foreign][..], &whole[at..]].concat();
        let (items, error) = read(&mixed);
        assert_eq!(error, None);
        // The packet that is taken wrongly lacks in one picture; the one before may lack its end, for all that is known.
        assert!(pictures(&items).len() >= clip.len() - 2, "{foreign} foreign bytes");
        let mixed = [&whole[..at], &vec![1; foreign][..], &whole[at..]].concat();
        let expected = clip.len() - usize::from(foreign == 5_000);
        assert_eq!(pictures(&read(&mixed).0).len(), expected, "{foreign} other foreign bytes");
        let mixed = [&vec![1; foreign][..], &whole].concat();
        assert_eq!(pictures(&read(&mixed).0).len(), clip.len(), "{foreign} bytes before");
    }
    let lost = [&whole[..], &vec![0; 100_000], &whole].concat();
    let (items, error) = read(&lost);
    assert!(pictures(&items).len() >= clip.len() - 1);
    assert!(matches!(error, Some(ContainerError::Invalid { offset, .. }) if offset > 65_536), "{error:?}");
}

#[test]
fn pictures_that_begin_within_a_packet_of_others_are_placed_after_them() {
    let clip = clip(6);
    let mut writer = Writer::default();
    writer.tables(&[(KIND_H264, VIDEO_PID)]);
    writer.picture(&clip[0], 90_000);
    writer.picture(&clip[1], 93_000);
    // Two in one, and one that begins there and goes on in the next.
    let (head, tail) = (byte_stream(&clip[4])[..9].to_vec(), byte_stream(&clip[4])[9..].to_vec());
    let three = [byte_stream(&clip[2]), byte_stream(&clip[3]), head].concat();
    writer.pes(VIDEO_PID, 0xE0, 96_000, &three);
    writer.pes(VIDEO_PID, 0xE0, 105_000, &[tail, byte_stream(&clip[5])].concat());
    let (items, error) = read(&writer.out);
    assert_eq!(error, None);
    let found: Vec<_> = pictures(&items).iter().map(|sample| (sample.ticks, sample.data.clone())).collect();
    let ticks = [0, 3_000, 6_000, 9_000, 12_000, 15_000];
    let expected: Vec<_> = ticks.into_iter().zip(clip.iter().map(|sample| sample.data.clone())).collect();
    assert_eq!(found, expected);
}

#[test]
fn several_frames_of_sound_in_a_packet_follow_each_other() {
    let mut writer = Writer::default();
    writer.tables(&[(KIND_AAC_ADTS, SOUND_PID)]);
    let frames: Vec<u8> = (0..5).flat_map(|number| adts(&sound(number))).collect();
    let (first, rest) = frames.split_at(20);
    writer.pes(SOUND_PID, 0xC0, 90_000, first);
    writer.pes(SOUND_PID, 0xC0, 90_000 + 2 * 11_520, rest);
    let (items, error) = read(&writer.out);
    assert_eq!((error, &items[0]), (None, &Item::Tracks(vec![Codec::Aac])));
    let ticks: Vec<_> = items[1..]
        .iter()
        .map(|item| if let Item::Sample(sample) = item { sample.ticks } else { -1 })
        .collect();
    // 1,024 samples of 8,000 a second are 11,520 ticks.
    assert_eq!(ticks, [0, 11_520, 23_040, 34_560, 46_080]);
}

#[test]
fn programs_that_are_not_carried_are_named() {
    let program = |streams: &[(u8, u16)]| {
        let mut writer = Writer::default();
        writer.tables(streams);
        read(&writer.out).1
    };
    let error = program(&[(0x02, VIDEO_PID), (KIND_AAC_ADTS, SOUND_PID)]);
    assert!(
        matches!(&error, Some(ContainerError::UnsupportedCodec { codec, .. }) if codec == "MPEG-2"),
        "{error:?}"
    );
    let error = program(&[(0x06, VIDEO_PID)]);
    assert!(
        matches!(&error, Some(ContainerError::NoVideo { what, .. }) if what.contains("0x06")),
        "{error:?}"
    );
    let packet = [&[0x47, 0x1F, 0xFF, 0x10][..], &[0xFF; 184]].concat();
    let error = read(&packet.repeat(10)).1;
    assert!(matches!(error, Some(ContainerError::NoVideo { .. })), "{error:?}");
}
