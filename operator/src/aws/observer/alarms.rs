//! The alarms of a fleet by the streams that they are about, small: what is the same for many is kept once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use streamfleet_crds::AlarmState;
use tokio::time::Instant;

use super::super::{Alarm, AlarmInfo, AlarmMetric, CompositeAlarm, CompositeInfo};

/// Stands for the name of the stream in a description that is kept for many.
const STREAM: &str = "\u{1}";
/// So many shapes are compared before an alarm is taken for one of its own kind.
const SHAPES_COMPARED: usize = 64;

/// The alarms of a fleet.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_stream: HashMap<Box<str>, Vec<Kept>>,
    /// Those about no stream.
    apart: Vec<AlarmInfo>,
    composites: Vec<CompositeInfo>,
    shapes: Vec<Arc<Alarm>>,
    /// When we have set or deleted alarms, by name: what was described before that knows nothing of it.
    touched: HashMap<Box<str>, Instant>,
}

/// An alarm on a stream.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    name: Box<str>,
    arn: Box<str>,
    /// All else that is set, without the name of the alarm and of the stream.
    shape: Arc<Alarm>,
    state: AlarmState,
    reason: Box<str>,
    since: Option<Timestamp>,
}

impl Alarms {
    /// The alarms on a stream, by name.
    pub(super) fn of(&self, stream: &str) -> Vec<AlarmInfo> {
        self.by_stream.get(stream).into_iter().flatten().map(|kept| kept.to_info(stream)).collect()
    }

    /// Every alarm that is no composite.
    pub(super) fn all(&self) -> Vec<AlarmInfo> {
        let on_streams =
            self.by_stream.iter().flat_map(|(stream, kept)| kept.iter().map(|one| one.to_info(stream)));
        on_streams.chain(self.apart.iter().cloned()).collect()
    }

    /// The alarms that are about no stream.
    pub(super) fn apart(&self) -> &[AlarmInfo] {
        &self.apart
    }

    /// The composite alarms.
    pub(super) fn composites(&self) -> &[CompositeInfo] {
        &self.composites
    }

    /// Takes in what the service says, asked from this time on, and names the streams whose alarms are not as they were. Of what
    /// we have set or deleted since, we know better.
    pub(super) fn described(
        &mut self,
        mut alarms: Vec<AlarmInfo>,
        mut composites: Vec<CompositeInfo>,
        begun: Instant,
    ) -> Vec<String> {
        self.touched.retain(|_, at| *at >= begun);
        alarms.retain(|info| !self.touched.contains_key(info.alarm.name.as_str()));
        composites.retain(|info| !self.touched.contains_key(info.alarm.name.as_str()));
        self.apart.retain(|info| self.touched.contains_key(info.alarm.name.as_str()));
        self.composites.retain(|info| self.touched.contains_key(info.alarm.name.as_str()));
        self.composites.append(&mut composites);
        let mut by_stream: HashMap<Box<str>, Vec<Kept>> = HashMap::new();
        for (stream, kept) in &self.by_stream {
            let ours: Vec<Kept> =
                kept.iter().filter(|kept| self.touched.contains_key(&kept.name)).cloned().collect();
            if !ours.is_empty() {
                by_stream.insert(stream.clone(), ours);
            }
        }
        for info in alarms {
            match info.alarm.stream_name().map(Box::<str>::from) {
                Some(stream) => {
                    let kept = self.keep(info, &stream);
                    by_stream.entry(stream).or_default().push(kept);
                }
                None => self.apart.push(info),
            }
        }
        for kept in by_stream.values_mut() {
            kept.sort_by(|one, other| one.name.cmp(&other.name));
            kept.shrink_to_fit();
        }
        let before = std::mem::replace(&mut self.by_stream, by_stream);
        let names: BTreeSet<&str> =
            before.keys().chain(self.by_stream.keys()).map(|stream| &**stream).collect();
        let changed = names.into_iter().filter(|name| before.get(*name) != self.by_stream.get(*name));
        let changed = changed.map(ToOwned::to_owned).collect();
        drop(before);
        self.shapes.retain(|shape| Arc::strong_count(shape) > 1);
        changed
    }

