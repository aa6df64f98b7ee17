//! What another process writes, as it comes.

use std::time::Duration;

use bytes::Bytes;
use streamfleet_contract::{PipeSource, SourceReason, SourceState};
use streamfleet_media::container::{Item, Kind};
use streamfleet_media::track::Sample;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::dated::Dated;
use super::reading::Reading;
use super::{READ_BYTES, unavailable};
use crate::clock::Now;
use crate::source::outlet::{Closed, Outlet, not_carried};

use crate::source::{Ending, SourceError};

/// How long a writer may write nothing before status says so.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Ticks a second of what is dated by arrival.
const ARRIVAL_RATE: u32 = 1_000_000;

/// One writer, from its first byte to its last.
struct Live<'a> {
    reading: Reading,
    dated: Dated,
    outlet: &'a mut Outlet,
    /// When the newest bytes were read, and those before which the picture that is open has begun.
    read_at: Now,
    picture_read_at: Option<Now>,
    bytes: u64,
    silent: bool,
}

/// Reads what one writer writes, until it leaves or breaks its format. It may be silent for so long before status says so.
pub(crate) async fn read(
    input: &mut (impl AsyncRead + Unpin),
    pipe: &PipeSource,
    silence_max: Duration,
    outlet: &mut Outlet,
    stop: &CancellationToken,
) -> Result<Ending, Closed> {
    let read_at = outlet.now();
    let mut live = Live {
        reading: Reading::new(pipe.container, pipe.frame_rate),
        dated: Dated::default(),
        outlet,
        read_at,
        picture_read_at: None,
        bytes: 0,
        silent: false,
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let waited = timeout(silence_max, input.read(&mut buffer));
        let count = match stop.run_until_cancelled(waited).await {
            None => {
                _ = live.finish().await?;
                return Ok(Ending::Stopped);
            }
            Some(Err(_)) => {
                live.say_silence(silence_max).await?;
                continue;
            }
            Some(Ok(Err(error))) => return Ok(unavailable(&pipe.path, "read", &error).into()),
            Some(Ok(Ok(count))) => count,
        };
        let read = match count {
            // One that has written nothing has not broken any format.
            0 if live.bytes == 0 => Ok(()),
            0 => live.finish().await?,
            count => live.take(Bytes::copy_from_slice(&buffer[..count])).await?,
        };
        if let Err(error) = read {
            return Ok(error.into());
        }
        if count == 0 {
            let message =
                format!("the process that wrote to {} has left after {} bytes", pipe.path, live.bytes);
            return Ok(SourceError::new(SourceReason::Disconnected, message).into());
        }
    }
}

impl Live<'_> {
    async fn take(&mut self, bytes: Bytes) -> Result<Result<(), SourceError>, Closed> {
        if std::mem::take(&mut self.silent) {
            self.outlet.state(SourceState::Streaming, SourceReason::Streaming, String::new()).await?;
        }
        self.read_at = self.outlet.now();
        self.bytes += bytes.len() as u64;
        match self.reading.push(bytes) {
            Ok(()) => self.hand_on().await,
            Err(error) => Ok(Err(error)),
        }
    }

    async fn finish(&mut self) -> Result<Result<(), SourceError>, Closed> {
        match self.reading.finish() {
            Ok(()) => self.hand_on().await,
            Err(error) => Ok(Err(error)),
        }
    }

    async fn hand_on(&mut self) -> Result<Result<(), SourceError>, Closed> {
        loop {
            match self.reading.next() {
                Err(error) => return Ok(Err(error)),
                Ok(None) => return Ok(Ok(())),
                Ok(Some(Item::LeftOut(codec))) => self.outlet.leave_out(not_carried(&codec)),
                Ok(Some(Item::Tracks(tracks))) => self.dated.connected(tracks, self.outlet).await?,
                Ok(Some(Item::Sample(sample))) => self.sample(sample).await?,
            }
        }
    }

    async fn sample(&mut self, mut sample: Sample) -> Result<(), Closed> {
        let read_at = self.sample_read_at(&sample);
        if !self.reading.has_times() {
            sample.rate = ARRIVAL_RATE;
            sample.ticks = i64::try_from(read_at.mono.as_micros()).unwrap_or(i64::MAX);
        }
        self.dated.sample(sample, read_at, self.outlet).await
    }

    /// When a sample's first byte was read. A picture of a byte stream is whole when the next one begins: its own first bytes
    /// came when the one before was whole.
    fn sample_read_at(&mut self, sample: &Sample) -> Now {
        let is_late = matches!(self.reading.kind(), Some(Kind::AnnexB | Kind::MpegTs)) && sample.track == 0;
        if is_late {
            self.picture_read_at.replace(self.read_at).unwrap_or(self.read_at)
        } else {
            self.read_at
        }
    }

    /// The writer stays connected but writes nothing. It is kept: to be thrown out could end it.
    async fn say_silence(&mut self, waited: Duration) -> Result<(), Closed> {
        if std::mem::replace(&mut self.silent, true) {
            return Ok(());
        }
        let message = format!("nothing was written for {waited:?}");
        self.outlet.state(SourceState::Failed, SourceReason::Silent, message).await
    }
}
