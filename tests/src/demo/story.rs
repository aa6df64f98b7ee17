//! What the demo does to cameras and pods, to show that it does not matter; and the clip that comes back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::Stage;
use super::clip;
use super::fleet::Fleet;
use super::install::{NAMESPACE, kvs};
use super::observe::Observer;
use super::site::{CAMERAS, start_camera, stop_camera};
use crate::cluster::wait::{Look, until};
use crate::steps::Steps;

/// The camera whose plug is pulled.
pub const UNPLUGGED: usize = 0;
/// The camera whose pod is deleted, and whose clip is recalled.
const RESTARTED: usize = 1;

/// How long a lost camera may take to be said: `offlineAfterSeconds` (30) and some.
const OFFLINE_LIMIT: Duration = Duration::from_mins(1);
/// How long a camera or pod that is back may take to be stored again.
const BACK_LIMIT: Duration = Duration::from_mins(1);
/// How long the others may take to store something new: they have a key frame a second.
const NEXT_STORED_LIMIT: Duration = Duration::from_secs(15);
/// A clip shows at least so much from before its camera's pod was deleted.
const BEFORE_DELETION: SignedDuration = SignedDuration::from_secs(20);

/// One camera is unplugged: its line says so and since when, the others go on. Plugged in, it is Ready again.
pub async fn unplug_and_plug_in(stage: &Stage, observer: &Observer, steps: &Steps) -> Result<()> {
    let camera = CAMERAS[UNPLUGGED];
    let (unplugged, unplugged_at) = (Instant::now(), Timestamp::now());
    stop_camera(stage, camera)?;
    steps.say(format!("unplugged camera {}", camera.name));
    let why = observer.wait_condition(camera.name, "Reachable", "False", OFFLINE_LIMIT).await?;
    steps.done(format!(
        "{} is not Reachable after {:.1} s: {why}",
        camera.name,
        unplugged.elapsed().as_secs_f64()
    ));
    let why = observer.wait_condition(camera.name, "Ready", "False", OFFLINE_LIMIT).await?;
    steps.done(format!(
        "{} is not Ready after {:.1} s: {why}",
        camera.name,
        unplugged.elapsed().as_secs_f64()
    ));
    steps.text(kvs(stage, &["status", "-n", NAMESPACE])?);
    let since = Fleet::read(stage)?.lost_since(camera.name, unplugged_at)?;
    steps.say(format!("its line says so, and since when: {since:.0}"));
    the_others_go_on(stage, camera.name, steps).await?;
    let plugged = Instant::now();
    start_camera(stage, camera)?;
    observer.wait_condition(camera.name, "Ready", "True", BACK_LIMIT).await?;
    steps.done(format!(
        "plugged {} in: Ready again after {:.1} s",
        camera.name,
        plugged.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Every camera but this one is Ready, and stores more and more.
async fn the_others_go_on(stage: &Stage, lost: &str, steps: &Steps) -> Result<()> {
    let others: Vec<_> = CAMERAS.iter().map(|camera| camera.name).filter(|name| *name != lost).collect();
    let before = Fleet::read(stage)?;
    until(NEXT_STORED_LIMIT, &format!("{} store more", others.join(" and ")), async || {
        let waiting = Fleet::read(stage)?.not_stored_since(&before, &others);
        Ok(if waiting.is_empty() { Look::Done(()) } else { Look::NotYet(waiting.join("; ")) })
    })
    .await
    .with_context(|| format!("the loss of {lost} disturbed the others"))?;
    steps.done("the others go on: they are Ready, and what was last stored of them is newer and newer");
    Ok(())
}

/// A producer pod is deleted; its successor goes on where the stream has got to. Gives when it was deleted.
pub async fn delete_a_pod(observer: &Observer, steps: &Steps) -> Result<Timestamp> {
    let camera = CAMERAS[RESTARTED].name;
    let pod = observer.producer(camera).await?.with_context(|| format!("camera {camera} has no pod"))?;
    let before = observer.feed(camera).await?.and_then(|feed| feed.stored).context("nothing stored yet")?;
    let (deleted, deleted_at) = (Instant::now(), Timestamp::now());
    let old = observer.delete_pod(&pod).await?;
    steps.say(format!("deleted pod {} of camera {camera}", pod.name_any()));
    let limit = BACK_LIMIT;
    let successor = until(limit, "a successor stores the camera's video", async || {
        let Some(pod) = observer.producer(camera).await? else {
            return Ok(Look::NotYet("no pod".to_owned()));
        };
        if pod.uid().as_deref() == Some(old.as_str()) {
            return Ok(Look::NotYet("the old pod".to_owned()));
        }
        let stored = observer.feed(camera).await?.and_then(|feed| feed.stored);
        Ok(match stored.filter(|mark| mark.media_ms > before.media_ms) {
            Some(mark) => Look::Done((pod.name_any(), mark)),
            None => Look::NotYet(format!("{} has stored nothing", pod.name_any())),
        })
    });
    let (name, _) = successor.await?;
    observer.wait_condition(camera, "Ready", "True", BACK_LIMIT).await?;
    steps.done(format!("its successor {name} stores again after {:.1} s", deleted.elapsed().as_secs_f64()));
    Ok(deleted_at)
}

/// The last minute of the camera whose pod was `deleted` as a file, across the deletion, checked by ffprobe and by
/// decoding all of it.
pub fn recall_a_clip(stage: &Stage, deleted: Timestamp, steps: &Steps) -> Result<()> {
    let camera = CAMERAS[RESTARTED].name;
    let file = stage.folder.join(format!("{camera}.mkv")).display().to_string();
    let from = (Timestamp::now() - SignedDuration::from_secs(60)).min(deleted - BEFORE_DELETION);
    let said = kvs(
        stage,
        &["clip", camera, "-n", NAMESPACE, "--from", &format!("{from:.3}"), "--to", "now", "-o", &file],
    )?;
    steps.done(format!("kubectl kvs clip {camera} --from {from:.0}: {}", said.trim()));
    let gap = clip::gap_after(&said, deleted)?;
    steps.say(format!(
        "the archive's gap across the deletion of the pod: {:.1} s (at most {} s)",
        gap.as_secs_f64(),
        clip::GAP_LIMIT.as_secs()
    ));
    ensure!(gap <= clip::GAP_LIMIT, "the deletion of a pod made too long a gap:\n{said}");
    let line = clip::probe(&file)?;
    steps.done(format!("ffprobe: {line}"));
    ensure!(line.contains("codec_name=h264"), "the clip has no H.264 in it: {line}");
    ensure!(line.contains("width=1280"), "the clip is not of the camera's size: {line}");
    ensure!(clip::packets(&line) > 100, "the clip holds fewer pictures than some seconds have: {line}");
    clip::decode(&file)?;
    steps.done("ffmpeg decodes every picture of it");
    Ok(())
}
