//! The service's API model: which operations there are, and what a request may hold.
//!
//! `model.json` is taken from botocore's model of `kinesisvideo` 2017-09-30 (Apache-2.0) by
//! `emulator/tests/boto3/model.py`, and a test compares the two.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use http::StatusCode;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ServiceError;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("model.json")).expect("the model is ours and is JSON");
    let compiled = |(name, shape): (String, RawShape)| {
        let pattern = shape.pattern.as_deref().map(|text| full_match(text).expect("a pattern of the model"));
        (name, Shape { raw: shape, pattern })
    };
    Model {
        operations: file.operations,
        errors: file.errors,
        shapes: file.shapes.into_iter().map(compiled).collect(),
    }
});

/// The shapes that are bound to 50 tags; one more has an error of its own.
const TAG_SHAPES: [&str; 3] = ["ResourceTags", "TagList", "TagOnCreateList"];
/// The shape of every ARN; tag operations on streams have an error of their own for one that is none.
const ARN_SHAPE: &str = "ResourceARN";

/// The model.
pub fn model() -> &'static Model {
    &MODEL
}

#[derive(Deserialize)]
struct File {
    operations: BTreeMap<String, OperationModel>,
    errors: BTreeMap<String, u16>,
    shapes: BTreeMap<String, RawShape>,
}

/// The model of the service.
#[derive(Debug)]
pub struct Model {
    operations: BTreeMap<String, OperationModel>,
    errors: BTreeMap<String, u16>,
    shapes: HashMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
struct OperationModel {
    path: String,
    input: String,
    errors: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RawShape {
    r#type: Type,
    #[serde(default)]
    required: Vec<String>,
    min: Option<u64>,
    max: Option<u64>,
    pattern: Option<String>,
    r#enum: Option<Vec<String>>,
    #[serde(default)]
    members: BTreeMap<String, String>,
    member: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Integer,
    Boolean,
    Structure,
    List,
    Map,
}

#[derive(Debug)]
struct Shape {
    raw: RawShape,
    pattern: Option<Regex>,
}

/// What is wrong with a request.
#[derive(Debug)]
struct Breach {
    /// The member, as a path from the request.
    at: String,
    /// The rule that it breaks.
    rule: String,
    /// The shape that has the rule.
    shape: String,
    is_too_many: bool,
}

type Checked = Result<Value, Breach>;

/// A pattern of the model, which is one of Java's and matches the whole text; `\w` and `\d` are ASCII there.
fn full_match(pattern: &str) -> Result<Regex, regex::Error> {
    let ascii = pattern.replace(r"\w", "a-zA-Z0-9_").replace(r"\d", "0-9");
    Regex::new(&format!("^(?:{ascii})$"))
}

impl Model {
    /// The names of all operations with their paths.
    pub fn operations(&'static self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.operations.iter().map(|(name, operation)| (name.as_str(), operation.path.as_str()))
    }

    /// An error that the model has: its code and status.
    pub fn error(&'static self, code: &str) -> Option<(&'static str, StatusCode)> {
        let (code, status) = self.errors.get_key_value(code)?;
        Some((code, StatusCode::from_u16(*status).ok()?))
    }

    /// Whether the operation has this error.
    pub fn has_error(&self, operation: &str, code: &str) -> bool {
        self.operations.get(operation).is_some_and(|found| found.errors.iter().any(|error| error == code))
    }

    /// The request as far as the operation knows it: without members that are null or that the model does not have. An
    /// error when it breaks a shape.
    pub fn check(&self, operation: &str, request: &Value) -> Result<Value, ServiceError> {
        let found = self.operations.get(operation).ok_or_else(ServiceError::unknown_operation)?;
        self.shape(&found.input, request, "").map_err(|breach| self.refusal(operation, &breach))
    }

    fn refusal(&self, operation: &str, breach: &Breach) -> ServiceError {
        let Breach { at, rule, shape, is_too_many } = breach;
        if *is_too_many
            && TAG_SHAPES.contains(&shape.as_str())
            && self.has_error(operation, "TagsPerResourceExceededLimitException")
        {
            return ServiceError::too_many_tags();
        }
        // The value stays out: it may be a secret's name, and is the caller's own anyway.
        let message = format!(
            "1 validation error detected: Value at '{at}' failed to satisfy constraint: Member must {rule}"
        );
        if shape == ARN_SHAPE && self.has_error(operation, "InvalidResourceFormatException") {
            ServiceError::invalid_resource_format(message)
        } else {
            ServiceError::invalid_argument(message)
        }
    }

