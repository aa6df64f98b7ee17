//! The camera's side of a feed: connects, and connects again, for ever; yields pictures and says how it stands.
//!
//! Owns connections, their classification and the retries. Times are given by [`timeline`], in the feed: it outlives
//! this task when the URL changes.

pub mod credentials;
pub mod rtsp;
pub mod slices;
pub mod timeline;

use std::time::Duration;

use streamfleet_contract::{CredentialFiles, Source, SourceReason, SourceState};
use streamfleet_media::track::{Codec, Sample, SenderReport};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use self::credentials::Credentials;
use self::rtsp::{Connection, SourceError};
use self::slices::SliceJoiner;
use crate::clock::{Clock, Now};

/// What a source says.
#[derive(Debug)]
pub enum SourceEvent {
    /// A new connection stands, with these tracks; samples that follow have its media clocks.
    Connected(Vec<Codec>),
    /// A whole picture or piece of sound, and when its first byte was read.
    Sample(Sample, Now),
    /// The camera's own wall clock, and when that was read.
    Report(SenderReport, Now),
    /// How the source stands.
    State(SourceState, SourceReason, String),
}

/// What a source reads, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// The kind of source.
    pub source: Source,
    /// Where the user name and password are, where the camera asks for them.
    pub credentials: Option<CredentialFiles>,
}

/// How often a missing or refused Secret is looked at again.
const CREDENTIALS_POLL: Duration = Duration::from_secs(2);

/// A connection that lived this long was a good one: the next failure starts with short waits again.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// Runs until it is stopped; then hands on what it holds, and ends. Waits for the receiver when it is slow, so that the
/// camera's TCP connection is slowed down, not the memory filled.
pub async fn run(
    settings: SourceSettings,
    clock: Clock,
    events: mpsc::Sender<SourceEvent>,
    stop: CancellationToken,
) {
    // Nobody listens only when the feed is gone: then there is nothing left to do either.
    _ = run_until_closed(&settings, clock, &events, &stop).await;
}

async fn run_until_closed(
    settings: &SourceSettings,
    clock: Clock,
    events: &mpsc::Sender<SourceEvent>,
    stop: &CancellationToken,
) -> Result<(), Closed> {
    let mut failures = 0;
    send_state(events, SourceState::Connecting, SourceReason::Connecting, String::new()).await?;
    loop {
        let attempt = stop.run_until_cancelled(open(settings)).await;
        let Some((credentials, opened)) = attempt else { return Ok(()) };
        let error = match opened {
            Ok(mut connection) => {
                let start = Instant::now();
                let mut reader = Reader { clock, events, joiner: SliceJoiner::default(), first_read: None };
                let ended = reader.read(&mut connection, stop).await?;
                reader.flush().await?;
                let Some(error) = ended else { return Ok(()) };
                failures = if start.elapsed() >= GOOD_CONNECTION { 1 } else { failures + 1 };
                error
            }
            Err(error) => {
                failures += 1;
                error
            }
        };
        let (reason, wait) = (error.reason, retry_delay(error.reason, failures, fastrand::f64()));
        send_state(events, SourceState::Failed, reason, error.message).await?;
        let waiting = wait_for_retry(settings, credentials.as_ref(), reason, wait);
        if stop.run_until_cancelled(waiting).await.is_none() {
            return Ok(());
        }
    }
}

async fn open(settings: &SourceSettings) -> (Option<Credentials>, Result<Connection, SourceError>) {
    match read_credentials(settings).await {
        Ok(credentials) => (credentials.clone(), open_kind(&settings.source, credentials).await),
        Err(error) => (None, Err(error)),
    }
}

async fn open_kind(source: &Source, credentials: Option<Credentials>) -> Result<Connection, SourceError> {
    match source {
        Source::Rtsp(rtsp) => Connection::open(&rtsp.url, credentials).await,
        _ => Err(SourceError::new(SourceReason::InputUnavailable, "this kind of source is not carried yet")),
    }
}

type Closed = mpsc::error::SendError<SourceEvent>;

async fn send_state(
    events: &mpsc::Sender<SourceEvent>,
    state: SourceState,
    reason: SourceReason,
    message: String,
) -> Result<(), Closed> {
    events.send(SourceEvent::State(state, reason, message)).await
}

async fn read_credentials(settings: &SourceSettings) -> Result<Option<Credentials>, SourceError> {
    let Some(files) = &settings.credentials else { return Ok(None) };
    credentials::read(files)
        .await
        .map(Some)
        .map_err(|error| SourceError::new(SourceReason::CredentialsMissing, error.to_string()))
}

/// Joins slices and hands pictures on.
struct Reader<'a> {
    clock: Clock,
    events: &'a mpsc::Sender<SourceEvent>,
    joiner: SliceJoiner,
    /// When the first frame of the picture that the joiner holds was read.
    first_read: Option<Now>,
}

