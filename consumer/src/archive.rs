//! The archive of one stream: what it holds of a range of time, and the recall of fragments.

use std::collections::VecDeque;
use std::time::Duration;

use aws_sdk_kinesisvideoarchivedmedia::Client;
use aws_sdk_kinesisvideoarchivedmedia::primitives::{ByteStream, DateTime};
use aws_sdk_kinesisvideoarchivedmedia::types::{
    Fragment as ListedFragment, FragmentSelector, FragmentSelectorType, TimestampRange,
};
use jiff::Timestamp;
use streamfleet_media::fragment::FragmentNumber;
use streamfleet_media::limits::{FRAGMENT_LIST_MAX, FRAGMENT_MS_MAX};

use crate::client::Stream;
use crate::document::{Document, DocumentError, DocumentReader};
use crate::error::{CallFailure, Error, chain};
use crate::timeline::{Fragment, Range, in_playback_order, neighbours, overlapping, without_repetitions};

/// Entries in one page of `ListFragments` (API model: 1–1000). A page costs as many of the stream's 10,000 points a second.
const PAGE: i64 = 1_000;

/// Fragments in one recall. The service takes [`FRAGMENT_LIST_MAX`], but counts each against 500 a second (quotas).
const RECALL_AT_ONCE: usize = if FRAGMENT_LIST_MAX < 500 { FRAGMENT_LIST_MAX } else { 500 };

/// How often a recall is asked for again when nothing new came of it.
const RECALL_ATTEMPTS: u32 = 4;

/// Between two attempts, times the number of the attempt.
const RECALL_PAUSE: Duration = Duration::from_millis(500);

/// A body of media that rests for longer counts as broken off.
const BODY_IDLE: Duration = Duration::from_secs(30);

/// How far around an empty range a neighbour is looked for.
const NEIGHBOURHOOD: Duration = Duration::from_hours(1);

/// The archive of one stream.
#[derive(Debug, Clone)]
pub struct Archive {
    stream: Stream,
    list: Client,
    media: Client,
}

/// What the archive holds of a range of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In playback order, one for each producer time.
    pub fragments: Vec<Fragment>,
    /// Fragments left out because a newer one has the same producer time.
    pub superseded: usize,
}

impl Archive {
    pub(crate) fn new(stream: Stream, list: Client, media: Client) -> Self {
        Self { stream, list, media }
    }

    /// The fragments that have a picture inside the range, by the producer's clock. The archive's index may be about a
    /// second behind what is acknowledged as persisted.
    pub async fn list(&self, range: Range) -> Result<Listing, Error> {
        // The service goes by where fragments begin. None is longer than this.
        let wide = range.beginning_earlier(Duration::from_millis(FRAGMENT_MS_MAX));
        let (fragments, superseded) = in_playback_order(overlapping(self.beginning_in(wide).await?, range));
        Ok(Listing { fragments, superseded })
    }

    /// The error that says that a range is empty, and what is near.
    pub(crate) async fn nothing_in(&self, range: Range) -> Error {
        let near = range.beginning_earlier(NEIGHBOURHOOD).ending_later(NEIGHBOURHOOD);
        match self.beginning_in(near).await {
            Ok(fragments) => {
                let (before, after) = neighbours(&fragments, range);
                Error::NothingInRange {
                    range,
                    before: before.map(Fragment::end),
                    after: after.map(|fragment| fragment.producer),
                }
            }
            Err(error) => error,
        }
    }

    async fn beginning_in(&self, range: Range) -> Result<Vec<Fragment>, Error> {
        let mut fragments = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let call = self.list.list_fragments().max_results(PAGE);
            let call = call.set_stream_arn(self.stream.arn()).set_stream_name(self.stream.name());
            // A token stands for the selector of the first page.
            let call = match token {
                None => call.fragment_selector(selector(range)?),
                Some(token) => call.next_token(token),
            };
            let page = call.send().await.map_err(|error| Error::call(LISTING, &error))?;
            for listed in page.fragments() {
                fragments.push(fragment(listed)?);
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(without_repetitions(fragments));
            }
        }
    }

    /// Recalls the media of fragments, in the order given.
    pub(crate) fn recall(&self, fragments: &[Fragment]) -> Recall {
        Recall {
            archive: self.clone(),
            asked: fragments.len(),
            remaining: fragments.iter().cloned().collect(),
            body: None,
            fruitless: 0,
        }
    }

    async fn media_of(&self, numbers: Vec<String>) -> Result<Body, Error> {
        let expected = numbers.len();
        let call = self.media.get_media_for_fragment_list().set_fragments(Some(numbers));
        let call = call.set_stream_arn(self.stream.arn()).set_stream_name(self.stream.name());
        let answer = call.send().await.map_err(|error| Error::call("recall fragments", &error))?;
        Ok(Body { bytes: answer.payload, documents: DocumentReader::default(), ended: false, expected })
    }
}

