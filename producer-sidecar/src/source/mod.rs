//! The camera's side of a feed: connects, and connects again, for ever; yields pictures and says how it stands.
//!
//! Owns connections, their classification and the retries. Times are given by the intake, in the feed: it outlives
//! this task when the URL changes.

pub mod credentials;
pub mod input;
pub mod outlet;
pub mod pattern;
pub mod rtsp;
pub mod tick;

use std::time::Duration;

use streamfleet_contract::{Audio, CredentialFiles, Source, SourceReason, SourceState};
use streamfleet_media::track::{Codec, Sample, SenderReport};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use self::credentials::Credentials;
use self::outlet::{Closed, Outlet};
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
    /// Which sound is wanted: cameras are not asked for other sound.
    pub audio: Audio,
}

/// Why a source could not be opened, or ended. The message is for people and free of secrets.
///
/// [`SourceReason::Ended`] is final: it is not tried again. All others are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// The kind, as status says it.
    pub reason: SourceReason,
    /// What happened.
    pub message: String,
}

impl SourceError {
    /// A fault of this kind.
    pub fn new(reason: SourceReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// How one try of a source came to its end. What it held has been handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// It could not be opened, or it ended.
    Failed(SourceError),
}

impl From<SourceError> for Ending {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
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
    let audio = settings.audio;
    // Nobody listens only when the feed is gone: then there is nothing left to do either.
    _ = run_until_closed(&settings, Outlet::new(clock, events).wanting(audio), &stop).await;
}

async fn run_until_closed(
    settings: &SourceSettings,
    mut outlet: Outlet,
    stop: &CancellationToken,
) -> Result<(), Closed> {
    let mut failures = 0;
    outlet.state(SourceState::Connecting, SourceReason::Connecting, String::new()).await?;
    loop {
        let began = Instant::now();
        let (credentials, ending) = try_once(settings, &mut outlet, stop).await?;
        let Ending::Failed(error) = ending else { return Ok(()) };
        let was_good = outlet.take_connected() && began.elapsed() >= GOOD_CONNECTION;
        failures = if was_good { 1 } else { failures + 1 };
        let (reason, wait) = (error.reason, retry_delay(error.reason, failures, fastrand::f64()));
        outlet.state(SourceState::Failed, reason, error.message).await?;
        if reason == SourceReason::Ended {
            stop.cancelled().await;
            return Ok(());
        }
        let waiting = wait_for_retry(settings, credentials.as_ref(), reason, wait);
        if stop.run_until_cancelled(waiting).await.is_none() {
            return Ok(());
        }
    }
}

/// Reads the source once, from opening it to its end.
async fn try_once(
    settings: &SourceSettings,
    outlet: &mut Outlet,
    stop: &CancellationToken,
) -> Result<(Option<Credentials>, Ending), Closed> {
    let credentials = match stop.run_until_cancelled(read_credentials(settings)).await {
        Some(Ok(credentials)) => credentials,
        Some(Err(error)) => return Ok((None, error.into())),
        None => return Ok((None, Ending::Stopped)),
    };
    let ending = match &settings.source {
        Source::Rtsp(rtsp) => rtsp::run(rtsp, settings.audio, credentials.clone(), outlet, stop).await?,
        Source::File(file) => input::file::run(file, outlet, stop).await?,
        Source::Fifo(pipe) => input::fifo::run(pipe, outlet, stop).await?,
        Source::Socket(pipe) => input::socket::run(pipe, outlet, stop).await?,
        Source::TestPattern(pattern) => pattern::run(pattern, outlet, stop).await?,
    };
    Ok((credentials, ending))
}

async fn read_credentials(settings: &SourceSettings) -> Result<Option<Credentials>, SourceError> {
    let Some(files) = &settings.credentials else { return Ok(None) };
    credentials::read(files)
        .await
        .map(Some)
        .map_err(|error| SourceError::new(SourceReason::CredentialsMissing, error.to_string()))
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
            audio: Audio::default(),
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
