//! What the definitions of the kinds refuse, as their schemas have it: each rule, bound, enum and required field of the specs.
//! Which of them an answer of the server is about.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use kube::core::response::StatusCause;
use serde_json::Value;
use streamfleet_crds::all_crds;

use crate::values::Kind;

/// One thing that is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    pub kind: Kind,
    /// The field, with `[]` for the items of a list and `{}` for the values of a map.
    pub place: String,
    pub what: What,
}

/// What is refused there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// What a rule of the Common Expression Language says no to; its message.
    Rule(String),
    /// What is none of the values.
    Enum,
    /// That it is missing.
    Missing,
    /// A text that is too long.
    Length(u64),
    /// Too many items or members.
    Count(u64),
}

/// Words of a schema by which the server refuses values in words of its own, which do not say what to do. A rule with a
/// message belongs there.
const WORDLESS: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "pattern",
    "minLength",
    "minItems",
    "minProperties",
    "uniqueItems",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
];

/// The definitions of a kind: its schema, as the server has it.
pub fn schema(kind: Kind) -> Result<Value> {
    let definition = all_crds().into_iter().find(|definition| definition.spec.names.kind == kind.name());
    let version = definition.and_then(|definition| definition.spec.versions.into_iter().next());
    let schema = version.and_then(|version| version.schema).and_then(|schema| schema.open_api_v3_schema);
    Ok(serde_json::to_value(schema.with_context(|| format!("{} has no schema", kind.name()))?)?)
}

/// Everything that the spec of a kind can be refused for.
pub fn constraints(kind: Kind) -> Result<BTreeSet<Constraint>> {
    let schema = schema(kind)?;
    let mut found = BTreeSet::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        found.insert(Constraint { kind, place: name.to_owned(), what: What::Missing });
    }
    walk(kind, &schema["properties"]["spec"], "spec", &mut found)?;
    Ok(found)
}

fn walk(kind: Kind, schema: &Value, place: &str, found: &mut BTreeSet<Constraint>) -> Result<()> {
    if let Some(word) = WORDLESS.iter().find(|word| schema.get(**word).is_some()) {
        bail!("{} {place} has {word}, whose refusal does not say what to do: make it a rule", kind.name());
    }
    let mut add = |place: String, what| found.insert(Constraint { kind, place, what });
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message =
            rule["message"].as_str().with_context(|| format!("{place}: a rule without a message"))?;
        let below = rule["fieldPath"].as_str().unwrap_or_default();
        add(format!("{place}{below}"), What::Rule(message.to_owned()));
    }
    if schema.get("enum").is_some() {
        add(place.to_owned(), What::Enum);
    }
    if let Some(most) = schema["maxLength"].as_u64() {
        add(place.to_owned(), What::Length(most));
    }
    for word in ["maxItems", "maxProperties"] {
        if let Some(most) = schema[word].as_u64() {
            add(place.to_owned(), What::Count(most));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        add(format!("{place}.{name}"), What::Missing);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(kind, field, &format!("{place}.{name}"), found)?;
    }
    for (word, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[word].is_object() {
            walk(kind, &schema[word], &format!("{place}{mark}"), found)?;
        }
    }
    Ok(())
}

/// The field of an answer in the form of [`Constraint::place`]: `spec.tags.site` is `spec.tags{}`.
pub fn place(schema: &Value, field: &str) -> String {
    let (mut place, mut rest, mut schema) = (String::new(), field, schema);
    while !rest.is_empty() {
        if schema["additionalProperties"].is_object() {
            // All maps of the specs are of scalars, whose keys may hold dots.
            return place + "{}";
        }
        if let Some((_, after)) = rest.strip_prefix('[').and_then(|index| index.split_once(']')) {
            place.push_str("[]");
            (rest, schema) = (after, &schema["items"]);
            continue;
        }
        if rest.starts_with('.') {
            place.push('.');
            rest = &rest[1..];
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        place.push_str(&rest[..end]);
        schema = &schema["properties"][&rest[..end]];
        rest = &rest[end..];
        if end == 0 {
            break;
        }
    }
    place + rest
}

impl Constraint {
    /// Whether the server's answer is about this one.
    pub fn is_meant(&self, place: &str, cause: &StatusCause) -> bool {
        let fits = match &self.what {
            What::Rule(message) => cause.message.ends_with(message.as_str()),
            What::Enum => cause.reason == "FieldValueNotSupported",
            What::Missing => cause.reason == "FieldValueRequired",
            What::Length(most) => cause.message.ends_with(&format!("may not be more than {most} bytes")),
            What::Count(most) => cause.message.ends_with(&format!("must have at most {most} items")),
        };
        fits && self.place == place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_constraints_of_each_sort_and_none_that_does_not_say_what_to_do() {
        for kind in Kind::ALL {
            let found = constraints(kind).unwrap();
            assert!(found.len() > 60, "{}: {}", kind.name(), found.len());
            for sort in [What::Enum, What::Missing] {
                assert!(found.iter().any(|one| one.what == sort), "{}: {sort:?}", kind.name());
            }
            assert!(found.iter().any(|one| matches!(one.what, What::Rule(_))));
            assert!(found.iter().any(|one| matches!(one.what, What::Length(_))));
            assert!(found.iter().any(|one| matches!(one.what, What::Count(_))));
        }
    }

    #[test]
    fn a_field_of_an_answer_is_found_in_the_schema() {
        let schema = schema(Kind::StreamClass).unwrap();
        for (field, expected) in [
            ("spec", "spec"),
            ("spec.stream.tags", "spec.stream.tags"),
            ("spec.stream.tags.example.com/site", "spec.stream.tags{}"),
            ("spec.alarms.actionARNs[12]", "spec.alarms.actionARNs[]"),
            (
                "spec.allowedNamespaces.selector.matchExpressions[0].key",
                "spec.allowedNamespaces.selector.matchExpressions[].key",
            ),
        ] {
            assert_eq!(place(&schema, field), expected);
        }
    }

    #[test]
    fn an_answer_is_about_one_constraint_alone() {
        let all = constraints(Kind::VideoStream).unwrap();
        let cause = |reason: &str, message: &str| StatusCause {
            reason: reason.to_owned(),
            message: message.to_owned(),
            field: "spec.streamName".to_owned(),
        };
        let about = |cause: &StatusCause| all.iter().filter(|one| one.is_meant(&cause.field, cause)).count();
        assert_eq!(about(&cause("FieldValueTooLong", "Too long: may not be more than 1024 bytes")), 1);
        assert_eq!(about(&cause("FieldValueTooLong", "Too long: may not be more than 1025 bytes")), 0);
        assert_eq!(about(&cause("FieldValueInvalid", "Invalid value: \"string\": something else")), 0);
    }
}
