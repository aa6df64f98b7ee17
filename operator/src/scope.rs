//! Which classes an operator looks after: all of them, or those of a shard or a canary. What belongs to others is not touched.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use kube::ResourceExt as _;
use kube::core::{Expression, Selector, SelectorExt as _};
use kube::runtime::reflector::{ObjectRef, Store};
use streamfleet_crds::{Camera, StreamClass, VideoStream};

use crate::labels::stable_hash;

/// The name of the lease of an operator that looks after all classes; a shard's is this with a hash of the shard.
pub const LEASE_NAME: &str = "streamfleet-operator";

/// Which classes an operator looks after.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Scope {
    /// All of them, and the objects that name a class which is not there.
    #[default]
    All,
    /// Those of these names.
    Names(BTreeSet<String>),
    /// Those with such labels. A class that is not there has none.
    Labels(Selector),
}

/// Why a scope could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A part of the list is empty.
    #[error("a part of the list is empty")]
    Empty,
    /// This is no requirement of a label selector.
    #[error("\"{0}\" is no requirement of a label selector, such as shard=2, tier in (a,b) or !canary")]
    Requirement(String),
}

impl FromStr for Scope {
    type Err = ParseError;

    /// Names with commas between them, or a label selector: what holds `=`, `!` or parentheses is one.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::All);
        }
        if text.contains(['=', '!', '(']) {
            let parts = split(text).into_iter().map(requirement).collect::<Result<Vec<_>, _>>()?;
            return Ok(Self::Labels(parts.into_iter().collect()));
        }
        let names: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if names.contains("") {
            return Err(ParseError::Empty);
        }
        Ok(Self::Names(names))
    }
}

/// The requirements of a selector: parted by commas, save those in parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut is_inside) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match character {
            '(' => is_inside = true,
            ')' => is_inside = false,
            ',' if !is_inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(text: &str) -> Result<Expression, ParseError> {
    let text = text.trim();
    let wrong = || ParseError::Requirement(text.to_owned());
    let word = |word: &str| {
        let word = word.trim();
        let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        (is_plain && !word.is_empty()).then(|| word.to_owned()).ok_or_else(wrong)
    };
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Expression::NotEqual(word(key)?, word(value)?));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Expression::Equal(word(key)?, word(value)?));
    }
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(word(key)?));
    }
    let Some((head, values)) = text.split_once('(') else { return Ok(Expression::Exists(word(text)?)) };
    let values = values.strip_suffix(')').ok_or_else(wrong)?;
    let values = values.split(',').map(word).collect::<Result<BTreeSet<_>, _>>()?;
    match head.trim().rsplit_once(char::is_whitespace) {
        Some((key, "in")) => Ok(Expression::In(word(key)?, values)),
        Some((key, "notin")) => Ok(Expression::NotIn(word(key)?, values)),
        _ => Err(wrong()),
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Names(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                f.write_str(&names.join(","))
            }
            Self::Labels(selector) => write!(f, "{selector}"),
        }
    }
}

impl Scope {
    /// The name of the lease for which the replicas of this scope stand.
    pub fn lease_name(&self) -> String {
        match self {
            Self::All => LEASE_NAME.to_owned(),
            _ => format!("{LEASE_NAME}-{:08x}", stable_hash(self.to_string().as_bytes()) as u32),
        }
    }

