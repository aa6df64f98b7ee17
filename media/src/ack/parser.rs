//! Cuts the response of `PutMedia` into acknowledgements, however the bytes come.

use super::Ack;
use crate::limits::ACK_CHARS_MAX;

/// A line that is no acknowledgement. The parser goes on with the next line.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// The line is longer than any acknowledgement.
    #[error("the line of {length} bytes or more is longer than the {ACK_CHARS_MAX} of an acknowledgement")]
    TooLong {
        /// Bytes seen of it.
        length: usize,
    },
    /// The line is not JSON, or has no kind.
    #[error("the line is no acknowledgement: {0}")]
    Invalid(#[source] serde_json::Error),
}

/// Reads acknowledgements: [`push`](Self::push) bytes, take acknowledgements with [`next`](Self::next) until it returns
/// `None`. Holds at most one line and what was pushed last.
#[derive(Debug, Default)]
pub struct AckParser {
    waiting: Vec<u8>,
    /// The beginning of a line that is too long has been dropped: so is the rest of it.
    skipping: bool,
}

impl AckParser {
    /// A parser at the beginning of a response.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the response.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next acknowledgement, or the next line that is none; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Option<Result<Ack, AckError>> {
        loop {
            let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') else {
                return self.overlong_beginning();
            };
            let line: Vec<u8> = self.waiting.drain(..=end).collect();
            let line = line.trim_ascii();
            if std::mem::take(&mut self.skipping) || line.is_empty() {
                continue;
            }
            return Some(read(line));
        }
    }

    /// What is left at the end of the response: a last line without its line feed, if it is one.
    pub fn finish(&mut self) -> Option<Result<Ack, AckError>> {
        let rest = std::mem::take(&mut self.waiting);
        let line = rest.trim_ascii();
        if std::mem::take(&mut self.skipping) || line.is_empty() { None } else { Some(read(line)) }
    }

    fn overlong_beginning(&mut self) -> Option<Result<Ack, AckError>> {
        let length = self.waiting.len();
        if length <= ACK_CHARS_MAX {
            return None;
        }
        self.waiting.clear();
        if std::mem::replace(&mut self.skipping, true) {
            None
        } else {
            Some(Err(AckError::TooLong { length }))
        }
    }
}

fn read(line: &[u8]) -> Result<Ack, AckError> {
    if line.len() > ACK_CHARS_MAX {
        return Err(AckError::TooLong { length: line.len() });
    }
    Ack::from_line(line).map_err(AckError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ack::{AckKind, ErrorId};

    const WIRE: &str = concat!(
        r#"{"EventType":"BUFFERING","FragmentTimecode":1600994737365,"FragmentNumber":"91343852333201155253387957310212774485145176370"}"#,
        "\n",
        r#"{"EventType":"PERSISTED","FragmentTimecode":1603824767287,"FragmentNumber":"91343852336295564743982625545672705291512382174"}"#,
        "\n",
        r#"{"EventType":"IDLE"}"#,
        "\r\n\n",
        r#"{"EventType":"ERROR","FragmentTimecode":0,"FragmentNumber":"91343852333181571046918222741096071001568090649","ErrorCode":"FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS","ErrorId":4004}"#,
        "\n",
    );

    fn drain(parser: &mut AckParser) -> Vec<Result<Ack, AckError>> {
        std::iter::from_fn(|| parser.next()).collect()
    }

    fn parse(text: &str) -> Vec<Ack> {
        let mut parser = AckParser::new();
        parser.push(text.as_bytes());
        drain(&mut parser).into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn lines_seen_on_the_wire_are_read() {
        let acks = parse(WIRE);
        let kinds: Vec<_> = acks.iter().map(|ack| ack.kind.clone()).collect();
        assert_eq!(kinds, [AckKind::Buffering, AckKind::Persisted, AckKind::Idle, AckKind::Error]);
        assert_eq!(acks[0].timecode, Some(1_600_994_737_365));
        assert_eq!(
            acks[1].number.as_ref().unwrap().as_str(),
            "91343852336295564743982625545672705291512382174"
        );
        assert_eq!(acks[2], Ack::idle());
        assert_eq!(acks[3].error, Some(ErrorId::FragmentTimecodeLesserThanPrevious));
        assert_eq!(acks[3].error_code.as_deref(), Some("FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS"));
    }

    #[test]
    fn the_response_may_be_cut_anywhere() {
        let whole = parse(WIRE);
        for size in [1, 2, 3, 7, 100] {
            let mut parser = AckParser::new();
            let mut acks = Vec::new();
            for piece in WIRE.as_bytes().chunks(size) {
                parser.push(piece);
                acks.extend(drain(&mut parser).into_iter().map(Result::unwrap));
            }
            assert_eq!(acks, whole, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_written_is_what_was_seen() {
        let acks = parse(WIRE);
        let written: String = acks.iter().map(Ack::to_line).collect();
        assert_eq!(written, WIRE.replace("\r\n\n", "\n"));
    }

    #[test]
    fn unknown_kinds_fields_and_types_are_tolerated() {
        let acks = parse(concat!(
            r#"{"EventType":"COMPACTED","FragmentTimecode":"12","Extra":{"a":[1]},"FragmentNumber":12}"#,
            "\n",
            r#"{"EventType":"ERROR","FragmentTimecode":null,"FragmentNumber":"","ErrorId":"4999","ErrorCode":{}}"#,
            "\n",
        ));
        assert_eq!(acks[0].kind, AckKind::Unknown("COMPACTED".into()));
        assert_eq!((acks[0].timecode, acks[0].number.as_ref().unwrap().as_str()), (Some(12), "12"));
        assert_eq!(
            (acks[1].timecode, &acks[1].number, acks[1].error),
            (None, &None, Some(ErrorId::Other(4999)))
        );
    }

    #[test]
    fn a_line_that_is_none_does_not_hide_the_next() {
        let mut parser = AckParser::new();
        parser.push(b"<html>\n{\"EventType\":\"IDLE\"}\n");
        let results = drain(&mut parser);
        assert!(matches!(results[0], Err(AckError::Invalid(_))), "{results:?}");
        assert_eq!(results[1].as_ref().unwrap().kind, AckKind::Idle);
    }

    #[test]
    fn an_endless_line_is_reported_once_and_takes_no_memory() {
        let mut parser = AckParser::new();
        let mut errors = 0;
        for _ in 0..1000 {
            parser.push(&[b'x'; 700]);
            errors += drain(&mut parser)
                .iter()
                .filter(|result| matches!(result, Err(AckError::TooLong { .. })))
                .count();
            assert!(parser.waiting.len() <= ACK_CHARS_MAX);
        }
        parser.push(b"\n{\"EventType\":\"IDLE\"}\n");
        let rest = drain(&mut parser);
        assert_eq!((errors, rest.len()), (1, 1));
    }

    #[test]
    fn the_last_line_may_lack_its_line_feed() {
        let mut parser = AckParser::new();
        parser.push(br#"{"EventType":"IDLE"}"#);
        assert!(parser.next().is_none());
        assert_eq!(parser.finish().unwrap().unwrap(), Ack::idle());
        assert!(parser.finish().is_none());
    }

    #[test]
    fn an_error_of_no_fragment_has_an_empty_number() {
        let line = Ack::failure(ErrorId::InvalidMkvData, None, None).to_line();
        assert_eq!(
            line,
            "{\"EventType\":\"ERROR\",\"FragmentNumber\":\"\",\"ErrorCode\":\"INVALID_MKV_DATA\",\"ErrorId\":4006}\n"
        );
    }
}
