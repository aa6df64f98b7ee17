//! A turn that was waited for before the call is made. What destroys footage waits first, is confirmed by a fresh read when its turn
//! has come, and is sent at once: a row may be a minute long, and what a user takes back meanwhile is not to be destroyed.
//!
//! The turn goes with the task, as the [`Lane`](super::Lane) does, so that no call has to take it.

use std::cell::RefCell;

use super::quotas::name_of;

tokio::task_local! {
    static TURN: RefCell<Option<Turn>>;
}

/// The turn of one call about one stream.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a turn that is not used is lost to others"]
pub struct Turn {
    operation: &'static str,
    stream: String,
}

impl Turn {
    /// What [`Cloud::turn`](super::Cloud::turn) answers when the call may be made. The stream is named by its name or ARN.
    pub fn new(operation: &'static str, stream: &str) -> Self {
        Self { operation, stream: name_of(stream).to_owned() }
    }

    /// Makes the call, which does not wait again.
    pub async fn run<F: Future>(self, call: F) -> F::Output {
        TURN.scope(RefCell::new(Some(self)), call).await
    }

    /// Whether this task has waited for this call already. It has to wait for any further one.
    pub fn use_up(operation: &str, stream: Option<&str>) -> bool {
        let is_for = |turn: &mut Self| {
            turn.operation == operation && stream.is_some_and(|stream| name_of(stream) == turn.stream)
        };
        TURN.try_with(|turn| turn.borrow_mut().take_if(is_for).is_some()).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_for_one_call_about_its_stream_by_name_or_arn() {
        let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/door/1";
        assert!(!Turn::use_up("DeleteStream", Some(arn)));
        let used = Turn::new("DeleteStream", "door").run(async {
            [
                ("TagStream", Some(arn)),
                ("DeleteStream", Some("gate")),
                ("DeleteStream", None),
                ("DeleteStream", Some(arn)),
                ("DeleteStream", Some(arn)),
            ]
            .map(|(operation, stream)| Turn::use_up(operation, stream))
        });
        assert_eq!(used.await, [false, false, false, true, false]);
    }
}
