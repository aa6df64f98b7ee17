//! The tracks of a connection that plays: from packets to what the feed gets, and the signs of life by which silence is
//! told from slowness.

use std::time::Duration;

use streamfleet_contract::SourceReason;
use streamfleet_media::rtp::rtcp::{self, Message};
use streamfleet_media::rtp::sdp::Offer;
use streamfleet_media::rtp::{Packet, Received, Receiver, UnsupportedPayload};
use streamfleet_media::track::{Codec, Sample, SenderReport, TrackParameters};

use super::connection::Packets;
use crate::clock::{Clock, Now};
use crate::source::SourceError;
use crate::source::outlet::{Closed, Outlet};

/// So many packets in a row that cannot be understood end a connection.
const MALFORMED_MAX: u32 = 1_000;

/// How long no picture may come before the camera counts as silent: so many times the longest pause so far, within these
/// bounds. 10 s for a camera with 25 pictures a second, 80 s for one with a picture in 10 s.
const SILENCE_PAUSES: u32 = 8;
const SILENCE_MIN: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_mins(5);

/// The least while it is not known yet how often pictures come: without and with signs of life, such as sender reports or
/// answers. It is known from so many pictures on.
const SILENCE_UNKNOWN: Duration = Duration::from_secs(30);
const SILENCE_UNKNOWN_ALIVE: Duration = Duration::from_mins(2);
const PICTURES_KNOWN: u64 = 10;

/// A sign of life is one for so long.
const ALIVE: Duration = Duration::from_secs(15);

/// How long a stream may pause after its sender has said goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// How many reports are kept before the first picture has come.
const REPORTS_MAX: usize = 8;

/// The tracks.
#[derive(Debug)]
pub(super) struct Player {
    clock: Clock,
    /// When the packets that are taken in now were read.
    now: Now,
    tracks: Vec<Track>,
    samples: Vec<(Sample, Now)>,
    reports: Vec<(SenderReport, Now)>,
    /// The feed was told that media comes.
    announced: bool,
    pub(super) life: Life,
}

#[derive(Debug)]
struct Track {
    codec: Codec,
    channels: [u8; 2],
    receiver: Receiver<Now>,
    malformed: u32,
    /// The parameters of sound that came before the first picture, and was left out.
    withheld: Option<TrackParameters>,
    last_report: Option<(u64, Duration)>,
}

/// When what was last heard, by the monotonic clock.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// A picture; of sound alone, a sample.
    pub(super) picture: Duration,
    /// How many there were, and the longest pause between two.
    pictures: u64,
    longest_pause: Duration,
    /// A packet of media.
    pub(super) packet: Option<Duration>,
    /// Anything else: reports, answers.
    pub(super) other: Duration,
    /// The sender said goodbye.
    goodbye: Option<Duration>,
}

impl Player {
    /// Receivers for what was chosen.
    pub(super) fn new(offers: &[Offer], clock: Clock) -> Result<Self, UnsupportedPayload> {
        let now = clock.now();
        let mut tracks = Vec::new();
        for (index, offer) in offers.iter().enumerate() {
            let Some(codec) = offer.codec() else { return Err(UnsupportedPayload(offer.name())) };
            let receiver = Receiver::new(index as u8, offer)?;
            // The channels are what is asked for: a camera that does not say otherwise agrees.
            let channels = [index as u8 * 2, index as u8 * 2 + 1];
            tracks.push(Track { codec, channels, receiver, malformed: 0, withheld: None, last_report: None });
        }
        Ok(Self {
            clock,
            now,
            tracks,
            samples: Vec::new(),
            reports: Vec::new(),
            announced: false,
            life: Life::begin(now.mono),
        })
    }

    /// The channels that a track's packets and reports come on.
    pub(super) fn channels(&mut self, track: usize) -> Option<&mut [u8; 2]> {
        self.tracks.get_mut(track).map(|track| &mut track.channels)
    }

