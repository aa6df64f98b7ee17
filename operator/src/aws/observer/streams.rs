//! The streams of a fleet, small: what is the same for many is kept once, what follows from the name not at all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::{StreamInfo, StreamState};

/// How long a stream that was described may be missing in the list before it is believed to be gone: how soon a new stream shows
/// there is not documented.
const LIST_LAG: Duration = Duration::from_secs(10);

/// The streams of a fleet as of the last list and of what was read since.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_name: HashMap<Arc<str>, Kept>,
    shared: Shared,
}

/// A stream without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    arn: Arn,
    version: Box<str>,
    state: StreamState,
    retention_hours: i32,
    created: Option<Timestamp>,
    kms_key_id: Option<Arc<str>>,
    media_type: Option<Arc<str>>,
    device_name: Option<Arc<str>>,
    /// When the stream was described by itself, where that is newer than the list.
    described: Option<Instant>,
}

/// An ARN: as a rule all but the last number is the same for the whole fleet, and the name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Arn {
    /// What comes before the name, and the number after it.
    Usual(Arc<str>, u64),
    Other(Box<str>),
}

impl Arn {
    fn new(arn: &str, name: &str, shared: &mut Shared) -> Self {
        arn.rsplit_once('/')
            .and_then(|(front, number)| {
                let front = front.strip_suffix(name).filter(|front| front.ends_with('/'))?;
                // A number that reads back as it was written.
                let number = number.parse().ok().filter(|parsed: &u64| parsed.to_string() == number)?;
                Some(Self::Usual(shared.share(front), number))
            })
            .unwrap_or_else(|| Self::Other(arn.into()))
    }

    fn to_text(&self, name: &str) -> String {
        match self {
            Self::Usual(front, number) => format!("{front}{name}/{number}"),
            Self::Other(arn) => arn.to_string(),
        }
    }
}

/// Texts that many have.
#[derive(Debug, Default)]
struct Shared(HashSet<Arc<str>>);

impl Shared {
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.0.insert(text.clone());
        text
    }

    fn clear_away(&mut self) {
        self.0.retain(|text| Arc::strong_count(text) > 1);
    }
}

