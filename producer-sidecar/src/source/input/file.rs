//! A media file, played in real time: once, or over and over.

use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use streamfleet_contract::{FileSource, SourceReason};
use streamfleet_media::container::{Detection, Item, Kind, detect};
use streamfleet_media::mp4::{FileDemuxer, Step};
use streamfleet_media::track::Codec;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::dated::Dated;
use super::pace::Pace;
use super::reading::{Reading, fault, kind_of};
use super::{READ_BYTES, unavailable};
use crate::source::outlet::{Closed, Outlet, not_carried};
use crate::source::{Ending, SourceError};

/// How often a file that broke off is looked at for a change.
const CHANGE_POLL: Duration = Duration::from_secs(2);

/// Why a round of the file came to its end.
enum RoundEnd {
    Ended,
    Broken(SourceError),
    Closed(Closed),
}

impl From<SourceError> for RoundEnd {
    fn from(error: SourceError) -> Self {
        Self::Broken(error)
    }
}

impl From<Closed> for RoundEnd {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

/// Plays the file: once, which ends with [`SourceReason::Ended`], or until it is stopped.
pub async fn run(file: &FileSource, outlet: &mut Outlet, stop: &CancellationToken) -> Result<Ending, Closed> {
    let mut player =
        Player { file, outlet, dated: Dated::default(), pace: Pace::default(), tracks: None, samples: 0 };
    loop {
        let before = player.samples;
        match stop.run_until_cancelled(player.round()).await {
            None => return Ok(Ending::Stopped),
            Some(RoundEnd::Closed(closed)) => return Err(closed),
            Some(RoundEnd::Broken(error)) => {
                // What was played before it broke off must not be stored again and again.
                let wait = async {
                    if !file.repeat && player.samples > 0 {
                        player.wait_for_change(&error).await
                    } else {
                        Ok(())
                    }
                };
                return match stop.run_until_cancelled(wait).await {
                    None => Ok(Ending::Stopped),
                    Some(Err(closed)) => Err(closed),
                    Some(Ok(())) => Ok(error.into()),
                };
            }
            Some(RoundEnd::Ended) if player.samples == before => {
                let message = format!("{} holds no samples", file.path);
                return Ok(SourceError::new(SourceReason::InvalidMedia, message).into());
            }
            Some(RoundEnd::Ended) if file.repeat => player.pace.next_round(),
            Some(RoundEnd::Ended) => {
                let message = format!("{} was played to its end", file.path);
                return Ok(SourceError::new(SourceReason::Ended, message).into());
            }
        }
    }
}

/// Plays one round after the other.
struct Player<'a> {
    file: &'a FileSource,
    outlet: &'a mut Outlet,
    dated: Dated,
    pace: Pace,
    /// The tracks that were said last.
    tracks: Option<Vec<Codec>>,
    /// Samples handed on so far.
    samples: u64,
}

