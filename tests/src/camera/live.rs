//! The live source: it makes a picture each period, whether or not anybody looks, and knows what time each is of.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use streamfleet_media::h264::{NalKind, nal_kind, sei};
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior};

use super::clip::{Clip, Picture};
use super::rtp::CLOCK_RATE;

/// Pictures that wait for a client that reads slowly: ten seconds of them at the usual 25 a second. A client that is
/// further behind is let go, as cameras do.
const WAITING_PICTURES_MAX: usize = 250;

/// One picture as it is sent.
#[derive(Debug)]
pub(super) struct LivePicture {
    pub(super) number: u64,
    pub(super) key: bool,
    pub(super) digest: String,
    pub(super) rtp_time: u32,
    pub(super) nals: Vec<Bytes>,
}

/// What the camera's pictures come from.
#[derive(Debug)]
pub(super) struct Live {
    clips: Vec<Clip>,
    period: Duration,
    clock: Clock,
    sender: broadcast::Sender<Arc<LivePicture>>,
    position: Mutex<Position>,
}

/// Where in its clips the source is.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The number of the next picture.
    next: u64,
    /// Which clip is shown.
    clip: usize,
    /// The number of the picture with which the clip began.
    origin: u64,
}

/// What a client begins with.
pub(super) struct Beginning {
    pub(super) pictures: broadcast::Receiver<Arc<LivePicture>>,
    /// The RTP time of the next key frame.
    pub(super) rtp_time: u32,
}

impl Live {
    /// A source that begins now. `clips` is not empty.
    pub(super) fn new(clips: Vec<Clip>, period: Duration) -> Self {
        let clock = Clock {
            start: Instant::now(),
            start_unix: unix_now(),
            rtp_base: AtomicU32::new(fastrand::u32(..)),
        };
        let position = Mutex::new(Position { next: 0, clip: 0, origin: 0 });
        Self { clips, period, clock, sender: broadcast::Sender::new(WAITING_PICTURES_MAX), position }
    }

    /// When the first picture was taken, since the Unix epoch.
    pub(super) fn start_unix(&self) -> Duration {
        self.clock.start_unix
    }

    /// Makes pictures for ever. Late ones are made up for, so that numbers keep to the clock.
    pub(super) async fn run(&self) {
        let mut ticks = tokio::time::interval_at(self.clock.start, self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody looking is no error.
            let _ = self.sender.send(Arc::new(self.picture(*position)));
            position.next += 1;
        }
    }

    /// Pictures from now on.
    pub(super) fn join(&self) -> Beginning {
        let position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = *position;
        while !self.recorded(key).key {
            key.next += 1;
        }
        Beginning { pictures: self.sender.subscribe(), rtp_time: self.rtp_time(key.next) }
    }

    /// Shows another clip from the next picture on; false when there is none of that index.
    pub(super) fn show(&self, clip: usize) -> bool {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        if clip >= self.clips.len() {
            return false;
        }
        *position = Position { next: position.next, clip, origin: position.next };
        true
    }

    /// Lets RTP time jump, for all pictures to come.
    pub(super) fn jump(&self, ms: i64) {
        let ticks = ms.wrapping_mul(i64::from(CLOCK_RATE) / 1000);
        self.clock.rtp_base.fetch_add(ticks as u32, Ordering::Relaxed);
    }

    /// The clip that is shown.
    pub(super) fn clip(&self) -> &Clip {
        &self.clips[self.position.lock().unwrap_or_else(PoisonError::into_inner).clip]
    }

    /// The same moment by the wall, since the Unix epoch, and in RTP time: for sender reports.
    pub(super) fn now(&self) -> (Duration, u32) {
        let elapsed = self.clock.start.elapsed();
        (self.clock.start_unix + elapsed, self.clock.rtp_time(elapsed))
    }

    fn recorded(&self, position: Position) -> &Picture {
        let pictures = &self.clips[position.clip].pictures;
        &pictures[((position.next - position.origin) % pictures.len() as u64) as usize]
    }

