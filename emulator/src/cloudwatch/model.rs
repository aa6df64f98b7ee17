//! The API model of the operations that the emulator has: `model.json`, cut out of botocore's by
//! `tests/boto3/cloudwatch_model.py`.
//!
//! Requests are checked by it; forms are read and answers written by it, whose texts do not tell a number from a word.

use std::{collections::HashMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::Value;

use super::refusal::validation;
use crate::error::ServiceError;

/// More findings than these are not told, as the service does.
const FINDINGS_MAX: usize = 10;
/// Characters of a value that a finding repeats.
const VALUE_SHOWN_MAX: usize = 80;

/// The model.
pub static MODEL: LazyLock<Model> = LazyLock::new(|| {
    serde_json::from_str(include_str!("model.json")).expect("the file is part of the source")
});

/// The type of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Members by name.
    Structure,
    /// Members in order.
    List,
    /// Values by key.
    Map,
    /// Text.
    String,
    /// 32 bits.
    Integer,
    /// 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Yes or no.
    Boolean,
    /// Seconds since the epoch; each protocol writes it its own way.
    Timestamp,
}

/// What a value must be.
#[derive(Debug, Deserialize)]
pub struct Shape {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(default)]
    required: Vec<String>,
    min: Option<f64>,
    max: Option<f64>,
    pattern: Option<String>,
    #[serde(default, rename = "enum")]
    words: Vec<String>,
    member: Option<String>,
    value: Option<String>,
    #[serde(default)]
    members: HashMap<String, String>,
}

#[cfg(test)]
impl Shape {
    /// The members of a structure, in order.
    pub fn member_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.members.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

#[derive(Debug, Deserialize)]
struct Sides {
    input: String,
    output: Option<String>,
}

/// The shapes of all operations.
#[derive(Debug, Deserialize)]
pub struct Model {
    operations: HashMap<String, Sides>,
    shapes: HashMap<String, Shape>,
}

impl Model {
    /// Whether it is an operation that the emulator has.
    pub fn has(&self, operation: &str) -> bool {
        self.operations.contains_key(operation)
    }

    /// What an operation takes.
    pub fn input(&self, operation: &str) -> Option<&Shape> {
        self.shapes.get(&self.operations.get(operation)?.input)
    }

    /// What an operation answers, if it answers anything.
    pub fn output(&self, operation: &str) -> Option<&Shape> {
        self.shapes.get(self.operations.get(operation)?.output.as_ref()?)
    }

    /// The shape of a structure's member.
    pub fn member(&self, shape: &Shape, name: &str) -> Option<&Shape> {
        self.shapes.get(shape.members.get(name)?)
    }

    /// The shape of a list's members.
    pub fn element(&self, shape: &Shape) -> Option<&Shape> {
        self.shapes.get(shape.member.as_ref()?)
    }

    /// The shape of a map's values.
    pub fn value(&self, shape: &Shape) -> Option<&Shape> {
        self.shapes.get(shape.value.as_ref()?)
    }

    /// Refuses what breaks the shapes of an operation's input, with all that is wrong (ten at most).
    pub fn check(&self, operation: &str, input: &Value) -> Result<(), ServiceError> {
        let mut findings = Vec::new();
        if let Some(shape) = self.input(operation) {
            self.look(shape, input, "", &mut findings);
        }
        if findings.is_empty() {
            return Ok(());
        }
        findings.truncate(FINDINGS_MAX);
        let plural = if findings.len() == 1 { "error" } else { "errors" };
        Err(validation(format!("{} validation {plural} detected: {}", findings.len(), findings.join("; "))))
    }

    fn look(&self, shape: &Shape, value: &Value, path: &str, findings: &mut Vec<String>) {
        match (shape.kind, value) {
            (Kind::Structure, Value::Object(members)) => {
                for name in shape.required.iter().filter(|name| !members.contains_key(*name)) {
                    let path = join(path, &lower(name));
                    findings.push(finding(&Value::Null, &path, "Member must not be null"));
                }
                for (name, value) in members {
                    if let Some(member) = self.member(shape, name) {
                        self.look(member, value, &join(path, &lower(name)), findings);
                    }
                }
            }
            (Kind::List, Value::Array(elements)) => {
                bound(shape, elements.len() as f64, "length", (value, path), findings);
                for (at, element) in elements.iter().enumerate() {
                    if let Some(member) = self.element(shape) {
                        self.look(member, element, &format!("{path}.{}.member", at + 1), findings);
                    }
                }
            }
            (Kind::Map, Value::Object(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Double | Kind::Timestamp, Value::Number(_)) => {}
            (Kind::String, Value::String(text)) => look_at_text(shape, text, path, findings),
            (Kind::Integer | Kind::Long, Value::Number(number)) if number.is_i64() => {
                bound(shape, number.as_f64().unwrap_or_default(), "value", (value, path), findings);
            }
            (kind, _) => {
                let wanted = format!("Member must be of type {}", format!("{kind:?}").to_lowercase());
                findings.push(finding(value, path, &wanted));
            }
        }
    }
}

fn look_at_text(shape: &Shape, text: &str, path: &str, findings: &mut Vec<String>) {
    let value = Value::from(text);
    bound(shape, text.chars().count() as f64, "length", (&value, path), findings);
    if !shape.words.is_empty() && !shape.words.iter().any(|word| word == text) {
        let words = format!("Member must satisfy enum value set: [{}]", shape.words.join(", "));
        findings.push(finding(&value, path, &words));
    }
    // The one pattern that the operations here have is `[^:].*`.
    if let Some(pattern) = &shape.pattern
        && text.starts_with(':')
    {
        let wanted = format!("Member must satisfy regular expression pattern: {pattern}");
        findings.push(finding(&value, path, &wanted));
    }
}

fn bound(shape: &Shape, size: f64, what: &str, (value, path): (&Value, &str), findings: &mut Vec<String>) {
    let outside = |wanted: &str, limit: f64| {
        finding(value, path, &format!("Member must have {what} {wanted} than or equal to {limit}"))
    };
    findings.extend(shape.min.filter(|min| size < *min).map(|min| outside("greater", min)));
    findings.extend(shape.max.filter(|max| size > *max).map(|max| outside("less", max)));
}

fn finding(value: &Value, path: &str, constraint: &str) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown: String = text.chars().take(VALUE_SHOWN_MAX).collect();
    format!("Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `AlarmName` is told as `alarmName`.
fn lower(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// A request without the members that say nothing: clients write `null` for what they leave out.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
