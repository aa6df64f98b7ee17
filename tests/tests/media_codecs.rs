//! What real encoders make, through our parsers, builders, intake and writer: judged by ffmpeg and ffprobe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use streamfleet_contract::{Audio, Timestamps};
use streamfleet_media::aac::{self, AdtsHeader};
use streamfleet_media::h265::HevcConfiguration;
use streamfleet_media::mkv::{Demuxer, Item, Track, write};
use streamfleet_media::nal::nals_annexb;
use streamfleet_media::picture::{Picture, PictureBuilder};
use streamfleet_media::track::{Access, AccessUnit, Codec, CodecParameters, Sample, TrackParameters};
use streamfleet_media::{g711, h264};
use streamfleet_producer::clock::Now;
use streamfleet_producer::feed::intake::{Dropped, Intake, IntakeEvent, IntakeSettings};

/// A folder for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("streamfleet-media-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over lies in the folder for temporary files.
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs ffmpeg or ffprobe; gives what it wrote, and fails if it warned of anything.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-v", "warning"]).args(arguments).stdin(Stdio::null());
    let done =
        command.output().with_context(|| format!("failed to run {program}: apt-get install ffmpeg"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success() && said.trim().is_empty(), "{program} {arguments:?} said: {said}");
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Three seconds of a moving picture, or of a tone, encoded as the arguments say.
fn encode(folder: &Folder, name: &str, arguments: &str) -> Result<PathBuf> {
    let path = folder.path(name);
    let picture = "testsrc2=s=638x358:r=25:d=3";
    let tone = "sine=f=440:d=3";
    let input = if arguments.contains("-c:v") { picture } else { tone };
    let mut all = vec!["-y", "-f", "lavfi", "-i", input];
    all.extend(arguments.split_whitespace());
    all.push(text(&path));
    run("ffmpeg", &all)?;
    Ok(path)
}

/// The first track of a Matroska file that ffmpeg wrote.
fn track(path: &Path) -> Result<Track> {
    let mut demuxer = Demuxer::new();
    demuxer.push(std::fs::read(path)?.into());
    while let Some(item) = demuxer.next()? {
        if let Item::Header(mut header) = item {
            return Ok(header.tracks.remove(0));
        }
    }
    anyhow::bail!("ffmpeg's file has no header")
}

fn pictures(codec: Codec, path: &Path) -> Result<Vec<Picture>> {
    let stream = std::fs::read(path)?;
    let mut builder = PictureBuilder::new(codec).context("no codec of pictures")?;
    let mut found = Vec::new();
    for nal in nals_annexb(&stream) {
        if builder.begins_picture(nal) {
            found.extend(builder.finish());
        }
        builder.push(nal);
    }
    found.extend(builder.finish());
    Ok(found)
}

/// The presentation times of a clip's pictures in the order of decoding, in pictures from the first one's.
fn order(path: &Path) -> Result<Vec<i64>> {
    let mkv = path.with_extension("source.mkv");
    let entries = ["-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0", text(&mkv)];
    let times: Vec<f64> =
        run("ffprobe", &entries)?.lines().filter_map(|line| line.trim_matches(',').parse().ok()).collect();
    let first = times.first().copied().unwrap_or(0.0);
    Ok(times.iter().map(|time| ((time - first) * 25.0).round() as i64).collect())
}

/// Encodes to Matroska, where times are kept, and takes the byte stream out of that.
fn encode_with_times(folder: &Folder, name: &str, codec: Codec, arguments: &str) -> Result<PathBuf> {
    let mkv = encode(folder, &format!("{name}.source.mkv"), arguments)?;
    let (format, filter) =
        if codec == Codec::H264 { ("h264", "h264_mp4toannexb") } else { ("hevc", "hevc_mp4toannexb") };
    let raw = folder.path(&format!("{name}.raw"));
    run("ffmpeg", &["-y", "-i", text(&mkv), "-c", "copy", "-bsf:v", filter, "-f", format, text(&raw)])?;
    Ok(raw)
}

const START_MS: i64 = 1_700_000_000_000;

/// What the intake makes of pictures with these times, 25 a second.
fn take_in(
    codec: Codec,
    pictures: &[Picture],
    order: &[i64],
) -> (Vec<(AccessUnit, Arc<CodecParameters>)>, Vec<Dropped>) {
    let settings = IntakeSettings { audio: Audio::Auto, timestamps: Timestamps::Node, target_ms: 2_000 };
    let mut intake = Intake::new(settings);
    intake.connected(&[codec]);
    let (mut units, mut dropped) = (Vec::new(), Vec::new());
    for (n, (picture, shown)) in pictures.iter().zip(order).enumerate() {
        let ms = n as i64 * 40;
        let now = Now { mono: Duration::from_millis(3_600_000 + ms as u64), wall_ms: START_MS + ms };
        let sample = Sample {
            track: 0,
            ticks: shown * 3_600,
            rate: 90_000,
            access: picture.access,
            lost: 0,
            data: picture.data.clone(),
            parameters: picture.parameters.clone(),
        };
        intake.push(sample, now);
        while let Some(event) = intake.next(now) {
            match event {
                IntakeEvent::Unit(unit, codec, _) => units.push((unit, codec)),
                IntakeEvent::Dropped(why) => dropped.push(why),
                _ => {}
            }
        }
    }
    (units, dropped)
}

/// A document of these units, with a cluster for each group.
fn document(units: &[(AccessUnit, Arc<CodecParameters>)]) -> Vec<u8> {
    let codec = &units[0].1;
    let tracks: Vec<_> = (1..).zip(&codec.tracks).map(|(number, track)| Track::of(number, track)).collect();
    let mut out = write::header(&tracks).to_vec();
    let mut cluster_ms = 0;
    for (unit, _) in units {
        if unit.key {
            cluster_ms = unit.time_ms;
            out.extend_from_slice(&write::cluster_start(cluster_ms as u64));
        }
        let relative = (unit.time_ms - cluster_ms) as i16;
        let number = u64::from(unit.track) + 1;
        out.extend_from_slice(&write::simple_block_prefix(number, relative, unit.key, unit.data.len()));
        out.extend_from_slice(&unit.data);
    }
    out
}

/// How many pictures ffmpeg decodes from a document, which must not make it complain.
fn decoded(folder: &Folder, document: &[u8]) -> Result<usize> {
    let path = folder.path("ours.mkv");
    std::fs::write(&path, document)?;
    run("ffmpeg", &["-xerror", "-err_detect", "explode", "-i", text(&path), "-f", "null", "-"])?;
    let entries = ["-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames"];
    let counted = run("ffprobe", &[&entries[..], &["-of", "csv=p=0", text(&path)]].concat())?;
    counted.trim().trim_matches(',').parse().with_context(|| format!("ffprobe counted {counted:?}"))
}

/// Stores a clip as a feed would, and has each group decoded by itself and all together. Gives what was dropped.
fn stored_and_decoded(folder: &Folder, codec: Codec, raw: &Path, slices: usize) -> Result<Vec<Dropped>> {
    let pictures = pictures(codec, raw)?;
    let order = order(raw)?;
    ensure!(pictures.len() == 75 && order.len() == 75, "{} pictures, {} times", pictures.len(), order.len());
    let least = pictures.iter().map(|picture| h264::nals_avcc(&picture.data).count()).min();
    ensure!(least >= Some(slices), "a picture has {least:?} slices");
    let (units, dropped) = take_in(codec, &pictures, &order);
    ensure!(units.len() + dropped.len() == 75, "{} stored, {} dropped", units.len(), dropped.len());
    let groups: Vec<_> = units.chunk_by(|_, next| !next.0.key).collect();
    ensure!(groups.len() >= 3, "{} groups", groups.len());
    for group in &groups {
        let count = decoded(folder, &document(group))?;
        ensure!(count == group.len(), "{count} of a group's {} pictures are decoded", group.len());
    }
    ensure!(decoded(folder, &document(&units))? == units.len(), "together they are not what they are alone");
    Ok(dropped)
}

#[test]
fn codec_private_data_is_what_ffmpeg_writes() -> Result<()> {
    let folder = Folder::new("private")?;
    let table = [
        (Codec::H264, "high", "-c:v libx264 -pix_fmt yuv420p"),
        (Codec::H264, "base", "-c:v libx264 -pix_fmt yuv420p -profile:v baseline -level 3.1"),
        (Codec::H264, "ten-bits", "-c:v libx264 -pix_fmt yuv422p10le"),
        (
            Codec::H264,
            "interlaced",
            "-c:v libx264 -pix_fmt yuv420p -vf scale=636:360 -flags +ildct+ilme -x264-params weightp=0",
        ),
        (Codec::H265, "main", "-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none:info=0"),
        (
            Codec::H265,
            "ten",
            "-c:v libx265 -pix_fmt yuv420p10le -x265-params log-level=none:info=0:high-tier=1:level-idc=51",
        ),
        (
            Codec::H265,
            "444",
            "-c:v libx265 -pix_fmt yuv444p -x265-params log-level=none:info=0:temporal-layers=1:wpp=1",
        ),
    ];
    for (codec, name, arguments) in table {
        let path = encode_with_times(&folder, name, codec, arguments)?;
        let theirs = track(&folder.path(&format!("{name}.source.mkv")))?;
        let pictures = pictures(codec, &path)?;
        let ours = pictures.iter().find_map(|picture| picture.parameters.clone()).context("no parameters")?;
        assert_eq!(Track::of(1, &ours).video, theirs.video, "{name}");
        if codec == Codec::H264 {
            assert_eq!(hex::encode(&ours.private), hex::encode(&theirs.codec_private), "{name}");
            continue;
        }
        // But for the mark that there are no further sets in the frames, which ffmpeg leaves off.
        assert_eq!(hex::encode(&ours.private[..23]), hex::encode(&theirs.codec_private[..23]), "{name}");
        let sets = |record: &Bytes| HevcConfiguration::parse(record);
        assert_eq!(sets(&ours.private), sets(&theirs.codec_private), "{name}");
        assert_eq!(pictures.iter().filter(|picture| picture.parameters.is_some()).count(), 1, "{name}");
    }
    Ok(())
}

#[test]
fn sound_is_described_as_ffmpeg_does() -> Result<()> {
    let folder = Folder::new("sound")?;
    for (rate, channels) in [(48_000, 2), (44_100, 1), (16_000, 1), (8_000, 1)] {
        let arguments = format!("-c:a aac -b:a 24k -ar {rate} -ac {channels}");
        let theirs = track(&encode(&folder, "tone.mkv", &arguments)?)?;
        let path = encode(&folder, "tone.aac", &format!("{arguments} -f adts"))?;
        let stream = std::fs::read(&path)?;
        let first = AdtsHeader::parse(&stream)?;
        let ours = aac::parameters(&first.config.to_config())?;
        // ffmpeg adds that there is no spectral band replication.
        assert_eq!(ours.private[..], theirs.codec_private[..ours.private.len()], "{rate} {channels}");
        assert_eq!(
            Track::of(1, &ours).audio.map(|a| (a.sampling_frequency, a.channels)),
            theirs.audio.map(|a| (a.sampling_frequency, a.channels))
        );
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let header = AdtsHeader::parse(rest)?;
            ensure!(header.config == first.config, "the configuration changes");
            rest = rest.get(header.frame_bytes..).context("a frame is cut short")?;
        }
    }
    for (name, codec, rate) in
        [("alaw", Codec::PcmAlaw, 8_000), ("mulaw", Codec::PcmMulaw, 8_000), ("alaw", Codec::PcmAlaw, 16_000)]
    {
        let arguments = format!("-c:a pcm_{name} -ar {rate} -ac 1");
        let theirs = track(&encode(&folder, "tone.mkv", &arguments)?)?;
        let ours = g711::parameters(codec, rate, 1).context("no parameters")?;
        assert_eq!(hex::encode(&ours.private), hex::encode(&theirs.codec_private), "{name} {rate}");
        assert_eq!(theirs.codec_id, codec.mkv_id());
        assert_eq!(g711::parse(&theirs.codec_private), Some((codec, rate, 1)));
    }
    Ok(())
}

