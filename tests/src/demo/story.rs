//! What the demo does to cameras and pods, to show that it does not matter; and the clip that comes back.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;

use super::Stage;
use super::install::{NAMESPACE, kvs};
use super::observe::Observer;
use super::site::{CAMERAS, start_camera, stop_camera};
use crate::cluster::wait::{Look, until};
use crate::process::output;
use crate::steps::Steps;

/// The camera whose plug is pulled.
const UNPLUGGED: usize = 0;
/// The camera whose pod is deleted, and whose clip is recalled.
const RESTARTED: usize = 1;

/// How long a lost camera may take to be said: `offlineAfterSeconds` (30) and some.
const OFFLINE_LIMIT: Duration = Duration::from_secs(60);
/// How long a camera or pod that is back may take to be stored again.
const BACK_LIMIT: Duration = Duration::from_secs(60);

/// One camera is unplugged: its line says so and since when, the others go on. Plugged in, it is Ready again.
pub async fn unplug_and_plug_in(stage: &Stage, observer: &Observer, steps: &Steps) -> Result<()> {
    let camera = CAMERAS[UNPLUGGED];
    let unplugged = Instant::now();
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
    for other in CAMERAS.iter().filter(|other| other.name != camera.name) {
        let (status, why) = observer.condition(other.name, "Ready").await?;
        ensure!(
            status == "True",
            "camera {} was disturbed by the loss of {}: {why}",
            other.name,
            camera.name
        );
    }
    steps.say("the others go on");
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

/// A producer pod is deleted; its successor goes on where the stream has got to.
pub async fn delete_a_pod(observer: &Observer, steps: &Steps) -> Result<()> {
    let camera = CAMERAS[RESTARTED].name;
    let pod = observer.producer(camera).await?.with_context(|| format!("camera {camera} has no pod"))?;
    let before = observer.feed(camera).await?.and_then(|feed| feed.stored).context("nothing stored yet")?;
    let deleted = Instant::now();
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
    Ok(())
}

/// The last minute of a camera as a file, checked by ffprobe.
pub fn recall_a_clip(stage: &Stage, steps: &Steps) -> Result<()> {
    let camera = CAMERAS[RESTARTED].name;
    let clip = stage.folder.join(format!("{camera}.mkv"));
    let file = clip.display().to_string();
    let said = kvs(stage, &["clip", camera, "-n", NAMESPACE, "--from", "-60s", "--to", "now", "-o", &file])?;
    steps.done(format!("kubectl kvs clip {camera} --from -60s: {}", said.trim()));
    let line = probe(&file)?;
    steps.done(format!("ffprobe: {line}"));
    ensure!(line.contains("codec_name=h264"), "the clip has no H.264 in it: {line}");
    ensure!(line.contains("width=1280"), "the clip is not of the camera's size: {line}");
    ensure!(packets(&line) > 100, "the clip holds fewer pictures than some seconds have: {line}");
    Ok(())
}

/// What ffprobe says of a file's video, in one line. Fails when ffprobe finds a fault in it.
pub fn probe(file: &str) -> Result<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries"]);
    command.args(["stream=codec_name,profile,width,height,nb_read_packets:format=format_name,duration"]);
    command.args(["-of", "compact=nokey=0", file]);
    Ok(output(&mut command)?.trim().replace('\n', "  "))
}

/// `nb_read_packets` of a line of [`probe`].
fn packets(line: &str) -> u64 {
    let after = line.split("nb_read_packets=").nth(1).unwrap_or_default();
    after
        .split(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_from_the_line() {
        assert_eq!(packets("stream|codec_name=h264|nb_read_packets=1500  format|duration=60"), 1500);
        assert_eq!(packets("stream|codec_name=h264"), 0);
    }
}
