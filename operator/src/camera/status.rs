//! What a Camera's status says: from what is known about its stream, its pod and its feed to conditions. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamfleet_contract::{
    FeedStatus, Media, SourceReason, SourceState, StoredAt, UploadReason, UploadState, UploadStatus,
};
use streamfleet_crds::{CameraReason as Reason, CameraStatus, ConditionType, ProducerPod};

use super::reasons::{explain, explain_upload, source_reason, told, upload_reason, words};
use crate::conditions::{Truth, Verdict, merge, whole_seconds};

/// How often a steady Camera's status is written.
const REFRESH: SignedDuration = SignedDuration::from_mins(10);

/// What is known about a Camera.
#[derive(Debug, Clone, PartialEq)]
pub enum Situation {
    /// It has no producer, for this reason.
    Held {
        /// As a name.
        reason: Reason,
        /// For people.
        message: String,
    },
    /// Its producer cannot be asked.
    Down {
        /// As a name.
        reason: Reason,
        /// For people.
        message: String,
    },
    /// Its producer was not heard yet: what was known before still stands.
    Unheard,
    /// Its producer does not answer.
    Unreachable,
    /// What its producer says.
    Fed(Box<FeedStatus>),
}

/// What else the status shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The name of the KVS stream.
    pub stream_name: Option<String>,
    /// Where the producer runs.
    pub producer: Option<ProducerPod>,
    /// Whether the camera asks for credentials, as far as the spec says.
    pub has_credentials: bool,
    /// Which acknowledgement counts.
    pub stored_at: StoredAt,
    /// After how long without stored video it is no longer Ready.
    pub offline_after: SignedDuration,
}

/// The status after a look, and when it changes by itself.
pub struct Decision {
    /// The status.
    pub status: CameraStatus,
    /// When `Ready` ends unless something is stored until then.
    pub ready_until: Option<Timestamp>,
}

/// Decides.
pub fn decide(
    before: &CameraStatus,
    situation: &Situation,
    facts: &Facts,
    generation: Option<i64>,
    now: Timestamp,
) -> Decision {
    let mut status = CameraStatus {
        observed_generation: generation,
        stream_name: facts.stream_name.clone().or_else(|| before.stream_name.clone()),
        producer: facts.producer.clone(),
        ..before.clone()
    };
    if let Situation::Fed(feed) = situation {
        take_over(&mut status, feed);
    }
    let (mut verdicts, cause) = steps(before, situation, facts);
    let last = status.last_persisted_time.as_ref().map(|time| time.0);
    let held_until =
        last.and_then(|last| last.checked_add(facts.offline_after).ok()).filter(|until| *until > now);
    let (ready, ready_until) = ready(before, situation, facts, cause.as_ref(), held_until);
    verdicts.push(ready);
    status.state = Some(state(&verdicts, cause.as_ref(), situation));
    status.conditions = merge(&before.conditions, &verdicts, generation, now);
    Decision { status, ready_until }
}