    /// Keeps what we have set ourselves. A new alarm knows nothing yet.
    pub(super) fn set(&mut self, alarm: &Alarm, arn: String, now: Instant) {
        self.touched.insert(alarm.name.as_str().into(), now);
        let Some(stream) = alarm.stream_name().map(Box::<str>::from) else {
            let place = self.apart.iter_mut().find(|info| info.alarm.name == alarm.name);
            match place {
                Some(info) => info.alarm = alarm.clone(),
                None => self.apart.push(new(alarm, arn)),
            }
            return;
        };
        let known = self.of(&stream).into_iter().find(|info| info.alarm.name == alarm.name);
        let info = match known {
            Some(info) => AlarmInfo { alarm: alarm.clone(), ..info },
            None => new(alarm, arn),
        };
        let kept = self.keep(info, &stream);
        let all = self.by_stream.entry(stream).or_default();
        all.retain(|other| other.name != kept.name);
        all.push(kept);
        all.sort_by(|one, other| one.name.cmp(&other.name));
    }

    /// Keeps a composite alarm that we have set ourselves.
    pub(super) fn set_composite(&mut self, alarm: &CompositeAlarm, arn: String, now: Instant) {
        self.touched.insert(alarm.name.as_str().into(), now);
        if let Some(info) = self.composites.iter_mut().find(|info| info.alarm.name == alarm.name) {
            info.alarm = alarm.clone();
            return;
        }
        self.composites.push(CompositeInfo {
            alarm: alarm.clone(),
            arn,
            state: AlarmState::InsufficientData,
            reason: String::new(),
            since: None,
        });
    }

    /// Forgets alarms that we have deleted.
    pub(super) fn forget(&mut self, names: &[String], now: Instant) {
        self.touched.extend(names.iter().map(|name| (name.as_str().into(), now)));
        let is_named = |name: &str| names.iter().any(|gone| gone == name);
        self.by_stream.retain(|_, kept| {
            kept.retain(|alarm| !is_named(&alarm.name));
            !kept.is_empty()
        });
        self.apart.retain(|info| !is_named(&info.alarm.name));
        self.composites.retain(|info| !is_named(&info.alarm.name));
    }

    fn keep(&mut self, info: AlarmInfo, stream: &str) -> Kept {
        let AlarmInfo { mut alarm, arn, state, reason, since } = info;
        let name = std::mem::take(&mut alarm.name).into_boxed_str();
        alarm.tags.clear();
        if !stream.is_empty() {
            alarm.description = alarm.description.replace(stream, STREAM);
        }
        if let AlarmMetric::Stream { stream_name, .. } = &mut alarm.metric {
            stream_name.clear();
        }
        let known = self.shapes.iter().take(SHAPES_COMPARED).find(|shape| ***shape == alarm).cloned();
        let shape = known.unwrap_or_else(|| {
            let shape = Arc::new(alarm);
            if self.shapes.len() < SHAPES_COMPARED {
                self.shapes.push(shape.clone());
            }
            shape
        });
        // The name is the end of the ARN.
        let arn = arn.strip_suffix(&*name).unwrap_or(&arn).into();
        Kept { name, arn, shape, state, reason: reason.into(), since }
    }
}

fn new(alarm: &Alarm, arn: String) -> AlarmInfo {
    AlarmInfo {
        alarm: alarm.clone(),
        arn,
        state: AlarmState::InsufficientData,
        reason: String::new(),
        since: None,
    }
}

