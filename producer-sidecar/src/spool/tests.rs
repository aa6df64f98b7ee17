use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use streamfleet_contract::{SpoolMode, SpoolState, SpoolStatus};
use streamfleet_media::spool::Head;
use streamfleet_media::track::{AccessUnit, Codec, CodecParameters, TrackParameters};
use tokio::time::timeout;

use super::folder::{Folder, Owner, Part, SEGMENT_BYTES, folder_bytes};
use super::leftovers::Leftovers;
use super::replay::{Replayed, replay};
use super::{Fault, Job, Opened, Reply, Spool};
use crate::board::Board;
use crate::buffer::pool::Pool;
use crate::metrics::Metrics;

/// A folder of its own for each test, gone when the test is.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("streamfleet-spool-{}-{name}", std::process::id()));
        // Of an earlier run that was killed.
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn settings(&self, max_bytes: u64) -> streamfleet_contract::Spool {
        streamfleet_contract::Spool {
            path: self.0.display().to_string(),
            max_bytes,
            mode: SpoolMode::Journal,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn owner(arn: &str) -> Owner {
    Owner { feed: "shop/door".to_owned(), arn: arn.to_owned(), retention_hours: 24 }
}

fn codec(private: &'static [u8]) -> Arc<CodecParameters> {
    let track = TrackParameters::video(Codec::H264, Bytes::from_static(private), 640, 360);
    Arc::new(CodecParameters::single(track))
}

fn units(group: u64, size: usize) -> Vec<AccessUnit> {
    let unit = |n: u64| AccessUnit {
        track: 0,
        time_ms: (group * 1_000 + n * 100) as i64,
        key: n == 0,
        data: Bytes::from(vec![(group + n) as u8; size]),
    };
    (0..10).map(unit).collect()
}

fn part(group: u64, size: usize) -> Part {
    Part { group, begins: Some(codec(b"a")), units: units(group, size) }
}

/// A folder as a process finds it.
fn open(place: &Path, pool: &Arc<Pool>, arn: &str) -> (Folder, Vec<u64>) {
    let path = place.join(owner(arn).folder_name());
    let mut share = pool.share();
    if path.is_dir() {
        share.take(folder_bytes(&path));
    }
    let replayed = replay(&path, &owner(arn)).unwrap();
    let waiting = replayed.waiting().iter().map(|group| group.id).collect();
    (Folder::new(path, owner(arn), SpoolMode::Journal, share, &replayed), waiting)
}

fn files(place: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(place).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let mut files: Vec<_> = folders
        .flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten().map(|file| file.path()))
        .collect();
    files.sort();
    files
}

#[test]
fn what_was_written_is_read_by_the_next_process_and_what_is_done_is_not() {
    let place = Place::new("next");
    let pool = Pool::new(100 << 20);
    let (mut folder, waiting) = open(&place.0, &pool, "arn:a");
    assert_eq!(waiting, [] as [u64; 0]);
    for group in 1..=4 {
        folder.append(&part(group, 1_000)).unwrap();
    }
    folder.append(&Part { begins: None, units: units(4, 7), ..part(4, 0) }).unwrap();
    folder.done(1).unwrap();
    folder.done(3).unwrap();
    // Killed: nothing is closed.
    std::mem::forget(folder);
    let (folder, waiting) = open(&place.0, &pool, "arn:a");
    assert_eq!(waiting, [2, 4]);
    assert_eq!(folder.load(2).unwrap(), units(2, 1_000));
    assert_eq!(folder.load(4).unwrap(), [units(4, 1_000), units(4, 7)].concat());
    assert_eq!(folder.load(1), Err(Fault::Incomplete));
}

#[test]
fn a_last_write_that_is_torn_anywhere_costs_that_unit_alone() {
    let place = Place::new("torn");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    folder.append(&part(1, 50)).unwrap();
    folder.append(&part(2, 50)).unwrap();
    drop(folder);
    let file = files(&place.0).remove(0);
    let whole = fs::read(&file).unwrap();
    for cut in 1..200 {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let (folder, waiting) = open(&place.0, &pool, "arn:a");
        assert_eq!(waiting, [1, 2]);
        let kept = 9 - (cut - 1) / 74;
        assert_eq!(folder.load(2).unwrap(), units(2, 50)[..kept], "{cut} bytes are missing");
        assert_eq!(folder.load(1).unwrap(), units(1, 50));
    }
}

#[test]
fn a_successor_writes_behind_nothing_that_is_torn() {
    let place = Place::new("behind");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    folder.append(&part(1, 50)).unwrap();
    drop(folder);
    let file = files(&place.0).remove(0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    folder.append(&part(2, 50)).unwrap();
    drop(folder);
    let (folder, waiting) = open(&place.0, &pool, "arn:a");
    assert_eq!(waiting, [1, 2]);
    assert_eq!((folder.load(1).unwrap().len(), folder.load(2).unwrap().len()), (9, 10));
}

#[test]
fn room_comes_back_by_segments_and_the_newest_stays_to_tell_the_time() {
    let place = Place::new("room");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    let each = SEGMENT_BYTES as usize / 20;
    for group in 1..=6 {
        folder.append(&part(group, each)).unwrap();
    }
    assert_eq!(files(&place.0).len(), 3, "two groups and a little fill a segment");
    let full = pool.used();
    folder.done(2).unwrap();
    assert_eq!(pool.used(), full);
    for group in [1, 3, 4, 5, 6] {
        folder.done(group).unwrap();
    }
    assert_eq!(files(&place.0).len(), 1);
    assert_eq!(pool.used(), folder_bytes(&place.0.join(owner("arn:a").folder_name())));
    assert!(pool.used() < full / 2);
    drop(folder);
    let replayed = replay(&place.0.join(owner("arn:a").folder_name()), &owner("arn:a")).unwrap();
    assert_eq!((replayed.waiting().len(), replayed.floor_ms(), replayed.last_id()), (0, Some(6_900), 6));
}

#[test]
fn what_is_behind_damage_in_a_segment_is_told_by_its_times_and_a_torn_write_is_no_damage() {
    let place = Place::new("behind-damage");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    // Two groups and a little fill a segment: 1 to 3, 4 to 6, 7.
    for group in 1..=7 {
        folder.append(&part(group, SEGMENT_BYTES as usize / 24)).unwrap();
    }
    drop(folder);
    let path = place.0.join(owner("arn:a").folder_name());
    let whole = replay(&path, &owner("arn:a")).unwrap();
    let found: Vec<Vec<u64>> =
        whole.segments.iter().map(|found| found.groups.iter().map(|group| group.id).collect()).collect();
    assert_eq!((found, whole.damaged.len()), (vec![vec![1, 2, 3], vec![4, 5, 6], vec![7]], 0));
    let files = files(&place.0);
    let told = |file: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let before = fs::read(file).unwrap();
        let mut bytes = before.clone();
        change(&mut bytes);
        fs::write(file, bytes).unwrap();
        let replayed = replay(&path, &owner("arn:a")).unwrap();
        fs::write(file, before).unwrap();
        let spans: Vec<_> = replayed.damaged.iter().flat_map(|damage| replayed.lost_spans(damage)).collect();
        let waiting: Vec<_> = replayed.waiting().iter().map(|group| group.id).collect();
        (replayed.damaged.len(), spans, waiting, replayed.floor_ms(), replayed.last_id())
    };
    let head_of = |segment: usize, group: usize| whole.segments[segment].groups[group].offset as usize;
    let all = Some(7_900);
    let at = head_of(0, 1);
    let zeros = |bytes: &mut Vec<u8>| bytes[at..at + 8].fill(0);
    assert_eq!(told(&files[0], &zeros), (1, vec![(1_900, 4_000)], vec![1, 4, 5, 6, 7], all, 7));
    let done = |bytes: &mut Vec<u8>| {
        zeros(bytes);
        bytes[head_of(0, 2) + Head::MARK_AT as usize] = Head::MARK_DONE;
    };
    assert_eq!(told(&files[0], &done).1, [(1_900, 2_900)], "what is stored is not lost");
    let to_the_end = |bytes: &mut Vec<u8>| bytes[at..].fill(0);
    assert_eq!(told(&files[0], &to_the_end).1, [(1_900, 4_000)], "though nothing is seen of it");
    let at = head_of(2, 0) + 24 * 3 + SEGMENT_BYTES as usize / 24;
    let newest = |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    assert_eq!(told(&files[2], &newest), (1, vec![(7_000, 7_900)], vec![1, 2, 3, 4, 5, 6, 7], all, 7));
    let torn = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 3);
    assert_eq!(told(&files[2], &torn).0, 0);
    assert_eq!(told(&files[0], &torn).0, 0, "one that was the newest once");
}

