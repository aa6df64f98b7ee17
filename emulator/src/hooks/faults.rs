//! Faults on order: what goes wrong, with which calls, how often or how long.
//!
//! Those of calls strike here; those of uploads are handed on to the streams' lines.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::line_faults::{is_of_lines, line_order};
use crate::{
    clock,
    cloudwatch::CloudWatch,
    error::{self, ServiceError},
    ingest::line::FaultBook,
    operation::Operation,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The connection is dropped without an answer; nothing is done.
    Drop,
    /// The operation is carried out, then the connection is dropped without an answer.
    DropAfterEffect,
    /// The error of `code`; nothing is done.
    Error,
    /// The error of `code`, though the operation is carried out.
    ErrorAfterEffect,
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
    /// `AccessDeniedException`, 403; nothing is done.
    Forbidden,
    /// `ExpiredTokenException`, 403; nothing is done.
    ExpiredToken,
    /// `PutMedia` alone: a fragment is answered with an `ERROR` acknowledgement of `errorId`, whatever it holds.
    AckError,
    /// `PutMedia` alone: acknowledgements of `kinds` are not sent; of all kinds, and no end of the answer, without `kinds`.
    Withhold,
    /// `PutMedia` alone: acknowledgements of `kinds` (all without) are sent `delayMs` late.
    DelayAcks,
    /// `PutMedia` alone: bodies are not read.
    Stall,
    /// `PutMedia` alone: nothing is read and nothing answered.
    Freeze,
    /// `PutMedia` alone: bodies are read at `bytesPerSecond`.
    Slow,
    /// `PutMedia` alone: sessions are cut when `bytes` of their bodies have come.
    CutAtByte,
    /// `PutMedia` alone: sessions are cut when `fragment` of their fragments have begun.
    CutAtFragment,
}

/// An order for a fault, as it comes over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultOrder {
    /// The operation's name; all operations when absent.
    pub operation: Option<String>,
    /// The stream's name; all when absent.
    pub stream: Option<String>,
    /// The account whose calls it strikes; all when absent.
    pub account: Option<String>,
    /// What goes wrong.
    pub action: Action,
    /// How likely it strikes a call that fits, 0 to 1; always when absent.
    pub probability: Option<f64>,
    /// With how many calls; unlimited when absent.
    pub count: Option<u32>,
    /// For how long from now; unlimited when absent.
    pub seconds: Option<f64>,
    /// For the delays.
    #[serde(default)]
    pub delay_ms: u64,
    /// How many calls, fragments or sessions pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// For `error` and `error-after-effect`: a code that a service has.
    pub code: Option<String>,
    /// For these too: what the error says to people.
    pub message: Option<String>,
    /// For `ack-error`.
    pub error_id: Option<u32>,
    /// For `ack-error`: whether it names the fragment; it does when absent.
    pub named: Option<bool>,
    /// For `ack-error`: in place of what it comes; behind `BUFFERING` when absent.
    pub at: Option<At>,
    /// For `withhold` and `delay-acks`: `BUFFERING` and so on.
    pub kinds: Option<Vec<String>>,
    /// For `cut-at-byte`.
    pub bytes: Option<u64>,
    /// For `cut-at-fragment`.
    pub fragment: Option<u32>,
    /// For `slow`.
    pub bytes_per_second: Option<u64>,
}

/// When in a fragment's life an error comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// Behind `BUFFERING`.
    Begun,
    /// In place of `RECEIVED`.
    Received,
    /// In place of `PERSISTED`.
    Persisted,
}

/// A fault as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct ListedFault {
    id: u64,
    #[serde(flatten)]
    order: FaultOrder,
}

/// A fault that strikes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What goes wrong.
    pub action: Action,
    /// For the delays.
    pub delay: Duration,
    /// For the errors.
    pub error: Option<ServiceError>,
}

/// A call that faults may strike.
#[derive(Clone, Copy, Debug)]
pub struct Struck<'a> {
    /// The operation's name.
    pub operation: &'a str,
    /// The stream's name, when the request names one.
    pub stream: Option<&'a str>,
    /// The account of the key that the request names, proven or not.
    pub account: Option<&'a str>,
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
    /// Those of uploads, which their lines ask for.
    of_lines: Arc<FaultBook>,
}

impl Faults {
    /// The faults of uploads.
    pub fn of_lines(&self) -> Arc<FaultBook> {
        self.of_lines.clone()
    }

    /// Puts a fault in force and tells its id.
    pub fn add(&self, order: FaultOrder) -> Result<u64, String> {
        if let Some(name) = &order.operation
            && Operation::by_name(name).is_none()
            && !CloudWatch::has_operation(name)
        {
            return Err(format!("no operation is called '{name}'"));
        }
        if order.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return Err("'probability' must be 0 to 1".to_owned());
        }
        if let Some(code) = &order.code
            && error::known(code).is_none()
        {
            return Err(format!("no error is called '{code}'"));
        }
        let of_line = line_order(&order)?;
        let ends = match order.seconds.map(Duration::try_from_secs_f64).transpose() {
            // A time beyond what can be counted has no end.
            Ok(duration) => duration.and_then(|duration| Instant::now().checked_add(duration)),
            Err(error) => return Err(error.to_string()),
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        let id = inner.0;
        if let Some(of_line) = of_line {
            self.of_lines.add(id, of_line);
        }
        inner.1.push(Fault { id, order, ends });
        Ok(id)
    }