impl Kept {
    fn to_info(&self, stream: &str) -> AlarmInfo {
        let mut alarm = Alarm { name: self.name.to_string(), ..(*self.shape).clone() };
        alarm.description = alarm.description.replace(STREAM, stream);
        if let AlarmMetric::Stream { stream_name, .. } = &mut alarm.metric {
            stream.clone_into(stream_name);
        }
        let arn =
            if self.arn.ends_with(':') { format!("{}{}", self.arn, self.name) } else { self.arn.to_string() };
        AlarmInfo { alarm, arn, state: self.state, reason: self.reason.to_string(), since: self.since }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fake;
    use super::*;

    fn info(name: &str, stream: &str) -> AlarmInfo {
        let mut alarm = fake::alarm(name);
        alarm.description = format!("No video comes into {stream}");
        if let AlarmMetric::Stream { stream_name, .. } = &mut alarm.metric {
            stream.clone_into(stream_name);
        }
        AlarmInfo {
            arn: format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}"),
            alarm,
            state: AlarmState::Ok,
            reason: "Threshold Crossed".to_owned(),
            since: None,
        }
    }

    #[test]
    fn alarms_come_back_as_they_were_by_their_streams() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let list = vec![info("x/b", "door"), info("x/a", "door"), info("x/c", "gate")];
        let mut changed = alarms.described(list.clone(), Vec::new(), now);
        changed.sort();
        assert_eq!(changed, ["door", "gate"]);
        assert_eq!(alarms.of("door"), [list[1].clone(), list[0].clone()]);
        assert_eq!(alarms.of("gate"), [list[2].clone()]);
        assert_eq!(alarms.described(list, Vec::new(), now), Vec::<String>::new());
    }

    #[test]
    fn a_state_a_setting_and_a_lost_alarm_are_changes_of_their_stream_alone() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let list = ["a", "b", "c", "d"].map(|name| info(name, name)).to_vec();
        alarms.described(list.clone(), Vec::new(), now);
        let mut after = list.clone();
        after[0].state = AlarmState::Alarm;
        after[1].alarm.threshold = 2.0;
        after.remove(2);
        assert_eq!(alarms.described(after, Vec::new(), now), ["a", "b", "c"]);
    }

    #[test]
    fn what_we_set_is_known_at_once_and_keeps_its_state() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let mut first = info("x", "door");
        alarms.set(&first.alarm, first.arn.clone(), now);
        assert_eq!(alarms.of("door")[0].state, AlarmState::InsufficientData);
        let later = now + std::time::Duration::from_secs(1);
        alarms.described(vec![first.clone()], Vec::new(), later);
        first.alarm.threshold = 7.0;
        alarms.set(&first.alarm, first.arn.clone(), now);
        assert_eq!(alarms.of("door"), [first]);
        alarms.forget(&["x".to_owned()], now);
        assert_eq!(alarms.of("door"), []);
    }

    #[test]
    fn what_we_set_and_deleted_while_the_service_was_asked_is_not_taken_back_by_its_answer() {
        let (mut alarms, begun) = (Alarms::default(), Instant::now());
        let (old, made, gone) = (info("old", "a"), info("made", "b"), info("gone", "c"));
        alarms.described(vec![old.clone(), gone.clone()], Vec::new(), begun);
        let later = begun + std::time::Duration::from_secs(1);
        alarms.set(&made.alarm, made.arn.clone(), later);
        alarms.forget(&["gone".to_owned()], later);
        let changed = alarms.described(vec![old.clone(), gone.clone()], Vec::new(), begun);
        assert_eq!(changed, Vec::<String>::new());
        assert_eq!((alarms.of("b").len(), alarms.of("c").len()), (1, 0));
        let after = later + std::time::Duration::from_secs(1);
        assert_eq!(alarms.described(vec![old], Vec::new(), after), ["b"]);
    }

    #[test]
    fn alarms_about_no_stream_stand_apart() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let mut query = info("q", "");
        query.alarm.metric = AlarmMetric::Insights("SELECT 1".to_owned());
        assert_eq!(alarms.described(vec![query.clone()], Vec::new(), now), Vec::<String>::new());
        assert_eq!(alarms.apart(), [query]);
    }

    #[test]
    fn the_alarms_of_many_streams_have_one_shape() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let list = (0..500).map(|number| info(&format!("x/{number}"), &format!("stream-{number}"))).collect();
        alarms.described(list, Vec::new(), now);
        assert_eq!(alarms.shapes.len(), 1);
        assert!(size_of::<Kept>() <= 88, "{}", size_of::<Kept>());
    }
}
