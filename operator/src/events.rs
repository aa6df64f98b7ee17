//! Events on objects: on transitions and changes only.
//!
//! kube's own recorder counts repetitions in series, for which it keeps every event of the last minutes and looks through them at
//! each: tens of megabytes when a fleet is made. Here a repetition within some minutes is left out, which takes little to
//! remember.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::conditions::cut;
use crate::told::Told;

/// The name under which events are reported.
const CONTROLLER: &str = "streamfleet-operator";
/// The longest note that the API takes, in bytes.
const NOTE_MAX: usize = 1024;
/// The longest name of an object that is kept in the name of its event, which takes a suffix.
const NAME_MAX: usize = 200;
/// The namespace of events on objects that have none.
const NO_NAMESPACE: &str = "default";
/// How long the same is not told again about an object.
const REPEATED_AFTER: Duration = Duration::from_mins(5);

/// Publishes events. One that cannot be published is logged, and nothing else: events are a courtesy.
pub struct Events {
    client: Client,
    instance: String,
    told: Told,
}

/// Something to be told about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub warning: bool,
    /// Why, as a stable name.
    pub reason: &'static str,
    /// What the operator was doing, as a stable name.
    pub action: &'static str,
    /// For people.
    pub text: String,
}

impl Note {
    /// A note that all is well.
    pub fn normal(reason: &'static str, action: &'static str, text: impl Into<String>) -> Self {
        Self { warning: false, reason, action, text: text.into() }
    }

    /// A note that somebody should look.
    pub fn warning(reason: &'static str, action: &'static str, text: impl Into<String>) -> Self {
        Self { warning: true, reason, action, text: text.into() }
    }
}

impl Events {
    /// Publishes by this client, as this pod.
    pub fn new(client: Client, pod: &str) -> Self {
        Self { client, instance: pod.to_owned(), told: Told::within(REPEATED_AFTER) }
    }

    /// Publishes notes about an object.
    pub async fn publish(&self, about: &ObjectReference, notes: &[Note]) {
        for note in notes {
            if !self.is_news(about, note, Instant::now()) {
                continue;
            }
            let kind = about.kind.as_deref().unwrap_or_default();
            let namespace = about.namespace.as_deref().unwrap_or_default();
            let name = about.name.as_deref().unwrap_or_default();
            tracing::info!(
                kind,
                namespace,
                name,
                reason = note.reason,
                note = note.text,
                "Object has turned"
            );
            let event = event(about, note, &self.instance, Timestamp::now(), fastrand::u64(..));
            let api: Api<Event> =
                Api::namespaced(self.client.clone(), about.namespace.as_deref().unwrap_or(NO_NAMESPACE));
            if let Err(error) = api.create(&PostParams::default(), &event).await {
                tracing::debug!(reason = note.reason, error = %error, "Event could not be published");
            }
        }
    }

    /// Whether this was not told lately; takes note of it.
    fn is_news(&self, about: &ObjectReference, note: &Note, now: Instant) -> bool {
        self.told.is_news((&about.uid, &about.name, note.reason, note.warning, &note.text), now)
    }
}

/// The event of a note.
fn event(about: &ObjectReference, note: &Note, instance: &str, now: Timestamp, suffix: u64) -> Event {
    let name = cut(about.name.as_deref().unwrap_or_default(), NAME_MAX);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{suffix:016x}")),
            namespace: Some(about.namespace.clone().unwrap_or_else(|| NO_NAMESPACE.to_owned())),
            ..ObjectMeta::default()
        },
        action: Some(note.action.to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(&note.text, NOTE_MAX).to_owned()),
        reason: Some(note.reason.to_owned()),
        regarding: Some(about.clone()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

/// Whether a condition's status or reason differs between two states.
pub fn turned<'a>(before: &[Condition], after: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    let find = |conditions: &'a [Condition]| conditions.iter().find(|condition| condition.type_ == type_);
    let new = find(after)?;
    let old = before.iter().find(|condition| condition.type_ == type_);
    let same = old.is_some_and(|old| old.status == new.status && old.reason == new.reason);
    (!same).then_some(new)
}

#[cfg(test)]
mod tests {
    use kube::client::Body;

    use super::*;

    fn about(name: &str) -> ObjectReference {
        ObjectReference {
            kind: Some("VideoStream".to_owned()),
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            uid: Some(format!("uid-of-{name}")),
            ..ObjectReference::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_is_told_once_in_some_minutes_and_of_each_object() {
        let nobody = tower::service_fn(async |_: http::Request<Body>| Err::<http::Response<Body>, _>("down"));
        let events = Events::new(Client::new(nobody, "shop"), "pod");
        let lost = Note::warning("Lost", "Observe", "gone");
        let found = Note::normal("Found", "Observe", "back");
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(events.is_news(&about("a"), &lost, now));
        assert!(!events.is_news(&about("a"), &lost, after(299)));
        assert!(events.is_news(&about("a"), &found, now));
        assert!(events.is_news(&about("b"), &lost, now));
        assert!(events.is_news(&about("a"), &lost, after(300)));
    }

    #[test]
    fn an_event_is_one_that_the_api_takes() {
        let note = Note::warning("Lost", "Observe", "ä".repeat(2_000));
        let event = event(&about(&"x".repeat(250)), &note, "pod", Timestamp::UNIX_EPOCH, 7);
        assert!(event.metadata.name.unwrap().len() <= 253);
        assert!(event.note.unwrap().len() <= NOTE_MAX);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(event.regarding.unwrap().kind.as_deref(), Some("VideoStream"));
    }
}
