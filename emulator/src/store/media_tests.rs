use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("emulator-media-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> Media {
        Media::open(self.0.clone(), 100).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn receive(media: &Media, server_ms: u64, body: &'static [u8]) -> FragmentNumber {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    let number = FragmentNumber::new(media.first_sequence() + given, server_ms, 0);
    let meta = FragmentMeta {
        number,
        producer_ms: server_ms - 5,
        server_ms,
        length_ms: 40,
        bytes: body.len() as u64,
    };
    media.receive(meta, FragmentBytes { head: Bytes::from_static(b"head"), body: Bytes::from_static(body) });
    number
}

fn store(media: &Media, server_ms: u64, body: &'static [u8]) -> FragmentNumber {
    let number = receive(media, server_ms, body);
    media.persist(number).unwrap();
    number
}

fn numbers(media: &Media) -> Vec<FragmentNumber> {
    media.list_stored(|_| true).into_iter().map(|meta| meta.number).collect()
}

fn body_of(media: &Media, number: FragmentNumber) -> Bytes {
    media.read(&media.stored(number).unwrap()).unwrap().body
}

fn cut(file: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - bytes).unwrap();
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_numbers_go_on() {
    let folder = Folder::new();
    let media = folder.open();
    let first = store(&media, 1000, b"one");
    let second = store(&media, 2000, b"two");
    receive(&media, 3000, b"not stored");
    drop(media);
    let media = folder.open();
    assert_eq!(numbers(&media), [first, second]);
    assert_eq!(body_of(&media, second), "two");
    let third = store(&media, 2500, b"three");
    assert!(third > second);
    drop(media);
    assert_eq!(numbers(&folder.open()), [first, second, third]);
}

#[test]
fn a_torn_last_record_is_dropped_and_all_before_it_kept() {
    for torn in 1..60 {
        let folder = Folder::new();
        let media = folder.open();
        let first = store(&media, 1000, b"one");
        let length = fs::metadata(&folder.files()[0]).unwrap().len();
        store(&media, 2000, b"the second one");
        drop(media);
        cut(&folder.files()[0], torn);
        let media = folder.open();
        assert_eq!(numbers(&media), [first], "{torn} bytes torn off");
        assert_eq!(body_of(&media, first), "one");
        assert_eq!(fs::metadata(&folder.files()[0]).unwrap().len(), length, "{torn} bytes torn off");
    }
}

#[test]
fn a_last_record_with_wrong_bytes_is_dropped() {
    let folder = Folder::new();
    let media = folder.open();
    let first = store(&media, 1000, b"one");
    store(&media, 2000, b"two");
    drop(media);
    let file = &folder.files()[0];
    let mut bytes = fs::read(file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(file, bytes).unwrap();
    assert_eq!(numbers(&folder.open()), [first]);
}

#[test]
fn readers_see_received_fragments_and_the_archive_only_stored_ones() {
    let folder = Folder::new();
    let media = folder.open();
    let stored = store(&media, 1000, b"one");
    let live = receive(&media, 2000, b"two");
    assert_eq!(media.next_after(None).unwrap().meta.number, stored);
    assert_eq!(media.next_after(Some(stored)).unwrap().meta.number, live);
    assert!(media.next_after(Some(live)).is_none());
    assert_eq!(media.latest().unwrap().meta.number, live);
    assert_eq!(numbers(&media), [stored]);
    assert!(media.stored(live).is_none());
    assert_eq!(media.find_first(|meta| meta.server_ms > 1500).unwrap().meta.number, live);
}

#[test]
fn a_purge_unlinks_files_in_which_nothing_is_left() {
    let folder = Folder::new();
    store(&folder.open(), 1000, b"one");
    let media = folder.open();
    let kept = store(&media, 2000, b"two");
    assert_eq!(folder.files().len(), 2);
    media.purge(1500).unwrap();
    assert_eq!(numbers(&media), [kept]);
    assert_eq!(folder.files().len(), 1);
    media.purge(9999).unwrap();
    assert_eq!(folder.files().len(), 1, "the file that is being written stays");
    let next = store(&media, 10_000, b"three");
    drop(media);
    let media = folder.open();
    assert!(numbers(&media).ends_with(&[next]));
}

#[test]
fn a_stream_without_retention_can_be_read_for_five_minutes() {
    let folder = Folder::new();
    let media = folder.open();
    receive(&media, 1000, b"one");
    let second = receive(&media, 200_000, b"two");
    media.trim_unstored(1000 + UNSTORED_MS_MAX + 1);
    assert_eq!(media.next_after(None).unwrap().meta.number, second);
}

#[test]
fn what_is_forgotten_is_seen_by_nobody() {
    let folder = Folder::new();
    let media = folder.open();
    let number = receive(&media, 1000, b"one");
    media.forget(number);
    assert!(media.next_after(None).is_none() && media.latest().is_none());
    assert!(matches!(media.persist(number), Err(PersistError::Unknown)));
}

#[test]
fn a_deleted_stream_stores_nothing_more() {
    let folder = Folder::new();
    let media = folder.open();
    let number = receive(&media, 1000, b"one");
    media.delete();
    assert!(matches!(media.persist(number), Err(PersistError::Deleted)));
    assert!(media.next_after(None).is_none());
}