    /// Takes a fault out of force; whether there was one.
    pub fn remove(&self, id: u64) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.of_lines.remove(id);
        let before = inner.1.len();
        inner.1.retain(|fault| fault.id != id);
        inner.1.len() < before
    }

    /// Takes all faults out of force.
    pub fn clear(&self) {
        self.of_lines.clear();
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }

    /// The faults in force.
    pub fn list(&self) -> Vec<ListedFault> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.update_those_of_lines(&mut inner.1);
        drop_spent(&mut inner.1);
        inner.1.iter().map(|fault| ListedFault { id: fault.id, order: fault.order.clone() }).collect()
    }

    /// What is left of those that are counted off elsewhere.
    fn update_those_of_lines(&self, faults: &mut Vec<Fault>) {
        let left = self.of_lines.list(clock::now().mono);
        faults.retain_mut(|fault| {
            if !is_of_lines(fault.order.action) {
                return true;
            }
            let Some((_, order)) = left.iter().find(|(id, _)| *id == fault.id) else { return false };
            (fault.order.count, fault.order.skip) = (order.count, order.skip);
            true
        });
    }

    /// The first fault in force for this call; it is counted off.
    pub fn strike(&self, call: Struck<'_>) -> Option<Strike> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        drop_spent(&mut inner.1);
        for Fault { order, .. } in &mut inner.1 {
            let fits = !is_of_lines(order.action)
                && order.operation.as_deref().is_none_or(|name| name == call.operation)
                && order.stream.as_deref().is_none_or(|name| Some(name) == call.stream)
                && order.account.as_deref().is_none_or(|account| Some(account) == call.account);
            if !fits || order.probability.is_some_and(|probability| fastrand::f64() >= probability) {
                continue;
            }
            if order.skip > 0 {
                order.skip -= 1;
                continue;
            }
            if let Some(count) = &mut order.count {
                *count = count.saturating_sub(1);
            }
            let error = order.code.as_deref().and_then(error::known);
            let error =
                error.map(|(code, status)| ServiceError::ordered(status, code, order.message.as_deref()));
            let delay = Duration::from_millis(order.delay_ms);
            return Some(Strike { action: order.action, delay, error });
        }
        None
    }
}

fn drop_spent(faults: &mut Vec<Fault>) {
    let now = Instant::now();
    faults.retain(|fault| {
        fault.order.count.is_none_or(|count| count > 0) && fault.ends.is_none_or(|ends| ends > now)
    });
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

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
        let strike = |operation, stream| {
            let call = Struck { operation, stream: Some(stream), account: None };
            faults.strike(call).map(|strike| strike.action)
        };
        assert_eq!(strike("DeleteStream", "a"), None);
        assert_eq!(strike("CreateStream", "b"), None);
        assert_eq!(strike("CreateStream", "a"), Some(Action::DropAfterEffect));
        assert_eq!(strike("CreateStream", "a"), Some(Action::DropAfterEffect));
        assert_eq!(strike("CreateStream", "a"), None);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn an_error_says_what_was_ordered() {
        let faults = Faults::default();
        let json =
            r#"{"action":"error","code":"InvalidArgumentException","message":"No such key.","count":1}"#;
        faults.add(order(json)).unwrap();
        faults.add(order(r#"{"action":"error","code":"InvalidArgumentException"}"#)).unwrap();
        let error = || {
            let call = Struck { operation: "CreateStream", stream: None, account: None };
            faults.strike(call).and_then(|strike| strike.error).map(|error| error.message)
        };
        assert_eq!(error().as_deref(), Some("No such key."));
        assert_eq!(error().as_deref(), Some("ordered by a fault"));
        assert!(faults.add(order(r#"{"action":"drop","message":"No such key."}"#)).is_err());
    }

    #[test]
    fn a_fault_strikes_an_account_s_calls_as_likely_as_ordered() {
        let faults = Faults::default();
        let json = r#"{"account":"1","action":"error","code":"VersionMismatchException","probability":0.5}"#;
        faults.add(order(json)).unwrap();
        let strike = |account| {
            faults.strike(Struck { operation: "UpdateStream", stream: None, account: Some(account) })
        };
        let struck: Vec<Strike> = (0..1000).filter_map(|_| strike("1")).collect();
        assert!((350..650).contains(&struck.len()), "{}", struck.len());
        let error = struck[0].error.as_ref().map(|error| (error.code, error.status));
        assert_eq!(error, Some(("VersionMismatchException", StatusCode::BAD_REQUEST)));
        assert!((0..100).all(|_| strike("2").is_none()));
    }

    #[test]
    fn what_is_unknown_or_of_another_action_is_refused() {
        for refused in [
            r#"{"operation":"Nonsense","action":"throttle"}"#,
            r#"{"action":"error"}"#,
            r#"{"action":"error","code":"Nonsense"}"#,
            r#"{"action":"throttle","code":"Throttling"}"#,
            r#"{"action":"throttle","probability":2}"#,
            r#"{"action":"stall","probability":0.5}"#,
        ] {
            assert!(Faults::default().add(order(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_fault_ends_with_its_time() {
        let faults = Faults::default();
        faults.add(order(r#"{"action":"drop","seconds":0}"#)).unwrap();
        assert_eq!(faults.strike(Struck { operation: "PutMedia", stream: None, account: None }), None);
    }
}
