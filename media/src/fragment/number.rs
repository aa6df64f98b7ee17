//! Fragment numbers: opaque decimal strings of up to 128 digits.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::FRAGMENT_NUMBER_DIGITS_MAX;

/// The number of a fragment: decimal digits, 47 in practice, which no machine integer holds. It rises within a stream in
/// the order of ingestion; order here is by length, then digit by digit, which is the numbers' own where none has leading
/// zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FragmentNumber(String);

/// A text that is no fragment number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fragment number is 1 to {FRAGMENT_NUMBER_DIGITS_MAX} decimal digits")]
pub struct InvalidFragmentNumber;

impl FragmentNumber {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FragmentNumber {
    type Err = InvalidFragmentNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=FRAGMENT_NUMBER_DIGITS_MAX).contains(&text.len());
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if fits && digits { Ok(Self(text.to_owned())) } else { Err(InvalidFragmentNumber) }
    }
}

impl TryFrom<String> for FragmentNumber {
    type Error = InvalidFragmentNumber;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FragmentNumber> for String {
    fn from(number: FragmentNumber) -> Self {
        number.0
    }
}

impl fmt::Display for FragmentNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Ord for FragmentNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for FragmentNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_numbers() {
        let parse = |text: &str| text.parse::<FragmentNumber>().unwrap();
        assert!(parse("9") < parse("10"));
        assert!(
            parse("91343852333181432392682062607743920146159169392")
                < parse("91343852333181432412489103236310005892133364608")
        );
        assert_eq!(parse("7").cmp(&parse("7")), Ordering::Equal);
    }

    #[test]
    fn anything_but_1_to_128_digits_is_refused() {
        for text in ["", "-1", "1a", " 1", "１"] {
            assert_eq!(text.parse::<FragmentNumber>(), Err(InvalidFragmentNumber), "{text:?}");
        }
        assert!("9".repeat(128).parse::<FragmentNumber>().is_ok());
        assert!("9".repeat(129).parse::<FragmentNumber>().is_err());
    }
}
