//! Names of alarms, and the mark in their descriptions by which ours are told from others'. Pure.
//!
//! A name is `streamfleet/INSTALLATION/NAMESPACE/NAME/SUFFIX` for an alarm of a `VideoStream`, and
//! `streamfleet/INSTALLATION/~class/NAME/SUFFIX` for one of a `StreamClass`. Whatever is not a letter, digit, `.`, `_` or `-` is
//! written as `%XX`, so that no part holds a slash, and no namespace begins with `~`. What would be longer than the
//! service takes is cut, and `~` and a hash stand for the rest.
//!
//! `DescribeAlarms` does not tell tags, so the description says whose an alarm is, and by a digest what was set: with it an edit of
//! ours is told from one by somebody else, though no record is kept.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::aws::ALARM_NAME_PREFIX;

/// The longest name (`AlarmName` in the API model of CloudWatch).
pub const NAME_MAX: usize = 255;
/// The longest installation in a name; a longer one is cut, and its hash added.
const INSTALLATION_MAX: usize = 80;
/// Hexadecimal digits of a hash in a name: 128 bits, so that no two objects ever meet.
const HASH_DIGITS: usize = 32;
/// What stands where a namespace stands in the name of an alarm of a class.
const CLASS: &str = "~class";
/// How the mark begins.
const MARK: &str = "Kept by Streamfleet (installation ";

/// Whose an alarm is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A `VideoStream`'s.
    Stream {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A `StreamClass`'s.
    Class(String),
}

impl Object {
    /// The name of an alarm of this object. Different objects and suffixes never have the same.
    pub fn alarm_name(&self, installation: &str, suffix: &str) -> String {
        let prefix = prefix(installation);
        let suffix = safe_part(suffix);
        let whole = format!("{prefix}{}/{suffix}", self.path());
        if whole.len() <= NAME_MAX {
            return whole;
        }
        // The suffix is hashed too: that of a site may be long.
        let hash = hash(&format!("{}/{suffix}", self.path()));
        let room = NAME_MAX - prefix.len() - HASH_DIGITS - 1;
        let rest = format!("{}/{suffix}", self.path());
        format!("{prefix}{}~{hash}", &rest[..room])
    }

    /// What the names of all alarms of this object begin with that are not cut.
    pub fn alarm_prefix(&self, installation: &str) -> String {
        format!("{}{}/", prefix(installation), self.path())
    }

    fn path(&self) -> String {
        match self {
            Self::Stream { namespace, name } => format!("{}/{}", safe(namespace), safe(name)),
            Self::Class(name) => format!("{CLASS}/{}", safe(name)),
        }
    }

    /// As it is written in a mark, where the name is cut.
    fn in_mark(&self) -> String {
        match self {
            Self::Stream { namespace, name } => format!("VideoStream {}/{}", safe(namespace), safe(name)),
            Self::Class(name) => format!("StreamClass {}", safe(name)),
        }
    }
}

/// What the names of all alarms of an installation begin with, and of no other.
pub fn prefix(installation: &str) -> String {
    format!("{ALARM_NAME_PREFIX}{}/", installation_part(installation))
}

fn installation_part(installation: &str) -> String {
    let safe = safe(installation);
    if safe.len() <= INSTALLATION_MAX {
        return safe;
    }
    let hash = hash(&safe);
    format!("{}~{hash}", &safe[..INSTALLATION_MAX - HASH_DIGITS - 1])
}

/// Without anything that a name, a rule of a composite alarm or a path of ours would take for something else.
fn safe(text: &str) -> String {
    encode(text, b"._-")
}

/// The same for the end of a name, which may have slashes.
fn safe_part(text: &str) -> String {
    encode(text, b"._-/")
}

fn encode(text: &str, allowed: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || allowed.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `None` for what [`safe`] did not write.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The first digits of SHA-256 in hexadecimal.
pub fn hash(text: &str) -> String {
    let mut digits = String::with_capacity(HASH_DIGITS);
    for byte in Sha256::digest(text.as_bytes()).iter().take(HASH_DIGITS / 2) {
        _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The mark of an alarm of ours, at the end of its description.
pub fn mark(installation: &str, object: &Object, name: &str, digest: &str) -> String {
    let installation = installation_part(installation);
    if is_cut(name) {
        format!("{MARK}{installation}, {digest}, {}).", object.in_mark())
    } else {
        format!("{MARK}{installation}, {digest}).")
    }
}

fn is_cut(name: &str) -> bool {
    // The installation and the classes' own place have a `~` too.
    name.splitn(3, '/').nth(2).is_some_and(|rest| rest.trim_start_matches(CLASS).contains('~'))
}

/// What the mark in a description says.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark<'a> {
    /// The digest of what was set.
    pub digest: &'a str,
    object: Option<&'a str>,
}

/// The mark of this installation in a description; `None` where there is none: the alarm is not ours.
pub fn read_mark<'a>(description: &'a str, installation: &str) -> Option<Mark<'a>> {
    let (_, mark) = description.rsplit_once(MARK)?;
    let mut parts = mark.strip_suffix(").")?.splitn(3, ", ");
    if parts.next()? != installation_part(installation) {
        return None;
    }
    Some(Mark { digest: parts.next()?, object: parts.next() })
}