#[test]
fn its_size_is_never_passed_whatever_is_written() {
    let place = Place::new("size");
    let max = 1_000_000;
    let pool = Pool::new(max);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    let mut random = fastrand::Rng::with_seed(3);
    let (mut full, mut waiting) = (0, Vec::new());
    for group in 1..400 {
        match folder.append(&part(group, random.usize(1..20_000))) {
            Ok(()) => waiting.push(group),
            Err(fault) => {
                assert_eq!(fault, Fault::Full);
                full += 1;
                assert!(!waiting.is_empty(), "full though nothing waits");
                folder.done(waiting.remove(random.usize(0..waiting.len()))).unwrap();
            }
        }
        let path = place.0.join(owner("arn:a").folder_name());
        assert_eq!(pool.used(), folder_bytes(&path), "what is counted is what is there");
        assert!(pool.used() <= max);
    }
    assert!(full > 50, "it was full {full} times");
    for group in waiting {
        folder.load(group).unwrap();
    }
}

#[test]
fn a_group_whose_middle_could_not_be_written_is_not_continued_and_can_be_written_whole() {
    let place = Place::new("whole");
    let pool = Pool::new(20_000);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    folder.append(&part(1, 100)).unwrap();
    let more = |size| Part { begins: None, units: units(1, size), ..part(1, 0) };
    assert_eq!(folder.append(&more(10_000)), Err(Fault::Full));
    assert_eq!(folder.append(&more(1)), Err(Fault::Incomplete), "behind a hole");
    assert_eq!(folder.load(1).unwrap(), units(1, 100));
    let whole = Part { units: [units(1, 100), units(1, 200)].concat(), ..part(1, 0) };
    folder.append(&whole).unwrap();
    assert_eq!(folder.load(1).unwrap(), whole.units);
    drop(folder);
    let (folder, waiting) = open(&place.0, &pool, "arn:a");
    assert_eq!(waiting, [1], "each group once");
    assert_eq!(folder.load(1).unwrap(), whole.units);
}

