//! Inputs as the feed sees them: what is said, in which order, and what is left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use streamfleet_contract::{Container, FileSource, PipeSource, SourceReason, SourceState};
use streamfleet_media::h264::nals_avcc;
use streamfleet_media::mkv::{Track, write};
use streamfleet_media::pattern::Pattern;
use streamfleet_media::track::{Codec, Sample};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{fifo, file, live, socket};
use crate::clock::Clock;
use crate::source::outlet::{Closed, Outlet};
use crate::source::{Ending, SourceError, SourceEvent};

/// How long a writer may be silent here.
const SILENCE: Duration = Duration::from_millis(200);

/// Pictures a second.
const RATE: u32 = 10;

fn clip(pictures: i64) -> Vec<Sample> {
    let mut pattern = Pattern::new(160, 96, RATE).unwrap();
    (0..pictures).map(|number| pattern.picture(number, 1_795_422_896_007 + number * 100)).collect()
}

/// A Matroska document of so many pictures, a key frame in each second.
pub(crate) fn document(pictures: i64) -> Vec<u8> {
    let parameters = Pattern::new(160, 96, RATE).unwrap().parameters().clone();
    let mut out = write::header(&[Track::of(1, &parameters)]).to_vec();
    out.extend_from_slice(&write::cluster_start(0));
    for sample in clip(pictures) {
        let key = sample.ticks % 10 == 0;
        out.extend_from_slice(&write::simple_block_prefix(
            1,
            (sample.ticks * 100) as i16,
            key,
            sample.data.len(),
        ));
        out.extend_from_slice(&sample.data);
    }
    out
}

fn byte_stream(pictures: i64) -> Vec<u8> {
    let clip = clip(pictures);
    let private = &clip[0].parameters.as_ref().unwrap().private;
    let sets = streamfleet_media::h264::AvcConfiguration::parse(private).unwrap();
    let sets = sets.sps.iter().chain(&sets.pps).map(|set| &set[..]);
    let nals = sets.chain(clip.iter().flat_map(|sample| nals_avcc(&sample.data)));
    nals.flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect()
}

