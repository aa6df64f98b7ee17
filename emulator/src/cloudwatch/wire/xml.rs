//! Answers of the query protocol.

use serde_json::Value;

use super::super::{
    model::{Kind, MODEL, Shape},
    time,
};

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// An answer; operations without a result have none.
pub fn answer(operation: &str, shape: Option<&Shape>, value: &Value, request_id: &str) -> String {
    let mut result = String::new();
    if shape.is_some() {
        put(&mut result, &format!("{operation}Result"), shape, value);
    }
    format!(
        "<{operation}Response xmlns=\"{NAMESPACE}\">{result}<ResponseMetadata><RequestId>{request_id}</RequestId>\
         </ResponseMetadata></{operation}Response>"
    )
}

/// A refusal.
pub fn refusal(code: &str, side: &str, message: &str, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type><Code>{code}</Code>\
         <Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        escape(message)
    )
}

fn put(out: &mut String, name: &str, shape: Option<&Shape>, value: &Value) {
    let inside = match value {
        Value::Null => return,
        Value::Bool(value) => value.to_string(),
        Value::String(text) => escape(text),
        Value::Number(number) => match (shape.map(|shape| shape.kind), number.as_f64()) {
            (Some(Kind::Timestamp), Some(seconds)) => time::to_text(seconds),
            _ => number.to_string(),
        },
        Value::Array(elements) => {
            let mut inside = String::new();
            let element = shape.and_then(|shape| MODEL.element(shape));
            for value in elements {
                put(&mut inside, "member", element, value);
            }
            inside
        }
        Value::Object(members) => {
            let mut inside = String::new();
            for (name, value) in members {
                put(&mut inside, name, shape.and_then(|shape| MODEL.member(shape, name)), value);
            }
            inside
        }
    };
    out.extend(["<", name, ">", &inside, "</", name, ">"]);
}

/// Text as XML has it; what it cannot hold is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A parser would make a line feed of it.
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(letter),
            _ if letter.is_control() => {}
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_have_members_times_are_iso_8601_and_text_is_escaped() {
        let value = json!({"MetricAlarms": [{"AlarmName": "a<b>&\"\u{1}", "StateUpdatedTimestamp": 1_795_435_200.5}]});
        let text = answer("DescribeAlarms", MODEL.output("DescribeAlarms"), &value, "id");
        let inside = "<DescribeAlarmsResult><MetricAlarms><member><AlarmName>a&lt;b&gt;&amp;&quot;</AlarmName>\
             <StateUpdatedTimestamp>2026-11-23T12:00:00.5Z</StateUpdatedTimestamp></member></MetricAlarms>\
             </DescribeAlarmsResult>";
        assert!(text.contains(inside), "{text}");
        assert!(text.ends_with("<RequestId>id</RequestId></ResponseMetadata></DescribeAlarmsResponse>"));
    }
}