/// Whether the difference is worth a write: what turns is, what moves along is only after a while.
pub fn is_worth_writing(before: &CameraStatus, after: &CameraStatus) -> bool {
    let still = |status: &CameraStatus| CameraStatus {
        last_persisted_time: None,
        reconnects: None,
        frame_rate: status.frame_rate.map(|_| 0),
        ..status.clone()
    };
    if still(before) != still(after) {
        return true;
    }
    match (&before.last_persisted_time, &after.last_persisted_time) {
        (Some(before), Some(after)) => after.0.duration_since(before.0) >= REFRESH,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

fn take_over(status: &mut CameraStatus, feed: &FeedStatus) {
    if let Some(Media { codec, width, height, frame_rate_millis, .. }) = &feed.media {
        status.codec = Some(codec.clone());
        status.size = Some(format!("{width}x{height}"));
        let rounded = frame_rate_millis.saturating_add(500) / 1000;
        status.frame_rate =
            (rounded > 0).then(|| i32::try_from(rounded).unwrap_or(i32::MAX)).or(status.frame_rate);
    }
    let stored =
        feed.stored.and_then(|mark| Timestamp::from_millisecond(mark.wall_ms).ok()).map(whole_seconds);
    // A successor has stored nothing yet: what its predecessor stored still counts.
    if let Some(stored) = stored
        && status.last_persisted_time.as_ref().is_none_or(|before| stored > before.0)
    {
        status.last_persisted_time = Some(Time(stored));
    }
    status.reconnects = i64::try_from(feed.source_reconnects).ok();
    status.offline_since = match feed.source.state {
        SourceState::Streaming => None,
        SourceState::Connecting | SourceState::Failed => status.offline_since.clone().or_else(|| {
            // The last picture, where there was one; else the first failure.
            let last = feed.received.map_or(feed.source.since_ms, |mark| mark.wall_ms);
            (feed.source.state == SourceState::Failed)
                .then(|| Timestamp::from_millisecond(last).ok())
                .flatten()
                .map(|time| Time(whole_seconds(time)))
        }),
    };
}

/// What keeps a Camera from being recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    reason: Reason,
    message: String,
}

const CHAIN: [ConditionType; 5] = [
    ConditionType::Reachable,
    ConditionType::Authenticated,
    ConditionType::MediaCompatible,
    ConditionType::Streaming,
    ConditionType::Ingesting,
];

fn steps(before: &CameraStatus, situation: &Situation, facts: &Facts) -> (Vec<Verdict>, Option<Cause>) {
    match situation {
        Situation::Held { reason, message } | Situation::Down { reason, message } => {
            unknown(*reason, message)
        }
        Situation::Unheard if before.conditions.is_empty() => {
            unknown(Reason::ProducerStarting, "The producer was not heard yet")
        }
        Situation::Unheard => (CHAIN.iter().map(|type_| kept(before, *type_)).collect(), None),
        Situation::Unreachable => unknown(
            Reason::ProducerUnreachable,
            "The producer pod does not answer: nothing is known about the camera",
        ),
        Situation::Fed(feed) => fed(feed, facts),
    }
}

fn unknown(reason: Reason, message: &str) -> (Vec<Verdict>, Option<Cause>) {
    let verdict = |type_: &ConditionType| Verdict::new(*type_, Truth::Unknown, reason.as_str(), message);
    (CHAIN.iter().map(verdict).collect(), Some(Cause { reason, message: message.to_owned() }))
}

fn kept(before: &CameraStatus, type_: ConditionType) -> Verdict {
    let condition = streamfleet_crds::types::find_condition(&before.conditions, type_.as_str());
    let reason = condition
        .and_then(|condition| Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason).copied());
    let status = match condition.map(|condition| condition.status.as_str()) {
        Some("True") => Truth::True,
        Some("False") => Truth::False,
        Some(_) | None => Truth::Unknown,
    };
    let message = condition.map_or_else(String::new, |condition| condition.message.clone());
    Verdict::new(type_, status, reason.unwrap_or(Reason::Unknown).as_str(), message)
}

fn fed(feed: &FeedStatus, facts: &Facts) -> (Vec<Verdict>, Option<Cause>) {
    let source = &feed.source;
    let reason = source_reason(source.reason);
    let said = told(explain(source.reason), &source.message);
    let [reachable, authenticated, compatible, streaming] = source_steps(source.state, source.reason);
    let passed = |type_: ConditionType| match type_ {
        ConditionType::Authenticated if !facts.has_credentials => {
            (Reason::NotApplicable, "The camera asks for no credentials")
        }
        ConditionType::Authenticated => (Reason::CredentialsAccepted, "The camera accepts the credentials"),
        ConditionType::MediaCompatible => {
            (Reason::CodecSupported, "The camera's codec is one that is carried")
        }
        ConditionType::Streaming => (Reason::Streaming, "Video arrives from the camera"),
        _ => (Reason::Connected, "A connection to the camera stands"),
    };
    let mut verdicts = Vec::with_capacity(CHAIN.len());
    for (type_, truth) in CHAIN.into_iter().zip([reachable, authenticated, compatible, streaming]) {
        verdicts.push(match truth {
            Step::Passed => {
                let (reason, message) = passed(type_);
                Verdict::new(type_, Truth::True, reason.as_str(), message)
            }
            Step::Failed => Verdict::new(type_, Truth::False, reason.as_str(), said.clone()),
            Step::Unclear => Verdict::new(type_, Truth::Unknown, reason.as_str(), said.clone()),
            Step::Behind => {
                let message = "It is not known before the step in front of it is passed";
                Verdict::new(type_, Truth::Unknown, Reason::Unknown.as_str(), message)
            }
        });
    }
    verdicts.push(ingesting(&feed.upload, feed, facts));
    let cause = if source.state != SourceState::Streaming {
        Some(Cause { reason, message: said })
    } else if feed.upload.state != UploadState::Storing {
        Some(upload_cause(&feed.upload))
    } else {
        None
    };
    (verdicts, cause)
}

