//! The tags that a producer may put on each fragment.

use crate::limits::{
    TAG_IMAGE_GENERATION, TAG_IMAGE_PREFIX, TAG_NAME_BYTES_MAX, TAG_NOTIFICATION, TAG_RESERVED_PREFIX,
    TAG_VALUE_BYTES_MAX, TAGS_PER_FRAGMENT_MAX,
};

/// Names with the reserved prefix that the service documents for producers, and that are set as other tags are. (The end of
/// a fragment is marked by the producer itself.)
const DOCUMENTED: [&str; 3] = [TAG_IMAGE_GENERATION, TAG_IMAGE_PREFIX, TAG_NOTIFICATION];

/// Why tags cannot be sent: the service would refuse their fragment (error 4009).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// There are too many.
    #[error("{0} tags are more than the {TAGS_PER_FRAGMENT_MAX} that a fragment may have")]
    TooMany(usize),
    /// A tag without a name.
    #[error("a tag has no name")]
    Nameless,
    /// The name is too long.
    #[error("the name of the tag \"{0}\" is longer than {TAG_NAME_BYTES_MAX} bytes")]
    LongName(String),
    /// The value is too long.
    #[error("the value of the tag \"{0}\" is longer than {TAG_VALUE_BYTES_MAX} bytes")]
    LongValue(String),
    /// The name is the service's own.
    #[error("the tag \"{0}\" begins with \"{TAG_RESERVED_PREFIX}\", which is reserved for the service")]
    Reserved(String),
    /// The name or value holds a zero byte, which ends a text in Matroska.
    #[error("the tag \"{0}\" holds a zero byte")]
    ZeroByte(String),
}

/// Names are quoted up to this many characters.
const QUOTED_CHARS_MAX: usize = 64;

/// Whether a fragment may have these tags, by the service's limits.
pub fn check<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), TagError> {
    let mut count = 0;
    for (name, value) in tags {
        count += 1;
        check_one(name, value)?;
    }
    if count > TAGS_PER_FRAGMENT_MAX { Err(TagError::TooMany(count)) } else { Ok(()) }
}

fn check_one(name: &str, value: &str) -> Result<(), TagError> {
    let quoted = || name.chars().take(QUOTED_CHARS_MAX).collect();
    if name.is_empty() {
        Err(TagError::Nameless)
    } else if name.len() > TAG_NAME_BYTES_MAX {
        Err(TagError::LongName(quoted()))
    } else if value.len() > TAG_VALUE_BYTES_MAX {
        Err(TagError::LongValue(quoted()))
    } else if name.starts_with(TAG_RESERVED_PREFIX) && !DOCUMENTED.contains(&name) {
        Err(TagError::Reserved(quoted()))
    } else if name.contains('\0') || value.contains('\0') {
        Err(TagError::ZeroByte(quoted()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_within_the_limits_are_taken() {
        let (name, value) = ("n".repeat(128), "v".repeat(256));
        let mut tags =
            vec![("place", "door 3"), (name.as_str(), value.as_str()), ("empty", ""), ("aws", "x")];
        tags.extend([("AWS_KINESISVIDEO_IMAGE_GENERATION", ""), ("AWS_KINESISVIDEO_IMAGE_PREFIX", "a/b")]);
        assert_eq!(check(tags.iter().copied()), Ok(()));
        let ten = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|name| (name, "x"));
        assert_eq!(check(ten), Ok(()));
    }

    #[test]
    fn what_the_service_refuses_is_refused_and_named() {
        assert_eq!(check([("a", "x"); 11]), Err(TagError::TooMany(11)));
        assert_eq!(check([("", "x")]), Err(TagError::Nameless));
        // Bytes count, not characters.
        let name = "é".repeat(65);
        assert_eq!(check([(name.as_str(), "x")]), Err(TagError::LongName("é".repeat(64))));
        let value = "v".repeat(257);
        assert_eq!(check([("a", value.as_str())]), Err(TagError::LongValue("a".to_owned())));
        for name in ["AWS", "AWSome", "AWS_KINESISVIDEO_END_OF_FRAGMENT", "AWS_KINESISVIDEO_FRAGMENT_NUMBER"]
        {
            assert_eq!(check([(name, "x")]), Err(TagError::Reserved(name.to_owned())));
        }
        assert_eq!(check([("a", "x\0y")]), Err(TagError::ZeroByte("a".to_owned())));
        let text = check([("AWS", "x")]).unwrap_err().to_string();
        assert_eq!(text, "the tag \"AWS\" begins with \"AWS\", which is reserved for the service");
    }
}
