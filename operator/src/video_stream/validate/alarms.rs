//! Which alarms a stream is to have: its own wishes over those of its class. Pure.

use streamfleet_crds::{AlarmKind, ClassAlarms, NoIngestAlarm, StreamAlarms};

/// The alarms of a stream, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmSettings {
    /// The alarms that it has of its own.
    pub kinds: Vec<AlarmKind>,
    /// The topics that are told.
    pub actions: Vec<String>,
    /// When `NoIngest` goes off.
    pub no_ingest: NoIngestAlarm,
}

/// Each of the three is taken whole: from the stream, else from the class, else the default.
pub fn alarms(stream: Option<&StreamAlarms>, class: &ClassAlarms) -> AlarmSettings {
    let stream = stream.cloned().unwrap_or_default();
    let mut kinds =
        stream.per_stream.or_else(|| class.per_stream.clone()).unwrap_or_else(|| vec![AlarmKind::NoIngest]);
    kinds.sort();
    kinds.dedup();
    AlarmSettings {
        kinds,
        actions: stream.action_arns.or_else(|| class.action_arns.clone()).unwrap_or_default(),
        no_ingest: stream.no_ingest.or_else(|| class.no_ingest.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_goes_before_its_class_and_nothing_is_a_wish_too() {
        let class = ClassAlarms { per_stream: Some(vec![AlarmKind::ErrorAcks]), ..ClassAlarms::default() };
        assert_eq!(alarms(None, &ClassAlarms::default()).kinds, [AlarmKind::NoIngest]);
        assert_eq!(alarms(None, &class).kinds, [AlarmKind::ErrorAcks]);
        let none = StreamAlarms { per_stream: Some(Vec::new()), ..StreamAlarms::default() };
        assert_eq!(alarms(Some(&none), &class).kinds, []);
    }
}