    /// Leaves the last track out: the server does not let it be set up.
    pub(super) fn leave_out_last(&mut self) {
        self.tracks.pop();
    }

    /// Packets that are taken in from here on have been read now.
    pub(super) fn read_now(&mut self) {
        self.now = self.clock.now();
    }

    /// Takes in a report of a track.
    pub(super) fn take_report(&mut self, track: usize, bytes: &[u8]) {
        let Some(Track { receiver, last_report, codec, .. }) = self.tracks.get_mut(track) else { return };
        self.life.other = self.now.mono;
        for message in rtcp::messages(bytes) {
            match message {
                Message::SenderReport { ntp, timestamp, .. } => {
                    *last_report = Some((ntp, self.now.mono));
                    if self.reports.len() < REPORTS_MAX {
                        self.reports.push((receiver.report(ntp, timestamp), self.now));
                    }
                }
                Message::Bye { .. } if codec.is_video() => self.life.goodbye = Some(self.now.mono),
                Message::Bye { .. } => {}
            }
        }
    }

    /// Takes in a packet of a track.
    pub(super) fn take_media(&mut self, track: usize, bytes: &[u8]) {
        let Some(Track { receiver, malformed, codec, .. }) = self.tracks.get_mut(track) else { return };
        let received = match Packet::parse(bytes) {
            Some(packet) => receiver.push(&packet, self.now, &mut self.samples),
            None => Received::Malformed,
        };
        match received {
            Received::Media => *malformed = 0,
            Received::Malformed => *malformed += 1,
            Received::Ignored => {}
        }
        self.life.packet = Some(self.now.mono);
        if codec.is_video() {
            self.life.goodbye = None;
        }
    }

    /// Gives out pictures that are whole beyond doubt: nothing more has come for now.
    pub(super) fn release(&mut self) {
        for track in &mut self.tracks {
            track.receiver.release(&mut self.samples);
        }
    }

    /// Gives out the last pictures, where they are whole: nothing comes any more.
    pub(super) fn close(&mut self) {
        for track in &mut self.tracks {
            track.receiver.close(&mut self.samples);
        }
    }

    /// Hands on what there is.
    pub(super) async fn deliver(&mut self, outlet: &mut Outlet) -> Result<(), Closed> {
        self.life.note_pictures(self.now.mono, self.samples.iter().filter(|(s, _)| s.track == 0).count());
        if !self.announced {
            if self.samples.iter().all(|(sample, _)| sample.track != 0) {
                self.withhold();
                return Ok(());
            }
            self.announced = true;
            outlet.connected(self.tracks.iter().map(|track| track.codec).collect()).await?;
        }
        for (report, read_at) in self.reports.drain(..) {
            outlet.report(report, read_at).await?;
        }
        for (mut sample, read_at) in self.samples.drain(..) {
            let track = self.tracks.get_mut(usize::from(sample.track));
            if let Some(withheld) = track.and_then(|track| track.withheld.take()) {
                sample.parameters.get_or_insert(withheld);
            }
            outlet.sample(sample, read_at).await?;
        }
        Ok(())
    }

    /// Leaves out sound that comes before the first picture, but not what is to be known of it.
    fn withhold(&mut self) {
        for (sample, _) in self.samples.drain(..) {
            if let Some(track) = self.tracks.get_mut(usize::from(sample.track))
                && sample.parameters.is_some()
            {
                track.withheld = sample.parameters;
            }
        }
    }

    /// Why the connection cannot go on, if it cannot.
    pub(super) fn fault(&self) -> Option<SourceError> {
        self.tracks.iter().any(|track| track.malformed >= MALFORMED_MAX).then(|| {
            let message = "what the camera sends is not what it describes: its packets cannot be understood";
            SourceError::new(SourceReason::InvalidMedia, message)
        })
    }

