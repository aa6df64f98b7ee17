//! The fleet as `kubectl kvs status -o json` tells it.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Stage;
use super::install::{NAMESPACE, kvs};

/// A camera counts as lost from its last picture on, which may be so much older than the pulled plug: a key frame
/// interval, and the status has whole seconds.
const LAST_PICTURE: SignedDuration = SignedDuration::from_secs(3);

/// What the plugin says of every camera.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Fleet {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    camera: String,
    ready: String,
    last_persisted_time: Option<Timestamp>,
    offline_since: Option<Timestamp>,
}

impl Fleet {
    /// Asks the plugin.
    pub fn read(stage: &Stage) -> Result<Self> {
        let said = kvs(stage, &["status", "-n", NAMESPACE, "-o", "json"])?;
        serde_json::from_str(&said).with_context(|| format!("failed to read the plugin's JSON: {said}"))
    }

    /// Since when a camera is lost by its line; an error unless the line says that it is, since about `unplugged`.
    pub fn lost_since(&self, camera: &str, unplugged: Timestamp) -> Result<Timestamp> {
        let line = self.line(camera)?;
        ensure!(line.ready == "False", "the line of {camera}, which is unplugged, says Ready={}", line.ready);
        let since = line.offline_since.with_context(|| format!("the line of {camera} has no time"))?;
        ensure!(
            since >= unplugged - LAST_PICTURE && since <= Timestamp::now(),
            "{camera} was unplugged at {unplugged:.3}, and its line says lost since {since:.3}"
        );
        Ok(since)
    }

    /// Those of the cameras that are not Ready, or of which nothing newer is stored than `before`; each with what there is.
    pub fn not_stored_since(&self, before: &Self, cameras: &[&str]) -> Vec<String> {
        let goes_on = |camera: &str| {
            let (Ok(now), Ok(before)) = (self.line(camera), before.line(camera)) else { return false };
            now.ready == "True" && now.last_persisted_time > before.last_persisted_time
        };
        let waiting = cameras.iter().filter(|camera| !goes_on(camera));
        waiting.map(|camera| format!("{camera}: {:?}", self.line(camera).ok())).collect()
    }

    fn line(&self, camera: &str) -> Result<&Line> {
        let found = self.lines.iter().find(|line| line.camera == camera);
        found.with_context(|| format!("the plugin does not name {camera}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(camera: &str, ready: &str, stored: &str) -> Value {
        json!({"camera": camera, "ready": ready, "pod": "p",
               "lastPersistedTime": format!("2025-11-23T{stored}.500Z"), "offlineSince": null})
    }

    fn fleet(lines: Vec<Value>) -> Fleet {
        serde_json::from_value(lines.into()).unwrap()
    }

    fn lost(since: &str) -> Fleet {
        let mut line = line("lobby", "False", "10:00:00");
        line["offlineSince"] = since.into();
        fleet(vec![line])
    }

    #[test]
    fn a_line_must_say_lost_and_since_about_when() {
        let unplugged = "2025-11-23T10:00:02Z".parse().unwrap();
        let since = lost("2025-11-23T10:00:01.000Z").lost_since("lobby", unplugged).unwrap();
        assert_eq!(since, "2025-11-23T10:00:01Z".parse().unwrap());
        assert!(lost("2025-11-23T09:59:00.000Z").lost_since("lobby", unplugged).is_err());
        assert!(fleet(vec![line("lobby", "True", "10:00:00")]).lost_since("lobby", unplugged).is_err());
    }

    #[test]
    fn a_camera_goes_on_when_it_is_ready_and_newer_video_is_stored() {
        let before = fleet(vec![line("door", "True", "10:00:00"), line("yard", "True", "10:00:00")]);
        let after = fleet(vec![line("door", "True", "10:00:01"), line("yard", "True", "10:00:00")]);
        let waiting = after.not_stored_since(&before, &["door", "yard"]);
        assert_eq!(waiting.len(), 1);
        assert!(waiting[0].starts_with("yard: "), "{waiting:?}");
        let disturbed = fleet(vec![line("door", "False", "10:00:01")]);
        assert_eq!(disturbed.not_stored_since(&before, &["door"]).len(), 1);
    }
}
