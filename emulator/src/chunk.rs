//! Fragments as `GetMedia` and `GetMediaForFragmentList` send them: one Matroska document each, laid out as in
//! captures of the real service.

use bytes::{BufMut, Bytes, BytesMut};
use streamfleet_media::mkv::ids;

use crate::store::{FragmentMeta, media::FragmentBytes};

/// EBML head and Segment of a chunk that holds no media, as the native producer writes them.
const EMPTY_HEAD: [u8; 52] = [
    0x1A, 0x45, 0xDF, 0xA3, 0xA3, 0x42, 0x86, 0x81, 0x01, 0x42, 0xF7, 0x81, 0x01, 0x42, 0xF2, 0x81, 0x04,
    0x42, 0xF3, 0x81, 0x08, 0x42, 0x82, 0x88, b'm', b'a', b't', b'r', b'o', b's', b'k', b'a', 0x42, 0x87,
    0x81, 0x02, 0x42, 0x85, 0x81, 0x02, 0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    0xFF,
];

const FRAGMENT_NUMBER: &str = "AWS_KINESISVIDEO_FRAGMENT_NUMBER";

/// The parts of a chunk up to and including the producer's tags.
pub fn media(meta: &FragmentMeta, bytes: FragmentBytes) -> [Bytes; 3] {
    let number = meta.number.to_string();
    let tags = tags(&[
        (FRAGMENT_NUMBER, &number),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", &decimal_seconds(meta.server_ms)),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", &decimal_seconds(meta.producer_ms)),
    ]);
    [bytes.head, tags, bytes.body]
}

/// What `GetMedia` writes behind a fragment: with it the chunk is complete.
pub fn trailer(meta: &FragmentMeta, now_ms: u64) -> Bytes {
    let behind = now_ms.saturating_sub(meta.server_ms + meta.length_ms);
    tags(&[
        ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", &behind.to_string()),
        ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", &meta.number.to_string()),
    ])
}

/// A chunk that says that the session ends with an error.
pub fn error(number: &str, id: u32, code: &str) -> Bytes {
    document(&[
        (FRAGMENT_NUMBER, number),
        ("AWS_KINESISVIDEO_ERROR_ID", &id.to_string()),
        ("AWS_KINESISVIDEO_ERROR_CODE", code),
    ])
}

/// The same for `GetMediaForFragmentList`, whose page names the tags otherwise than the vendor's parser reads them: both
/// are there.
pub fn list_error(number: &str, id: u32, code: &str, message: &str) -> Bytes {
    document(&[
        (FRAGMENT_NUMBER, number),
        ("AWS_KINESISVIDEO_ERROR_ID", &id.to_string()),
        ("AWS_KINESISVIDEO_ERROR_CODE", code),
        ("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", &id.to_string()),
        ("AWS_KINESISVIDEO_EXCEPTION_MESSAGE", message),
    ])
}

fn document(entries: &[(&str, &str)]) -> Bytes {
    let mut document = BytesMut::from(&EMPTY_HEAD[..]);
    document.put(tags(entries));
    document.freeze()
}

/// A `Tags` element with one `Tag`; all sizes in four bytes, as the service writes them.
fn tags(entries: &[(&str, &str)]) -> Bytes {
    let mut tag = BytesMut::new();
    for (name, value) in entries {
        let mut simple = BytesMut::new();
        element(&mut simple, ids::TAG_NAME, name.as_bytes());
        element(&mut simple, ids::TAG_STRING, value.as_bytes());
        element(&mut tag, ids::SIMPLE_TAG, &simple);
    }
    let mut content = BytesMut::new();
    element(&mut content, ids::TAG, &tag);
    let mut out = BytesMut::new();
    element(&mut out, ids::TAGS, &content);
    out.freeze()
}

fn element(out: &mut BytesMut, id: u32, content: &[u8]) {
    let id_bytes = id.to_be_bytes();
    out.put_slice(&id_bytes[id.leading_zeros() as usize / 8..]);
    // Tags are far below 2^28 bytes.
    out.put_u32(0x1000_0000 | content.len() as u32);
    out.put_slice(content);
}

/// Decimal seconds with three digits.
fn decimal_seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::FragmentNumber;

    #[test]
    fn the_tags_before_a_cluster_are_byte_for_byte_those_of_a_capture() {
        // The 247 bytes of `Tags` at offset 916 of the capture `output_get_media.mkv`.
        let number: FragmentNumber = "91343852333181432392682062607743920146159169392".parse().unwrap();
        let meta = FragmentMeta {
            number,
            producer_ms: 1_511_852_108_513,
            server_ms: 1_511_852_109_126,
            length_ms: 0,
            bytes: 0,
        };
        let [_, tags, _] = media(&meta, FragmentBytes { head: Bytes::new(), body: Bytes::new() });
        let expected = concat!(
            "1254c367100000eb7373100000e567c81000005b45a310000020",
            "4157535f4b494e45534953564944454f5f465241474d454e545f4e554d424552",
            "44871000002f",
            "3931333433383532333333313831343332333932363832303632363037373433393230313436313539313639333932",
        );
        assert!(hex::encode(&tags).starts_with(expected), "{}", hex::encode(&tags));
        assert_eq!(tags.len(), 8 + 0xeb);
        let behind = trailer(&meta, 1_511_852_109_126 + 15_858);
        assert_eq!(behind.len(), 8 + 0xa3);
    }
}
