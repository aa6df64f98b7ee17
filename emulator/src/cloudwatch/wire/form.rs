//! Forms of the query protocol: `Dimensions.member.1.Name=StreamName`. The model says what is a number and what a word.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::{
    model::{Kind, MODEL, Shape},
    refusal::{invalid_value, unreadable},
    time,
};
use crate::error::ServiceError;

/// Members inside each other; the deepest shape has a fraction of it.
const DEPTH_MAX: usize = 32;

/// The parameters of a form by the parts of their names.
#[derive(Debug, Default)]
struct Node {
    value: Option<String>,
    parts: BTreeMap<String, Self>,
}

/// Reads a form into the members of a shape.
pub fn read(shape: &Shape, bytes: &[u8]) -> Result<Value, ServiceError> {
    let mut root = Node::default();
    for (name, value) in url::form_urlencoded::parse(bytes) {
        let mut node = &mut root;
        for (depth, part) in name.split('.').enumerate() {
            if depth > DEPTH_MAX {
                return Err(unreadable("The name of a parameter has too many parts"));
            }
            node = node.parts.entry(part.to_owned()).or_default();
        }
        node.value = Some(value.into_owned());
    }
    value(shape, &root, "")
}

fn value(shape: &Shape, node: &Node, path: &str) -> Result<Value, ServiceError> {
    match shape.kind {
        Kind::Structure => {
            let mut members = Map::new();
            for (name, inner) in &node.parts {
                if let Some(member) = MODEL.member(shape, name) {
                    members.insert(name.clone(), value(member, inner, name)?);
                }
            }
            Ok(Value::Object(members))
        }
        Kind::List => list(shape, node, path),
        Kind::Map => map(shape, node, path),
        _ => scalar(shape.kind, node.value.as_deref().unwrap_or_default(), path),
    }
}

fn numbered<'a>(node: &'a Node, word: &str) -> Vec<&'a Node> {
    let entries = node.parts.get(word).into_iter().flat_map(|node| &node.parts);
    let mut numbered: Vec<(u64, &Node)> =
        entries.filter_map(|(number, inner)| Some((number.parse().ok()?, inner))).collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, inner)| inner).collect()
}

/// `X.member.1`; an empty list is `X=`.
fn list(shape: &Shape, node: &Node, path: &str) -> Result<Value, ServiceError> {
    let element = MODEL.element(shape).ok_or_else(|| unreadable(format!("{path} has no members")))?;
    numbered(node, "member").into_iter().map(|inner| value(element, inner, path)).collect()
}

/// `X.entry.1.key` and `X.entry.1.value`.
fn map(shape: &Shape, node: &Node, path: &str) -> Result<Value, ServiceError> {
    let inner = MODEL.value(shape).ok_or_else(|| unreadable(format!("{path} has no values")))?;
    let mut members = Map::new();
    for entry in numbered(node, "entry") {
        if let (Some(key), Some(of_key)) = (entry.parts.get("key"), entry.parts.get("value")) {
            members.insert(key.value.clone().unwrap_or_default(), value(inner, of_key, path)?);
        }
    }
    Ok(Value::Object(members))
}

fn scalar(kind: Kind, text: &str, path: &str) -> Result<Value, ServiceError> {
    let read = match kind {
        Kind::String => Some(json!(text)),
        Kind::Integer | Kind::Long => text.parse::<i64>().ok().map(Value::from),
        Kind::Double => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        Kind::Boolean => text.parse::<bool>().ok().map(Value::from),
        Kind::Timestamp => time::of_text(text).map(Value::from),
        Kind::Structure | Kind::List | Kind::Map => None,
    };
    read.ok_or_else(|| invalid_value(format!("The value {text} for parameter {path} is invalid.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_words_lists_and_times_are_told_apart_by_the_model() {
        let form =
            b"Action=PutMetricAlarm&AlarmName=7&Period=60&Threshold=1&ActionsEnabled=false&AlarmActions=\
            &Dimensions.member.2.Name=b&Dimensions.member.2.Value=2&Dimensions.member.1.Name=a\
            &Dimensions.member.1.Value=1&Unknown.member.1=x";
        let read = read(MODEL.input("PutMetricAlarm").unwrap(), form).unwrap();
        let expected = json!({
            "AlarmName": "7", "Period": 60, "Threshold": 1.0, "ActionsEnabled": false, "AlarmActions": [],
            "Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}],
        });
        assert_eq!(read, expected);
        let times = super::read(
            MODEL.input("GetMetricData").unwrap(),
            b"StartTime=2026-11-23T12%3A00%3A00Z&EndTime=2026-11-23T12%3A00%3A00.5",
        );
        assert_eq!(times.unwrap(), json!({"StartTime": 1_795_435_200.0, "EndTime": 1_795_435_200.5}));
    }

    #[test]
    fn a_word_for_a_number_is_refused_by_name() {
        let error = read(MODEL.input("PutMetricAlarm").unwrap(), b"Period=often").unwrap_err();
        assert_eq!((error.code, error.message.contains("Period")), ("InvalidParameterValue", true));
    }
}