const LISTING: &str = "list fragments";

fn selector(range: Range) -> Result<FragmentSelector, Error> {
    let time = |time: Timestamp| DateTime::from_millis(time.as_millisecond());
    let range =
        TimestampRange::builder().start_timestamp(time(range.from)).end_timestamp(time(range.to)).build();
    FragmentSelector::builder()
        .fragment_selector_type(FragmentSelectorType::ProducerTimestamp)
        .timestamp_range(range.map_err(|error| unexpected(LISTING, error.to_string()))?)
        .build()
        .map_err(|error| unexpected(LISTING, error.to_string()))
}

fn fragment(listed: &ListedFragment) -> Result<Fragment, Error> {
    // Times are fractional seconds on the wire, and what the SDK keeps of 0.123 may be a hair below: rounded, not cut.
    let time = |time: Option<&DateTime>| {
        time.and_then(|time| Timestamp::from_millisecond((time.as_secs_f64() * 1000.0).round() as i64).ok())
    };
    let number = listed.fragment_number().and_then(|number| number.parse().ok());
    let (Some(number), Some(producer)) = (number, time(listed.producer_timestamp())) else {
        return Err(unexpected(LISTING, "an entry has no number or no producer time".to_owned()));
    };
    Ok(Fragment {
        number,
        producer,
        server: time(listed.server_timestamp()).unwrap_or(producer),
        length: Duration::from_millis(u64::try_from(listed.fragment_length_in_milliseconds()).unwrap_or(0)),
        bytes: u64::try_from(listed.fragment_size_in_bytes()).unwrap_or(0),
    })
}

fn unexpected(doing: &'static str, what: String) -> Error {
    Error::Call { doing, failure: CallFailure::Unexpected(what) }
}

/// A recall under way. Whole fragments come out of it, in order; an answer that breaks off is asked for again from the
/// first fragment that has not come whole.
#[derive(Debug)]
pub(crate) struct Recall {
    archive: Archive,
    asked: usize,
    remaining: VecDeque<Fragment>,
    body: Option<Body>,
    /// Attempts since a fragment last came.
    fruitless: u32,
}

impl Recall {
    /// The next fragment and its document; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<(Fragment, Document)>, Error> {
        while let Some(expected) = self.remaining.front().map(|fragment| fragment.number.clone()) {
            let answer = match &mut self.body {
                None => self.ask().await,
                Some(body) => body.next(&expected).await,
            };
            match answer {
                Ok(Some(document)) => {
                    self.fruitless = 0;
                    self.body.take_if(|body| body.expected == 0);
                    return Ok(self.remaining.pop_front().map(|fragment| (fragment, document)));
                }
                Ok(None) => {}
                Err(Interruption::Final(error)) => return Err(error),
                Err(Interruption::Again(error)) => self.again(error).await?,
            }
        }
        Ok(None)
    }

    async fn ask(&mut self) -> Result<Option<Document>, Interruption> {
        let numbers =
            self.remaining.iter().take(RECALL_AT_ONCE).map(|fragment| fragment.number.to_string()).collect();
        self.body = Some(self.archive.media_of(numbers).await.map_err(Interruption::Final)?);
        Ok(None)
    }

    async fn again(&mut self, error: Option<Error>) -> Result<(), Error> {
        self.body = None;
        self.fruitless += 1;
        if self.fruitless < RECALL_ATTEMPTS {
            tracing::debug!(attempt = self.fruitless, "Recall ended early, asking again");
            tokio::time::sleep(RECALL_PAUSE * self.fruitless).await;
            return Ok(());
        }
        Err(error.unwrap_or_else(|| Error::Incomplete {
            asked: self.asked,
            missing: self.remaining.len(),
            next: self.remaining.front().map_or_else(String::new, |fragment| fragment.number.to_string()),
        }))
    }
}

/// Why the next fragment did not come.
#[derive(Debug)]
enum Interruption {
    /// It is worth asking again; the error to give when it is not any more, if it is not that fragments are missing.
    Again(Option<Error>),
    /// Asking again would not help.
    Final(Error),
}