/// What a description says to people, without the mark.
pub fn without_mark(description: &str) -> &str {
    description.rsplit_once(MARK).map_or(description, |(text, _)| text).trim_end()
}

/// Whose an alarm of ours is, by its name, or by its mark where the name is cut. `None` for one that we never made.
pub fn object_of(name: &str, mark: &Mark<'_>, installation: &str) -> Option<Object> {
    let path = name.strip_prefix(&prefix(installation))?;
    if is_cut(name) {
        let (kind, path) = mark.object?.split_once(' ')?;
        return match kind {
            "VideoStream" => stream(path.split_once('/')?),
            "StreamClass" => Some(Object::Class(decode(path)?)),
            _ => None,
        };
    }
    let mut parts = path.splitn(3, '/');
    let (first, second, _suffix) = (parts.next()?, parts.next()?, parts.next()?);
    if first == CLASS { Some(Object::Class(decode(second)?)) } else { stream((first, second)) }
}

fn stream((namespace, name): (&str, &str)) -> Option<Object> {
    Some(Object::Stream { namespace: decode(namespace)?, name: decode(name)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::kinds::{ROWS, suffix};
    use super::*;

    fn object() -> impl Strategy<Value = Object> {
        // Short ones so that they meet, long ones so that they are cut, and some that no API server would take.
        let part = prop_oneof!["[ab./%~]{1,3}", "[a-z.-]{1,253}", "(a|é|/){200,253}"];
        prop_oneof![
            (part.clone(), part.clone()).prop_map(|(namespace, name)| Object::Stream { namespace, name }),
            part.prop_map(Object::Class),
        ]
    }

    proptest! {
        #[test]
        fn different_objects_and_kinds_have_different_names_that_the_service_takes(
            one in object(), other in object(), first in 0..ROWS.len(), second in 0..ROWS.len(),
            installation in "[a-z/~]{1,90}",
        ) {
            let (a, b) = (suffix(&ROWS[first]), suffix(&ROWS[second]));
            let (one_name, other_name) = (one.alarm_name(&installation, &a), other.alarm_name(&installation, &b));
            prop_assert_eq!(one_name == other_name, one == other && a == b);
            for name in [&one_name, &other_name] {
                prop_assert!(name.len() <= NAME_MAX && name.starts_with(&prefix(&installation)));
                let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/%~".contains(&byte);
                prop_assert!(name.bytes().all(is_safe), "{}", name);
            }
        }

        #[test]
        fn name_and_mark_say_whose_an_alarm_is(object in object(), row in 0..ROWS.len(), installation in "[a-z/~]{1,90}") {
            let name = object.alarm_name(&installation, &suffix(&ROWS[row]));
            let description = format!("No video. {}", mark(&installation, &object, &name, "abc"));
            let read = read_mark(&description, &installation).unwrap();
            prop_assert_eq!(read.digest, "abc");
            prop_assert_eq!(object_of(&name, &read, &installation), Some(object));
            prop_assert_eq!(without_mark(&description), "No video.");
            let another = format!("{installation}x");
            prop_assert_eq!(read_mark(&description, &another), None);
        }
    }

    #[test]
    fn a_name_is_what_people_expect() {
        let object = Object::Stream { namespace: "shop".to_owned(), name: "front.door".to_owned() };
        assert_eq!(object.alarm_name("north", "NoIngest"), "streamfleet/north/shop/front.door/NoIngest");
        let class = Object::Class("standard".to_owned());
        assert_eq!(class.alarm_name("north", "site/4"), "streamfleet/north/~class/standard/site/4");
    }

    #[test]
    fn no_installation_reads_alarms_of_another_whose_name_begins_alike() {
        let object = Object::Stream { namespace: "a".to_owned(), name: "b".to_owned() };
        for (one, other) in [("north", "north-2"), ("north", "north/a"), ("north/a", "north")] {
            let name = object.alarm_name(other, "NoIngest");
            assert!(!name.starts_with(&prefix(one)), "{name} {one}");
        }
    }

    #[test]
    fn what_has_no_mark_of_ours_is_not_ours() {
        for text in [
            "",
            "by hand",
            "Kept by Streamfleet (installation north",
            "Kept by Streamfleet (installation north).",
        ] {
            assert_eq!(read_mark(text, "north"), None, "{text}");
        }
    }
}