fn upload_cause(upload: &UploadStatus) -> Cause {
    let message = told(explain_upload(upload.reason), &upload.message);
    Cause { reason: upload_reason(upload.reason), message }
}

/// How a step of the chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Passed,
    Failed,
    Unclear,
    Behind,
}

/// `Reachable`, `Authenticated`, `MediaCompatible`, `Streaming`.
fn source_steps(state: SourceState, reason: SourceReason) -> [Step; 4] {
    use Step::{Behind, Failed, Passed, Unclear};
    match (state, reason) {
        (SourceState::Streaming, _) => [Passed, Passed, Passed, Passed],
        (SourceState::Connecting, _) | (_, SourceReason::Connecting | SourceReason::Streaming) => {
            [Unclear, Behind, Behind, Behind]
        }
        (
            SourceState::Failed,
            SourceReason::HostNotFound
            | SourceReason::Unreachable
            | SourceReason::InputUnavailable
            | SourceReason::CertificateNotTrusted,
        ) => [Failed, Behind, Behind, Failed],
        // The credentials are looked for before the camera is.
        (SourceState::Failed, SourceReason::CredentialsMissing) => [Behind, Failed, Behind, Failed],
        (SourceState::Failed, SourceReason::AuthenticationFailed) => [Passed, Failed, Behind, Failed],
        (SourceState::Failed, SourceReason::Refused | SourceReason::ServerBusy) => {
            [Passed, Unclear, Behind, Failed]
        }
        (
            SourceState::Failed,
            SourceReason::NoVideo | SourceReason::UnsupportedCodec | SourceReason::InvalidMedia,
        ) => [Passed, Passed, Failed, Failed],
        (SourceState::Failed, SourceReason::UnstableParameterSets) => [Passed, Passed, Failed, Passed],
        (SourceState::Failed, SourceReason::Silent | SourceReason::Ended) => [Passed, Passed, Passed, Failed],
        // Whether it went away or only hung up shows with the next connection.
        (SourceState::Failed, SourceReason::Disconnected) => [Unclear, Behind, Behind, Failed],
    }
}

fn ingesting(upload: &UploadStatus, feed: &FeedStatus, facts: &Facts) -> Verdict {
    let type_ = ConditionType::Ingesting;
    if upload.state != UploadState::Storing {
        let cause = upload_cause(upload);
        return Verdict::new(type_, Truth::False, cause.reason.as_str(), cause.message);
    }
    let (reason, message) = storing(upload, feed, facts);
    Verdict::new(type_, Truth::True, reason.as_str(), message)
}