#[test]
fn every_group_of_h264_can_be_decoded_by_itself() -> Result<()> {
    let folder = Folder::new("h264")?;
    let table = [
        ("plain", 1, "-g 25 -bf 0"),
        ("slices", 4, "-g 25 -bf 0 -slices 4"),
        ("reordered", 1, "-g 25 -bf 3"),
        ("pyramid", 2, "-g 20 -bf 3 -slices 2 -x264-params b-pyramid=normal:open-gop=0"),
    ];
    for (name, slices, arguments) in table {
        let arguments = format!("-c:v libx264 -pix_fmt yuv420p -sc_threshold 0 {arguments}");
        let raw = encode_with_times(&folder, name, Codec::H264, &arguments)?;
        let dropped =
            stored_and_decoded(&folder, Codec::H264, &raw, slices).with_context(|| name.to_owned())?;
        assert_eq!(dropped, [], "{name}");
    }
    Ok(())
}

#[test]
fn every_group_of_h265_can_be_decoded_by_itself() -> Result<()> {
    let folder = Folder::new("h265")?;
    // The last has leading pictures that refer to what is before their random access picture: at two of the three.
    let table = [
        ("plain", 1, 0, "bframes=0"),
        ("slices", 4, 0, "bframes=0:slices=4"),
        ("closed", 1, 0, "bframes=4:open-gop=0"),
        ("open", 1, 2, "bframes=4:open-gop=1:b-adapt=0"),
    ];
    for (name, slices, opened, arguments) in table {
        let arguments = format!(
            "-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none:keyint=25:min-keyint=25:scenecut=0:{arguments}"
        );
        let raw = encode_with_times(&folder, name, Codec::H265, &arguments)?;
        let dropped =
            stored_and_decoded(&folder, Codec::H265, &raw, slices).with_context(|| name.to_owned())?;
        assert!(dropped.iter().all(|why| *why == Dropped::Leading), "{name}: {dropped:?}");
        assert!(dropped.len() >= opened, "{name}: {dropped:?}");
        assert_eq!(dropped.is_empty(), opened == 0, "{name}: {dropped:?}");
    }
    Ok(())
}

