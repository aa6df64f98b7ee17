//! What streams are set to beside what the list says, as it was read last, and when each is to be read again: spread over the
//! time of the sweep, so that there is never a rush.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamfleet_crds::{ImageGeneration, Notification, StorageTier};
use tokio::time::Instant;

use super::super::Settings;

/// When a stream is looked at again whose settings could not be read.
const AGAIN_AFTER: Duration = Duration::from_mins(10);

/// The settings of the streams that somebody has asked for, by ARN.
#[derive(Debug, Default)]
pub(super) struct SettingsKept {
    by_arn: HashMap<Arc<str>, Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The settings as JSON, which takes a quarter of the room; `None` where they were never read.
    text: Option<Box<[u8]>>,
    read: Instant,
    due: Instant,
    /// The call that was refused when they were to be read last.
    refused: Option<&'static str>,
    /// The number of the place, of those of the fleet, that the sweep could read them from last.
    reader: usize,
}

/// The settings as they are kept.
#[derive(Serialize, Deserialize)]
struct Short {
    #[serde(rename = "t")]
    tags: BTreeMap<String, String>,
    #[serde(rename = "s")]
    storage_tier: StorageTier,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    image_generation: Option<ImageGeneration>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    notification: Option<Notification>,
}

fn encode(settings: Settings) -> Option<Box<[u8]>> {
    let Settings { tags, storage_tier, image_generation, notification } = settings;
    let short = Short { tags, storage_tier, image_generation, notification };
    serde_json::to_vec(&short).ok().map(Vec::into_boxed_slice)
}

fn decode(text: &[u8]) -> Option<Settings> {
    let Short { tags, storage_tier, image_generation, notification } = serde_json::from_slice(text).ok()?;
    Some(Settings { tags, storage_tier, image_generation, notification })
}

impl SettingsKept {
    /// The settings as they were read last, and when. A stream that nobody has asked for before is to be looked at from now on, some
    /// time within the period.
    pub(super) fn get(&mut self, arn: &str, period: Duration, now: Instant) -> Option<(Settings, Instant)> {
        if let Some(kept) = self.by_arn.get(arn) {
            // What is not to be read any more may be anything by now.
            if kept.refused.is_some() {
                return None;
            }
            return Some((decode(kept.text.as_deref()?)?, kept.read));
        }
        let due = now + period.mul_f64(fastrand::f64());
        self.by_arn.insert(arn.into(), Kept { text: None, read: now, due, refused: None, reader: 0 });
        None
    }

    /// Keeps what was read or set. True where it is not what was known before, or they were not to be read.
    pub(super) fn put(&mut self, arn: &str, settings: Settings, period: Duration, now: Instant) -> bool {
        let text = encode(settings);
        // A tenth sooner or later, so that what was read together is not always read together.
        let due = now + period.mul_f64(0.9 + fastrand::f64() / 5.0);
        if let Some(kept) = self.by_arn.get_mut(arn) {
            let is_new = kept.text != text || kept.refused.is_some();
            *kept = Kept { text, read: now, due, refused: None, reader: kept.reader };
            is_new
        } else {
            self.by_arn.insert(arn.into(), Kept { text, read: now, due, refused: None, reader: 0 });
            true
        }
    }

    /// This call was refused when they were to be read: they are not known until they are read again. True where that is news.
    pub(super) fn refuse(&mut self, arn: &str, call: &'static str, now: Instant) -> bool {
        if let Some(kept) = self.by_arn.get_mut(arn) {
            return kept.refused.replace(call).is_none();
        }
        let due = now + AGAIN_AFTER;
        self.by_arn.insert(arn.into(), Kept { text: None, read: now, due, refused: Some(call), reader: 0 });
        true
    }

