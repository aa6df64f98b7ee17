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
    pub backlog_ms: i64,
    /// The backlog of a feed that keeps up is below this.
    pub backlog_usual_ms: i64,
    /// Whether the service has accepted the session that is under way.
    pub accepted: bool,
    /// What was last reported to be wrong since a fragment was stored.
    pub trouble: Option<(UploadReason, String)>,
}

/// State, reason and message.
pub fn judge(evidence: &Evidence) -> (UploadState, UploadReason, String) {
    let is_recent = |at: Duration| evidence.now.saturating_sub(at) <= evidence.offline_after;
    if evidence.last_stored.is_some_and(is_recent) {
        return if evidence.backlog_ms > evidence.backlog_usual_ms {
            let behind = format!("{} s behind", evidence.backlog_ms / 1_000);
            (UploadState::Storing, UploadReason::CatchingUp, behind)
        } else {
            (UploadState::Storing, UploadReason::Persisting, String::new())
        };
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
    // After a camera's return the first fragment takes its time, like the first of all.
    let is_beginning = evidence.pictures_since.is_some_and(is_recent);
    let state = if is_beginning && evidence.last_stored.is_none() {
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
            backlog_ms: 3_000,
            backlog_usual_ms: 20_000,
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
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::Opening));
        evidence.now = Duration::from_secs(1_100);
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::NoPersistedAcks));
    }

    #[test]
    fn a_camera_without_key_frames_is_told_so() {
        let evidence = Evidence { last_stored: None, something_waits: false, ..evidence() };
        assert_eq!(verdict(&evidence), (UploadState::Failed, UploadReason::NoMedia));
        assert!(judge(&evidence).2.contains("key frame"));
    }

    #[test]
    fn a_long_backlog_is_catching_up() {
        let evidence = Evidence { backlog_ms: 61_000, ..evidence() };
        let (state, reason, message) = judge(&evidence);
        assert_eq!((state, reason), (UploadState::Storing, UploadReason::CatchingUp));
        assert_eq!(message, "61 s behind");
    }
}
