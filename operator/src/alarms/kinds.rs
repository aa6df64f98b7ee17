//! The alarms that there are: what each looks at, when it goes off, and what to do then. Pure.
//!
//! The figures are those of the alarm set for camera fleets in the project's notes on KVS, built on the developer guide's
//! list of metrics ("Monitoring Amazon Kinesis Video Streams with CloudWatch") and its quotas ("Service quotas").

use streamfleet_crds::AlarmKind;

use crate::aws::{Comparison, MissingData, Statistic};

/// How long a fragment is where no Camera says: the default of `spec.fragment.targetSeconds`.
pub const FRAGMENT_SECONDS_DEFAULT: i32 = 2;
/// The longest fragment that a Camera may ask for: what a threshold over many streams goes by.
pub const FRAGMENT_SECONDS_MAX: i32 = 20;
/// How many times its own length a fragment may take to arrive.
const SLOW_FACTOR: f64 = 2.0;

/// An alarm that there is. Some kinds are two of these.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Its kind.
    pub kind: AlarmKind,
    /// Which of its kind, where there are two.
    pub part: Option<&'static str>,
    /// The metric, of `AWS/KinesisVideo`.
    pub metric: &'static str,
    /// How the values of a period become one.
    pub statistic: Statistic,
    /// How that is compared.
    pub comparison: Comparison,
    /// What it is compared with.
    pub threshold: Threshold,
    /// The length of a period in seconds.
    pub period_seconds: i32,
    /// How many periods are looked at.
    pub evaluation_periods: i32,
    /// How many of them have to breach.
    pub datapoints_to_alarm: i32,
    /// What a period without data counts as.
    pub missing_data: MissingData,
    /// What has happened, as a clause after the name of the stream.
    pub what: &'static str,
    /// What to do, as a sentence.
    pub advice: &'static str,
}

/// What a value is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// This.
    Fixed(f64),
    /// So many milliseconds as the fragments are long, times [`SLOW_FACTOR`].
    Fragments,
}

impl Threshold {
    /// The number, where fragments have this length.
    pub fn value(self, fragment_seconds: i32) -> f64 {
        match self {
            Self::Fixed(value) => value,
            Self::Fragments => SLOW_FACTOR * 1000.0 * f64::from(fragment_seconds),
        }
    }
}

/// The end of an alarm's name.
pub fn suffix(row: &Row) -> String {
    match row.part {
        Some(part) => format!("{}.{part}", row.kind),
        None => row.kind.to_string(),
    }
}

/// The kind of an alarm, by the end of its name.
pub fn kind_of(name: &str) -> Option<AlarmKind> {
    let (_, end) = name.rsplit_once('/')?;
    ROWS.iter().find(|row| suffix(row) == end).map(|row| row.kind)
}

/// The alarms of a kind.
pub fn rows(kind: AlarmKind) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |row| row.kind == kind)
}

/// What most have in common: two of three periods of five minutes, and silence is none of their business.
const BASE: Row = Row {
    kind: AlarmKind::ErrorAcks,
    part: None,
    metric: "",
    statistic: Statistic::Sum,
    comparison: Comparison::GreaterThan,
    threshold: Threshold::Fixed(0.0),
    period_seconds: 300,
    evaluation_periods: 3,
    datapoints_to_alarm: 2,
    missing_data: MissingData::NotBreaching,
    what: "",
    advice: "",
};

