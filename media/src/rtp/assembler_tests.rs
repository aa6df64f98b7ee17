//! Which packets become which pictures, and when.

use super::receiver::{Received, Receiver};
use super::sdp::{Description, Offer};
use super::{Packet, sequence};
use crate::track::{Access, Sample};

const OTHER_SPS: &[u8] = &[
    0x67, 0x42, 0xC0, 0x0D, 0xD9, 0x01, 0x60, 0x96, 0xC0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xC8, 0x3C, 0x50,
    0xA9, 0x20,
];
const PPS: &[u8] = &[0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0];

/// The heads of a first slice of an IDR picture and of another, and of further slices.
const IDR: [u8; 2] = [0x65, 0x88];
const P: [u8; 2] = [0x41, 0x9A];
const IDR_MORE: [u8; 2] = [0x65, 0x03];
const P_MORE: [u8; 2] = [0x41, 0x03];

fn offer(description: &str) -> Offer {
    let mut offers = Description::parse(format!("v=0\n{description}").as_bytes()).unwrap().offers;
    offers.remove(0)
}

/// A camera with H.264 whose parameter sets are known.
struct Camera {
    receiver: Receiver<u32>,
    sequence: u16,
    out: Vec<(Sample, u32)>,
}

impl Camera {
    fn new() -> Self {
        let offer = offer(
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
             a=fmtp:96 sprop-parameter-sets=Z2QAM6zoAoALWQ==,aO48MA==\n",
        );
        Self { receiver: Receiver::new(0, &offer).unwrap(), sequence: 65_530, out: Vec::new() }
    }

    /// Sends a packet of picture number `time`, which is also what is noted of it.
    fn send(&mut self, time: u32, marker: bool, payload: &[u8]) -> Received {
        self.sequence = self.sequence.wrapping_add(1);
        let Self { sequence, .. } = *self;
        let packet = Packet { marker, payload_type: 96, sequence, timestamp: time * 3_600, ssrc: 7, payload };
        self.receiver.push(&packet, time, &mut self.out)
    }

    fn lose(&mut self, packets: u16) {
        self.sequence = self.sequence.wrapping_add(packets);
    }

    /// What has come out: the place in time, whether decoding can start, the packets lost, the bytes.
    fn given(&mut self) -> Vec<(i64, bool, u32, Vec<u8>)> {
        let given = self.out.drain(..);
        given
            .map(|(sample, note)| {
                assert_eq!(i64::from(note), sample.ticks / 3_600, "the note is the first packet's");
                (sample.ticks / 3_600, sample.access == Access::Start, sample.lost, sample.data.to_vec())
            })
            .collect()
    }

    /// The places in time alone.
    fn times(&mut self) -> Vec<i64> {
        self.given().into_iter().map(|(time, ..)| time).collect()
    }

    fn released(&mut self) -> Vec<i64> {
        self.receiver.release(&mut self.out);
        self.times()
    }

    fn closed(&mut self) -> Vec<i64> {
        self.receiver.close(&mut self.out);
        self.times()
    }
}

#[test]
fn single_slices_are_given_out_at_their_marker_once_the_camera_is_known() {
    let mut camera = Camera::new();
    camera.send(0, true, &IDR);
    assert!(camera.released().is_empty(), "more slices may come");
    camera.send(1, true, &P);
    assert_eq!(camera.released(), [0, 1]);
    camera.send(2, true, &P);
    camera.send(3, true, &P);
    assert_eq!(camera.released(), [2, 3]);
    assert!(camera.closed().is_empty());
}

#[test]
fn units_of_all_kinds_become_one_picture_with_lengths() {
    let mut camera = Camera::new();
    // A delimiter, parameter sets and SEI together; then a slice in three fragments.
    let mut stap = vec![24, 0, 2, 0x09, 0xF0, 0, 24];
    stap.extend_from_slice(OTHER_SPS);
    stap.extend_from_slice(&[0, 6]);
    stap.extend_from_slice(PPS);
    stap.extend_from_slice(&[0, 3, 6, 5, 1]);
    camera.send(0, false, &stap);
    camera.send(0, false, &[0x7C, 0x85, 0x88, 1]);
    camera.send(0, false, &[0x7C, 0x05, 2, 3]);
    camera.send(0, true, &[0x7C, 0x45, 4]);
    camera.send(1, true, &P);
    let (sample, _) = &camera.out[0];
    assert_eq!(sample.data[..], [0, 0, 0, 3, 6, 5, 1, 0, 0, 0, 6, 0x65, 0x88, 1, 2, 3, 4]);
    let parameters = sample.parameters.as_ref().unwrap();
    assert!(
        parameters.private.windows(24).any(|bytes| bytes == OTHER_SPS),
        "in-band sets are the ones in force"
    );
}

