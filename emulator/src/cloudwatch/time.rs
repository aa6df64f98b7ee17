//! Times as requests and answers have them: seconds since the epoch with a fraction, milliseconds in here.

use serde_json::{Value, json};

/// Milliseconds as an answer tells them.
pub fn seconds(millis: u64) -> Value {
    json!(millis as f64 / 1000.0)
}

/// Seconds of a request in milliseconds; before the epoch is the epoch.
pub fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0).round().max(0.0) as u64
}

/// A time of a form, which is ISO 8601, in seconds.
pub fn of_text(text: &str) -> Option<f64> {
    // Without a zone it is UTC, as boto3 writes it when it was given none.
    let time = text.parse().or_else(|_| format!("{text}Z").parse::<jiff::Timestamp>()).ok()?;
    Some(time.as_millisecond() as f64 / 1000.0)
}

/// Seconds as ISO 8601.
pub fn to_text(seconds: f64) -> String {
    let millis = (seconds * 1000.0).round() as i64;
    jiff::Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

/// Milliseconds as the reasons of states tell a data point's time.
pub fn in_reason(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%d/%m/%y %H:%M:%S").to_string()
}
