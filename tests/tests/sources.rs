//! Files, named pipes, Unix sockets and the test pattern as sources: each is played through a real producer into the emulator,
//! and what is stored is compared with what ffmpeg and ffprobe find in the original.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use streamfleet_contract::{
    self as contract, Audio, Container, FileSource, PipeSource, Source, SourceReason, SourceState,
    TestPattern,
};
use streamfleet_media::fragment::Fragment;
use streamfleet_media::h264::{AvcConfiguration, nals_avcc};
use streamfleet_media::h265::HevcConfiguration;
use streamfleet_media::mkv::{CODEC_H265, Frame, TrackKind};
use streamfleet_media::pattern::Pattern;
use streamfleet_media::pattern::font::{GLYPH_HEIGHT, GLYPH_WIDTH, LETTERS, is_lit};
use streamfleet_media::pattern::grid::{BLOCK, LIGHT, Layout, luma};
use streamfleet_media::track::Sample;
use streamfleet_tests::archive::{self, REGION};
use streamfleet_tests::camera::Recipe;
use streamfleet_tests::rig::{Plan, Producer, Rig, stream};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Pictures and seconds of the clips.
const RATE: usize = 25;
const SECONDS: usize = 4;

/// How far the distance of two stored samples may be from that in the original.
const TIME_ERROR_MS: f64 = 25.0;

/// Service and producer, with a feed for each source.
struct Bench {
    rig: Rig,
}