    fn shape(&self, name: &str, value: &Value, at: &str) -> Checked {
        let breach = |rule: &str| Breach {
            at: at.to_owned(),
            rule: rule.to_owned(),
            shape: name.to_owned(),
            is_too_many: false,
        };
        let shape = self.shapes.get(name).ok_or_else(|| breach("have a shape that the model has"))?;
        match (shape.raw.r#type, value) {
            (Type::String, Value::String(text)) => shape.text(name, text, at),
            (Type::Integer, Value::Number(number)) => {
                let number = number.as_i64().ok_or_else(|| breach("be an integer"))?;
                shape.integer(number).map_err(|rule| breach(&rule))?;
                Ok(value.clone())
            }
            (Type::Boolean, Value::Bool(_)) => Ok(value.clone()),
            (Type::Structure, Value::Object(members)) => self.structure(shape, members, at),
            (Type::List, Value::Array(items)) => {
                shape.count(name, items.len(), at)?;
                let item = shape.raw.member.as_deref().unwrap_or_default();
                let checked = |(n, value)| self.shape(item, value, &format!("{at}.{}.member", n + 1));
                items.iter().enumerate().map(checked).collect()
            }
            (Type::Map, Value::Object(entries)) => self.map(name, shape, entries, at),
            (kind, _) => Err(breach(&format!("be a {}", format!("{kind:?}").to_lowercase()))),
        }
    }

    fn structure(&self, shape: &Shape, members: &Map<String, Value>, at: &str) -> Checked {
        let path = |member: &str| if at.is_empty() { member.to_owned() } else { format!("{at}.{member}") };
        for required in &shape.raw.required {
            if members.get(required).is_none_or(Value::is_null) {
                let rule = "not be null".to_owned();
                return Err(Breach { at: path(required), rule, shape: String::new(), is_too_many: false });
            }
        }
        let mut kept = Map::new();
        for (member, shape) in &shape.raw.members {
            if let Some(value) = members.get(member).filter(|value| !value.is_null()) {
                kept.insert(member.clone(), self.shape(shape, value, &path(member))?);
            }
        }
        Ok(Value::Object(kept))
    }

    fn map(&self, name: &str, shape: &Shape, entries: &Map<String, Value>, at: &str) -> Checked {
        shape.count(name, entries.len(), at)?;
        let (key_shape, value_shape) = (shape.raw.key.as_deref(), shape.raw.value.as_deref());
        for (key, value) in entries {
            let key_value = Value::String(key.clone());
            self.shape(key_shape.unwrap_or_default(), &key_value, &format!("{at}.key"))?;
            self.shape(value_shape.unwrap_or_default(), value, &format!("{at}.value"))?;
        }
        Ok(Value::Object(entries.clone()))
    }
}

impl Shape {
    fn bounds(&self) -> std::ops::RangeInclusive<u64> {
        self.raw.min.unwrap_or(0)..=self.raw.max.unwrap_or(u64::MAX)
    }

    fn text(&self, name: &str, text: &str, at: &str) -> Checked {
        let breach = |rule: String| {
            Err(Breach { at: at.to_owned(), rule, shape: name.to_owned(), is_too_many: false })
        };
        let length = text.chars().count() as u64;
        if !self.bounds().contains(&length) {
            return breach(format!("have length {}", bounds_text(&self.raw)));
        }
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text)
        {
            let pattern = self.raw.pattern.as_deref().unwrap_or_default();
            return breach(format!("satisfy regular expression pattern: {pattern}"));
        }
        match &self.raw.r#enum {
            Some(words) if !words.iter().any(|word| word == text) => {
                breach(format!("satisfy enum value set: [{}]", words.join(", ")))
            }
            _ => Ok(Value::String(text.to_owned())),
        }
    }

    fn integer(&self, number: i64) -> Result<(), String> {
        // All that the model has are 32 bits wide.
        let holds = i32::try_from(number).is_ok()
            && self.raw.min.is_none_or(|min| i64::try_from(min).is_ok_and(|min| min <= number))
            && self.raw.max.is_none_or(|max| i64::try_from(max).is_ok_and(|max| number <= max));
        if holds { Ok(()) } else { Err(format!("have value {}", bounds_text(&self.raw))) }
    }

    fn count(&self, name: &str, count: usize, at: &str) -> Result<(), Breach> {
        let count = count as u64;
        if self.bounds().contains(&count) {
            return Ok(());
        }
        let is_too_many = count > self.raw.min.unwrap_or(0);
        let rule = format!("have length {}", bounds_text(&self.raw));
        Err(Breach { at: at.to_owned(), rule, shape: name.to_owned(), is_too_many })
    }
}

fn bounds_text(shape: &RawShape) -> String {
    match (shape.min, shape.max) {
        (Some(min), Some(max)) => format!("of {min} to {max}"),
        (Some(min), None) => format!("greater than or equal to {min}"),
        (None, Some(max)) => format!("less than or equal to {max}"),
        (None, None) => "of 32 bits".to_owned(),
    }
}