#[test]
fn intra_refresh_is_no_place_to_start() -> Result<()> {
    let folder = Folder::new("refresh")?;
    let path = encode(
        &folder,
        "refresh.h264",
        "-c:v libx264 -pix_fmt yuv420p -g 25 -x264-params intra-refresh=1:bframes=0:ref=1",
    )?;
    let found = pictures(Codec::H264, &path)?;
    let starts = found.iter().filter(|picture| picture.access == Access::Start).count();
    assert_eq!((found.len(), starts), (75, 1), "recovery points are no IDR pictures");
    Ok(())
}

#[test]
fn a_document_with_sound_is_read_without_a_warning() -> Result<()> {
    let folder = Folder::new("both")?;
    let raw = encode_with_times(
        &folder,
        "video",
        Codec::H264,
        "-c:v libx264 -pix_fmt yuv420p -g 25 -bf 2 -sc_threshold 0",
    )?;
    let pictures = pictures(Codec::H264, &raw)?;
    let order = order(&raw)?;
    let adts = std::fs::read(encode(&folder, "tone.aac", "-c:a aac -ar 48000 -ac 1 -f adts")?)?;
    let mut frames = Vec::new();
    let mut rest = &adts[..];
    while let Ok(header) = AdtsHeader::parse(rest) {
        frames.push(Bytes::copy_from_slice(&rest[header.header_bytes..header.frame_bytes]));
        rest = &rest[header.frame_bytes..];
    }
    let sound = aac::parameters(&AdtsHeader::parse(&adts)?.config.to_config())?;
    let units = both(&pictures, &order, &frames, &sound);
    let counts = units.iter().fold(BTreeMap::<u8, usize>::new(), |mut counts, (unit, _)| {
        *counts.entry(unit.track).or_default() += 1;
        counts
    });
    assert_eq!(counts.get(&0), Some(&75));
    assert!(counts.get(&1).is_some_and(|count| *count > 130), "{counts:?}");
    // Each fragment has both tracks, and no block before it is as late as its cluster.
    for group in units.chunk_by(|_, next| !next.0.key) {
        assert!(group.iter().any(|(unit, _)| unit.track == 1), "a fragment without sound");
    }
    assert_eq!(decoded(&folder, &document(&units))?, 75);
    let path = folder.path("ours.mkv");
    let entries = ["-show_entries", "stream=codec_name,width,height,sample_rate,channels", "-of", "csv=p=0"];
    let shown = run("ffprobe", &[&entries[..], &[text(&path)]].concat())?;
    assert_eq!(shown.trim(), "h264,638,358\naac,48000,1");
    Ok(())
}