    /// The call that was refused when they were to be read last.
    pub(super) fn refused(&self, arn: &str) -> Option<&'static str> {
        self.by_arn.get(arn).and_then(|kept| kept.refused)
    }

    /// The sweep has read them from the place of this number.
    pub(super) fn read_from(&mut self, arn: &str, reader: usize) {
        if let Some(kept) = self.by_arn.get_mut(arn) {
            kept.reader = reader;
        }
    }

    /// They could not be read: it is tried again before long.
    pub(super) fn postpone(&mut self, arn: &str, now: Instant) {
        if let Some(kept) = self.by_arn.get_mut(arn) {
            kept.due = now + AGAIN_AFTER;
        }
    }

    pub(super) fn forget(&mut self, arn: &str) {
        self.by_arn.remove(arn);
    }

    /// Drops what is about streams that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.by_arn.retain(|arn, _| is_there(arn));
    }

    /// The streams whose settings are to be read now, those first that have waited longest, at most so many; each with the number
    /// of the place that is asked first.
    pub(super) fn due(&self, most: usize, now: Instant) -> Vec<(Arc<str>, usize)> {
        let mut due: Vec<_> = self
            .by_arn
            .iter()
            .filter(|(_, kept)| kept.due <= now)
            .map(|(arn, kept)| (kept.due, arn, kept.reader))
            .collect();
        due.sort();
        due.into_iter().take(most).map(|(_, arn, reader)| (arn.clone(), reader)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_hours(6);

    fn settings(tier: StorageTier) -> Settings {
        Settings {
            tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            storage_tier: tier,
            image_generation: None,
            notification: Some(Notification { topic_arn: "arn:aws:sns:eu-west-1:1:x".to_owned() }),
        }
    }

    fn named(due: &[(Arc<str>, usize)]) -> Vec<(&str, usize)> {
        due.iter().map(|(arn, reader)| (&**arn, *reader)).collect()
    }

    #[test]
    fn settings_come_back_as_they_were_and_a_change_is_told() {
        let mut kept = SettingsKept::default();
        let now = Instant::now();
        assert_eq!(kept.get("a", PERIOD, now), None);
        assert!(kept.put("a", settings(StorageTier::Hot), PERIOD, now));
        assert!(!kept.put("a", settings(StorageTier::Hot), PERIOD, now));
        assert!(kept.put("a", settings(StorageTier::Warm), PERIOD, now));
        assert_eq!(kept.get("a", PERIOD, now), Some((settings(StorageTier::Warm), now)));
    }

    #[test]
    fn first_reads_are_spread_over_the_period_and_each_is_read_once_in_it() {
        let mut kept = SettingsKept::default();
        let start = Instant::now();
        for number in 0..1_000 {
            kept.get(&number.to_string(), PERIOD, start);
        }
        let mut reads = 0;
        for tenth in 1..=10 {
            let now = start + PERIOD.mul_f64(f64::from(tenth) / 10.0);
            let due = kept.due(1_000, now);
            assert!((60..=140).contains(&due.len()), "{} in tenth {tenth}", due.len());
            reads += due.len();
            for (arn, _) in due {
                kept.put(&arn, settings(StorageTier::Hot), PERIOD, now);
            }
        }
        assert!((1_000..=1_010).contains(&reads), "{reads}");
    }

    #[test]
    fn those_that_wait_longest_are_first_and_a_failed_read_holds_nobody_up() {
        let mut kept = SettingsKept::default();
        let start = Instant::now();
        for (number, arn) in ["a", "b", "c"].into_iter().enumerate() {
            kept.put(arn, settings(StorageTier::Hot), Duration::from_secs(100 * (number as u64 + 1)), start);
        }
        let later = start + Duration::from_hours(1);
        assert_eq!(named(&kept.due(2, later)), [("a", 0), ("b", 0)]);
        kept.postpone("a", later);
        assert_eq!(named(&kept.due(1, later)), [("b", 0)]);
        assert_eq!(kept.due(9, later + AGAIN_AFTER).len(), 3);
        kept.retain(|arn| arn != "b");
        assert_eq!(kept.due(9, later + AGAIN_AFTER).len(), 2);
    }

    #[test]
    fn what_is_not_to_be_read_any_more_is_not_known_until_it_is_read_again_and_both_are_told_once() {
        let (mut kept, now) = (SettingsKept::default(), Instant::now());
        kept.put("a", settings(StorageTier::Hot), PERIOD, now);
        kept.read_from("a", 2);
        for is_news in [true, false] {
            assert_eq!(kept.refuse("a", "ListTagsForStream", now), is_news);
            assert_eq!((kept.get("a", PERIOD, now), kept.refused("a")), (None, Some("ListTagsForStream")));
        }
        for is_news in [true, false] {
            assert_eq!(kept.put("a", settings(StorageTier::Hot), PERIOD, now), is_news);
            assert_eq!(kept.get("a", PERIOD, now), Some((settings(StorageTier::Hot), now)));
        }
        assert_eq!(kept.refused("a"), None);
        let later = now + PERIOD.mul_f64(1.1);
        assert_eq!(named(&kept.due(9, later)), [("a", 2)], "from where it could be read");
        assert!(kept.refuse("never read", "ListTagsForStream", later));
        assert_eq!(kept.due(9, later + AGAIN_AFTER).len(), 2);
    }
}