#[test]
fn a_camera_that_marks_each_slice_has_whole_pictures_all_the_same() {
    let mut camera = Camera::new();
    for time in 0..3 {
        camera.send(time, true, if time == 0 { &IDR } else { &P });
        assert!(camera.released().iter().all(|given| *given < i64::from(time)));
        camera.send(time, true, if time == 0 { &IDR_MORE } else { &P_MORE });
    }
    assert!(camera.released().is_empty(), "the last one waits for the next");
    camera.send(3, true, &P);
    assert_eq!(camera.given(), [(2, false, 0, vec![0, 0, 0, 2, 0x41, 0x9A, 0, 0, 0, 2, 0x41, 3])]);
}

#[test]
fn the_last_picture_is_left_out_where_its_last_slices_did_not_come() {
    let mut camera = Camera::new();
    for time in 0..2 {
        camera.send(time, true, if time == 0 { &IDR } else { &P });
        camera.send(time, true, if time == 0 { &IDR_MORE } else { &P_MORE });
    }
    camera.send(2, true, &P);
    assert_eq!(camera.closed(), [0, 1]);
    let mut camera = Camera::new();
    camera.send(0, true, &IDR);
    camera.send(1, false, &P);
    assert_eq!(camera.closed(), [0], "no marker");
}

#[test]
fn a_camera_with_two_slices_that_begins_to_mark_each_loses_nothing() {
    let mut camera = Camera::new();
    for time in 0..3 {
        camera.send(time, false, if time == 0 { &IDR } else { &P });
        camera.send(time, true, if time == 0 { &IDR_MORE } else { &P_MORE });
    }
    assert_eq!(camera.released(), [0, 1, 2]);
    camera.send(3, true, &P);
    assert!(camera.released().is_empty(), "a slice is missing yet");
    camera.send(3, true, &P_MORE);
    camera.send(4, true, &P);
    let given = camera.given();
    assert_eq!((given.len(), given[0].3.len()), (1, 12));
}

#[test]
fn slices_that_are_marked_after_other_parameter_sets_came_lose_nothing() {
    let mut camera = Camera::new();
    for time in 0..3 {
        camera.send(time, true, if time == 0 { &IDR } else { &P });
    }
    assert_eq!(camera.released(), [0, 1, 2]);
    // Another resolution with two slices, each marked.
    camera.send(3, false, OTHER_SPS);
    camera.send(3, false, PPS);
    camera.send(3, true, &IDR);
    assert!(camera.released().is_empty());
    camera.send(3, true, &IDR_MORE);
    camera.send(4, true, &P);
    let (sample, _) = &camera.out[0];
    assert_eq!((sample.data.len(), sample.lost, sample.parameters.is_some()), (12, 0, true));
}

#[test]
fn what_follows_a_piece_that_was_given_out_says_that_something_is_missing() {
    let mut camera = Camera::new();
    for time in 0..3 {
        camera.send(time, true, if time == 0 { &IDR } else { &P });
    }
    assert_eq!(camera.released(), [0, 1, 2]);
    camera.send(2, true, &P_MORE);
    camera.send(3, true, &P);
    assert!(camera.released().is_empty(), "slices are marked");
    camera.send(3, true, &P_MORE);
    camera.send(4, true, &P);
    let given = camera.given();
    assert_eq!((given[0].0, given[0].2, given[0].3.len()), (3, 1, 12));
}

#[test]
fn a_picture_with_a_lost_packet_is_left_out_and_the_next_one_says_so() {
    let slice = |camera: &mut Camera, time, lost_at: Option<u32>| {
        for (n, payload) in [[0x7C, 0x81, 0x9A, 1], [0x7C, 0x01, 2, 3], [0x7C, 0x41, 4, 5]].iter().enumerate()
        {
            if lost_at == Some(n as u32) {
                camera.lose(1);
            } else {
                camera.send(time, n == 2, payload);
            }
        }
    };
    for lost_at in 0..3 {
        let mut camera = Camera::new();
        camera.send(0, true, &IDR);
        slice(&mut camera, 1, None);
        slice(&mut camera, 2, Some(lost_at));
        slice(&mut camera, 3, None);
        slice(&mut camera, 4, None);
        let given = camera.given();
        let times: Vec<_> = given.iter().map(|(time, _, lost, _)| (*time, *lost)).collect();
        assert_eq!(times, [(0, 0), (1, 0), (3, 1)], "lost packet {lost_at}");
    }
}

#[test]
fn a_lost_first_slice_is_seen_by_the_second() {
    let mut camera = Camera::new();
    for time in 0..2 {
        camera.send(time, false, if time == 0 { &IDR } else { &P });
        camera.send(time, true, if time == 0 { &IDR_MORE } else { &P_MORE });
    }
    camera.lose(1);
    camera.send(2, true, &P_MORE);
    camera.send(3, true, &P);
    assert_eq!(camera.times(), [0, 1]);
}

