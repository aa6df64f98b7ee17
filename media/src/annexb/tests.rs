use super::*;
use crate::container::tests::{byte_stream, clip};
use crate::track::Access;

#[test]
fn the_codec_is_that_of_the_first_parameter_set() {
    let h264 = [0, 0, 0, 1, 9, 0xF0, 0, 0, 1, 0x67, 100, 0, 40, 1];
    let h265 = [0, 0, 0, 1, 0x46, 1, 0x50, 0, 0, 1, 0x40, 1, 0x0C, 1];
    assert_eq!((codec_of(&h264), codec_of(&h265)), (Some(Codec::H264), Some(Codec::H265)));
    for other in [&[0, 0, 1, 0x67, 1, 0, 40][..], &[0, 0, 1, 0xB3, 1, 0, 40], &[0, 0, 1, 9, 0xF0], &[]] {
        assert_eq!(codec_of(other), None, "{other:?}");
    }
}

#[test]
fn a_delimiter_ends_the_picture_before_it_at_once() {
    let clip = clip(2);
    let mut pictures = Pictures::new(Codec::H264).unwrap();
    pictures.push(&byte_stream(&clip[0]));
    assert_eq!(pictures.next(), None, "another slice may follow");
    // The delimiter's two bytes are judged when it ends.
    pictures.push(&[0, 0, 0, 1, 9, 0xF0, 0, 0, 1]);
    let found = pictures.next().unwrap();
    assert_eq!((found.at, &found.picture.data), (1, &clip[0].data));
    let delimiter_at = byte_stream(&clip[0]).len() as u64 + 1;
    pictures.push(&byte_stream(&clip[1])[3..]);
    pictures.finish();
    assert_eq!(
        pictures.next().map(|found| (found.at, found.picture.data)),
        Some((delimiter_at, clip[1].data.clone()))
    );
}

#[test]
fn slices_of_a_picture_stay_together() {
    // first_mb_in_slice is 0 in the first of three slices.
    let picture = [0, 0, 1, 0x65, 0x88, 1, 0, 0, 1, 0x65, 0x42, 2, 0, 0, 1, 0x65, 0x43, 3];
    let mut pictures = Pictures::new(Codec::H264).unwrap();
    pictures.push(&[picture, picture].concat());
    pictures.finish();
    for at in [0, 18] {
        let found = pictures.next().unwrap();
        assert_eq!((found.at, found.picture.access, found.picture.data.len()), (at, Access::Start, 21));
    }
    assert_eq!(pictures.next(), None);
}

#[test]
fn a_picture_whose_beginning_is_missing_is_left_out_and_counted() {
    let clip = clip(3);
    let mut pictures = Pictures::new(Codec::H264).unwrap();
    pictures.push(&[0, 0, 1, 0x41, 0x42, 7]);
    pictures.push(&byte_stream(&clip[0]));
    pictures.push(&byte_stream(&clip[1])[..10]);
    pictures.interrupt(3);
    pictures.push(&byte_stream(&clip[2]));
    pictures.finish();
    let found: Vec<_> =
        std::iter::from_fn(|| pictures.next()).map(|found| (found.lost, found.picture.data)).collect();
    assert_eq!(found, [(1, clip[0].data.clone()), (3, clip[2].data.clone())]);
}
