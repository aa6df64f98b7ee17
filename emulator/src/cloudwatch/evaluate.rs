//! From data points to the state of an alarm: the tables of "Configuring how CloudWatch alarms treat missing data" in the
//! CloudWatch user guide, as a pure function.

use serde::{Deserialize, Serialize};

/// The evaluation range is this much longer than the evaluation periods. The guide says "a higher number of data
/// points", and its tables look at 5 for 3 periods; what it is for others is an assumption.
pub const EXTRA_POINTS: usize = 2;

/// The state of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// All is well.
    #[serde(rename = "OK")]
    Ok,
    /// It is not.
    #[serde(rename = "ALARM")]
    Alarm,
    /// Nobody knows.
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

impl State {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

/// What stands in for a data point that is not there (`TreatMissingData`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// A bad one.
    Breaching,
    /// A good one.
    NotBreaching,
    /// Nothing: the state stays.
    Ignore,
    /// Nothing: without any points the state is not known.
    #[default]
    Missing,
}

impl Missing {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Breaching => "breaching",
            Self::NotBreaching => "notBreaching",
            Self::Ignore => "ignore",
            Self::Missing => "missing",
        }
    }

    /// As the reason of a state has it.
    pub fn in_reason(self) -> &'static str {
        match self {
            Self::Breaching => "Breaching",
            Self::NotBreaching => "NonBreaching",
            Self::Ignore => "Ignored",
            Self::Missing => "Missing",
        }
    }

    /// The word of a request.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Breaching, Self::NotBreaching, Self::Ignore, Self::Missing]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// How many data points are looked at, and how many of them must be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `EvaluationPeriods`.
    pub periods: usize,
    /// `DatapointsToAlarm`.
    pub to_alarm: usize,
    /// `TreatMissingData`.
    pub missing: Missing,
}

impl Terms {
    /// How many points the evaluation range has.
    pub fn range(self) -> usize {
        self.periods + EXTRA_POINTS
    }

    /// The state that the points of the evaluation range ask for, newest first: `true` for one that breaches, `None`
    /// for one that is missing. No state: the alarm keeps its own.
    pub fn evaluate(self, points: &[Option<bool>]) -> Option<State> {
        let real: Vec<bool> = points.iter().flatten().copied().take(self.periods).collect();
        let bad = real.iter().filter(|breaching| **breaching).count();
        let lacking = self.periods.saturating_sub(real.len());
        let by_count = |bad: usize| if bad >= self.to_alarm { State::Alarm } else { State::Ok };
        match self.missing {
            _ if lacking == 0 || bad >= self.to_alarm => Some(by_count(bad)),
            Missing::Breaching => Some(by_count(bad + lacking)),
            Missing::NotBreaching => Some(State::Ok),
            // One good point, and too few bad ones.
            Missing::Ignore | Missing::Missing if bad < real.len() => Some(State::Ok),
            Missing::Ignore => None,
            Missing::Missing => Some(self.without_good_points(points)),
        }
    }

    /// Only bad points are there, fewer than make an alarm: it rings when the oldest has lain as long as it takes, so
    /// that it neither rings early nor is silenced by the silence.
    fn without_good_points(self, points: &[Option<bool>]) -> State {
        match points.iter().rposition(Option::is_some) {
            Some(oldest) if oldest + 1 >= self.to_alarm => State::Alarm,
            Some(_) | None => State::InsufficientData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points as the guide writes them, oldest first: `0` good, `X` bad, `-` missing.
    fn points(text: &str) -> Vec<Option<bool>> {
        let point = |c| match c {
            '0' => Some(false),
            'X' => Some(true),
            _ => None,
        };
        text.split_whitespace().rev().map(|word| point(word.chars().next().unwrap())).collect()
    }

    /// The four columns of the guide's tables: MISSING, IGNORE, BREACHING, NOT BREACHING.
    fn row(periods: usize, to_alarm: usize, text: &str) -> [Option<State>; 4] {
        [Missing::Missing, Missing::Ignore, Missing::Breaching, Missing::NotBreaching]
            .map(|missing| Terms { periods, to_alarm, missing }.evaluate(&points(text)))
    }

    const OK: Option<State> = Some(State::Ok);
    const ALARM: Option<State> = Some(State::Alarm);
    const UNKNOWN: Option<State> = Some(State::InsufficientData);
    const KEEP: Option<State> = None;

    #[test]
    fn three_of_three_is_judged_as_in_the_first_table_of_the_guide() {
        assert_eq!(row(3, 3, "0 - X - X"), [OK, OK, OK, OK]);
        assert_eq!(row(3, 3, "0 - - - -"), [OK, OK, OK, OK]);
        assert_eq!(row(3, 3, "- - - - 0"), [OK, OK, OK, OK]);
        assert_eq!(row(3, 3, "- - - - -"), [UNKNOWN, KEEP, ALARM, OK]);
        assert_eq!(row(3, 3, "0 X X - X"), [ALARM, ALARM, ALARM, ALARM]);
        assert_eq!(row(3, 3, "- - - - X"), [UNKNOWN, KEEP, ALARM, OK]);
        assert_eq!(row(3, 3, "X - - - -"), [ALARM, KEEP, ALARM, OK]);
        assert_eq!(row(3, 3, "- - X - -"), [ALARM, KEEP, ALARM, OK]);
    }

    #[test]
    fn two_of_three_is_judged_as_in_the_second_table_of_the_guide() {
        assert_eq!(row(3, 2, "0 - X - X"), [ALARM, ALARM, ALARM, ALARM]);
        assert_eq!(row(3, 2, "0 0 X 0 X"), [ALARM, ALARM, ALARM, ALARM]);
        assert_eq!(row(3, 2, "0 - X - -"), [OK, OK, ALARM, OK]);
        assert_eq!(row(3, 2, "- - - - 0"), [OK, OK, ALARM, OK]);
        assert_eq!(row(3, 2, "- - - - X"), [UNKNOWN, KEEP, ALARM, OK]);
        assert_eq!(row(3, 2, "- - - X -"), [ALARM, KEEP, ALARM, OK]);
    }

    #[test]
    fn points_behind_the_newest_are_not_looked_at_when_enough_are_there() {
        assert_eq!(row(3, 2, "X X 0 0 X"), [OK, OK, OK, OK]);
        assert_eq!(row(1, 1, "X X 0"), [OK, OK, OK, OK]);
        assert_eq!(row(5, 3, "X X X 0 0 X 0"), [OK, OK, OK, OK]);
    }

    #[test]
    fn a_silent_camera_raises_three_of_five_once_five_of_the_seven_points_are_gone() {
        assert_eq!(row(5, 3, "0 0 0 - - - -")[2], OK);
        assert_eq!(row(5, 3, "0 0 - - - - -")[2], ALARM);
        assert_eq!(row(5, 3, "- - - - 0 0 0")[2], OK);
    }
}