#[derive(Debug)]
struct Body {
    bytes: ByteStream,
    documents: DocumentReader,
    ended: bool,
    /// Fragments that are still to come.
    expected: usize,
}

impl Body {
    /// The next document, if it is the expected one.
    async fn next(&mut self, expected: &FragmentNumber) -> Result<Option<Document>, Interruption> {
        loop {
            if let Some(document) = self.documents.next().map_err(|error| interruption(&error))? {
                self.expected = self.expected.saturating_sub(1);
                return check(document, expected).map(Some);
            }
            if self.ended {
                return Err(Interruption::Again(None));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Interruption> {
        let broke_off = |why: String| Interruption::Again(Some(Error::BrokeOff(why)));
        match tokio::time::timeout(BODY_IDLE, self.bytes.next()).await {
            Err(_) => Err(broke_off(format!("nothing came for {} s", BODY_IDLE.as_secs()))),
            Ok(Some(Err(error))) => Err(broke_off(chain(&error))),
            Ok(Some(Ok(bytes))) => {
                self.documents.push(bytes);
                Ok(())
            }
            Ok(None) => {
                self.ended = true;
                self.documents.finish();
                Ok(())
            }
        }
    }
}

fn interruption(error: &DocumentError) -> Interruption {
    match error {
        // The end of a body that was cut looks like this where the transport does not tell.
        DocumentError::Read(streamfleet_media::ebml::ReadError::Truncated { .. }) => {
            Interruption::Again(Some(Error::BrokeOff(error.to_string())))
        }
        _ => Interruption::Final(Error::Media(error.to_string())),
    }
}

/// The service puts an error in the place of a fragment, and then ends the answer.
fn check(document: Document, expected: &FragmentNumber) -> Result<Document, Interruption> {
    let metadata = &document.metadata;
    if metadata.is_error() {
        let number = metadata.number.as_ref().unwrap_or(expected).to_string();
        let code = metadata.error_id.map(|id| id.to_string());
        let (code, message) = match (code, metadata.error_code.clone()) {
            (Some(code), message) => (format!("error {code}"), message.unwrap_or_default()),
            (None, message) => {
                (message.unwrap_or_else(|| "an error without a code".to_owned()), String::new())
            }
        };
        let error = Error::Archive { number, code, message };
        // 3002: the stream could not be read just now; 5000: an internal error. The others stay as they are.
        let passing = matches!(metadata.error_id, Some(3002 | 5000));
        return Err(if passing { Interruption::Again(Some(error)) } else { Interruption::Final(error) });
    }
    match &metadata.number {
        Some(number) if number == expected => Ok(document),
        // One was left out: it is asked for again, and named if it does not come.
        _ => Err(Interruption::Again(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(tags: &[(&str, &str)]) -> Document {
        let mut document = Document::default();
        for (name, value) in tags {
            document.metadata.take_tag(name, value);
        }
        document
    }

    fn expected() -> FragmentNumber {
        "12".parse().unwrap()
    }

    #[test]
    fn the_expected_fragment_is_taken() {
        let document = document(&[
            ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "12"),
            ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", "1.0"),
        ]);
        assert!(check(document, &expected()).is_ok());
    }

    #[test]
    fn error_tags_become_errors_in_either_spelling() {
        for (names, passing) in [
            ([("AWS_KINESISVIDEO_ERROR_ID", "4000"), ("AWS_KINESISVIDEO_ERROR_CODE", "gone")], false),
            (
                [
                    ("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", "4000"),
                    ("AWS_KINESISVIDEO_EXCEPTION_MESSAGE", "gone"),
                ],
                false,
            ),
            ([("AWS_KINESISVIDEO_ERROR_ID", "5000"), ("AWS_KINESISVIDEO_ERROR_CODE", "gone")], true),
        ] {
            let result = check(document(&names), &expected());
            let error = match result {
                Err(Interruption::Again(Some(error))) if passing => error,
                Err(Interruption::Final(error)) if !passing => error,
                other => panic!("{names:?}: {other:?}"),
            };
            assert!(
                error.to_string().starts_with("failed to recall fragment 12: the archive answers error"),
                "{error}"
            );
            assert!(error.to_string().ends_with("(gone)"), "{error}");
        }
    }

    #[test]
    fn a_fragment_that_was_left_out_is_asked_for_again() {
        let other = document(&[
            ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "13"),
            ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", "1.0"),
        ]);
        assert!(matches!(check(other, &expected()), Err(Interruption::Again(None))));
    }
}