    /// The receiver report of a track.
    pub(super) fn receiver_report(&mut self, track: usize, own_ssrc: u32) -> Option<Vec<u8>> {
        let mono = self.clock.now().mono;
        let track = self.tracks.get_mut(track)?;
        let last = track.last_report.map(|(ntp, at)| {
            let delay = mono.saturating_sub(at).as_secs_f64() * 65_536.0;
            ((ntp >> 16) as u32, delay as u32)
        });
        Some(rtcp::receiver_report(own_ssrc, track.receiver.sequence().reception(), last))
    }

    /// Measures how unevenly packets of a track come.
    pub(super) fn measure(&mut self, track: usize, packet: &Packet<'_>) {
        let at = self.now.mono;
        if let Some(Track { receiver, .. }) = self.tracks.get_mut(track) {
            let rate = receiver.rate();
            receiver.sequence().measure(packet, at, rate);
        }
    }
}

impl Packets for Player {
    fn packet(&mut self, channel: u8, bytes: &[u8]) {
        let of = |index| self.tracks.iter().position(|track: &Track| track.channels[index] == channel);
        match (of(0), of(1)) {
            (Some(track), _) => self.take_media(track, bytes),
            (None, Some(track)) => self.take_report(track, bytes),
            // Some cameras send what was not set up.
            (None, None) => {}
        }
    }
}

impl Life {
    pub(super) fn begin(mono: Duration) -> Self {
        Self {
            picture: mono,
            pictures: 0,
            longest_pause: Duration::ZERO,
            packet: None,
            other: mono,
            goodbye: None,
        }
    }

    /// When anything was heard last.
    pub(super) fn heard(&self) -> Duration {
        self.other.max(self.packet.unwrap_or_default())
    }

    fn note_pictures(&mut self, mono: Duration, count: usize) {
        if count == 0 {
            return;
        }
        // The first one comes when the camera is ready for it, and says nothing about the next.
        if self.pictures > 0 {
            self.longest_pause = self.longest_pause.max(mono.saturating_sub(self.picture));
        }
        self.pictures += count as u64;
        self.picture = mono;
    }

    /// When no picture has come for too long.
    pub(super) fn silent_at(&self) -> Duration {
        if let Some(goodbye) = self.goodbye {
            return goodbye + GOODBYE_MAX;
        }
        let is_alive = self.pictures > 0 && self.heard() + ALIVE >= self.picture + SILENCE_UNKNOWN;
        let least = match self.pictures {
            PICTURES_KNOWN.. => SILENCE_MIN,
            _ if is_alive => SILENCE_UNKNOWN_ALIVE,
            _ => SILENCE_UNKNOWN,
        };
        self.picture + (self.longest_pause * SILENCE_PAUSES).clamp(least, SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long after the last of these many pictures a camera is silent, with a sign of life so long after it.
    fn silence(pictures: u32, pause: Duration, sign: Duration) -> Duration {
        let mut life = Life::begin(SECOND * 100);
        for n in 0..pictures {
            life.note_pictures(SECOND * 110 + pause * n, 1);
        }
        life.other = life.picture + sign;
        life.silent_at().saturating_sub(life.picture)
    }

    #[test]
    fn a_camera_is_silent_by_how_often_its_pictures_come() {
        assert_eq!(silence(100, SECOND / 25, Duration::ZERO), SILENCE_MIN);
        assert_eq!(silence(3, SECOND * 10, Duration::ZERO), SECOND * 80);
        assert_eq!(silence(20, SECOND * 600, Duration::ZERO), SILENCE_MAX);
    }

    #[test]
    fn signs_of_life_give_a_slow_camera_time_for_its_second_picture() {
        assert_eq!(silence(1, SECOND, Duration::ZERO), SILENCE_UNKNOWN);
        assert_eq!(silence(1, SECOND, SECOND * 20), SILENCE_UNKNOWN_ALIVE);
        assert_eq!(silence(0, SECOND, SECOND * 20), SILENCE_UNKNOWN, "no picture at all");
    }
}