#[test]
fn damage_is_found_when_it_is_read_and_spoils_nothing_else() {
    let place = Place::new("damage");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    for group in 1..=2 {
        folder.append(&part(group, 300)).unwrap();
    }
    let file = files(&place.0).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let inside = bytes.len() / 4;
    bytes[inside] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(folder.load(1), Err(Fault::Damaged));
    assert_eq!(folder.load(2).unwrap(), units(2, 300));
}

#[test]
fn another_stream_gets_another_folder_and_foreign_files_are_left_alone() {
    let place = Place::new("foreign");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    folder.append(&part(1, 300)).unwrap();
    let (_, waiting) = open(&place.0, &pool, "arn:b");
    assert_eq!(waiting, [] as [u64; 0]);
    // Somebody copied the files.
    let copied = place.0.join(owner("arn:b").folder_name());
    fs::create_dir(&copied).unwrap();
    fs::copy(files(&place.0).remove(0), copied.join("0000000000000007.seg")).unwrap();
    let replayed = replay(&copied, &owner("arn:b")).unwrap();
    assert_eq!((replayed.waiting().len(), replayed.unusable.len(), replayed.next_sequence), (0, 1, 8));
    assert_eq!(files(&place.0).len(), 2);
}

#[test]
fn leftovers_go_oldest_first_and_each_says_what_it_held() {
    let place = Place::new("leftovers");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    for group in 1..=3 {
        folder.append(&part(group, SEGMENT_BYTES as usize / 10)).unwrap();
    }
    folder.done(1).unwrap();
    drop(folder);
    let mut leftovers = Leftovers::find(&place.0, &pool).unwrap();
    assert_eq!(leftovers.bytes(), pool.used());
    let evicted = leftovers.evict().unwrap();
    assert_eq!((evicted.owner.unwrap().arn.as_str(), evicted.spans), ("arn:a", vec![(2_000, 2_900)]));
    let now_ms = 25 * 3_600_000;
    assert_eq!(leftovers.expire(now_ms - 3_600_000), []);
    let expired = leftovers.expire(now_ms);
    assert_eq!(
        expired.iter().flat_map(|evicted| evicted.spans.clone()).collect::<Vec<_>>(),
        [(3_000, 3_900)]
    );
    assert_eq!((leftovers.evict(), leftovers.bytes(), pool.used()), (None, 0, 0));
    assert!(files(&place.0).is_empty());
}