impl Bench {
    async fn start(name: &str) -> Result<Self> {
        Ok(Self { rig: Rig::start(Plan::new(name, Recipe::default()).feeds(0)).await? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.rig.folder.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Adds a feed that stores all of its sound.
    async fn add(&mut self, source: Source) -> Result<()> {
        let index = self.rig.configuration.feeds.len();
        let mut to =
            contract::Stream::new(archive::create_stream(&self.rig.config, &stream(index)).await?, REGION);
        to.endpoint = Some(format!("https://{}", self.rig.service.advertised()));
        to.ca_file = Some(self.text("emulator/ca.crt"));
        let mut feed = contract::Feed::new(format!("feed-{index}"), source, to);
        feed.audio = Audio::All;
        self.rig.configuration.feeds.push(feed);
        Ok(())
    }

    fn launch(&mut self) -> Result<Producer> {
        self.rig.configure()?;
        self.rig.launch()
    }

    /// Stops the producer when all is stored, and gives what is stored of each feed.
    async fn recordings(&self, producer: Producer) -> Result<Vec<Recording>> {
        let status = producer.terminate(Duration::from_secs(40)).await?;
        ensure!(status.success(), "the producer ended with {status}");
        let mut recordings = Vec::new();
        for index in 0..self.rig.configuration.feeds.len() {
            recordings.push(Recording(archive::recording(&self.rig.config, &stream(index)).await?));
        }
        Ok(recordings)
    }
}

/// Waits until a feed's source has one of these reasons, and gives its message.
async fn reached(
    producer: &Producer,
    feed: usize,
    reasons: &[SourceReason],
    limit: Duration,
) -> Result<String> {
    let deadline = Instant::now() + limit;
    loop {
        // Right after its start it does not listen yet.
        let status = producer.feed(feed).await;
        if let Ok(status) = &status
            && reasons.contains(&status.source.reason)
        {
            return Ok(status.source.message.clone());
        }
        if Instant::now() > deadline {
            let source = status.map(|status| status.source);
            bail!("feed {feed} is {source:?}, not {reasons:?}:\n{}", producer.log_end());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What is stored of a feed.
struct Recording(Vec<Fragment>);

impl Recording {
    /// The frames of pictures or of sound, with their times in milliseconds of the Unix epoch.
    fn frames(&self, kind: TrackKind) -> Vec<(f64, &Frame)> {
        let of = |fragment: &Fragment| {
            fragment.header.tracks.iter().find(|track| track.kind == kind).map(|track| track.number)
        };
        let mut found = Vec::new();
        for fragment in &self.0 {
            let Some(number) = of(fragment) else { continue };
            let frames = fragment.frames.iter().filter(|frame| frame.track == number);
            let shift = fragment.metadata.producer_timestamp.unwrap_or_default() as f64
                - fragment.timecode.unwrap_or_default() as f64;
            found.extend(frames.map(|frame| (shift + frame.timecode as f64, frame)));
        }
        found
    }

    /// The pictures as a byte stream, each fragment with its own parameter sets.
    fn byte_stream(&self) -> Result<(&'static str, Vec<u8>)> {
        let mut format = "h264";
        let mut out = Vec::new();
        let mut put = |nal: &[u8]| out.extend([&[0, 0, 0, 1], nal].concat());
        for fragment in &self.0 {
            let track = fragment.header.tracks.iter().find(|track| track.kind == TrackKind::Video);
            let track = track.context("a fragment without video")?;
            if track.codec_id == CODEC_H265 {
                format = "hevc";
                let sets = HevcConfiguration::parse(&track.codec_private)?;
                sets.vps.iter().chain(&sets.sps).chain(&sets.pps).for_each(|set| put(set));
            } else {
                let sets = AvcConfiguration::parse(&track.codec_private)?;
                sets.sps.iter().chain(&sets.pps).for_each(|set| put(set));
            }
            for frame in fragment.frames.iter().filter(|frame| frame.track == track.number) {
                nals_avcc(&frame.payload).for_each(&mut put);
            }
        }
        Ok((format, out))
    }
}

/// Runs ffmpeg or ffprobe, with these bytes as its input; its output, and what it complained of.
async fn run(program: &str, arguments: &[&str], input: Vec<u8>) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to start {program}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // Whoever is given no input closes it.
    let write = tokio::spawn(async move { stdin.write_all(&input).await.is_ok() });
    let output = child.wait_with_output().await?;
    _ = write.await;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

async fn ffmpeg(arguments: &str, output: &Path) -> Result<()> {
    let mut all = vec!["-nostdin", "-v", "error", "-y"];
    all.extend(arguments.split_whitespace());
    let output = output.display().to_string();
    all.push(&output);
    run("ffmpeg", &all, Vec::new()).await.map(drop)
}

/// Digests of all decoded pictures, in the order in which they are shown.
async fn decoded(input: &[&str], bytes: Vec<u8>) -> Result<Vec<String>> {
    // Of what is stored, not even a warning.
    let level = if bytes.is_empty() { "error" } else { "warning" };
    let arguments =
        [&["-v", level], input, &["-an", "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]]
            .concat();
    let output = run("ffmpeg", &arguments, bytes).await?;
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(complaints.is_empty(), "ffmpeg complains: {complaints}");
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.filter_map(|line| line.rsplit(',').next()).map(|digest| digest.trim().to_owned()).collect())
}

/// What ffprobe says of the packets of a file's track: time in milliseconds, and digest.
async fn packets(file: &Path, track: &str) -> Result<Vec<(f64, String)>> {
    let file = file.display().to_string();
    let entries =
        ["-show_entries", "packet=pts_time,data_hash", "-show_data_hash", "sha256", "-of", "csv=p=0"];
    let arguments = [&["-v", "error", "-select_streams", track][..], &entries, &[&file]].concat();
    let text = String::from_utf8(run("ffprobe", &arguments, Vec::new()).await?.stdout)?;
    let packet = |line: &str| {
        let (time, digest) = line.split_once(',').context("no packet")?;
        let digest = digest.trim_start_matches("SHA256:").trim_end_matches(',');
        Ok((time.parse::<f64>()? * 1_000.0, digest.to_owned()))
    };
    text.lines().filter(|line| !line.is_empty()).map(packet).collect()
}

/// Compares what is stored with the clip that was played so many times: pictures as they are decoded, sound by its bytes, both by
/// their times.
async fn compare(recording: &Recording, clip: &Path, rounds: usize, with_sound: bool) -> Result<()> {
    let video = packets(clip, "v").await?;
    let stored = recording.frames(TrackKind::Video);
    ensure!(stored.len() == rounds * video.len(), "{} of {rounds} x {} pictures", stored.len(), video.len());
    let (format, bytes) = recording.byte_stream()?;
    let expected = decoded(&["-i", &clip.display().to_string()], Vec::new()).await?;
    let found = decoded(&["-f", format, "-i", "-"], bytes).await?;
    ensure!(
        found == vec![&expected[..]; rounds].concat(),
        "the pictures differ: {} and {}",
        found.len(),
        expected.len()
    );
    for (round, stored) in stored.chunks(video.len()).enumerate() {
        for (number, ((time, _), (expected, _))) in stored.iter().zip(&video).enumerate() {
            let error = (time - stored[0].0) - (expected - video[0].0);
            ensure!(error.abs() < TIME_ERROR_MS, "picture {number} of round {round} is {error} ms off");
        }
    }
    let sound = recording.frames(TrackKind::Audio);
    if !with_sound {
        ensure!(sound.is_empty(), "{} frames of sound", sound.len());
        return Ok(());
    }
    let original = packets(clip, "a").await?;
    // What an encoder of sound needs to start comes before the first picture, and is not stored.
    let first = original.iter().position(|(time, _)| *time + 1.0 > video[0].0).context("no sound")?;
    let expected = rounds * (original.len() - first);
    ensure!(sound.len() == expected, "{} of {expected} frames of sound", sound.len());
    let digest = |frame: &Frame| hex::encode(Sha256::digest(&frame.payload));
    for (number, ((time, frame), (expected, hash))) in sound.iter().zip(&original[first..]).enumerate() {
        ensure!(digest(frame) == *hash, "frame {number} of the sound differs");
        let error = (time - stored[0].0) - (expected - video[0].0);
        ensure!(error.abs() < TIME_ERROR_MS, "frame {number} of the sound is {error} ms off the pictures");
    }
    Ok(())
}

/// Two clips: H.264 with reordered pictures and AAC, H.265 with AAC or A-law.
async fn clips(bench: &Bench) -> Result<[PathBuf; 3]> {
    let [h264, h265, telephone] = ["h264.mkv", "h265.mkv", "telephone.mkv"].map(|name| bench.path(name));
    let video = format!("-f lavfi -i testsrc2=size=320x240:rate={RATE}:duration={SECONDS}");
    let sound = format!("-f lavfi -i sine=frequency=440:sample_rate=48000:duration={SECONDS}");
    let x264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 25 -bf 2 -c:a aac -b:a 64k";
    let x265 = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params keyint=25:min-keyint=25:open-gop=0:log-level=none -c:a aac -b:a 64k";
    ffmpeg(&format!("{video} {sound} {x264}"), &h264).await?;
    ffmpeg(&format!("{video} {sound} {x265}"), &h265).await?;
    let again = format!("-i {} -c:v copy -c:a pcm_alaw -ar 8000 -ac 1", h265.display());
    ffmpeg(&again, &telephone).await?;
    Ok([h264, h265, telephone])
}

fn file(path: String, container: Container) -> FileSource {
    FileSource {
        path,
        container,
        repeat: false,
        frame_rate: (container == Container::AnnexB).then_some(RATE as u32),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_every_container_are_stored_picture_for_picture() {
    let mut bench = Bench::start("sources-files").await.unwrap();
    let [h264, h265, telephone] = clips(&bench).await.unwrap();
    let fragmented = "-movflags frag_keyframe+empty_moov+default_base_moof";
    let cases: [(&str, &PathBuf, &str, Container, bool); 11] = [
        ("a.mkv", &h264, "", Container::Auto, true),
        ("b.mkv", &telephone, "", Container::Mkv, true),
        ("c.mp4", &h264, "", Container::Auto, true),
        ("d.mp4", &h265, "-tag:v hvc1 -movflags +faststart", Container::Mp4, true),
        ("e.mp4", &h264, fragmented, Container::Auto, true),
        ("f.mp4", &h265, fragmented, Container::Mp4, true),
        ("g.ts", &h264, "", Container::Auto, true),
        ("h.ts", &h265, "", Container::MpegTs, true),
        ("i.h264", &h264, "-an", Container::AnnexB, false),
        ("j.h265", &h265, "-an -f hevc", Container::AnnexB, false),
        ("k.mkv", &h264, "-an", Container::Auto, false),
    ];
    for (name, clip, arguments, container, _) in &cases {
        let arguments = format!("-i {} -c copy {arguments}", clip.display());
        ffmpeg(&arguments, &bench.path(name)).await.unwrap();
        let source = Source::File(file(bench.text(name), *container));
        bench.add(source).await.unwrap();
    }
    let began = Instant::now();
    let producer = bench.launch().unwrap();
    for feed in 0..cases.len() {
        reached(&producer, feed, &[SourceReason::Ended], Duration::from_secs(20)).await.unwrap();
    }
    assert!(
        began.elapsed() + Duration::from_millis(100) > Duration::from_secs(SECONDS as u64),
        "not in real time"
    );
    for (recording, (name, clip, _, container, with_sound)) in
        bench.recordings(producer).await.unwrap().iter().zip(cases)
    {
        // A byte stream has no times of its own: its pictures follow each other in the order of decoding.
        let clip = if container == Container::AnnexB { bench.path(name) } else { clip.clone() };
        if container == Container::AnnexB {
            let frames = recording.frames(TrackKind::Video);
            assert_eq!(frames.len(), RATE * SECONDS, "{name}");
            let (format, bytes) = recording.byte_stream().unwrap();
            let found = decoded(&["-f", format, "-i", "-"], bytes).await.unwrap();
            assert_eq!(
                found,
                decoded(&["-i", &clip.display().to_string()], Vec::new()).await.unwrap(),
                "{name}"
            );
            continue;
        }
        compare(recording, &clip, 1, with_sound).await.with_context(|| name.to_owned()).unwrap();
    }
    bench.rig.clear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_a_loop_goes_on_without_a_gap() {
    let mut bench = Bench::start("sources-loop").await.unwrap();
    let clip = bench.path("clip.mp4");
    let made = format!(
        "-f lavfi -i testsrc2=size=320x240:rate={RATE}:duration=2 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 25 -bf 0"
    );
    ffmpeg(&made, &clip).await.unwrap();
    bench
        .add(Source::File(FileSource { repeat: true, ..file(bench.text("clip.mp4"), Container::Auto) }))
        .await
        .unwrap();
    let producer = bench.launch().unwrap();
    reached(&producer, 0, &[SourceReason::Streaming], Duration::from_secs(10)).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let status = producer.feed(0).await.unwrap();
    assert_eq!(
        (status.source.reason, status.gaps.len(), status.source_reconnects),
        (SourceReason::Streaming, 0, 0)
    );
    let recording = bench.recordings(producer).await.unwrap().remove(0);
    let times: Vec<f64> = recording.frames(TrackKind::Video).iter().map(|(time, _)| *time).collect();
    assert!(times.len() > 4 * RATE, "{} pictures", times.len());
    for pair in times.windows(2) {
        assert!((pair[1] - pair[0] - 40.0).abs() <= 2.0, "{pair:?}");
    }
    bench.rig.clear().await.unwrap();
}

/// Starts ffmpeg to write a clip in real time.
fn writer(clip: &Path, arguments: &str, to: &str) -> Result<Child> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-re", "-i"]).arg(clip).args(["-c", "copy"]);
    command.args(arguments.split_whitespace()).arg(to).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command.spawn()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_processes_write_into_pipes_and_sockets_is_stored() {
    let mut bench = Bench::start("sources-pipes").await.unwrap();
    let [h264, h265, _] = clips(&bench).await.unwrap();
    let pipe = |path: String| PipeSource { path, container: Container::Auto, frame_rate: None };
    for name in ["pipe.ts", "pipe.mp4"] {
        run("mkfifo", &[&bench.text(name)], Vec::new()).await.unwrap();
        bench.add(Source::Fifo(pipe(bench.text(name)))).await.unwrap();
    }
    for name in ["socket.ts", "socket.mkv"] {
        bench.add(Source::Socket(pipe(bench.text(name)))).await.unwrap();
    }
    // The socket of a producer that was killed.
    drop(std::os::unix::net::UnixListener::bind(bench.path("socket.ts")).unwrap());
    let producer = bench.launch().unwrap();
    for feed in 0..4 {
        let message = reached(&producer, feed, &[SourceReason::InputUnavailable], Duration::from_secs(10))
            .await
            .unwrap();
        assert!(message.starts_with("no process"), "{message}");
    }
    let socket = |name: &str| format!("unix:{}", bench.text(name));
    let mut writers = vec![
        writer(&h264, "-f mpegts", &bench.text("pipe.ts")).unwrap(),
        writer(&h265, "-f mp4 -movflags frag_keyframe+empty_moov", &bench.text("pipe.mp4")).unwrap(),
        writer(&h264, "-f mpegts", &socket("socket.ts")).unwrap(),
        writer(&h265, "-f matroska", &socket("socket.mkv")).unwrap(),
    ];
    // The next in the queue: it waits until the one before has left.
    sleep(Duration::from_millis(500)).await;
    writers.push(writer(&h264, "-f mpegts", &socket("socket.ts")).unwrap());
    for writer in &mut writers {
        let status = timeout(Duration::from_secs(30), writer.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
    let gone = [SourceReason::Disconnected, SourceReason::InputUnavailable];
    for feed in 0..4 {
        reached(&producer, feed, &gone, Duration::from_secs(10)).await.unwrap();
    }
    let recordings = bench.recordings(producer).await.unwrap();
    let expected = [(&h264, 1), (&h265, 1), (&h264, 2), (&h265, 1)];
    for (feed, (recording, (clip, rounds))) in recordings.iter().zip(expected).enumerate() {
        compare(recording, clip, rounds, true).await.with_context(|| format!("feed {feed}")).unwrap();
    }
    assert!(!bench.path("socket.ts").exists(), "the socket's file is left behind");
    bench.rig.clear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_are_named_and_tried_again() {
    let mut bench = Bench::start("sources-bad").await.unwrap();
    let lavfi = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=2 -pix_fmt yuv420p";
    let good = bench.path("good.mkv");
    ffmpeg(&format!("{lavfi} -c:v libx264 -preset ultrafast -g 25"), &good).await.unwrap();
    ffmpeg(&format!("{lavfi} -c:v mpeg4"), &bench.path("mpeg4.mp4")).await.unwrap();
    ffmpeg(&format!("{lavfi} -c:v mpeg2video"), &bench.path("mpeg2.ts")).await.unwrap();
    ffmpeg("-f lavfi -i sine=duration=1 -c:a libopus", &bench.path("opus.mkv")).await.unwrap();
    ffmpeg(&format!("-i {} -c copy -bsf:v h264_mp4toannexb", good.display()), &bench.path("rateless.h264"))
        .await
        .unwrap();
    std::fs::write(bench.path("noise"), b"RIFF is none of those that are carried".repeat(100)).unwrap();
    let mut damaged = std::fs::read(&good).unwrap();
    let half = damaged.len() / 2;
    damaged[half..].fill(0);
    std::fs::write(bench.path("damaged.mkv"), &damaged).unwrap();
    let cases = [
        ("missing.mkv", SourceReason::InputUnavailable, "No such file"),
        ("mpeg4.mp4", SourceReason::UnsupportedCodec, "mp4"),
        ("mpeg2.ts", SourceReason::UnsupportedCodec, "MPEG-2"),
        ("opus.mkv", SourceReason::NoVideo, "A_OPUS"),
        ("rateless.h264", SourceReason::InvalidMedia, "frameRate"),
        ("noise", SourceReason::InvalidMedia, "no container"),
        ("damaged.mkv", SourceReason::InvalidMedia, "at byte"),
    ];
    for (name, ..) in cases {
        bench.add(Source::File(file(bench.text(name), Container::Auto))).await.unwrap();
    }
    let producer = bench.launch().unwrap();
    for (feed, (name, reason, part)) in cases.into_iter().enumerate() {
        let message = reached(&producer, feed, &[reason], Duration::from_secs(15)).await.unwrap();
        assert!(message.contains(part), "{name}: {message}");
        assert_eq!(producer.feed(feed).await.unwrap().source.state, SourceState::Failed);
    }
    // What is put right is played without a restart.
    for name in ["missing.mkv", "noise", "damaged.mkv"] {
        let (new, place) = (bench.path("new"), bench.path(name));
        std::fs::copy(&good, &new).unwrap();
        std::fs::rename(new, place).unwrap();
    }
    for feed in [0, 5, 6] {
        reached(&producer, feed, &[SourceReason::Ended], Duration::from_secs(25)).await.unwrap();
    }
    let recordings = bench.recordings(producer).await.unwrap();
    for feed in [0, 5] {
        compare(&recordings[feed], &good, 1, false).await.with_context(|| format!("feed {feed}")).unwrap();
    }
    bench.rig.clear().await.unwrap();
}

/// What a picture says, read by the shapes of its letters.
fn read_lines(picture: &[u8], width: u32, layout: Layout) -> [String; 3] {
    let block = BLOCK as usize;
    let is_light =
        |column: usize, row: usize| picture[row * block * width as usize + column * block] == luma(LIGHT);
    [0, 1, 2].map(|line| {
        let letters = (0..12).map_while(|place| {
            let (left, top, scale) = layout.letter(line, place);
            let cells = (0..GLYPH_HEIGHT).flat_map(|row| (0..GLYPH_WIDTH).map(move |column| (column, row)));
            let lit: Vec<bool> = cells
                .clone()
                .map(|(column, row)| is_light(left + column * scale, top + row * scale))
                .collect();
            LETTERS.chars().find(|letter| {
                cells.clone().map(|(column, row)| is_lit(*letter, column, row)).eq(lit.iter().copied())
            })
        });
        letters.collect()
    })
}

/// The luma of all pictures of a byte stream, decoded without a complaint.
async fn luma_planes(stream: Vec<u8>, width: u32, height: u32) -> Result<Vec<Vec<u8>>> {
    let arguments = [
        "-v",
        "warning",
        "-f",
        "h264",
        "-i",
        "-",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-fps_mode",
        "passthrough",
        "-",
    ];
    let output = run("ffmpeg", &arguments, stream).await?;
    ensure!(output.stderr.is_empty(), "ffmpeg complains: {}", String::from_utf8_lossy(&output.stderr));
    let pixels = (width * height) as usize;
    let pictures = output.stdout.chunks(pixels * 3 / 2);
    ensure!(
        output.stdout.chunks(pixels * 3 / 2).all(|picture| picture[pixels..].iter().all(|byte| *byte == 128)),
        "it has colours"
    );
    Ok(pictures.map(|picture| picture[..pixels].to_vec()).collect())
}

fn pattern_stream(pattern: &Pattern, samples: &[Sample]) -> Result<Vec<u8>> {
    let sets = AvcConfiguration::parse(&pattern.parameters().private)?;
    let mut out = Vec::new();
    let mut put = |nal: &[u8]| out.extend([&[0, 0, 0, 1], nal].concat());
    sets.sps.iter().chain(&sets.pps).for_each(|set| put(set));
    for sample in samples {
        nals_avcc(&sample.data).for_each(&mut put);
    }
    Ok(out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_pattern_is_decoded_to_the_pixel_at_all_sizes() {
    for (width, height, rate) in [
        (160, 96, 1),
        (176, 144, 25),
        (320, 176, 7),
        (640, 352, 10),
        (1280, 720, 30),
        (1920, 1088, 60),
        (1920, 96, 3),
    ] {
        let mut pattern = Pattern::new(width, height, rate).unwrap();
        let layout = Layout::new(width, height);
        let start = 1_795_478_399_000 + i64::from(width);
        let time = |number: i64| start + number * 1_000 / i64::from(rate);
        let samples: Vec<Sample> = (0..(i64::from(rate) * 2 + 3).min(24))
            .map(|number| pattern.picture(number, time(number)))
            .collect();
        let stream = pattern_stream(&pattern, &samples).unwrap();
        let pictures =
            luma_planes(stream, width, height).await.with_context(|| format!("{width}x{height}")).unwrap();
        assert_eq!(pictures.len(), samples.len(), "{width}x{height}");
        for (number, picture) in (0..).zip(&pictures) {
            let lines = streamfleet_media::pattern::font::clock_lines(
                time(number as i64),
                number,
                layout.is_narrow(),
            );
            assert_eq!(read_lines(picture, width, layout), lines, "{width}x{height}, picture {number}");
            let expected = layout.draw(&lines);
            for (row, pixels) in picture.chunks((width * BLOCK) as usize).enumerate() {
                let shades = (0..(width / BLOCK) as usize).map(|column| luma(expected.at(column, row)));
                let line: Vec<u8> = shades.flat_map(|shade| [shade; BLOCK as usize]).collect();
                assert_eq!(
                    pixels,
                    line.repeat(BLOCK as usize),
                    "{width}x{height}, picture {number}, row {row}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_pattern_shows_the_time_at_which_it_is_stored() {
    let mut bench = Bench::start("sources-pattern").await.unwrap();
    let settings = TestPattern::default();
    let (width, height, rate) = (settings.width, settings.height, settings.frame_rate as usize);
    bench.add(Source::TestPattern(settings)).await.unwrap();
    let producer = bench.launch().unwrap();
    reached(&producer, 0, &[SourceReason::Streaming], Duration::from_secs(10)).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    let recording = bench.recordings(producer).await.unwrap().remove(0);
    let (_, stream) = recording.byte_stream().unwrap();
    let pictures = luma_planes(stream, width, height).await.unwrap();
    let frames = recording.frames(TrackKind::Video);
    assert_eq!(pictures.len(), frames.len());
    assert!(pictures.len() >= 3 * rate, "{} pictures", pictures.len());
    let bytes: usize = frames.iter().map(|(_, frame)| frame.payload.len()).sum();
    assert!(bytes * 8 < 80_000 * pictures.len() / rate, "{bytes} bytes for {} pictures", pictures.len());
    for (picture, (time, _)) in pictures.iter().zip(frames) {
        let [date, of_day, _] = read_lines(picture, width, Layout::new(width, height));
        let shown: jiff::Timestamp = format!("{date}T{of_day}Z").parse().unwrap();
        let error = shown.as_millisecond() - time as i64;
        assert!(error.abs() < 200, "{date} {of_day} is {error} ms off");
    }
    bench.rig.clear().await.unwrap();
}
