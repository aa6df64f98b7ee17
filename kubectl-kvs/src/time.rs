//! Times as people write and read them.

use jiff::{SignedDuration, Timestamp};

/// Reads `now`, a time before `now` as in `-5m` or `-1h30m`, or RFC 3339 with its time zone.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(age) = text.strip_prefix('-') {
        let age: SignedDuration = age.parse().map_err(|_| {
            format!("\"{text}\" is no length of time: write it as in -90s, -5m, -1h30m or -2h")
        })?;
        return now.checked_sub(age.abs()).map_err(|_| format!("\"{text}\" is too long ago"));
    }
    text.parse().map_err(|_| {
        format!(
            "\"{text}\" is no time: write it in RFC 3339 with its time zone, as in 2026-11-23T10:00:00Z or \
             2026-11-23T11:00:00+01:00, or before now, as in -5m, or `now`"
        )
    })
}

/// A length of time in at most two units, as `kubectl` writes ages.
pub fn short(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0..2) => format!("{seconds}s"),
        (0, 0, _) => with_rest(minutes, "m", seconds % 60, "s"),
        (0, _, _) => with_rest(hours, "h", minutes, "m"),
        _ => with_rest(days, "d", hours, "h"),
    }
}

fn with_rest(large: i64, unit: &str, small: i64, smaller_unit: &str) -> String {
    if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{smaller_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn times_are_absolute_relative_or_now() {
        for (text, expected) in [
            ("now", "2026-11-23T10:00:00Z"),
            ("-5m", "2026-11-23T09:55:00Z"),
            ("-1h30m", "2026-11-23T08:30:00Z"),
            ("-90s", "2026-11-23T09:58:30Z"),
            ("2026-11-23T09:00:00.250Z", "2026-11-23T09:00:00.25Z"),
            ("2026-11-23T10:00:00+01:00", "2026-11-23T09:00:00Z"),
        ] {
            assert_eq!(parse(text, now()).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["", "yesterday", "-", "-5 parsecs", "2026-11-23T10:00:00", "10:00"] {
            let message = parse(text, now()).unwrap_err();
            assert!(message.contains("as in"), "{text}: {message}");
        }
    }

    #[test]
    fn lengths_have_at_most_two_units() {
        for (seconds, expected) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (3_600, "1h"),
            (5_400, "1h30m"),
            (90_000, "1d1h"),
        ] {
            assert_eq!(short(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