#[test]
fn what_waits_for_a_replaced_stream_is_told_once_and_never_fed() {
    let place = Place::new("replaced");
    let pool = Pool::new(100 << 20);
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    folder.append(&part(5, 100)).unwrap();
    drop(folder);
    let mut leftovers = Leftovers::find(&place.0, &pool).unwrap();
    assert_eq!(leftovers.set_aside(&owner("arn:a")), []);
    assert_eq!(leftovers.set_aside(&owner("arn:b")), [(5_000, 5_900)]);
    assert_eq!(leftovers.set_aside(&owner("arn:b")), []);
    let mut leftovers = Leftovers::find(&place.0, &pool).unwrap();
    assert_eq!(leftovers.set_aside(&owner("arn:b")), [], "not at the next start either");
    let (_, waiting) = open(&place.0, &pool, "arn:a");
    assert_eq!(waiting, [] as [u64; 0]);
    assert!(
        leftovers.evict().is_some_and(|evicted| evicted.is_set_aside),
        "it is there until the room is needed"
    );
}

fn start(place: &Place, max_bytes: u64) -> (Spool, Arc<Board>) {
    start_in(place, SpoolMode::Journal, max_bytes)
}

fn start_in(place: &Place, mode: SpoolMode, max_bytes: u64) -> (Spool, Arc<Board>) {
    let board = Board::new("i".to_owned());
    let metrics = Metrics::register(&mut Registry::default());
    let settings = streamfleet_contract::Spool { mode, ..place.settings(max_bytes) };
    (Spool::start(&settings, Arc::clone(&board), metrics), board)
}

/// Waits until the board's word on the spool is as wanted, though nothing is asked of the spool.
async fn until(board: &Board, wanted: impl Fn(&SpoolStatus) -> bool) -> SpoolStatus {
    let told = async {
        loop {
            match board.status().spool.filter(&wanted) {
                Some(status) => return status,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(Duration::from_secs(5), told).await.unwrap_or_else(|_| panic!("{:?}", board.status().spool))
}

/// What each of three processes behind each other finds; the first stores, the second has all of it stored.
async fn stored_found_and_freed(place: &Place, mode: SpoolMode) -> (Vec<usize>, SpoolStatus) {
    let mut found = Vec::new();
    for run in 0..3 {
        let (spool, board) = start_in(place, mode, 100 << 20);
        let mut opened = spool.open(owner("arn:a")).await.unwrap();
        let recovered = std::mem::take(&mut opened.recovered);
        found.push(recovered.groups.len());
        if run == 0 {
            for group in 1..=5 {
                opened.feed.submit(Job::Store(part(group, SEGMENT_BYTES as usize / 20)));
                assert!(matches!(reply(&mut opened).await, Reply::Stored(_, Ok(()))));
            }
            assert_eq!(files(&place.0).len(), 3);
        }
        recovered.groups.iter().for_each(|group| opened.feed.submit(Job::Done(group.id)));
        if run == 2 {
            let status = until(&board, |status| status.leftover_bytes == 0).await;
            return (found, status);
        }
        spool.close().await;
    }
    unreachable!("the last run returns")
}

#[tokio::test]
async fn of_video_that_was_stored_after_a_restart_nothing_stays() {
    let place = Place::new("stored");
    let (found, status) = stored_found_and_freed(&place, SpoolMode::Overflow).await;
    assert_eq!(found, [0, 5, 0]);
    assert_eq!((status.used_bytes, status.leftover_bytes), (0, 0));
    assert!(fs::read_dir(&place.0).unwrap().flatten().all(|entry| !entry.path().is_dir()));
}

#[tokio::test]
async fn of_a_journal_that_was_stored_after_a_restart_only_the_time_stays() {
    let place = Place::new("stored-journal");
    let (found, status) = stored_found_and_freed(&place, SpoolMode::Journal).await;
    assert_eq!(found, [0, 5, 0]);
    // A block of the folder, and one of the segment that tells the time.
    assert_eq!((status.used_bytes, status.leftover_bytes), (8_192, 0));
    let replayed = replay(&place.0.join(owner("arn:a").folder_name()), &owner("arn:a")).unwrap();
    assert_eq!((replayed.floor_ms(), replayed.last_id()), (Some(5_900), 5));
}

#[test]
fn a_segment_that_an_earlier_release_has_left_is_deleted_at_the_start() {
    let place = Place::new("earlier");
    let pool = Pool::new(100 << 20);
    let path = place.0.join(owner("arn:a").folder_name());
    let (mut folder, _) = open(&place.0, &pool, "arn:a");
    folder.append(&part(1, 10_000)).unwrap();
    let segment = files(&place.0).remove(0);
    let waits = fs::read(&segment).unwrap();
    drop(folder);
    let at = replay(&path, &owner("arn:a")).unwrap().waiting()[0].offset + Head::MARK_AT;
    let mut done = waits;
    done[at as usize] = Head::MARK_DONE;
    fs::write(&segment, done).unwrap();
    let replayed = replay(&path, &owner("arn:a")).unwrap();
    let mut share = pool.share();
    share.take(folder_bytes(&path));
    let folder = Folder::new(path.clone(), owner("arn:a"), SpoolMode::Overflow, share, &replayed);
    assert_eq!((folder.waiting(), folder.view().used(), path.exists()), (0, 0, false));
}

#[tokio::test]
async fn another_size_of_an_idle_spool_is_told_at_once() {
    let place = Place::new("size-told");
    let (spool, board) = start_in(&place, SpoolMode::Overflow, 10 << 20);
    until(&board, |status| status.max_bytes == 10 << 20).await;
    spool.set_max_bytes(20 << 20);
    until(&board, |status| status.max_bytes == 20 << 20).await;
}

#[tokio::test]
async fn a_spool_that_another_process_uses_is_said_while_it_is_waited_for() {
    let place = Place::new("in-use");
    let (first, _) = start(&place, 10 << 20);
    drop(first.open(owner("arn:a")).await.unwrap());
    let (_second, board) = start(&place, 10 << 20);
    let status = until(&board, |status| status.state == SpoolState::Failed).await;
    assert!(status.message.contains("another process"), "{}", status.message);
    drop(first);
    until(&board, |status| status.state == SpoolState::Ready).await;
}

#[test]
fn only_the_owner_may_read_the_spool_whoever_could_before() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let place = Place::new("rights");
    let pool = Pool::new(100 << 20);
    let path = place.0.join("below").join(owner("arn:a").folder_name());
    let below = place.0.join("below");
    let (mut folder, _) = open(&below, &pool, "arn:a");
    folder.append(&part(1, 100)).unwrap();
    let segment = files(&below).remove(0);
    assert_eq!([&below, &path, &segment].map(|path| mode(path)), [0o700, 0o700, 0o600]);
    drop(folder);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).unwrap();
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o664)).unwrap();
    let foreign = below.join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o775)).unwrap();
    Leftovers::find(&below, &pool).unwrap();
    let _folder = open(&below, &pool, "arn:a");
    assert_eq!([&path, &segment, &foreign].map(|path| mode(path)), [0o700, 0o600, 0o775]);
}

