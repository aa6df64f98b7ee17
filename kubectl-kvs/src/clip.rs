//! `kubectl kvs clip`: a camera's video of a time range in a file. Camera → VideoStream → StreamClass say where it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use streamfleet_consumer::clip::Report;
use streamfleet_consumer::timeline::Range;
use streamfleet_consumer::{Access, Client, Stream, clip};
use streamfleet_crds::{ConditionType, StreamClass, VideoStream};
use tokio::fs::File;
use tokio::io::BufWriter;

use crate::args::ClipArgs;
use crate::cluster::Cluster;
use crate::time;

/// A stretch at the end of a clip that began this close to now may still be on its way.
const STILL_COMING: SignedDuration = SignedDuration::from_secs(30);

pub async fn run(cluster: &Cluster, args: &ClipArgs) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let range = range(&args.from, &args.to, now)?;
    let camera = cluster.camera(&args.camera).await?;
    let stream = cluster.video_stream(camera.video_stream_name()).await?;
    let arn = stream_arn(&stream)?;
    let class = cluster.stream_class(&stream.spec.stream_class_name).await?;
    let client = Client::new(access(&class, args)?).await?;
    let archive = client.archive(Stream::Arn(arn)).await?;

    let partial = Partial::beside(&args.output)?;
    let file = File::create(&partial.path)
        .await
        .with_context(|| format!("failed to create {}", partial.path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let report = tokio::select! {
        report = clip::write(&archive, range, &mut out) => report?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted: nothing was written"),
    };
    out.into_inner()
        .sync_all()
        .await
        .with_context(|| format!("failed to write {}", partial.path.display()))?;
    partial.becomes(&args.output)?;
    std::io::stdout()
        .write_all(summary(&args.output, &args.camera, &report, now).as_bytes())
        .context("failed to write the summary")
}

fn range(from: &str, to: &str, now: Timestamp) -> anyhow::Result<Range> {
    let from = time::parse(from, now).map_err(|message| anyhow::anyhow!("--from: {message}"))?;
    let to = time::parse(to, now).map_err(|message| anyhow::anyhow!("--to: {message}"))?;
    if from >= to {
        bail!("--from ({from:.3}) must be before --to ({to:.3})");
    }
    if from > now {
        bail!("--from ({from:.3}) is in the future: it is now {now:.3}");
    }
    Ok(Range { from, to })
}

fn stream_arn(stream: &VideoStream) -> anyhow::Result<String> {
    if let Some(arn) = stream.stream_arn() {
        return Ok(arn.to_owned());
    }
    let conditions = stream.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    let why = ready.map_or_else(
        || "the operator has not seen it yet".to_owned(),
        |condition| format!("{}: {}", condition.reason, condition.message),
    );
    bail!(
        "VideoStream \"{}\" has no stream in AWS yet ({why})",
        stream.metadata.name.as_deref().unwrap_or_default()
    )
}

fn access(class: &StreamClass, args: &ClipArgs) -> anyhow::Result<Access> {
    let aws = &class.spec.aws;
    let ca_bundle = match &args.ca_file {
        None => aws.ca_bundle.clone(),
        Some(file) => Some(
            std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?,
        ),
    };
    let of_the_class = aws.endpoints.as_ref().and_then(|endpoints| endpoints.kinesis_video.clone());
    Ok(Access {
        endpoint: args.endpoint_url.clone().or(of_the_class),
        ca_bundle,
        ..Access::of_region(aws.region.clone())
    })
}

/// A file in the making, beside the one that it is to be: it goes when the clip is not finished.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn beside(target: &Path) -> anyhow::Result<Self> {
        let Some(name) = target.file_name() else { bail!("--output {} names no file", target.display()) };
        let mut partial = name.to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        Ok(Self { path: target.with_file_name(partial) })
    }

    fn becomes(self, target: &Path) -> anyhow::Result<()> {
        std::fs::rename(&self.path, target)
            .with_context(|| format!("failed to rename {} to {}", self.path.display(), target.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already, when it has become the clip.
        drop(std::fs::remove_file(&self.path));
    }
}

/// What was found, against what was asked for.
fn summary(file: &Path, camera: &str, report: &Report, now: Timestamp) -> String {
    let gaps = match report.gaps.len() {
        0 => "no gaps".to_owned(),
        1 => "1 gap".to_owned(),
        gaps => format!("{gaps} gaps"),
    };
    let mut lines = vec![format!(
        "{}: {} of {camera}, {:.3} to {:.3}, {} fragments, {} frames, {}, {gaps}\n",
        file.display(),
        seconds(report.length()),
        report.first,
        report.last,
        report.fragments,
        report.blocks,
        size(report.bytes),
    )];
    lines.extend(report.gaps.iter().map(|gap| {
        let coming = gap.end == report.asked.to && now.duration_since(gap.start) < STILL_COMING;
        let what = if coming { "not stored yet" } else { "not stored" };
        format!("  {what}: {:.3} to {:.3} ({})\n", gap.start, gap.end, seconds(gap.length()))
    }));
    if report.segments > 1 {
        lines.push(format!(
            "  the format of the video changes in it: it has {} segments, and most players stop at the end of the first\n",
            report.segments
        ));
    }
    lines.concat()
}

fn seconds(length: SignedDuration) -> String {
    if length.as_secs() < 120 { format!("{:.1}s", length.as_secs_f64()) } else { time::short(length) }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use streamfleet_consumer::timeline::Gap;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-23T10:00:00Z")
    }

    fn args() -> ClipArgs {
        ClipArgs {
            camera: "door".to_owned(),
            from: "-5m".to_owned(),
            to: "now".to_owned(),
            output: PathBuf::from("door.mkv"),
            endpoint_url: None,
            ca_file: None,
        }
    }

    #[test]
    fn a_range_must_run_forwards_and_begin_in_the_past() {
        assert_eq!(
            range("-5m", "now", now()).unwrap(),
            Range { from: at("2026-11-23T09:55:00Z"), to: now() }
        );
        assert!(range("now", "-5m", now()).unwrap_err().to_string().contains("must be before"));
        let message = range("2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z", now()).unwrap_err().to_string();
        assert!(message.contains("in the future"), "{message}");
        let message = range("noon", "now", now()).unwrap_err().to_string();
        assert!(message.starts_with("--from: \"noon\" is no time"), "{message}");
    }

    #[test]
    fn region_endpoint_and_trust_are_the_class_s_unless_flags_say_otherwise() {
        let class: StreamClass = serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "StreamClass", "metadata": {"name": "c"},
            "spec": {"aws": {"region": "eu-west-1", "accountID": "123456789012", "caBundle": "PEM",
                             "endpoints": {"kinesisVideo": "https://kvs.example:8443"}}},
        }))
        .unwrap();
        let access_of_class = access(&class, &args()).unwrap();
        assert_eq!(access_of_class.region, "eu-west-1");
        assert_eq!(access_of_class.endpoint.as_deref(), Some("https://kvs.example:8443"));
        assert_eq!(access_of_class.ca_bundle.as_deref(), Some("PEM"));
        let overridden = ClipArgs { endpoint_url: Some("http://localhost:1".to_owned()), ..args() };
        assert_eq!(access(&class, &overridden).unwrap().endpoint.as_deref(), Some("http://localhost:1"));
        let missing = ClipArgs { ca_file: Some(PathBuf::from("/no/such/file")), ..args() };
        assert!(format!("{:#}", access(&class, &missing).unwrap_err()).contains("/no/such/file"));
    }

    #[test]
    fn a_stream_that_is_not_there_yet_says_why() {
        let stream: VideoStream = serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "VideoStream", "metadata": {"name": "yard"},
            "spec": {"streamClassName": "c"},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "StreamClassNotFound",
                "message": "there is no StreamClass \"c\"", "lastTransitionTime": "2026-11-23T09:00:00Z"}]},
        }))
        .unwrap();
        let message = stream_arn(&stream).unwrap_err().to_string();
        assert!(message.contains("StreamClassNotFound: there is no StreamClass"), "{message}");
    }

    #[test]
    fn the_summary_names_what_is_missing() {
        let mut report = Report {
            asked: Range { from: at("2026-11-23T09:59:00Z"), to: now() },
            first: at("2026-11-23T09:58:59.5Z"),
            last: at("2026-11-23T09:59:57.46Z"),
            fragments: 29,
            superseded: 0,
            blocks: 1_450,
            bytes: 7_654_321,
            gaps: vec![],
            segments: 1,
        };
        let file = Path::new("door.mkv");
        assert_eq!(
            summary(file, "door", &report, now()),
            "door.mkv: 58.0s of door, 2026-11-23T09:58:59.500Z to 2026-11-23T09:59:57.460Z, 29 fragments, 1450 frames, \
             7.7 MB, no gaps\n"
        );
        report.gaps = vec![
            Gap { start: at("2026-11-23T09:59:10Z"), end: at("2026-11-23T09:59:20.5Z") },
            Gap { start: at("2026-11-23T09:59:57.46Z"), end: now() },
        ];
        report.segments = 2;
        let text = summary(file, "door", &report, now());
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines[0], "  not stored: 2026-11-23T09:59:10.000Z to 2026-11-23T09:59:20.500Z (10.5s)");
        assert_eq!(lines[1], "  not stored yet: 2026-11-23T09:59:57.460Z to 2026-11-23T10:00:00.000Z (2.5s)");
        assert!(lines[2].contains("2 segments"));
    }

    #[test]
    fn an_unfinished_file_is_taken_away_and_a_finished_one_replaces_the_old() {
        let folder = std::env::temp_dir().join(format!("kubectl-kvs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let target = folder.join("clip.mkv");
        std::fs::write(&target, "old").unwrap();

        let partial = Partial::beside(&target).unwrap();
        std::fs::write(&partial.path, "half").unwrap();
        let path = partial.path.clone();
        drop(partial);
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "old");

        let partial = Partial::beside(&target).unwrap();
        std::fs::write(&partial.path, "new").unwrap();
        partial.becomes(&target).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