    fn picture(&self, position: Position) -> LivePicture {
        let recorded = self.recorded(position);
        let mut nals = recorded.nals.clone();
        // Supplemental information stands behind parameter sets and before the slices (H.264 §7.4.1.2.3).
        let is_slice = |nal: &Bytes| matches!(nal_kind(nal), Some(NalKind::Slice | NalKind::Idr));
        let first_slice = nals.iter().position(is_slice).unwrap_or(0);
        nals.insert(first_slice, sei::build_picture_number(position.next).into());
        LivePicture {
            number: position.next,
            key: recorded.key,
            digest: recorded.digest.clone(),
            rtp_time: self.rtp_time(position.next),
            nals,
        }
    }

    fn rtp_time(&self, number: u64) -> u32 {
        self.clock.rtp_time(Duration::from_nanos(self.period.as_nanos() as u64 * number))
    }
}

/// Relates the moment of the start in three kinds of time.
#[derive(Debug)]
struct Clock {
    start: Instant,
    start_unix: Duration,
    rtp_base: AtomicU32,
}

impl Clock {
    fn rtp_time(&self, since_start: Duration) -> u32 {
        let ticks = since_start.as_nanos() * u128::from(CLOCK_RATE) / 1_000_000_000;
        self.rtp_base.load(Ordering::Relaxed).wrapping_add(ticks as u32)
    }
}

/// The wall's time since the Unix epoch.
pub(super) fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use streamfleet_media::h264::length_prefixed;

    use super::*;

    fn clip(tag: u8) -> Clip {
        let units: [&[u8]; 5] = [
            &[0x67, 1, 2, tag],
            &[0x68, tag],
            &[0x65, 0x88, tag],
            &[0x41, 0b1001_1010, tag],
            &[0x41, 0b1001_1010, tag + 100],
        ];
        let recording: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 1], *unit].concat()).collect();
        Clip::parse(&recording.into()).unwrap()
    }

    #[tokio::test]
    async fn numbers_and_rtp_times_go_on_while_the_clip_repeats() {
        let live = Live::new(vec![clip(1)], Duration::from_millis(2));
        let mut pictures = live.join().pictures;
        tokio::select! {
            () = live.run() => {}
            () = async {
                let mut previous: Option<Arc<LivePicture>> = None;
                for number in 0..7 {
                    let picture = pictures.recv().await.unwrap();
                    assert_eq!((picture.number, picture.key), (number, number % 3 == 0));
                    let frame = length_prefixed(picture.nals.iter().map(AsRef::as_ref));
                    assert_eq!(sei::picture_number(&frame), Some(number));
                    if let Some(previous) = previous {
                        assert_eq!(picture.rtp_time.wrapping_sub(previous.rtp_time), 180);
                    }
                    previous = Some(picture);
                }
            } => {}
        }
    }

    #[tokio::test]
    async fn a_client_is_told_the_rtp_time_of_the_next_key_frame() {
        let live = Live::new(vec![clip(1)], Duration::from_millis(40));
        let mut position = live.position.lock().unwrap();
        position.next = 4;
        drop(position);
        assert_eq!(live.join().rtp_time, live.rtp_time(6));
    }

    #[tokio::test]
    async fn rtp_time_jumps_both_ways_and_the_wall_does_not() {
        let live = Live::new(vec![clip(1)], Duration::from_millis(40));
        let before = live.rtp_time(10);
        live.jump(1000);
        assert_eq!(live.rtp_time(10), before.wrapping_add(90_000));
        live.jump(-3_600_000);
        assert_eq!(live.rtp_time(10), before.wrapping_add(90_000).wrapping_sub(324_000_000));
        assert!(live.now().0.abs_diff(unix_now()) < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn another_clip_begins_with_its_first_picture() {
        let live = Live::new(vec![clip(1), clip(2)], Duration::from_millis(40));
        live.position.lock().unwrap().next = 4;
        assert!(!live.show(2));
        assert!(live.show(1));
        let position = *live.position.lock().unwrap();
        let picture = live.picture(position);
        assert!(picture.key);
        assert_eq!((picture.number, &picture.digest), (4, &clip(2).pictures[0].digest));
    }
}