async fn reply(opened: &mut Opened) -> Reply {
    timeout(Duration::from_secs(10), opened.feed.reply()).await.expect("the spool answers")
}

#[tokio::test]
async fn a_feed_writes_reads_and_finds_its_groups_again() {
    let place = Place::new("feed");
    let (spool, _) = start(&place, 10 << 20);
    let mut opened = spool.open(owner("arn:a")).await.unwrap();
    opened.feed.submit(Job::Append(vec![part(1, 100), part(2, 100)]));
    let Reply::Appended(outcomes) = reply(&mut opened).await else { panic!("not appended") };
    assert_eq!(outcomes, [(1, Ok(10)), (2, Ok(10))]);
    opened.feed.submit(Job::Load(2));
    let Reply::Loaded(2, Ok(found)) = reply(&mut opened).await else { panic!("not loaded") };
    assert_eq!(found, units(2, 100));
    opened.feed.submit(Job::Done(1));
    drop(opened);
    let opened = timeout(Duration::from_secs(10), spool.open(owner("arn:a"))).await.unwrap().unwrap();
    let recovered = opened.recovered;
    assert_eq!(recovered.groups.iter().map(|group| group.id).collect::<Vec<_>>(), [2]);
    assert_eq!((recovered.last_id, recovered.floor_ms), (2, Some(2_900)));
}

#[tokio::test]
async fn what_feeds_find_when_the_process_starts_is_no_leftover_however_old() {
    let place = Place::new("old");
    let other = || Owner { feed: "yard".to_owned(), ..owner("arn:b") };
    for owner in [owner("arn:a"), other()] {
        let share = Pool::new(1 << 20).share();
        let path = place.0.join(owner.folder_name());
        let mut folder = Folder::new(path, owner, SpoolMode::Journal, share, &Replayed::default());
        folder.append(&part(1, 100)).unwrap();
    }
    let (spool, _) = start(&place, 10 << 20);
    for owner in [owner("arn:a"), other()] {
        let opened = spool.open(owner).await.unwrap();
        assert_eq!(opened.recovered.groups.len(), 1, "the feed itself says that it is expired");
    }
}

