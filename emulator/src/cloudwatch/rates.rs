//! Calls per second, account and region: a bucket for each operation, which holds one second's worth.

use std::collections::HashMap;

use super::At;

/// Default rates (AWS General Reference, "Amazon CloudWatch endpoints and quotas"; that of `GetMetricStatistics` is the
/// one of the CloudWatch quotas page).
const PER_SECOND: [(&str, f64); 16] = [
    ("DeleteAlarms", 3.0),
    ("DescribeAlarmHistory", 20.0),
    ("DescribeAlarms", 9.0),
    ("DescribeAlarmsForMetric", 9.0),
    ("DisableAlarmActions", 3.0),
    ("EnableAlarmActions", 3.0),
    ("GetMetricData", 500.0),
    ("GetMetricStatistics", 400.0),
    ("ListMetrics", 25.0),
    ("ListTagsForResource", 10.0),
    ("PutCompositeAlarm", 3.0),
    ("PutMetricAlarm", 3.0),
    ("PutMetricData", 500.0),
    ("SetAlarmState", 3.0),
    ("TagResource", 20.0),
    ("UntagResource", 20.0),
];

/// What is left of each rate.
#[derive(Clone, Debug, Default)]
pub struct Rates(HashMap<(&'static str, String, String), (f64, u64)>);

impl Rates {
    /// Takes one call; whether the rate lets it through.
    pub fn take(&mut self, operation: &str, at: At<'_>) -> bool {
        let Some((name, rate)) = PER_SECOND.iter().find(|(name, _)| *name == operation) else { return true };
        let key = (*name, at.account.to_owned(), at.region.to_owned());
        let (left, since) = self.0.entry(key).or_insert((*rate, at.now_ms));
        let seconds = at.now_ms.saturating_sub(*since) as f64 / 1000.0;
        *left = (*left + seconds * rate).min(*rate);
        *since = at.now_ms.max(*since);
        let lets = *left >= 1.0;
        if lets {
            *left -= 1.0;
        }
        lets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_alarms_a_second_are_let_through_in_each_account_and_region() {
        let mut rates = Rates::default();
        let mut let_through =
            |region, now_ms| rates.take("PutMetricAlarm", At { account: "1", region, now_ms });
        let first: Vec<bool> = (0..4).map(|_| let_through("r", 1000)).collect();
        assert_eq!(first, [true, true, true, false]);
        assert!(let_through("other", 1000));
        assert!(!let_through("r", 1300) && let_through("r", 1340) && !let_through("r", 1400));
        let count = (0..10_000).filter(|tick| let_through("r", 10_000 + tick)).count();
        assert_eq!(count, 3 + 29);
    }

    #[test]
    fn every_operation_of_the_model_has_its_rate() {
        for (name, _) in PER_SECOND {
            assert!(super::super::MODEL.has(name), "{name}");
        }
    }
}
