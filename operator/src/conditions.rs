//! Conditions: how new ones are merged into those that are there.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use streamfleet_crds::ConditionType;

/// The longest message that the API conventions allow.
const MESSAGE_MAX: usize = 1024;

/// A condition as a controller decides it, without time and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which condition it is.
    pub type_: ConditionType,
    /// What holds.
    pub status: Truth,
    /// Why, as an enum's name.
    pub reason: &'static str,
    /// Why, for people; free of secrets, times and request ids.
    pub message: String,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl Truth {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Verdict {
    /// A verdict. The reason is the name of a value of one of the reason enums of `crds`.
    pub fn new(
        type_: ConditionType,
        status: Truth,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, status, reason, message: message.into() }
    }
}

/// The conditions after `verdicts`: the time of a condition moves only when its status flips. Conditions of other types are
/// left out, so that none outlives the release that knew it.
pub fn merge(
    existing: &[Condition],
    verdicts: &[Verdict],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .iter()
        .map(|verdict| {
            let status = verdict.status.as_str();
            let unchanged = existing
                .iter()
                .find(|condition| condition.type_ == verdict.type_.as_str() && condition.status == status);
            Condition {
                type_: verdict.type_.as_str().to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.to_owned(),
                message: cut(&verdict.message, MESSAGE_MAX).to_owned(),
                observed_generation: generation,
                last_transition_time: unchanged.map_or_else(
                    || Time(whole_seconds(now)),
                    |condition| condition.last_transition_time.clone(),
                ),
            }
        })
        .collect()
}

/// A time without fractions of a second, which the API does not keep: with them each comparison would see a change.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The beginning of a text, at most so many bytes, cut at a character.
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_moves_only_when_the_status_flips() {
        let first = [Verdict::new(ConditionType::Ready, Truth::False, "Creating", "a")];
        let one = merge(&[], &first, Some(1), at(10));
        let second = [Verdict::new(ConditionType::Ready, Truth::False, "Unreachable", "b")];
        let two = merge(&one, &second, Some(2), at(20));
        assert_eq!(two[0].last_transition_time.0, at(10));
        assert_eq!((two[0].reason.as_str(), two[0].observed_generation), ("Unreachable", Some(2)));
        let third = [Verdict::new(ConditionType::Ready, Truth::True, "Recording", "")];
        assert_eq!(merge(&two, &third, Some(2), at(30))[0].last_transition_time.0, at(30));
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(cut("tür", 2), "t");
        assert_eq!(cut("tür", 3), "tü");
        assert_eq!(cut("tür", 9), "tür");
    }
}
