//! Whether a feed's video is being stored, and if not, why: judged from evidence, by the passing of time too.

use std::time::Duration;

use streamfleet_contract::{UploadReason, UploadState};

/// What is known about an upload.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Monotonic time.
    pub now: Duration,
    /// Whether a picture has ever come.
    pub had_pictures: bool,
    /// Since when pictures come, if they do.
    pub pictures_since: Option<Duration>,
    /// When a fragment was last said to be stored.
    pub last_stored: Option<Duration>,
    /// How long "lately" is.
    pub offline_after: Duration,
    /// Whether anything waits to be stored.
    pub something_waits: bool,
    /// From the oldest picture that waits to the newest.
    pub span_ms: i64,
    /// For how long the oldest whole group of pictures waits, by the pictures that came since.
    pub behind_ms: i64,
    /// A feed that keeps up is less behind than this.
    pub behind_usual_ms: i64,
    /// Whether the service has accepted the session that is under way.
    pub accepted: bool,
    /// What was last reported to be wrong since a fragment was stored.
    pub trouble: Option<(UploadReason, String)>,
}

/// State, reason and message.
pub fn judge(evidence: &Evidence) -> (UploadState, UploadReason, String) {
    let is_recent = |at: Duration| evidence.now.saturating_sub(at) <= evidence.offline_after;
    if let Some(last_stored) = evidence.last_stored.filter(|at| is_recent(*at)) {
        let (reason, message) = while_storing(evidence, last_stored);
        return (UploadState::Storing, reason, message);
    }
    if !evidence.had_pictures {
        return (UploadState::Waiting, UploadReason::NoMedia, String::new());
    }
    match &evidence.trouble {
        Some((UploadReason::Opening, _)) | None => {}
        Some((reason, message)) if evidence.something_waits => {
            return (UploadState::Failed, *reason, message.clone());
        }
        Some(_) => {}
    }
    if evidence.pictures_since.is_none() && !evidence.something_waits {
        return (UploadState::Failed, UploadReason::SourceLost, String::new());
    }
    if !evidence.something_waits && !evidence.pictures_since.is_some_and(is_recent) {
        let message = "pictures come, but no key frame that a fragment can begin with".to_owned();
        return (UploadState::Failed, UploadReason::NoMedia, message);
    }
    let message = evidence.trouble.as_ref().map(|(_, message)| message.clone()).unwrap_or_default();
    // After a camera's return the first fragment takes its time, like the first of all: unless something waited before.
    let is_beginning = evidence.pictures_since.is_some_and(is_recent);
    let is_all_new = evidence.pictures_since.is_some_and(|since| came_since(evidence, since));
    let state = if is_beginning && (evidence.last_stored.is_none() || is_all_new) {
        UploadState::Waiting
    } else {
        UploadState::Failed
    };
    let reason = if evidence.accepted && !is_beginning {
        UploadReason::NoPersistedAcks
    } else {
        UploadReason::Opening
    };
    (state, reason, message)
}

/// Pictures may be dated earlier than they come, by no more than this.
const EARLY_MS: i64 = 5_000;

/// Whether all that waits came after this.
fn came_since(evidence: &Evidence, since: Duration) -> bool {
    let passed = evidence.now.saturating_sub(since).as_millis();
    evidence.span_ms <= i64::try_from(passed).unwrap_or(i64::MAX).saturating_add(EARLY_MS)
}

