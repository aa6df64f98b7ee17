//! Secrets that were planted, and the search for them: as they are, and as they look in base64, in URLs, in hexadecimal and
//! in quoted text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Shorter ones would be found by chance, above all in base64.
const SECRET_MIN: usize = 12;

/// Secrets under search.
#[derive(Debug, Default)]
pub struct Planted {
    secrets: Vec<Secret>,
}

#[derive(Debug)]
struct Secret {
    what: &'static str,
    forms: Vec<(&'static str, String)>,
}

/// Where a secret was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it is.
    pub what: &'static str,
    /// How it was written.
    pub form: &'static str,
    /// Where it was.
    pub place: String,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) in {}", self.what, self.form, self.place)
    }
}

impl Planted {
    /// Adds a secret, with what it is called in hits.
    ///
    /// # Panics
    /// When it is too short to be told from chance.
    pub fn add(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= SECRET_MIN, "the {what} is too short to search for");
        let mut forms = vec![("plain", secret.to_owned()), ("hexadecimal", hex::encode(secret))];
        let quoted = format!("{secret:?}");
        let escaped = [
            ("percent-encoded", percent_encoded(secret)),
            ("quoted", quoted[1..quoted.len() - 1].to_owned()),
        ];
        forms.extend(escaped.into_iter().filter(|(_, form)| form != secret));
        forms.extend(base64_forms(secret.as_bytes()).map(|form| ("base64", form)));
        self.secrets.push(Secret { what, forms });
    }

    /// How many secrets are searched for.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether none is searched for.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// All hits in one place; at most one for each secret and form.
    pub fn find(&self, place: &str, content: &[u8]) -> Vec<Hit> {
        let text = String::from_utf8_lossy(content);
        let lower = text.to_lowercase();
        let mut hits: Vec<Hit> = Vec::new();
        for secret in &self.secrets {
            for (form, needle) in &secret.forms {
                // Everything but base64 may also be written in the other case (%3A as %3a, header names and hosts folded).
                let found =
                    text.contains(needle) || *form != "base64" && lower.contains(&needle.to_lowercase());
                let hit = Hit { what: secret.what, form, place: place.to_owned() };
                if found && !hits.contains(&hit) {
                    hits.push(hit);
                }
            }
        }
        hits
    }
}

/// As in a URL's user information: all but unreserved characters are escaped.
fn percent_encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// What of the secret's base64 does not depend on what stands before and after it, for the three ways in which it may lie
/// on the grid of three bytes.
fn base64_forms(secret: &[u8]) -> impl Iterator<Item = String> {
    (0..3).map(move |before| {
        let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.iter().copied()).collect();
        let encoded = STANDARD_NO_PAD.encode(&padded);
        // Characters that hold bits of the bytes before, and at the end those that would hold bits of a byte behind.
        let from = [0, 2, 3][before];
        let to = padded.len() / 3 * 4 + [0, 1, 2][padded.len() % 3];
        encoded[from..to].to_owned()
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = "Planted/p@ss:w\"rd+1";

    fn planted() -> Planted {
        let mut planted = Planted::default();
        planted.add("password", SECRET);
        planted
    }

    fn forms_in(content: &str) -> Vec<&'static str> {
        planted().find("here", content.as_bytes()).into_iter().map(|hit| hit.form).collect()
    }

    #[test]
    fn a_secret_is_found_in_the_middle_of_a_log_line() {
        let line = format!("2026-11-23 INFO Connecting url=rtsp://admin:{SECRET}@door/live attempt=1");
        assert_eq!(forms_in(&line), ["plain"]);
    }

    #[test]
    fn a_secret_is_found_in_each_way_in_which_programs_write_it() {
        assert_eq!(forms_in("x=Planted%2Fp%40ss%3Aw%22rd%2B1&y"), ["percent-encoded"]);
        assert_eq!(forms_in("x=Planted%2fp%40ss%3aw%22rd%2b1&y"), ["percent-encoded"]);
        assert_eq!(forms_in(&format!("{:?}", [SECRET])), ["quoted"]);
        assert_eq!(forms_in(&serde_json::json!({ "a": SECRET }).to_string()), ["quoted"]);
        assert_eq!(forms_in(&hex::encode(SECRET)), ["hexadecimal"]);
    }

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_lies_in_it() {
        for before in ["", "a", "ab", "abc", "user:"] {
            for behind in ["", "\n", "xy", "xyz"] {
                let encoded = STANDARD.encode(format!("{before}{SECRET}{behind}"));
                assert_eq!(forms_in(&format!("Basic {encoded} ")), ["base64"], "{before:?} {behind:?}");
            }
        }
    }

    #[test]
    fn text_without_the_secret_has_no_hit() {
        let other = "Planted/q@ss:w\"rd+1";
        for content in [other.to_owned(), STANDARD.encode(other), hex::encode(other), percent_encoded(other)]
        {
            assert_eq!(forms_in(&content), [""; 0], "{content}");
        }
    }

    #[test]
    fn a_hit_says_what_was_found_where_and_does_not_repeat_it() {
        let hits = planted().find("the log of pod door", SECRET.as_bytes());
        assert_eq!(hits[0].to_string(), "password (plain) in the log of pod door");
    }
}
