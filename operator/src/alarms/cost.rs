//! What alarms cost, and how long they take to make. Pure.
//!
//! Prices are list prices of us-east-1 ("Amazon CloudWatch pricing", alarms): other regions and contracts have others. They are only
//! ever told to people, who are to verify them.

use std::time::Duration;

use crate::aws::quotas::quota;

/// US dollars a month for an alarm on a metric.
const STANDARD: f64 = 0.10;
/// For one with periods of less than a minute.
const HIGH_RESOLUTION: f64 = 0.30;
/// For a composite alarm.
const COMPOSITE: f64 = 0.50;
/// For each metric that an alarm on a query analyses.
const ANALYSED: f64 = 0.10;
/// From this many seconds a period is no longer of high resolution.
const MINUTE: i32 = 60;

/// Alarms by what they are charged for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// On one metric, with periods of a minute or more.
    pub standard: usize,
    /// On one metric, with shorter periods.
    pub high_resolution: usize,
    /// On others' states.
    pub composite: usize,
    /// On a query.
    pub queries: usize,
    /// The metrics that the queries analyse.
    pub analysed: usize,
}

impl Count {
    /// Counts alarms on one metric with this period.
    pub fn add(&mut self, alarms: usize, period_seconds: i32) {
        if period_seconds < MINUTE {
            self.high_resolution += alarms;
        } else {
            self.standard += alarms;
        }
    }

    /// How many there are.
    pub fn alarms(&self) -> usize {
        self.standard + self.high_resolution + self.composite + self.queries
    }

    /// What they cost in a month, in US dollars.
    pub fn dollars(&self) -> f64 {
        let cost = |count: usize, price: f64| count as f64 * price;
        cost(self.standard, STANDARD)
            + cost(self.high_resolution, HIGH_RESOLUTION)
            + cost(self.composite, COMPOSITE)
            + cost(self.analysed, ANALYSED)
    }

    /// How long it takes to make them all at the service's quota: metric and composite alarms have one each.
    pub fn time(&self) -> Duration {
        let metric = seconds(self.alarms() - self.composite, "PutMetricAlarm");
        let composite = seconds(self.composite, "PutCompositeAlarm");
        Duration::from_secs_f64(metric.max(composite))
    }

    /// For people, with two digits of each figure, so that a fleet that grows by one changes no text.
    pub fn describe(&self) -> String {
        format!(
            "about {} alarms: about {} USD a month by the list price, and {} to make",
            two_digits(self.alarms() as f64),
            two_digits(self.dollars()),
            coarse(self.time())
        )
    }
}

fn seconds(alarms: usize, operation: &str) -> f64 {
    alarms as f64 / quota(operation).map_or(f64::INFINITY, |quota| quota.account)
}

/// A number of which the first two digits are told.
fn two_digits(number: f64) -> String {
    if number < 10.0 {
        return if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.1}") };
    }
    let unit = 10_f64.powf(number.log10().floor() - 1.0);
    format!("{:.0}", (number / unit).round() * unit)
}

/// A time of which people want to know how long it is, and no more.
pub fn coarse(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    match minutes {
        0 | 1 => "a minute".to_owned(),
        2..=5 => "5 minutes".to_owned(),
        6..=10 => "10 minutes".to_owned(),
        11..=20 => "20 minutes".to_owned(),
        21..=30 => "half an hour".to_owned(),
        31..=60 => "an hour".to_owned(),
        _ => format!("{} hours", minutes.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ten_thousand_alarms_cost_is_said_as_the_list_price_has_it() {
        let mut count = Count::default();
        count.add(10_000, 60);
        assert_eq!(
            count.describe(),
            "about 10000 alarms: about 1000 USD a month by the list price, and an hour to make"
        );
        count.add(2_000, 10);
        count.composite = 12;
        (count.queries, count.analysed) = (2, 20_000);
        assert!((count.dollars() - 3_606.0).abs() < 1e-6, "{}", count.dollars());
        assert_eq!(count.alarms(), 12_014);
    }

    #[test]
    fn one_more_of_a_large_fleet_changes_no_text() {
        let text = |alarms| Count { standard: alarms, ..Count::default() }.describe();
        assert_eq!(text(1_201), text(1_202));
        assert_ne!(text(1_200), text(1_400));
        assert!(text(1).contains("about 1 alarms: about 0.1 USD"), "{}", text(1));
    }

    #[test]
    fn making_alarms_takes_as_long_as_three_a_second_do() {
        assert_eq!(Count { standard: 9_000, ..Count::default() }.time(), Duration::from_mins(50));
        assert_eq!(
            Count { composite: 300, standard: 3, ..Count::default() }.time(),
            Duration::from_secs(100)
        );
    }
}