fn storing(upload: &UploadStatus, feed: &FeedStatus, facts: &Facts) -> (Reason, String) {
    let keeps_nothing = facts.stored_at == StoredAt::Received;
    match upload.reason {
        UploadReason::Persisting if !keeps_nothing => {
            (Reason::Persisting, "Fragments are stored as they come".to_owned())
        }
        UploadReason::CatchingUp if !keeps_nothing => {
            // To ten seconds, so that the text does not change with each look.
            let behind = feed.backlog.milliseconds.div_ceil(10_000) * 10;
            (Reason::CatchingUp, format!("Video is stored, about {behind} seconds behind"))
        }
        UploadReason::Persisting | UploadReason::CatchingUp => {
            (Reason::NotStored, "Video reaches the stream, whose retention is 0: nothing is kept".to_owned())
        }
        // Something is wrong by now, but not for so long that the camera is no longer recorded.
        _ => {
            let reason = if keeps_nothing { Reason::NotStored } else { Reason::Persisting };
            (reason, stored_lately(facts, &upload_cause(upload)))
        }
    }
}

/// `Ready`, and until when it holds by what was stored so far.
fn ready(
    before: &CameraStatus,
    situation: &Situation,
    facts: &Facts,
    cause: Option<&Cause>,
    held_until: Option<Timestamp>,
) -> (Verdict, Option<Timestamp>) {
    let type_ = ConditionType::Ready;
    match situation {
        Situation::Unheard if !before.conditions.is_empty() => return (kept(before, type_), None),
        Situation::Fed(feed) if feed.upload.state == UploadState::Storing => {
            let (reason, message) = storing(&feed.upload, feed, facts);
            let reason = if reason == Reason::Persisting { Reason::Recording } else { reason };
            let message = cause.map_or(message, |cause| stored_lately(facts, cause));
            return (Verdict::new(type_, Truth::True, reason.as_str(), message), None);
        }
        Situation::Unreachable => {
            let message = "The producer pod does not answer: whether video is stored is not known";
            return (
                Verdict::new(type_, Truth::Unknown, Reason::ProducerUnreachable.as_str(), message),
                None,
            );
        }
        Situation::Unheard | Situation::Fed(_) | Situation::Down { .. } | Situation::Held { .. } => {}
    }
    let fallback = Cause { reason: Reason::Unknown, message: "It is not known yet".to_owned() };
    let cause = cause.unwrap_or(&fallback);
    // What was stored a moment ago is stored: a pod that is replaced, a camera that hiccups.
    let may_hold = !matches!(situation, Situation::Held { .. })
        && !matches!(situation, Situation::Fed(feed) if feed.upload.state == UploadState::Failed);
    match held_until.filter(|_| may_hold) {
        Some(until) => {
            let message = stored_lately(facts, cause);
            (Verdict::new(type_, Truth::True, Reason::Recording.as_str(), message), Some(until))
        }
        None => (Verdict::new(type_, Truth::False, cause.reason.as_str(), cause.message.clone()), None),
    }
}

fn stored_lately(facts: &Facts, cause: &Cause) -> String {
    format!(
        "Its video was stored within the last {} s; now: {}",
        facts.offline_after.as_secs(),
        cause.message
    )
}

/// The state in words.
fn state(verdicts: &[Verdict], cause: Option<&Cause>, situation: &Situation) -> String {
    let is_true = |type_: ConditionType| {
        verdicts.iter().any(|verdict| verdict.type_ == type_ && verdict.status == Truth::True)
    };
    let Some(cause) = cause else {
        let ready = verdicts.iter().find(|verdict| verdict.type_ == ConditionType::Ready);
        return match ready.map(|ready| ready.reason) {
            Some("CatchingUp") => "Recording, catching up".to_owned(),
            Some("NotStored") => "Passing through, nothing is kept".to_owned(),
            Some(_) if is_true(ConditionType::Ready) => "Recording".to_owned(),
            Some(_) | None => "Starting".to_owned(),
        };
    };
    let words = words(cause.reason);
    let since = match situation {
        Situation::Fed(feed) if feed.source.state == SourceState::Failed => {
            Some(feed.received.map_or(feed.source.since_ms, |mark| mark.wall_ms))
        }
        Situation::Fed(feed) if feed.upload.state == UploadState::Failed => Some(feed.upload.since_ms),
        _ => None,
    };
    match since.and_then(|since| Timestamp::from_millisecond(since).ok()) {
        Some(since) => format!("{words} since {}", whole_seconds(since)),
        None => words.to_owned(),
    }
}