/// The reason and the message of a feed of which something was stored lately: what is wrong now, if anything is.
fn while_storing(evidence: &Evidence, last_stored: Duration) -> (UploadReason, String) {
    if !evidence.something_waits {
        let is_away = evidence.pictures_since.is_none();
        let reason = if is_away { UploadReason::SourceLost } else { UploadReason::Persisting };
        return (reason, String::new());
    }
    let is_behind = evidence.behind_ms > evidence.behind_usual_ms;
    match &evidence.trouble {
        Some((reason, message)) if !evidence.accepted => (*reason, message.clone()),
        // Nothing was stored since, but a session stands again.
        Some((_, message)) if is_behind => (UploadReason::Opening, message.clone()),
        None if is_behind && !evidence.accepted => (UploadReason::Opening, String::new()),
        None if is_behind => {
            let silent_for = evidence.now.saturating_sub(last_stored).as_millis();
            if i64::try_from(silent_for).unwrap_or(i64::MAX) > evidence.behind_usual_ms {
                return (UploadReason::NoPersistedAcks, String::new());
            }
            (UploadReason::CatchingUp, format!("{} s behind", evidence.behind_ms / 1_000))
        }
        Some(_) | None => (UploadReason::Persisting, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence {
        Evidence {
            now: Duration::from_secs(1_000),
            had_pictures: true,
            pictures_since: Some(Duration::from_mins(15)),
            last_stored: Some(Duration::from_secs(999)),
            offline_after: Duration::from_secs(30),
            something_waits: true,
            span_ms: 3_000,
            behind_ms: 1_000,
            behind_usual_ms: 20_000,
            accepted: true,
            trouble: None,
        }
    }

    fn verdict(evidence: &Evidence) -> (UploadState, UploadReason) {
        let (state, reason, _) = judge(evidence);
        (state, reason)
    }

    #[test]
    fn storing_ends_when_nothing_was_stored_for_the_configured_time() {
        let mut evidence = evidence();
        assert_eq!(verdict(&evidence), (UploadState::Storing, UploadReason::Persisting));
        evidence.now = Duration::from_secs(1_029);
        assert_eq!(verdict(&evidence), (UploadState::Storing, UploadReason::Persisting));
        evidence.now = Duration::from_secs(1_030);
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::NoPersistedAcks));
    }

    #[test]
    fn a_camera_that_is_away_is_the_reason_only_when_all_it_sent_is_stored() {
        let mut evidence = Evidence {
            now: Duration::from_secs(2_000),
            pictures_since: None,
            something_waits: false,
            accepted: false,
            ..evidence()
        };
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::SourceLost));
        evidence.trouble = Some((UploadReason::EndpointUnreachable, "x".to_owned()));
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::SourceLost));
        evidence.something_waits = true;
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::EndpointUnreachable));
    }

    #[test]
    fn a_feed_that_has_never_stored_fails_at_once_when_it_is_refused_and_waits_while_it_opens() {
        let mut evidence = Evidence {
            last_stored: None,
            had_pictures: false,
            pictures_since: None,
            accepted: false,
            ..evidence()
        };
        assert_eq!(verdict(&evidence), (UploadState::Waiting, UploadReason::NoMedia));
        (evidence.had_pictures, evidence.pictures_since) = (true, Some(Duration::from_secs(995)));
        assert_eq!(verdict(&evidence), (UploadState::Waiting, UploadReason::Opening));
        evidence.trouble = Some((UploadReason::Opening, "another connection".to_owned()));
        assert_eq!(verdict(&evidence), (UploadState::Waiting, UploadReason::Opening));
        evidence.trouble = Some((UploadReason::AwsCredentialsRefused, String::new()));
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::AwsCredentialsRefused));
    }

    #[test]
    fn a_camera_that_has_come_back_is_not_yet_stored_and_nobody_is_to_blame() {
        let mut evidence = Evidence { last_stored: Some(Duration::from_secs(100)), ..evidence() };
        evidence.pictures_since = Some(Duration::from_secs(998));
        assert_eq!(verdict(&evidence), (UploadState::Waiting, UploadReason::Opening));
        let waited = Evidence { span_ms: 60_000, ..evidence.clone() };
        assert_eq!(verdict(&waited).0, UploadState::Failed, "something waited before it came back");
        evidence.now = Duration::from_secs(1_028);
        assert_eq!(verdict(&evidence), (UploadState::Waiting, UploadReason::Opening));
        evidence.now = Duration::from_secs(1_029);
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::NoPersistedAcks));
    }

    #[test]
    fn what_is_wrong_is_said_at_once_though_something_was_stored_lately() {
        let trouble = Some((UploadReason::EndpointUnreachable, "no route".to_owned()));
        let mut evidence = Evidence { accepted: false, trouble, behind_ms: 25_000, ..evidence() };
        let unreachable = (UploadState::Storing, UploadReason::EndpointUnreachable);
        assert_eq!(verdict(&evidence), unreachable);
        assert_eq!(judge(&evidence).2, "no route");
        evidence.behind_ms = 0;
        assert_eq!(verdict(&evidence), unreachable);
        evidence.accepted = true;
        assert_eq!(verdict(&evidence), (UploadState::Storing, UploadReason::Persisting));
        evidence.behind_ms = 25_000;
        assert_eq!(
            verdict(&evidence),
            (UploadState::Storing, UploadReason::Opening),
            "nothing is stored yet"
        );
        (evidence.accepted, evidence.trouble) = (false, None);
        assert_eq!(verdict(&evidence), (UploadState::Storing, UploadReason::Opening));
    }

    #[test]
    fn a_camera_that_is_gone_is_said_at_once_when_all_it_sent_is_stored() {
        let mut evidence = Evidence { pictures_since: None, ..evidence() };
        assert_eq!(verdict(&evidence), (UploadState::Storing, UploadReason::Persisting));
        evidence.something_waits = false;
        assert_eq!(verdict(&evidence), (UploadState::Storing, UploadReason::SourceLost));
    }

    #[test]
    fn a_camera_without_key_frames_is_told_so() {
        let evidence = Evidence { last_stored: None, something_waits: false, ..evidence() };
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::NoMedia));
        assert!(judge(&evidence).2.contains("key frame"));
    }

    #[test]
    fn a_long_backlog_is_catching_up() {
        let mut evidence = Evidence { behind_ms: 61_000, ..evidence() };
        let (state, reason, message) = judge(&evidence);
        assert_eq!((state, reason), (UploadState::Storing, UploadReason::CatchingUp));
        assert_eq!(message, "61 s behind");
        evidence.last_stored = Some(Duration::from_secs(975));
        assert_eq!(verdict(&evidence), (UploadState::Storing, UploadReason::NoPersistedAcks));
    }
}
