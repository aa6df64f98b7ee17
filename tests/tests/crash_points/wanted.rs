//! The alarms that there are, against those that streams and classes ask for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::facts::{ClassWish, Wish, alarms, is_left_by_observer, texts};
use crate::rest::condition;
use crate::world::{INSTALLATION, Inner};

/// What is not as it is to be, once the operator says that all is well.
pub fn problems(inner: &mut Inner) -> Vec<String> {
    let alarms = alarms(inner);
    let (streams, classes) = (Wish::all(inner), ClassWish::all(inner));
    let mut problems = of_nobody(inner, &alarms, &streams, &classes);
    for wish in &streams {
        let object = inner.store.get(&wish.key).cloned().unwrap_or_default();
        let ready = condition(&object, "Ready");
        if wish.is_suspended {
            problems.extend(still_telling(&alarms, wish));
        } else if !wish.is_observed && ready["status"] == "True" && ready["reason"] == "Active" {
            problems.extend(of_stream(&alarms, wish, &classes));
        }
    }
    for class in &classes {
        problems.extend(of_class(&alarms, class, &streams));
    }
    problems
}

fn text<'a>(alarm: &'a Value, member: &str) -> &'a str {
    alarm[member].as_str().unwrap_or_default()
}

fn of<'a>(alarms: &'a [Value], stream: &'a str) -> impl Iterator<Item = &'a Value> {
    alarms.iter().filter(move |alarm| alarm["Dimensions"][0]["Value"] == stream)
}

/// What the names of a class's alarms begin with.
fn prefix(class: &str) -> String {
    format!("streamfleet/{INSTALLATION}/~class/{class}/")
}

/// They are searched for every few minutes.
fn of_nobody(inner: &mut Inner, alarms: &[Value], streams: &[Wish], classes: &[ClassWish]) -> Vec<String> {
    let mut problems = Vec::new();
    for alarm in alarms {
        let (name, stream) = (text(alarm, "AlarmName"), &alarm["Dimensions"][0]["Value"]);
        match stream.as_str() {
            Some(stream) if streams.iter().any(|wish| wish.stream == stream) => {}
            Some(stream) if is_left_by_observer(inner, alarm, stream) => {}
            Some(stream) => problems.push(format!("an alarm of {stream}")),
            None if classes.iter().any(|class| name.starts_with(&prefix(&class.name))) => {}
            None => problems.push(format!("an alarm of no class: {name}")),
        }
    }
    problems
}

/// The kind of an alarm. Some kinds are more than one alarm: `KIND.PART`.
fn kind(alarm: &Value) -> String {
    let name = text(alarm, "AlarmName").rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn still_telling(alarms: &[Value], wish: &Wish) -> Vec<String> {
    let telling = of(alarms, &wish.stream).filter(|alarm| alarm["ActionsEnabled"] != false);
    telling.map(|alarm| format!("{} tells of a suspended stream", alarm["AlarmName"])).collect()
}

fn of_stream(alarms: &[Value], wish: &Wish, classes: &[ClassWish]) -> Vec<String> {
    let mut problems = Vec::new();
    let kinds: BTreeSet<String> = of(alarms, &wish.stream).map(kind).collect();
    if kinds != wish.alarms.iter().cloned().collect() {
        problems.push(format!("{} has the alarms {kinds:?} of {:?}", wish.stream, wish.alarms));
    }
    // Where the alarm of a site tells the same people, the stream's own does not tell them twice.
    let class = classes.iter().find(|class| class.name == wish.class);
    let is_for_site = class.is_some_and(|class| {
        let site = class.site(wish).map(|site| format!("{}site/{site}", prefix(&class.name)));
        let is_there = |site: String| alarms.iter().any(|alarm| alarm["AlarmName"] == *site);
        wish.topics == class.topics && site.is_some_and(is_there)
    });
    let topics: &[String] = if is_for_site { &[] } else { wish.topics.as_slice() };
    for alarm in of(alarms, &wish.stream) {
        if texts(&alarm["AlarmActions"]) != topics || alarm["ActionsEnabled"] == false {
            let (name, told) = (&alarm["AlarmName"], &alarm["AlarmActions"]);
            problems.push(format!("{name} tells {told}, enabled: {}", alarm["ActionsEnabled"]));
        }
    }
    problems
}

fn of_class(alarms: &[Value], class: &ClassWish, streams: &[Wish]) -> Vec<String> {
    let mut problems = Vec::new();
    let prefix = prefix(&class.name);
    let part = |name: &str| -> Vec<&Value> {
        let prefix = format!("{prefix}{name}/");
        alarms.iter().filter(|alarm| text(alarm, "AlarmName").starts_with(&prefix)).collect()
    };
    let kinds: BTreeSet<String> = part("fleet").into_iter().map(kind).collect();
    if kinds != class.fleet.iter().cloned().collect() {
        problems.push(format!("class {} has the alarms {kinds:?} of {:?}", class.name, class.fleet));
    }
    let mut wanted: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let members = streams.iter().filter(|wish| wish.class == class.name);
    for wish in members.filter(|wish| !wish.is_leaving && !wish.is_suspended) {
        let names: BTreeSet<&str> = of(alarms, &wish.stream).map(|alarm| text(alarm, "AlarmName")).collect();
        if let Some(site) = class.site(wish).filter(|_| !names.is_empty()) {
            wanted.entry(format!("{prefix}site/{site}")).or_default().extend(names);
        }
    }
    let sites = part("site");
    let there: BTreeMap<String, BTreeSet<&str>> = sites
        .iter()
        .map(|alarm| (text(alarm, "AlarmName").to_owned(), named(text(alarm, "AlarmRule"))))
        .collect();
    if there != wanted {
        problems.push(format!("the alarms of sites are {there:?}, not {wanted:?}"));
    }
    for alarm in part("fleet").into_iter().chain(sites) {
        if texts(&alarm["AlarmActions"]) != class.topics || alarm["ActionsEnabled"] == false {
            problems.push(format!("{} tells {}", alarm["AlarmName"], alarm["AlarmActions"]));
        }
    }
    problems
}

/// The alarms that a rule names.
fn named(rule: &str) -> BTreeSet<&str> {
    rule.split("ALARM(\"").skip(1).filter_map(|part| part.split('"').next()).collect()
}