    /// Whether a class is looked after.
    pub fn covers_class(&self, class: &StreamClass) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.contains(&class.name_any()),
            Self::Labels(selector) => selector.matches(class.labels()),
        }
    }

    /// Whether a `VideoStream` is looked after, by the class that it names.
    pub fn covers_stream(&self, stream: &VideoStream, classes: &Store<StreamClass>) -> bool {
        self.covers_name(&stream.spec.stream_class_name, classes)
    }

    /// Whether a `VideoStream` can be left out of the cache: it is and will be another operator's.
    pub fn never_covers(&self, stream: &VideoStream) -> bool {
        match self {
            Self::Names(names) => !names.contains(&stream.spec.stream_class_name),
            // The labels of a class may change.
            Self::All | Self::Labels(_) => false,
        }
    }

    /// Whether a Camera is looked after, by the class of its `VideoStream`. Where that is not known, only who looks after all
    /// classes can say so in the Camera's status.
    pub fn covers_camera(
        &self,
        camera: &Camera,
        streams: &Store<VideoStream>,
        classes: &Store<StreamClass>,
    ) -> bool {
        if *self == Self::All {
            return true;
        }
        if let Some(template) = &camera.spec.stream_template {
            return self.covers_name(&template.spec.stream_class_name, classes);
        }
        let namespace = camera.namespace().unwrap_or_default();
        let stream = streams.get(&ObjectRef::new(camera.video_stream_name()).within(&namespace));
        stream.is_some_and(|stream| self.covers_stream(&stream, classes))
    }

    fn covers_name(&self, class: &str, classes: &Store<StreamClass>) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.contains(class),
            Self::Labels(selector) => {
                classes.get(&ObjectRef::new(class)).is_some_and(|class| selector.matches(class.labels()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn classes() -> Store<StreamClass> {
        let mut writer = Writer::default();
        for (name, labels) in
            [("a", json!({ "shard": "1" })), ("b", json!({ "shard": "2", "canary": "" })), ("c", json!({}))]
        {
            let class = serde_json::from_value(json!({
                "apiVersion": "streamfleet.io/v1alpha1", "kind": "StreamClass",
                "metadata": { "name": name, "labels": labels },
                "spec": { "aws": { "region": "eu-west-1", "accountID": "123456789012" } },
            }))
            .unwrap();
            writer.apply_watcher_event(&Event::Apply(class));
        }
        writer.as_reader()
    }

    #[test]
    fn a_scope_is_names_or_a_selector() {
        let classes = classes();
        for (text, expected) in [
            ("", "a b c gone"),
            ("a", "a"),
            ("a, gone", "a gone"),
            ("shard=1", "a"),
            ("shard==2", "b"),
            ("shard!=1", "b c"),
            ("shard in (1,2)", "a b"),
            ("shard in (1,2),!canary", "a"),
            ("shard notin (1)", "b c"),
            ("canary,shard=2", "b"),
        ] {
            let scope: Scope = text.parse().unwrap();
            let covered: Vec<&str> = ["a", "b", "c", "gone"]
                .into_iter()
                .filter(|name| scope.covers_name(name, &classes))
                .collect();
            assert_eq!(covered.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_the_part_that_is_wrong() {
        assert_eq!("a,,b".parse::<Scope>(), Err(ParseError::Empty));
        for (text, part) in [
            ("shard=", "shard="),
            ("shard=1,x in (1", "x in (1"),
            ("shard within (1)", "shard within (1)"),
            ("!", "!"),
        ] {
            assert_eq!(text.parse::<Scope>(), Err(ParseError::Requirement(part.to_owned())), "{text}");
        }
    }

    #[test]
    fn each_shard_has_a_lease_of_its_own_however_it_is_written() {
        let name = |text: &str| text.parse::<Scope>().unwrap().lease_name();
        assert_eq!(name(""), "streamfleet-operator");
        assert_eq!(name("a,b"), name("b, a"));
        assert_eq!(name("a,b"), "streamfleet-operator-046025e6");
        let all: BTreeSet<String> = ["", "a", "b", "a,b", "shard=1", "shard=2"].map(name).into();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn a_camera_belongs_to_who_looks_after_the_class_of_its_stream() {
        let mut streams = Writer::<VideoStream>::default();
        let stream = serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "VideoStream",
            "metadata": { "name": "door", "namespace": "shop" }, "spec": { "streamClassName": "a" },
        }))
        .unwrap();
        streams.apply_watcher_event(&Event::Apply(stream));
        let camera = |stream: &str| -> Camera {
            serde_json::from_value(json!({
                "apiVersion": "streamfleet.io/v1alpha1", "kind": "Camera",
                "metadata": { "name": "door", "namespace": "shop" },
                "spec": { "source": { "rtsp": { "url": "rtsp://door.example/live" } }, "streamRef": { "name": stream } },
            }))
            .unwrap()
        };
        let covers = |scope: &str, stream: &str| {
            let scope: Scope = scope.parse().unwrap();
            scope.covers_camera(&camera(stream), &streams.as_reader(), &classes())
        };
        assert!(covers("a", "door") && covers("shard=1", "door") && covers("", "door"));
        assert!(!covers("b", "door") && !covers("shard=2", "door"));
        assert!(covers("", "missing") && !covers("a", "missing"));
    }
}