impl Player<'_> {
    /// Plays the file from its beginning to its end.
    async fn round(&mut self) -> RoundEnd {
        match self.try_round().await {
            Ok(()) => RoundEnd::Ended,
            Err(end) => end,
        }
    }

    async fn try_round(&mut self) -> Result<(), RoundEnd> {
        let mut file = File::open(&self.file.path)
            .await
            .map_err(|error| unavailable(&self.file.path, "open", &error))?;
        let metadata =
            file.metadata().await.map_err(|error| unavailable(&self.file.path, "look at", &error))?;
        if !metadata.is_file() {
            let message = format!("{} is no file", self.file.path);
            return Err(SourceError::new(SourceReason::InputUnavailable, message).into());
        }
        let start = self.read(&mut file, READ_BYTES).await?;
        match (self.kind(&start), self.file.frame_rate) {
            (Some(Kind::Mp4), _) if self.plain_mp4(&mut file).await? => return Ok(()),
            (Some(Kind::AnnexB), None) => {
                let message =
                    format!("{} holds no times: say its pictures a second (frameRate)", self.file.path);
                return Err(SourceError::new(SourceReason::InvalidMedia, message).into());
            }
            _ => {}
        }
        self.seek(&mut file, 0).await?;
        let mut reading = Reading::new(self.file.container, self.file.frame_rate);
        loop {
            let bytes = self.read(&mut file, READ_BYTES).await?;
            let is_end = bytes.is_empty();
            if is_end {
                reading.finish()?;
            } else {
                reading.push(bytes)?;
            }
            while let Some(item) = reading.next()? {
                self.hand_on(item).await?;
            }
            if is_end {
                return Ok(());
            }
        }
    }

    /// The container, as it is configured or else by the file's first bytes; none where those do not tell.
    fn kind(&self, start: &[u8]) -> Option<Kind> {
        kind_of(self.file.container).or_else(|| match detect(start) {
            Detection::Found(kind) => Some(kind),
            Detection::More | Detection::Unknown => None,
        })
    }

    async fn hand_on(&mut self, item: Item) -> Result<(), RoundEnd> {
        match item {
            Item::LeftOut(codec) => self.outlet.leave_out(not_carried(&codec)),
            Item::Tracks(tracks) => {
                // A further round goes on with the clocks of the one before: nothing is connected anew.
                if self.tracks.as_ref() != Some(&tracks) {
                    self.tracks = Some(tracks.clone());
                    self.dated.connected(tracks, self.outlet).await?;
                }
            }
            Item::Sample(mut sample) => {
                let due = self.pace.place(&mut sample, self.outlet.now().mono);
                sleep_until(self.outlet.clock().instant(due).into()).await;
                self.samples += 1;
                self.dated.sample(sample, self.outlet.now(), self.outlet).await?;
            }
        }
        Ok(())
    }

    /// Plays a plain MP4; false where it is fragmented.
    async fn plain_mp4(&mut self, file: &mut File) -> Result<bool, RoundEnd> {
        let mut demuxer = FileDemuxer::default();
        loop {
            match demuxer.step().map_err(|error| fault(&error))? {
                Step::Item(item) => self.hand_on(item).await?,
                Step::End => return Ok(true),
                Step::Fragmented => return Ok(false),
                Step::Read { position, bytes } => {
                    self.seek(file, position).await?;
                    let data = self.read(file, bytes).await?;
                    demuxer.give(position, &data).map_err(|error| fault(&error))?;
                }
            }
        }
    }

    async fn seek(&self, file: &mut File, to: u64) -> Result<(), SourceError> {
        file.seek(SeekFrom::Start(to))
            .await
            .map_err(|error| unavailable(&self.file.path, "seek in", &error))?;
        Ok(())
    }

    /// The next bytes: so many, or fewer where the file ends.
    async fn read(&self, file: &mut File, bytes: usize) -> Result<Bytes, SourceError> {
        let mut data = BytesMut::new();
        let mut part = file.take(bytes as u64);
        loop {
            match part.read_buf(&mut data).await {
                Ok(0) => return Ok(data.freeze()),
                Ok(_) => {}
                Err(error) => return Err(unavailable(&self.file.path, "read", &error)),
            }
        }
    }

    /// Says what is wrong, and waits until the file is another one.
    async fn wait_for_change(&self, error: &SourceError) -> Result<(), Closed> {
        use streamfleet_contract::SourceState;
        let message = format!("{error}; it is played again when the file changes");
        self.outlet.state(SourceState::Failed, error.reason, message).await?;
        let before = self.identity().await;
        while self.identity().await == before {
            sleep(CHANGE_POLL).await;
        }
        Ok(())
    }

    /// Tells one file, and one content of it, from another.
    async fn identity(&self) -> Option<(u64, u64, u64, i64, i64)> {
        let metadata = tokio::fs::metadata(&self.file.path).await.ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    }
}
