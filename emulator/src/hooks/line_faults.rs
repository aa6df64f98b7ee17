//! Orders for faults of uploads, from their JSON to what lines know.

use std::time::Duration;

use streamfleet_media::ack::{AckKind, ErrorId};

use super::faults::{Action, At, FaultOrder};
use crate::{
    clock,
    ingest::line::{self, Fault, Kinds, Moment},
};

/// Whether an action is of uploads, rather than of calls.
pub fn is_of_lines(action: Action) -> bool {
    match action {
        Action::AckError
        | Action::Withhold
        | Action::DelayAcks
        | Action::Stall
        | Action::Freeze
        | Action::Slow
        | Action::CutAtByte
        | Action::CutAtFragment => true,
        Action::Drop
        | Action::DropAfterEffect
        | Action::Error
        | Action::ErrorAfterEffect
        | Action::Throttle
        | Action::InternalFailure
        | Action::InternalFailureAfterEffect
        | Action::Delay
        | Action::DelayAnswer
        | Action::Forbidden
        | Action::ExpiredToken => false,
    }
}

/// The order as lines know it; none for a fault of calls. An error when it lacks a member, or has one that belongs to
/// another action.
pub fn line_order(order: &FaultOrder) -> Result<Option<line::FaultOrder>, String> {
    check_members(order)?;
    let Some(fault) = fault(order)? else { return Ok(None) };
    let ends = match order.seconds.map(Duration::try_from_secs_f64).transpose() {
        Ok(duration) => duration.and_then(|duration| clock::now().mono.checked_add(duration)),
        Err(error) => return Err(error.to_string()),
    };
    let (stream, skip, count) = (order.stream.clone(), order.skip, order.count);
    Ok(Some(line::FaultOrder { fault, stream, skip, count, ends }))
}

fn check_members(order: &FaultOrder) -> Result<(), String> {
    let action = order.action;
    let is_error = action == Action::AckError;
    let is_by_kind = matches!(action, Action::Withhold | Action::DelayAcks);
    let has_code = matches!(action, Action::Error | Action::ErrorAfterEffect);
    let is_of_calls = !is_of_lines(action);
    let members = [
        ("code", order.code.is_some(), has_code, has_code),
        ("message", order.message.is_some(), false, has_code),
        ("probability", order.probability.is_some(), false, is_of_calls),
        ("account", order.account.is_some(), false, is_of_calls),
        ("errorId", order.error_id.is_some(), is_error, is_error),
        ("named", order.named.is_some(), false, is_error),
        ("at", order.at.is_some(), false, is_error),
        ("kinds", order.kinds.is_some(), false, is_by_kind),
        ("bytes", order.bytes.is_some(), action == Action::CutAtByte, action == Action::CutAtByte),
        (
            "fragment",
            order.fragment.is_some(),
            action == Action::CutAtFragment,
            action == Action::CutAtFragment,
        ),
        ("bytesPerSecond", order.bytes_per_second.is_some(), action == Action::Slow, action == Action::Slow),
    ];
    for (name, given, needed, allowed) in members {
        if needed && !given {
            return Err(format!("this action needs '{name}'"));
        }
        if given && !allowed {
            return Err(format!("'{name}' belongs to another action"));
        }
    }
    if is_of_lines(action) && order.operation.as_deref().is_some_and(|name| name != "PutMedia") {
        return Err("this action is of PutMedia alone".to_owned());
    }
    Ok(())
}

fn fault(order: &FaultOrder) -> Result<Option<Fault>, String> {
    Ok(Some(match order.action {
        Action::AckError => Fault::Fail {
            error: ErrorId::from_code(order.error_id.unwrap_or_default()),
            named: order.named.unwrap_or(true),
            at: match order.at {
                None | Some(At::Begun) => Moment::Begun,
                Some(At::Received) => Moment::Received,
                Some(At::Persisted) => Moment::Persisted,
            },
        },
        Action::Withhold => Fault::Withhold(kinds(order)?),
        Action::DelayAcks => Fault::Delay { kinds: kinds(order)?, by: Duration::from_millis(order.delay_ms) },
        Action::Stall => Fault::Stall,
        Action::Freeze => Fault::Freeze,
        Action::Slow => Fault::Slow { bytes_per_second: order.bytes_per_second.unwrap_or_default() },
        Action::CutAtByte => Fault::CutAtByte(order.bytes.unwrap_or_default()),
        Action::CutAtFragment => Fault::CutAtFragment(order.fragment.unwrap_or_default()),
        _ => return Ok(None),
    }))
}

fn kinds(order: &FaultOrder) -> Result<Kinds, String> {
    let Some(words) = &order.kinds else { return Ok(Kinds::ALL) };
    let known = |word: &String| match AckKind::from_word(word) {
        AckKind::Unknown(word) => Err(format!("no acknowledgement is called '{word}'")),
        kind => Ok(kind),
    };
    Ok(Kinds::of(&words.iter().map(known).collect::<Result<Vec<_>, _>>()?))
}