/// A path of this test's own.
fn path(name: &str) -> String {
    let folder: PathBuf = std::env::temp_dir().join(format!("streamfleet-input-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder.join(name).display().to_string()
}

pub(crate) fn pipe(path: String) -> PipeSource {
    PipeSource { path, container: Container::Auto, frame_rate: None }
}

fn outlet() -> (Outlet, mpsc::Receiver<SourceEvent>) {
    let (sender, events) = mpsc::channel(10_000);
    (Outlet::new(Clock::start(), sender), events)
}

fn failed(ending: Result<Ending, Closed>) -> SourceError {
    match ending {
        Ok(Ending::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// What has been said so far, in words.
fn said(events: &mut mpsc::Receiver<SourceEvent>) -> Vec<String> {
    let word = |event| match event {
        SourceEvent::Connected(tracks) => format!("{tracks:?}"),
        SourceEvent::Sample(..) => "sample".to_owned(),
        SourceEvent::Report(..) => "report".to_owned(),
        SourceEvent::State(_, reason, _) => format!("{reason:?}"),
    };
    std::iter::from_fn(|| events.try_recv().ok()).map(word).collect()
}

#[tokio::test]
async fn a_writer_is_read_to_its_end_and_named_when_it_is_silent() {
    let (mut outlet, mut events) = outlet();
    let stop = CancellationToken::new();
    let (mut writer, mut reader) = tokio::io::duplex(1 << 20);
    let pipe = pipe("/input".to_owned());
    let document = document(3);
    let (first, second) = document.split_at(document.len() - 10);
    let write = async {
        writer.write_all(first).await.unwrap();
        tokio::time::sleep(SILENCE * 5 / 2).await;
        writer.write_all(second).await.unwrap();
        drop(writer);
    };
    let (ending, ()) = tokio::join!(live::read(&mut reader, &pipe, SILENCE, &mut outlet, &stop), write);
    let error = failed(ending);
    assert_eq!(error.reason, SourceReason::Disconnected);
    assert!(error.message.contains(&document.len().to_string()), "{error}");
    let expected = ["[H264]", "Streaming", "report", "sample", "sample", "Silent", "Streaming", "sample"];
    assert_eq!(said(&mut events), expected);
}

#[tokio::test]
async fn pictures_without_times_are_dated_by_their_arrival() {
    let (mut outlet, mut events) = outlet();
    let stop = CancellationToken::new();
    let (mut writer, mut reader) = tokio::io::duplex(1 << 20);
    let stream = byte_stream(3);
    let write = async {
        writer.write_all(&stream).await.unwrap();
        drop(writer);
    };
    let pipe = pipe("/input".to_owned());
    let (ending, ()) = tokio::join!(live::read(&mut reader, &pipe, SILENCE, &mut outlet, &stop), write);
    assert_eq!(failed(ending).reason, SourceReason::Disconnected);
    let mut dates = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let SourceEvent::Sample(sample, read_at) = event {
            assert_eq!((sample.ticks, sample.rate), (read_at.mono.as_micros() as i64, 1_000_000));
            dates.push(sample.ticks);
        }
    }
    assert_eq!(dates.len(), 3);
    assert!(dates.is_sorted());
}

#[tokio::test]
async fn foreign_bytes_end_the_reading_at_once() {
    let (mut outlet, _events) = outlet();
    let stop = CancellationToken::new();
    let (mut writer, mut reader) = tokio::io::duplex(1 << 20);
    writer.write_all(&[b'x'; 2_000]).await.unwrap();
    let ending = live::read(&mut reader, &pipe("/input".to_owned()), SILENCE, &mut outlet, &stop).await;
    assert_eq!(failed(ending).reason, SourceReason::InvalidMedia);
}

#[tokio::test]
async fn a_socket_takes_one_writer_after_the_other_and_is_removed_at_the_end() {
    let pipe = pipe(path("writers.sock"));
    // What a producer that was killed leaves behind.
    drop(UnixListener::bind(&pipe.path).unwrap());
    let (mut outlet, mut events) = outlet();
    let stop = CancellationToken::new();
    let write = async {
        let first = loop {
            match UnixStream::connect(&pipe.path).await {
                Ok(writer) => break writer,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let mode = fs::metadata(&pipe.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let mut second = UnixStream::connect(&pipe.path).await.unwrap();
        second.write_all(&document(2)).await.unwrap();
        drop(second);
        let mut first = first;
        first.write_all(&document(3)).await.unwrap();
        drop(first);
        let mut words = Vec::new();
        while words.iter().filter(|word| *word == "Disconnected").count() < 2 {
            words.extend(said(&mut events));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        words
    };
    let (ending, words) = tokio::join!(socket::run(&pipe, &mut outlet, &stop), write);
    assert_eq!(ending, Ok(Ending::Stopped));
    let one = |samples: usize| {
        [&["[H264]", "Streaming", "report"][..], &vec!["sample"; samples], &["Disconnected"]].concat()
    };
    assert_eq!(words, [one(3), one(2)].concat());
    assert!(!fs::exists(&pipe.path).unwrap());
}

#[tokio::test]
async fn what_is_no_unused_socket_is_left_as_it_is() {
    let (mut outlet, _events) = outlet();
    let stop = CancellationToken::new();
    let other = pipe(path("a-file"));
    fs::write(&other.path, "precious").unwrap();
    let error = failed(socket::run(&other, &mut outlet, &stop).await);
    assert_eq!(error.reason, SourceReason::InputUnavailable);
    assert!(error.message.contains("no socket"), "{error}");
    assert_eq!(fs::read(&other.path).unwrap(), b"precious");
    let used = pipe(path("used.sock"));
    let listener = UnixListener::bind(&used.path).unwrap();
    let error = failed(socket::run(&used, &mut outlet, &stop).await);
    assert!(error.message.contains("another process"), "{error}");
    drop(listener);
    fs::remove_file(used.path).unwrap();
    fs::remove_file(other.path).unwrap();
}

#[tokio::test]
async fn what_is_no_pipe_or_file_is_named() {
    let (mut outlet, _events) = outlet();
    let stop = CancellationToken::new();
    let plain = path("no-pipe");
    fs::write(&plain, "x").unwrap();
    let error = failed(fifo::run(&pipe(plain.clone()), &mut outlet, &stop).await);
    assert!(error.reason == SourceReason::InputUnavailable && error.message.contains("mkfifo"), "{error}");
    let error = failed(fifo::run(&pipe(path("missing")), &mut outlet, &stop).await);
    assert!(error.reason == SourceReason::InputUnavailable && error.message.contains("missing"), "{error}");
    let folder = std::env::temp_dir().display().to_string();
    let source = FileSource { path: folder, container: Container::Auto, repeat: false, frame_rate: None };
    let error = failed(file::run(&source, &mut outlet, &stop).await);
    assert!(error.reason == SourceReason::InputUnavailable && error.message.contains("no file"), "{error}");
    fs::remove_file(plain).unwrap();
}

#[tokio::test]
async fn a_file_is_played_in_real_time_and_then_ends() {
    let source =
        FileSource { path: path("once.mkv"), container: Container::Auto, repeat: false, frame_rate: None };
    fs::write(&source.path, document(4)).unwrap();
    let (mut outlet, mut events) = outlet();
    let began = std::time::Instant::now();
    let error = failed(file::run(&source, &mut outlet, &CancellationToken::new()).await);
    assert_eq!(error.reason, SourceReason::Ended);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    let expected = ["[H264]", "Streaming", "report", "sample", "sample", "sample", "sample"];
    assert_eq!(said(&mut events), expected);
    fs::remove_file(source.path).unwrap();
}

#[tokio::test]
async fn a_file_that_breaks_off_is_not_played_again_until_it_changes() {
    let source =
        FileSource { path: path("broken.mkv"), container: Container::Auto, repeat: false, frame_rate: None };
    let whole = document(3);
    let mut broken = whole.clone();
    broken.extend([0; 64]);
    fs::write(&source.path, &broken).unwrap();
    let (mut outlet, mut events) = outlet();
    let stop = CancellationToken::new();
    let mend = async {
        let mut words = Vec::new();
        while !words.contains(&"InvalidMedia".to_owned()) {
            words.extend(said(&mut events));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(words, ["[H264]", "Streaming", "report", "sample", "sample", "sample", "InvalidMedia"]);
        fs::write(&source.path, &whole).unwrap();
    };
    let (ending, ()) = tokio::join!(file::run(&source, &mut outlet, &stop), mend);
    let error = failed(ending);
    assert!(error.reason == SourceReason::InvalidMedia && error.message.contains("at byte"), "{error}");
    assert_eq!(said(&mut events), Vec::<String>::new(), "it is the retry that plays it again");
    fs::remove_file(source.path).unwrap();
}

#[tokio::test]
async fn the_pattern_goes_on_until_it_is_stopped() {
    let (mut outlet, mut events) = outlet();
    let stop = CancellationToken::new();
    let settings = streamfleet_contract::TestPattern { width: 160, height: 96, frame_rate: 60 };
    let watch = async {
        let mut ticks = Vec::new();
        while ticks.len() < 5 {
            match events.recv().await {
                Some(SourceEvent::Sample(sample, _)) => ticks.push(sample.ticks),
                Some(SourceEvent::Connected(tracks)) => assert_eq!(tracks, [Codec::H264]),
                Some(SourceEvent::State(state, ..)) => assert_eq!(state, SourceState::Streaming),
                other => panic!("{other:?}"),
            }
        }
        stop.cancel();
        assert!(ticks.is_sorted() && ticks[0] < 60, "{ticks:?}");
    };
    let (ending, ()) = tokio::join!(crate::source::pattern::run(&settings, &mut outlet, &stop), watch);
    assert_eq!(ending, Ok(Ending::Stopped));
    let refused = streamfleet_contract::TestPattern { width: 161, ..settings };
    let error = failed(crate::source::pattern::run(&refused, &mut outlet, &stop).await);
    assert_eq!(error.reason, SourceReason::InputUnavailable);
}
