//! The one guard that every planned change of retention passes, whatever caused it: an edit, another default of the class, an
//! adoption, or the correction of what somebody else has done. The fields of [`RetentionStep`] are private, so that there is no
//! way around it.

use streamfleet_crds::RetentionDecreasePolicy;

use crate::aws::RetentionChange;

/// A change of retention that may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionStep {
    from: i32,
    to: i32,
}

/// What the guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// It is as it should be.
    Same,
    /// It may be sent.
    May(RetentionStep),
    /// It would destroy footage, and nobody has allowed that.
    Blocked,
}

/// The guard. A decrease deletes all footage that is older than the new retention, at once and for good (`UpdateDataRetention`
/// in the API reference).
pub const fn guard(from: i32, to: i32, policy: RetentionDecreasePolicy) -> Guarded {
    if from == to {
        return Guarded::Same;
    }
    match policy {
        RetentionDecreasePolicy::Deny if to < from => Guarded::Blocked,
        RetentionDecreasePolicy::Deny | RetentionDecreasePolicy::Allow => {
            Guarded::May(RetentionStep { from, to })
        }
    }
}

impl RetentionStep {
    /// From how many hours.
    pub const fn from(self) -> i32 {
        self.from
    }

    /// To how many hours.
    pub const fn to(self) -> i32 {
        self.to
    }

    /// Whether it destroys footage.
    pub const fn is_decrease(self) -> bool {
        self.to < self.from
    }

    /// As the service takes it: a difference.
    pub const fn change(self) -> RetentionChange {
        if self.to > self.from {
            RetentionChange::Increase(self.to - self.from)
        } else {
            RetentionChange::Decrease(self.from - self.to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_raised_lowered_or_blocked() {
        use RetentionDecreasePolicy::{Allow, Deny};
        let may = |from, to| Guarded::May(RetentionStep { from, to });
        let table = [
            (24, 48, Deny, may(24, 48)),
            (48, 24, Deny, Guarded::Blocked),
            (48, 24, Allow, may(48, 24)),
            (0, 24, Deny, may(0, 24)),
            (24, 0, Deny, Guarded::Blocked),
            (24, 0, Allow, may(24, 0)),
            (24, 24, Allow, Guarded::Same),
            (24, 24, Deny, Guarded::Same),
        ];
        for (from, to, policy, expected) in table {
            assert_eq!(guard(from, to, policy), expected, "{from} {to} {policy:?}");
        }
        assert_eq!(RetentionStep { from: 24, to: 48 }.change(), RetentionChange::Increase(24));
        assert_eq!(RetentionStep { from: 48, to: 24 }.change(), RetentionChange::Decrease(24));
    }
}
