//! Events on objects: on transitions and changes only.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::conditions::cut;

/// The name under which events are reported.
const CONTROLLER: &str = "streamfleet-operator";
/// The longest note that the API takes, in bytes.
const NOTE_MAX: usize = 1024;

/// Publishes events. One that cannot be published is logged, and nothing else: events are a courtesy.
pub struct Events {
    recorder: Recorder,
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
    /// Publishes by this client.
    pub fn new(client: Client) -> Self {
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: None };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Publishes notes about an object.
    pub async fn publish(&self, about: &ObjectReference, notes: &[Note]) {
        for note in notes {
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
            let event = Event {
                type_: if note.warning { EventType::Warning } else { EventType::Normal },
                reason: note.reason.to_owned(),
                note: Some(cut(&note.text, NOTE_MAX).to_owned()),
                action: note.action.to_owned(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, about).await {
                tracing::debug!(reason = note.reason, error = %error, "Event could not be published");
            }
        }
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