#[tokio::test]
async fn a_full_spool_says_so_on_the_board_and_takes_video_again_when_room_returns() {
    let place = Place::new("full");
    let (spool, board) = start(&place, 200_000);
    let mut opened = spool.open(owner("arn:a")).await.unwrap();
    let mut group = 0;
    let failed = loop {
        group += 1;
        opened.feed.submit(Job::Store(part(group, 2_000)));
        let Reply::Stored(_, outcome) = reply(&mut opened).await else { panic!("not stored") };
        if let Err(fault) = outcome {
            break fault;
        }
    };
    assert_eq!((failed, group), (Fault::Full, 10));
    let status = board.status().spool.unwrap();
    assert_eq!((status.state, status.max_bytes), (SpoolState::Full, 200_000));
    assert!(status.used_bytes <= 200_000);
    spool.set_max_bytes(300_000);
    opened.feed.submit(Job::Store(part(group, 2_000)));
    assert!(matches!(reply(&mut opened).await, Reply::Stored(10, Ok(()))));
    assert_eq!(board.status().spool.unwrap().state, SpoolState::Ready);
}

#[tokio::test]
async fn leftovers_give_way_to_a_feed_that_is_configured() {
    let place = Place::new("give-way");
    {
        let (spool, _) = start(&place, 10 << 20);
        let mut opened = spool.open(Owner { feed: "gone".to_owned(), ..owner("arn:gone") }).await.unwrap();
        opened.feed.submit(Job::Store(part(1, 20_000)));
        reply(&mut opened).await;
        drop(opened);
        spool.close().await;
    }
    let (spool, board) = timeout(Duration::from_secs(10), async {
        loop {
            // The thread of the process before lets go of the folder when it ends.
            let (spool, board) = start(&place, 220_000);
            if spool.open(owner("arn:b")).await.is_ok() {
                return (spool, board);
            }
        }
    })
    .await
    .unwrap();
    assert!(board.status().spool.unwrap().leftover_bytes > 200_000);
    let mut opened = spool.open(owner("arn:a")).await.unwrap();
    opened.feed.submit(Job::Store(part(1, 10_000)));
    assert!(matches!(reply(&mut opened).await, Reply::Stored(1, Ok(()))));
    assert!(!place.0.join(Owner { feed: "gone".to_owned(), ..owner("arn:gone") }.folder_name()).exists());
}

#[tokio::test]
async fn what_is_given_up_is_counted_once_and_makes_no_series_of_a_feed_that_is_gone() {
    let place = Place::new("counted");
    let of = |feed: &str, arn: &str| Owner { feed: feed.to_owned(), ..owner(arn) };
    for owner in [of("gone", "arn:gone"), of("moved", "arn:a")] {
        let share = Pool::new(1 << 20).share();
        let path = place.0.join(owner.folder_name());
        let mut folder = Folder::new(path, owner, SpoolMode::Journal, share, &Replayed::default());
        folder.append(&part(1, 20_000)).unwrap();
    }
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let spool = Spool::start(&place.settings(500_000), Board::new("i".to_owned()), metrics);
    let mut opened = spool.open(of("moved", "arn:b")).await.unwrap();
    assert_eq!(opened.recovered.replaced, [(1_000, 1_900)], "the feed counts it");
    opened.feed.submit(Job::Store(part(1, 40_000)));
    assert!(matches!(reply(&mut opened).await, Reply::Stored(1, Ok(()))));
    let folders = fs::read_dir(&place.0).unwrap().flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(folders.count(), 1, "both gave way");
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let series: Vec<_> = text.lines().filter(|line| line.contains("{feed=")).collect();
    assert_eq!(series, [r#"gap_seconds_total{feed="gone",name="gone",kind="buffer_overflow"} 0.9"#]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_said_and_feeds_are_not_held_up() {
    let place = Place::new("unusable");
    let file = place.0.join("file");
    fs::write(&file, "").unwrap();
    let board = Board::new("i".to_owned());
    let settings = streamfleet_contract::Spool {
        path: file.display().to_string(),
        max_bytes: 1 << 20,
        mode: SpoolMode::Overflow,
    };
    let spool = Spool::start(&settings, Arc::clone(&board), Metrics::register(&mut Registry::default()));
    let opened = timeout(Duration::from_secs(10), spool.open(owner("arn:a"))).await.unwrap();
    assert_eq!(opened.unwrap_err(), Fault::Closed);
    assert_eq!(board.status().spool.unwrap().state, SpoolState::Failed);
}