#[test]
fn a_loss_between_pictures_harms_neither() {
    let mut camera = Camera::new();
    camera.send(0, true, &IDR);
    camera.send(1, true, &P);
    camera.lose(3);
    camera.send(2, true, &P);
    camera.send(3, true, &P);
    let lost: Vec<_> = camera.given().iter().map(|(time, _, lost, _)| (*time, *lost)).collect();
    assert_eq!(lost, [(0, 0), (1, 0), (2, 3)]);
}

#[test]
fn pictures_without_marker_or_last_fragment_s_flag_are_ended_by_the_next() {
    let mut camera = Camera::new();
    camera.send(0, false, &IDR);
    camera.send(1, false, &P);
    camera.send(2, false, &[0x7C, 0x81, 0x9A, 1]);
    camera.send(2, true, &[0x7C, 0x01, 2]);
    camera.send(3, false, &P);
    assert_eq!(camera.times(), [0, 1, 2]);
}

#[test]
fn start_codes_within_a_unit_separate_several() {
    let mut camera = Camera::new();
    let mut several = OTHER_SPS.to_vec();
    several.extend_from_slice(&[0, 0, 0, 1]);
    several.extend_from_slice(PPS);
    several.extend_from_slice(&[0, 0, 1, 0x65, 0x88, 9]);
    camera.send(0, true, &several);
    camera.send(1, true, &[0, 0, 0, 1, 0x41, 0x9A]);
    camera.send(2, true, &P);
    let given = camera.given();
    assert_eq!(given[0].3, [0, 0, 0, 3, 0x65, 0x88, 9]);
    assert_eq!(given[1].3, [0, 0, 0, 2, 0x41, 0x9A]);
}

#[test]
fn parameter_sets_with_the_timestamp_of_the_picture_before_belong_to_the_next() {
    let mut camera = Camera::new();
    camera.send(0, true, &IDR);
    camera.send(1, true, &P);
    camera.send(1, false, OTHER_SPS);
    camera.send(1, true, PPS);
    camera.send(2, true, &IDR);
    camera.send(3, true, &P);
    let told: Vec<_> = camera.out.iter().map(|(sample, _)| sample.parameters.is_some()).collect();
    assert_eq!(told, [true, false, true]);
    let ticks: Vec<_> = camera.out.iter().map(|(sample, _)| sample.ticks).collect();
    assert_eq!(ticks, [0, 3_600, 7_200]);
}

#[test]
fn what_is_malformed_spoils_its_picture_alone() {
    let mut camera = Camera::new();
    camera.send(0, true, &IDR);
    let broken: [&[u8]; 5] = [&[24, 0, 9, 1], &[0x7C], &[25, 1, 2], &[0x5D, 1], &[0x00, 1, 2]];
    for (time, payload) in (1..).zip(broken) {
        camera.send(time * 2, false, &P);
        assert_eq!(camera.send(time * 2, true, payload), Received::Malformed, "{payload:?}");
        camera.send(time * 2 + 1, true, &P);
    }
    camera.send(20, true, &P);
    assert_eq!(camera.times(), [0, 3, 5, 7, 9, 11]);
}

#[test]
fn other_payload_types_doubles_and_empty_packets_are_ignored() {
    let mut camera = Camera::new();
    camera.send(0, true, &IDR);
    let packet = Packet {
        marker: true,
        payload_type: 96,
        sequence: camera.sequence,
        timestamp: 0,
        ssrc: 7,
        payload: &IDR,
    };
    assert_eq!(camera.receiver.push(&packet, 0, &mut camera.out), Received::Ignored);
    let other = Packet { payload_type: 13, sequence: camera.sequence.wrapping_add(1), ..packet };
    assert_eq!(camera.receiver.push(&other, 0, &mut camera.out), Received::Ignored);
    assert_eq!(camera.send(1, true, &[]), Received::Ignored);
    camera.send(2, true, &P);
    assert_eq!(camera.given(), [(0, true, 0, vec![0, 0, 0, 2, 0x65, 0x88])]);
    let mut sequence = sequence::Sequence::default();
    sequence.take(&packet);
    assert_eq!(sequence.take(&packet), sequence::Arrival::Old);
}

#[test]
fn a_sender_that_begins_anew_is_followed() {
    let mut camera = Camera::new();
    camera.send(0, true, &IDR);
    camera.send(1, true, &P);
    let packet =
        Packet { marker: true, payload_type: 96, sequence: 40_000, timestamp: 5, ssrc: 9, payload: &IDR };
    assert_eq!(camera.receiver.push(&packet, 0, &mut camera.out), Received::Media);
    let next = Packet { sequence: 40_001, timestamp: 3_605, payload: &P, ..packet };
    assert_eq!(camera.receiver.push(&next, 0, &mut camera.out), Received::Media);
    let given: Vec<_> = camera.out.iter().map(|(sample, _)| (sample.access, sample.lost)).collect();
    assert_eq!(given, [(Access::Start, 0), (Access::Continue, 0), (Access::Start, 1)]);
}
