//! The composite alarms of a class, one for each site. Pure.
//!
//! A composite alarm may name a hundred others, and its rule may have 10,240 characters: a site with more has composites in between.
//! Alarms are put into these by a hash of their names, so that one alarm more or less rewrites one of them.

use super::desired::describe;
use super::names::{Object, hash, mark};
use crate::aws::CompositeAlarm;

/// The most alarms that a rule may name (`PutCompositeAlarm`).
const CHILDREN_MAX: usize = 100;
/// The longest rule (`AlarmRule`).
const RULE_MAX: usize = 10_240;
/// So many alarms a composite in between has at first, so that there is room for more.
const CHILDREN_USUAL: usize = 50;

/// Whose composite alarms are made.
#[derive(Debug, Clone, Copy)]
pub struct Class<'a> {
    /// The installation.
    pub installation: &'a str,
    /// The object.
    pub object: &'a Object,
    /// Who is told.
    pub actions: &'a [String],
}

/// The composite alarms of a site with these alarms: children before parents, the site's own last.
pub fn site_alarms(class: Class<'_>, site: &str, mut children: Vec<String>) -> Vec<CompositeAlarm> {
    let mut alarms = Vec::new();
    children.sort();
    children.dedup();
    let statement =
        format!("Site {site}: at least one of {} alarms of its streams has gone off", size(children.len()));
    let mut level = 1;
    while !fits(&children) {
        let mut parents = Vec::new();
        for (index, bucket) in buckets(&children).iter().enumerate().filter(|(_, bucket)| !bucket.is_empty())
        {
            let name = class.object.alarm_name(class.installation, &format!("site/{site}/{level}.{index}"));
            alarms.push(composite(class, name.clone(), "Part of the alarm of a site.", bucket, &[]));
            parents.push(name);
        }
        parents.sort();
        children = parents;
        level += 1;
    }
    if !children.is_empty() {
        let name = alarm_name(class.installation, class.object, site);
        alarms.push(composite(
            class,
            name,
            &format!("{statement}. See the alarms that it names."),
            &children,
            class.actions,
        ));
    }
    alarms
}

/// The name of the alarm of a site of this class.
pub fn alarm_name(installation: &str, class: &Object, site: &str) -> String {
    class.alarm_name(installation, &format!("site/{site}"))
}

/// A number for people that does not change with each alarm.
fn size(alarms: usize) -> String {
    if alarms < CHILDREN_USUAL { "the".to_owned() } else { "many".to_owned() }
}

fn composite(
    class: Class<'_>,
    name: String,
    statement: &str,
    children: &[String],
    actions: &[String],
) -> CompositeAlarm {
    let mark = mark(class.installation, class.object, &name, "site");
    CompositeAlarm {
        description: describe(statement, &mark),
        rule: rule(children),
        actions: actions.to_vec(),
        actions_enabled: true,
        tags: std::collections::BTreeMap::new(),
        name,
    }
}

fn rule(children: &[String]) -> String {
    children.iter().map(|child| format!("ALARM(\"{child}\")")).collect::<Vec<_>>().join(" OR ")
}

/// Whether a rule is about an alarm.
pub fn names(rule: &str, alarm: &str) -> bool {
    rule.contains(&format!("\"{alarm}\""))
}

fn fits(children: &[String]) -> bool {
    children.len() <= CHILDREN_MAX && rule(children).len() <= RULE_MAX
}

/// So many parts, a power of two, that each fits into a rule. An alarm stays in its part until there are twice as many.
fn buckets(children: &[String]) -> Vec<Vec<String>> {
    let mut count = children.len().div_ceil(CHILDREN_USUAL).next_power_of_two().max(2);
    loop {
        let mut buckets = vec![Vec::new(); count];
        for child in children {
            let digits = hash(child);
            let number = usize::from_str_radix(&digits[..8], 16).unwrap_or_default();
            buckets[number % count].push(child.clone());
        }
        if buckets.iter().all(|bucket| fits(bucket)) {
            return buckets;
        }
        count *= 2;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn alarms(count: usize) -> Vec<CompositeAlarm> {
        let children =
            (0..count).map(|number| format!("streamfleet/north/shop/camera-{number}/NoIngest")).collect();
        let object = Object::Class("standard".to_owned());
        let actions = ["arn:aws:sns:eu-west-1:123456789012:cameras".to_owned()];
        site_alarms(Class { installation: "north", object: &object, actions: &actions }, "store-4", children)
    }

    fn children_of(rule: &str) -> Vec<&str> {
        rule.split(" OR ").map(|part| part.trim_start_matches("ALARM(\"").trim_end_matches("\")")).collect()
    }

    #[test]
    fn a_site_of_any_size_has_one_alarm_at_the_top_that_each_of_its_alarms_reaches() {
        for count in [1, 2, 75, 100, 101, 500, 10_000] {
            let all = alarms(count);
            let by_name: BTreeMap<&str, &CompositeAlarm> =
                all.iter().map(|alarm| (alarm.name.as_str(), alarm)).collect();
            let top = all.last().unwrap();
            assert_eq!(top.name, "streamfleet/north/~class/standard/site/store-4");
            let (mut reached, mut open) = (BTreeSet::new(), vec![top.name.as_str()]);
            while let Some(name) = open.pop() {
                match by_name.get(name) {
                    Some(alarm) => {
                        let children = children_of(&alarm.rule);
                        assert!(children.len() <= 100 && alarm.rule.len() <= 10_240 && !children.is_empty());
                        assert_eq!(alarm.actions.is_empty(), alarm.name != top.name);
                        open.extend(children);
                    }
                    None => assert!(reached.insert(name)),
                }
            }
            assert_eq!(reached.len(), count);
        }
    }

    #[test]
    fn children_come_before_parents() {
        let all = alarms(10_000);
        for (index, alarm) in all.iter().enumerate() {
            for child in children_of(&alarm.rule) {
                assert!(!all[index..].iter().any(|later| later.name == child), "{child}");
            }
        }
    }

    #[test]
    fn one_alarm_more_rewrites_one_part() {
        let (before, after) = (alarms(1_000), alarms(1_001));
        let changed = after.iter().filter(|alarm| !before.contains(alarm)).count();
        assert_eq!(changed, 1);
    }

    #[test]
    fn a_site_without_alarms_has_none() {
        assert_eq!(alarms(0), []);
    }
}