/// Every alarm, in the order of the kinds.
pub const ROWS: [Row; 11] = [
    // Metrics exist only while calls are made: a dead camera is missing data, not a zero. Period, numbers and what missing data
    // counts as can be set.
    Row {
        kind: AlarmKind::NoIngest,
        metric: "PutMedia.IncomingFragments",
        comparison: Comparison::LessThan,
        threshold: Threshold::Fixed(1.0),
        period_seconds: 60,
        evaluation_periods: 5,
        datapoints_to_alarm: 3,
        missing_data: MissingData::Breaching,
        what: "no video arrives",
        advice: "Look at the Camera's conditions (kubectl describe camera), its power and its network",
        ..BASE
    },
    Row {
        kind: AlarmKind::ErrorAcks,
        metric: "PutMedia.ErrorAckCount",
        what: "the service answers fragments with errors",
        advice: "See streamfleet's producer log for the error, and the Camera's condition Ingesting",
        ..BASE
    },
    Row {
        kind: AlarmKind::FragmentSuccess,
        metric: "PutMedia.Success",
        statistic: Statistic::Average,
        comparison: Comparison::LessThan,
        threshold: Threshold::Fixed(0.99),
        datapoints_to_alarm: 3,
        what: "more than one fragment of a hundred is not stored",
        advice: "See the gaps in the Camera's status, and the producer's log for the errors",
        ..BASE
    },
    Row {
        kind: AlarmKind::ConnectionChurn,
        part: Some("Errors"),
        metric: "PutMedia.ConnectionErrors",
        comparison: Comparison::GreaterThanOrEqual,
        threshold: Threshold::Fixed(5.0),
        what: "connections to the service fail",
        advice: "Check the way out of the cluster to the service, and whether something else writes to the stream",
        ..BASE
    },
    // A connection lasts up to 40 minutes: ten in five minutes are far from normal.
    Row {
        kind: AlarmKind::ConnectionChurn,
        part: Some("Requests"),
        metric: "PutMedia.Requests",
        threshold: Threshold::Fixed(10.0),
        what: "connections are made again and again",
        advice: "Check the way out of the cluster to the service, and whether something else writes to the stream",
        ..BASE
    },
    Row {
        kind: AlarmKind::SlowUplink,
        metric: "PutMedia.FragmentIngestionLatency",
        statistic: Statistic::Average,
        threshold: Threshold::Fragments,
        datapoints_to_alarm: 3,
        what: "fragments take twice as long to arrive as they last",
        advice: "The uplink is slower than the camera's bitrate: lower that, or widen the uplink",
        ..BASE
    },
    Row {
        kind: AlarmKind::PersistLatency,
        metric: "PutMedia.PersistedAckLatency",
        statistic: Statistic::Average,
        threshold: Threshold::Fixed(5_000.0),
        datapoints_to_alarm: 3,
        what: "fragments take more than 5 seconds to be stored",
        advice: "See the health of Kinesis Video Streams in this region; the producer keeps what is not stored yet",
        ..BASE
    },
    // 80 % of 12.5 MB a second, a hard quota of a stream.
    Row {
        kind: AlarmKind::Bandwidth,
        metric: "PutMedia.IncomingBytes",
        threshold: Threshold::Fixed(600_000_000.0),
        period_seconds: 60,
        datapoints_to_alarm: 3,
        what: "the bitrate comes near to what the service takes of one stream, 12.5 MB a second",
        advice: "Lower the camera's bitrate, or give it two streams",
        ..BASE
    },
    Row {
        kind: AlarmKind::ConsumerLag,
        metric: "GetMedia.MillisBehindNow",
        statistic: Statistic::Maximum,
        threshold: Threshold::Fixed(30_000.0),
        period_seconds: 60,
        evaluation_periods: 5,
        datapoints_to_alarm: 5,
        what: "a consumer is more than 30 seconds behind",
        advice: "Give the consumer more processors or bandwidth, or split its work",
        ..BASE
    },
    // 80 % of 500 points a second and of 10,000 points a second, quotas of a stream for playback.
    Row {
        kind: AlarmKind::PlaybackQuota,
        part: Some("Media"),
        metric: "ArchivedFragmentsConsumed.Media",
        threshold: Threshold::Fixed(24_000.0),
        period_seconds: 60,
        datapoints_to_alarm: 3,
        what: "playback comes near to the quota of fragments read",
        advice: "Spread viewers over a cache, or have one consumer serve them",
        ..BASE
    },
    Row {
        kind: AlarmKind::PlaybackQuota,
        part: Some("Metadata"),
        metric: "ArchivedFragmentsConsumed.Metadata",
        threshold: Threshold::Fixed(480_000.0),
        period_seconds: 60,
        datapoints_to_alarm: 3,
        what: "playback comes near to the quota of fragments listed",
        advice: "Spread viewers over a cache, or ask for shorter ranges of time",
        ..BASE
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_alarm_and_every_alarm_a_name_of_its_own() {
        for kind in AlarmKind::ALL {
            assert!(rows(*kind).count() >= 1, "{kind}");
        }
        let mut names: Vec<String> = ROWS.iter().map(suffix).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        for row in &ROWS {
            assert_eq!(kind_of(&format!("x/{}", suffix(row))), Some(row.kind));
        }
    }

    #[test]
    fn every_alarm_is_one_that_the_service_takes_and_could_go_off() {
        for row in &ROWS {
            assert!(row.datapoints_to_alarm <= row.evaluation_periods, "{row:?}");
            assert!(row.period_seconds % 60 == 0 && row.period_seconds * row.evaluation_periods <= 86_400);
            assert!(!row.metric.is_empty() && !row.what.is_empty() && !row.advice.is_empty());
        }
    }

    #[test]
    fn only_silence_counts_missing_data_as_a_breach() {
        let breaching = ROWS.iter().filter(|row| row.missing_data == MissingData::Breaching);
        assert_eq!(breaching.map(|row| row.kind).collect::<Vec<_>>(), [AlarmKind::NoIngest]);
    }

    #[test]
    fn a_slow_uplink_is_measured_by_the_length_of_the_fragments() {
        assert!((Threshold::Fragments.value(2) - 4_000.0).abs() < f64::EPSILON);
        assert!((Threshold::Fragments.value(10) - 20_000.0).abs() < f64::EPSILON);
    }
}