/// Pictures and sound as a camera sends them, through the intake.
fn both(
    pictures: &[Picture],
    order: &[i64],
    frames: &[Bytes],
    sound: &TrackParameters,
) -> Vec<(AccessUnit, Arc<CodecParameters>)> {
    let settings = IntakeSettings { audio: Audio::Auto, timestamps: Timestamps::Node, target_ms: 2_000 };
    let mut intake = Intake::new(settings);
    intake.connected(&[Codec::H264, Codec::Aac]);
    let mut samples: Vec<(i64, Sample)> = Vec::new();
    let sample = |track: u8, ticks: i64, rate: u32, data: &Bytes| Sample {
        track,
        ticks,
        rate,
        access: Access::Continue,
        lost: 0,
        data: data.clone(),
        parameters: None,
    };
    for (n, (picture, shown)) in pictures.iter().zip(order).enumerate() {
        let (access, parameters) = (picture.access, picture.parameters.clone());
        samples.push((
            n as i64 * 40,
            Sample { access, parameters, ..sample(0, shown * 3_600, 90_000, &picture.data) },
        ));
    }
    for (n, frame) in frames.iter().enumerate() {
        let ticks = n as i64 * i64::from(aac::SAMPLES_PER_FRAME);
        let parameters = (n == 0).then(|| sound.clone());
        samples.push((ticks / 48, Sample { parameters, ..sample(1, ticks, 48_000, frame) }));
    }
    samples.sort_by_key(|(when, _)| *when);
    let mut units = Vec::new();
    for (ms, sample) in samples {
        let now = Now { mono: Duration::from_millis(3_600_000 + ms as u64), wall_ms: START_MS + ms };
        intake.push(sample, now);
        units.extend(std::iter::from_fn(|| intake.next(now)));
    }
    intake.ended();
    let end = Now { mono: Duration::from_secs(4_000), wall_ms: START_MS + 400_000 };
    units.extend(std::iter::from_fn(|| intake.next(end)));
    let unit = |event| match event {
        IntakeEvent::Unit(unit, codec, _) => Some((unit, codec)),
        _ => None,
    };
    units.into_iter().filter_map(unit).collect()
}