impl Reader<'_> {
    /// Reads until the connection ends and says why, or until it is stopped; fails when nobody listens.
    async fn read(
        &mut self,
        connection: &mut Connection,
        stop: &CancellationToken,
    ) -> Result<Option<SourceError>, Closed> {
        let mut first = true;
        loop {
            let frame = match stop.run_until_cancelled(connection.next()).await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Ok(Some(error)),
                None => return Ok(None),
            };
            if std::mem::take(&mut first) {
                self.events.send(SourceEvent::Connected(vec![Codec::H264])).await?;
                send_state(self.events, SourceState::Streaming, SourceReason::Streaming, String::new())
                    .await?;
            }
            let now = self.clock.now();
            match self.joiner.push(frame) {
                Some(whole) => {
                    let read_at = self.first_read.replace(now).unwrap_or(now);
                    self.events.send(SourceEvent::Sample(whole, read_at)).await?;
                }
                None => _ = self.first_read.get_or_insert(now),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        match (self.joiner.finish(), self.first_read.take()) {
            (Some(whole), Some(read_at)) => self.events.send(SourceEvent::Sample(whole, read_at)).await,
            _ => Ok(()),
        }
    }
}

/// How long to wait before connection attempt `failures + 1`; `random` is in 0..1. Below a second at first, so that a
/// short interruption stays short; seldom in the end, and more seldom where cameras lock accounts.
fn retry_delay(reason: SourceReason, failures: u32, random: f64) -> Duration {
    let (first_ms, cap_ms) = match reason {
        SourceReason::CredentialsMissing => return CREDENTIALS_POLL,
        SourceReason::AuthenticationFailed => (2_000, 30_000),
        SourceReason::UnsupportedCodec | SourceReason::NoVideo => (5_000, 10_000),
        _ => (400, 8_000),
    };
    let doubled: u64 = first_ms << failures.saturating_sub(1).min(10);
    let delay_ms = doubled.min(cap_ms) as f64;
    Duration::from_secs_f64((delay_ms / 2.0 + delay_ms / 2.0 * random) / 1_000.0)
}

/// Waits, but no longer than until refused credentials have changed.
async fn wait_for_retry(
    settings: &SourceSettings,
    refused: Option<&Credentials>,
    reason: SourceReason,
    wait: Duration,
) {
    let (Some(files), Some(refused), SourceReason::AuthenticationFailed) =
        (&settings.credentials, refused, reason)
    else {
        return sleep(wait).await;
    };
    let changed = async {
        loop {
            sleep(CREDENTIALS_POLL).await;
            if credentials::read(files).await.is_ok_and(|current| current != *refused) {
                return;
            }
        }
    };
    // Either way it is time to try again.
    _ = timeout_at(Instant::now() + wait, changed).await;
}

#[cfg(test)]
mod tests {
    use streamfleet_contract::RtspSource;

    use super::*;

    #[test]
    fn the_first_retry_comes_within_a_second_and_later_ones_within_ten() {
        for random in [0.0, 0.5, 0.999] {
            assert!(retry_delay(SourceReason::Disconnected, 1, random) < Duration::from_secs(1));
            let late = retry_delay(SourceReason::Unreachable, 50, random);
            assert!(late >= Duration::from_secs(4) && late <= Duration::from_secs(10), "{late:?}");
            assert_eq!(retry_delay(SourceReason::CredentialsMissing, 9, random), CREDENTIALS_POLL);
        }
    }

    #[tokio::test]
    async fn missing_credentials_are_said_and_found_when_they_come() {
        let folder = std::env::temp_dir().join(format!("streamfleet-source-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let files = CredentialFiles { username_file: path("username"), password_file: path("password") };
        let settings = SourceSettings {
            source: Source::Rtsp(RtspSource::new("rtsp://127.0.0.1:1/live")),
            credentials: Some(files.clone()),
        };
        let (sender, mut events) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let source = tokio::spawn(run(settings, Clock::start(), sender, stop.clone()));
        let mut reasons = Vec::new();
        while let Some(event) = events.recv().await {
            if let SourceEvent::State(_, reason, _) = event {
                reasons.push(reason);
                if reason == SourceReason::CredentialsMissing {
                    std::fs::write(&files.username_file, "admin").unwrap();
                    std::fs::write(&files.password_file, "x").unwrap();
                }
                if reason == SourceReason::Unreachable {
                    stop.cancel();
                }
            }
        }
        source.await.unwrap();
        let expected =
            [SourceReason::Connecting, SourceReason::CredentialsMissing, SourceReason::Unreachable];
        assert_eq!(reasons, expected);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