impl Streams {
    pub(super) fn get(&self, name: &str) -> Option<StreamInfo> {
        self.by_name.get(name).map(|kept| kept.to_info(name))
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether this is the ARN of the stream of its name.
    pub(super) fn is_arn_of(&self, name: &str, arn: &str) -> Option<bool> {
        self.by_name.get(name).map(|kept| kept.arn.to_text(name) == arn)
    }

    /// Keeps what the service says about one stream.
    pub(super) fn described(&mut self, name: &str, info: Option<&StreamInfo>, now: Instant) {
        match info {
            Some(info) => {
                let kept = Kept { described: Some(now), ..Kept::new(info, &mut self.shared) };
                self.put(name, kept);
            }
            None => drop(self.by_name.remove(name)),
        }
    }

    /// Takes a list in that was begun at this time, and names the streams that are not as they were.
    pub(super) fn listed(&mut self, list: &[StreamInfo], begun: Instant, now: Instant) -> Vec<String> {
        let mut changed = Vec::new();
        let mut missing: HashSet<Arc<str>> = self.by_name.keys().cloned().collect();
        for info in list {
            missing.remove(info.name.as_str());
            let known = self.by_name.get(info.name.as_str());
            // What was read by itself after the list was begun is newer than the list.
            if known.is_some_and(|known| known.described.is_some_and(|at| at > begun)) {
                continue;
            }
            let listed = Kept::new(info, &mut self.shared);
            if !known.is_some_and(|known| known.says_the_same(&listed)) {
                changed.push(info.name.clone());
            }
            self.put(&info.name, listed);
        }
        for name in missing {
            let described = self.by_name.get(&name).and_then(|kept| kept.described);
            if described.is_some_and(|at| at > begun || now.saturating_duration_since(at) < LIST_LAG) {
                continue;
            }
            self.by_name.remove(&name);
            changed.push(name.to_string());
        }
        self.shared.clear_away();
        self.by_name.shrink_to(self.by_name.len() * 2);
        changed
    }

    fn put(&mut self, name: &str, kept: Kept) {
        match self.by_name.get_mut(name) {
            Some(place) => *place = kept,
            None => drop(self.by_name.insert(name.into(), kept)),
        }
    }
}

impl Kept {
    fn new(info: &StreamInfo, shared: &mut Shared) -> Self {
        let mut share = |text: &Option<String>| text.as_deref().map(|text| shared.share(text));
        let (kms_key_id, media_type) = (share(&info.kms_key_id), share(&info.media_type));
        let device_name = share(&info.device_name);
        Self {
            arn: Arn::new(&info.arn, &info.name, shared),
            version: info.version.as_str().into(),
            state: info.state,
            retention_hours: info.retention_hours,
            created: info.created,
            kms_key_id,
            media_type,
            device_name,
            described: None,
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { described: self.described, ..other.clone() }
    }

    fn to_info(&self, name: &str) -> StreamInfo {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(ToOwned::to_owned);
        StreamInfo {
            name: name.to_owned(),
            arn: self.arn.to_text(name),
            version: self.version.to_string(),
            state: self.state,
            retention_hours: self.retention_hours,
            created: self.created,
            kms_key_id: text(&self.kms_key_id),
            media_type: text(&self.media_type),
            device_name: text(&self.device_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, version: &str) -> StreamInfo {
        StreamInfo {
            name: name.to_owned(),
            arn: format!("arn:aws:kinesisvideo:eu-west-1:123456789012:stream/{name}/1551924009774"),
            version: version.to_owned(),
            state: StreamState::Active,
            retention_hours: 24,
            created: Timestamp::from_second(1_551_924_009).ok(),
            kms_key_id: Some("arn:aws:kms:eu-west-1:123456789012:alias/aws/kinesisvideo".to_owned()),
            media_type: Some("video/h264".to_owned()),
            device_name: None,
        }
    }

    fn streams(list: &[StreamInfo]) -> Streams {
        let mut streams = Streams::default();
        let now = Instant::now();
        streams.listed(list, now, now);
        streams
    }

    #[test]
    fn a_stream_comes_back_as_it_was_whatever_its_arn() {
        let odd = StreamInfo { arn: "arn:aws:kinesisvideo:x:1:stream/b/007".to_owned(), ..info("b", "v") };
        let other = StreamInfo { arn: "arn:aws:kinesisvideo:x:1:stream/xc/7".to_owned(), ..info("c", "v") };
        for info in [info("a", "v1"), odd, other] {
            let streams = streams(std::slice::from_ref(&info));
            assert_eq!(streams.get(&info.name), Some(info.clone()));
            assert_eq!(streams.is_arn_of(&info.name, &info.arn), Some(true));
            assert_eq!(streams.is_arn_of(&info.name, "arn:aws:kinesisvideo:x:1:stream/b/8"), Some(false));
        }
    }

    #[test]
    fn streams_that_came_went_or_changed_are_named() {
        let mut streams = streams(&[info("a", "v1"), info("b", "v1"), info("c", "v1")]);
        let now = Instant::now() + LIST_LAG;
        let mut changed = streams.listed(&[info("a", "v1"), info("b", "v2"), info("d", "v1")], now, now);
        changed.sort();
        assert_eq!(changed, ["b", "c", "d"]);
        assert_eq!(streams.get("c"), None);
        let same = streams.listed(&[info("a", "v1"), info("b", "v2"), info("d", "v1")], now, now);
        assert_eq!(same, Vec::<String>::new());
    }

    #[test]
    fn what_was_read_after_a_list_was_begun_is_newer_than_the_list() {
        let begun = Instant::now();
        let mut streams = streams(&[info("a", "v1")]);
        let read = begun + Duration::from_secs(1);
        streams.described("a", Some(&info("a", "v2")), read);
        streams.described("b", Some(&info("b", "v1")), read);
        let changed = streams.listed(&[info("a", "v1")], begun, read);
        assert_eq!(changed, Vec::<String>::new());
        assert_eq!(streams.get("a").unwrap().version, "v2");
        assert!(streams.get("b").is_some());
    }

    #[test]
    fn a_new_stream_that_the_list_does_not_show_yet_is_not_gone_until_some_time_has_passed() {
        let mut streams = streams(&[]);
        let made = Instant::now();
        streams.described("a", Some(&info("a", "v1")), made);
        let begun = made + Duration::from_secs(1);
        assert_eq!(streams.listed(&[], begun, begun), Vec::<String>::new());
        let later = made + LIST_LAG;
        assert_eq!(streams.listed(&[], later, later), ["a"]);
    }

    #[test]
    fn what_many_have_is_kept_once_and_goes_with_the_last() {
        let list: Vec<_> = (0..100).map(|number| info(&format!("s{number}"), "v1")).collect();
        let mut streams = streams(&list);
        assert_eq!(streams.shared.0.len(), 3, "the key, the media type, the front of the ARNs");
        let later = Instant::now() + LIST_LAG;
        streams.listed(&[], later, later);
        assert_eq!(streams.shared.0.len(), 0);
    }

    #[test]
    fn a_stream_takes_little_memory() {
        assert!(size_of::<Kept>() <= 176, "{}", size_of::<Kept>());
    }
}
