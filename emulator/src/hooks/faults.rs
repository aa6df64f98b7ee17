//! Faults on order: what goes wrong, with which calls, how often or how long.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::operation::Operation;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The connection is dropped without an answer; nothing is done.
    Drop,
    /// The operation is carried out, then the connection is dropped without an answer.
    DropAfterEffect,
    /// `ClientLimitExceededException`; nothing is done.
    Throttle,
    /// `InternalFailure`, 500; nothing is done.
    InternalFailure,
    /// `InternalFailure`, 500, though the operation is carried out.
    InternalFailureAfterEffect,
    /// The operation is carried out after `delayMs`.
    Delay,
    /// The operation is carried out at once and answered after `delayMs`.
    DelayAnswer,
    /// `PutMedia` alone: the next fragment is answered with an `ERROR` acknowledgement of `errorId`, whatever it holds.
    AckError,
}

/// An order for a fault, as it comes over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultOrder {
    /// The operation's name; all operations when absent.
    pub operation: Option<String>,
    /// The stream's name; all when absent.
    pub stream: Option<String>,
    /// What goes wrong.
    pub action: Action,
    /// With how many calls; unlimited when absent.
    pub count: Option<u32>,
    /// For how long from now; unlimited when absent.
    pub seconds: Option<f64>,
    /// For the delays.
    #[serde(default)]
    pub delay_ms: u64,
    /// For `ack-error`.
    pub error_id: Option<u32>,
}

/// A fault as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct ListedFault {
    id: u64,
    #[serde(flatten)]
    order: FaultOrder,
}

/// A fault that strikes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What goes wrong.
    pub action: Action,
    /// For the delays.
    pub delay: Duration,
}

#[derive(Debug)]
struct Fault {
    id: u64,
    order: FaultOrder,
    ends: Option<Instant>,
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<(u64, Vec<Fault>)>,
}

impl Faults {
    /// Puts a fault in force and tells its id.
    pub fn add(&self, order: FaultOrder) -> Result<u64, String> {
        if let Some(name) = &order.operation
            && Operation::by_name(name).is_none()
        {
            return Err(format!("no operation is called '{name}'"));
        }
        if (order.action == Action::AckError) != order.error_id.is_some() {
            return Err("'errorId' and the action 'ack-error' go together".to_owned());
        }
        let ends = match order.seconds.map(Duration::try_from_secs_f64).transpose() {
            // A time beyond what can be counted has no end.
            Ok(duration) => duration.and_then(|duration| Instant::now().checked_add(duration)),
            Err(error) => return Err(error.to_string()),
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        let id = inner.0;
        inner.1.push(Fault { id, order, ends });
        Ok(id)
    }

    /// Takes a fault out of force; whether there was one.
    pub fn remove(&self, id: u64) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.1.len();
        inner.1.retain(|fault| fault.id != id);
        inner.1.len() < before
    }

    /// Takes all faults out of force.
    pub fn clear(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }

    /// The faults in force.
    pub fn list(&self) -> Vec<ListedFault> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        drop_spent(&mut inner.1);
        inner.1.iter().map(|fault| ListedFault { id: fault.id, order: fault.order.clone() }).collect()
    }

    /// The first fault in force for this call; it is counted off.
    pub fn strike(&self, operation: Operation, stream: Option<&str>) -> Option<Strike> {
        let order = self.count_off(operation, stream, |action| action != Action::AckError)?;
        Some(Strike { action: order.action, delay: Duration::from_millis(order.delay_ms) })
    }

    /// The error that a fragment of this stream is to be answered with; it is counted off.
    pub fn strike_fragment(&self, stream: &str) -> Option<u32> {
        let is_ack = |action| action == Action::AckError;
        self.count_off(Operation::PutMedia, Some(stream), is_ack)?.error_id
    }

    fn count_off(
        &self,
        operation: Operation,
        stream: Option<&str>,
        fits: impl Fn(Action) -> bool,
    ) -> Option<FaultOrder> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        drop_spent(&mut inner.1);
        let fault = inner.1.iter_mut().find(|fault| {
            let Fault { order, .. } = fault;
            fits(order.action)
                && order.operation.as_deref().is_none_or(|name| name == operation.name())
                && order.stream.as_deref().is_none_or(|name| Some(name) == stream)
        })?;
        if let Some(count) = &mut fault.order.count {
            *count = count.saturating_sub(1);
        }
        Some(fault.order.clone())
    }
}

fn drop_spent(faults: &mut Vec<Fault>) {
    let now = Instant::now();
    faults.retain(|fault| {
        fault.order.count.is_none_or(|count| count > 0) && fault.ends.is_none_or(|ends| ends > now)
    });
}

/// An outage of all endpoints: nothing is answered, and open connections are cut. The hooks go on.
#[derive(Debug, Default)]
pub struct Outage {
    ends: Mutex<Option<Instant>>,
    begun: tokio::sync::watch::Sender<u64>,
}

impl Outage {
    /// Begins an outage, or lengthens or shortens the one that is on.
    pub fn begin(&self, duration: Duration) {
        let ends = Instant::now().checked_add(duration);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
        self.begun.send_modify(|count| *count += 1);
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.is_some_and(|ends| ends > Instant::now())
    }

    /// Changes when an outage begins.
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<u64> {
        self.begun.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> FaultOrder {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_fault_strikes_its_operation_and_stream_as_often_as_ordered() {
        let faults = Faults::default();
        faults
            .add(order(r#"{"operation":"CreateStream","stream":"a","action":"drop-after-effect","count":2}"#))
            .unwrap();
        let strike = |operation, stream| faults.strike(operation, Some(stream)).map(|strike| strike.action);
        assert_eq!(strike(Operation::DeleteStream, "a"), None);
        assert_eq!(strike(Operation::CreateStream, "b"), None);
        assert_eq!(strike(Operation::CreateStream, "a"), Some(Action::DropAfterEffect));
        assert_eq!(strike(Operation::CreateStream, "a"), Some(Action::DropAfterEffect));
        assert_eq!(strike(Operation::CreateStream, "a"), None);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn an_unknown_operation_is_refused() {
        assert!(Faults::default().add(order(r#"{"operation":"Nonsense","action":"throttle"}"#)).is_err());
    }

    #[test]
    fn a_fault_ends_with_its_time() {
        let faults = Faults::default();
        faults.add(order(r#"{"action":"drop","seconds":0}"#)).unwrap();
        assert_eq!(faults.strike(Operation::PutMedia, None), None);
    }
}
