//! Fragment numbers: how they are made, written, read and ordered.
//!
//! Every number seen from the service has 47 decimal digits and decodes as `1 ‖ sequence:64 ‖ milliseconds:64 ‖
//! low:28` in bits. That layout is undocumented; the emulator uses it so that its numbers look
//! and sort like the real ones. Readers must treat them as opaque.

use std::{fmt, str::FromStr};

/// Bits of the random tail.
const LOW_BITS: u32 = 28;
/// 160 bits, least significant word first: the 157 bits of a number fit.
type Words = [u32; 5];

/// The number of one fragment. Numbers of one stream grow in the order of ingestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentNumber {
    /// Counts the fragments of a stream.
    sequence: u64,
    /// The server timestamp in milliseconds since the epoch.
    millis: u64,
    /// Random, below 2^28.
    low: u32,
}

/// Why a text is not a fragment number of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a fragment number")]
pub struct ParseError;

impl FragmentNumber {
    /// A number for the fragment with this place in the stream, begun at `millis`. Bits of `low` above 28 are dropped.
    pub fn new(sequence: u64, millis: u64, low: u32) -> Self {
        Self { sequence, millis, low: low & ((1 << LOW_BITS) - 1) }
    }

    /// The place in the stream.
    pub fn sequence(self) -> u64 {
        self.sequence
    }

    fn words(self) -> Words {
        let mut words = [0; 5];
        put_bits(&mut words, 0, u64::from(self.low));
        put_bits(&mut words, LOW_BITS, self.millis);
        put_bits(&mut words, LOW_BITS + 64, self.sequence);
        put_bits(&mut words, LOW_BITS + 128, 1);
        words
    }

    fn from_words(words: &Words) -> Option<Self> {
        let low = (take_bits(words, 0) & ((1 << LOW_BITS) - 1)) as u32;
        let marker = take_bits(words, LOW_BITS + 128);
        (marker == 1).then(|| Self {
            sequence: take_bits(words, LOW_BITS + 64),
            millis: take_bits(words, LOW_BITS),
            low,
        })
    }
}

fn put_bits(words: &mut Words, shift: u32, value: u64) {
    let wide = u128::from(value) << (shift % 32);
    let first = (shift / 32) as usize;
    for (index, word) in words.iter_mut().skip(first).take(3).enumerate() {
        *word |= (wide >> (32 * index)) as u32;
    }
}

fn take_bits(words: &Words, shift: u32) -> u64 {
    let first = (shift / 32) as usize;
    let wide = words
        .iter()
        .skip(first)
        .take(3)
        .enumerate()
        .fold(0u128, |sum, (index, word)| sum | u128::from(*word) << (32 * index));
    (wide >> (shift % 32)) as u64
}

impl fmt::Display for FragmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.words();
        // Nine digits a round, least significant round first.
        let mut rounds = [0u32; 6];
        for round in &mut rounds {
            let mut rest = 0u64;
            for word in words.iter_mut().rev() {
                let value = rest << 32 | u64::from(*word);
                *word = (value / 1_000_000_000) as u32;
                rest = value % 1_000_000_000;
            }
            *round = rest as u32;
        }
        // The marker bit makes every number 47 digits long: five rounds of nine and the two leading digits.
        write!(f, "{:02}", rounds[5])?;
        rounds[..5].iter().rev().try_for_each(|round| write!(f, "{round:09}"))
    }
}

impl FromStr for FragmentNumber {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut words: Words = [0; 5];
        if text.is_empty() {
            return Err(ParseError);
        }
        for byte in text.bytes() {
            if !byte.is_ascii_digit() {
                return Err(ParseError);
            }
            let mut carry = u64::from(byte - b'0');
            for word in &mut words {
                let value = u64::from(*word) * 10 + carry;
                *word = value as u32;
                carry = value >> 32;
            }
            if carry != 0 {
                return Err(ParseError);
            }
        }
        Self::from_words(&words).ok_or(ParseError)
    }
}

impl serde::Serialize for FragmentNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for FragmentNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a capture of the real service; its server timestamp tag says 1511852109.126.
    const CAPTURED: &str = "91343852333181432392682062607743920146159169392";

    #[test]
    fn a_captured_number_decodes_to_its_server_timestamp_and_back() {
        let number: FragmentNumber = CAPTURED.parse().unwrap();
        assert_eq!(number.millis, 1_511_852_109_126);
        assert_eq!(number.to_string(), CAPTURED);
    }

    #[test]
    fn numbers_have_47_digits_and_sort_as_text_in_the_order_of_ingestion() {
        let numbers = [
            FragmentNumber::new(1, 1_700_000_000_000, u32::MAX),
            FragmentNumber::new(2, 1_600_000_000_000, 0),
            FragmentNumber::new(17_000_000_000, 0, 1),
            FragmentNumber::new(17_000_000_000, 1, 0),
        ];
        let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        assert!(texts.iter().all(|text| text.len() == 47), "{texts:?}");
        assert!(texts.is_sorted() && numbers.is_sorted(), "{texts:?}");
    }

    #[test]
    fn what_is_not_a_number_of_ours_is_refused() {
        for text in ["", "12", "9134385233318143239268206260774392014615916939x", &"9".repeat(128)] {
            assert_eq!(text.parse::<FragmentNumber>(), Err(ParseError), "{text}");
        }
    }
}
