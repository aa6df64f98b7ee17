//! The live source: it makes a picture each period, whether or not anybody looks, and knows what time each is of.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use streamfleet_media::h264::sei;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior};

use super::clip::{Clip, Picture};
use super::rtp::{CLOCK_RATE, Payload};

/// Pictures that wait for a client that reads slowly: ten seconds of them at the usual 25 a second. A client that is
/// further behind is let go, as cameras do.
const WAITING_PICTURES_MAX: usize = 250;

/// One picture as it is sent.
#[derive(Debug)]
pub(super) struct LivePicture {
    pub(super) number: u64,
    pub(super) rtp_time: u32,
    pub(super) recorded: Arc<Picture>,
    /// The unit that bears the number.
    mark: Payload,
}

impl LivePicture {
    /// What goes into packets, in order. Supplemental information stands behind parameter sets and before the slices
    /// (H.264 §7.4.1.2.3).
    pub(super) fn payloads(&self) -> impl Iterator<Item = &Payload> {
        let [ahead, slices] = &self.recorded.payloads;
        ahead.iter().chain(std::iter::once(&self.mark)).chain(slices)
    }

    /// How many packets it takes.
    pub(super) fn packets(&self) -> usize {
        1 + self.recorded.payloads.iter().map(Vec::len).sum::<usize>()
    }

    /// Its size as it is stored.
    pub(super) fn bytes(&self) -> u64 {
        self.recorded.bytes() + self.mark.bytes().len() as u64 + 4
    }
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
    /// A source that begins now, with the picture that it would be at if it had begun `head_start` earlier. `clips` is not
    /// empty.
    pub(super) fn new(clips: Vec<Clip>, period: Duration, head_start: Duration) -> Self {
        let next = (head_start.as_nanos() / period.as_nanos().max(1)) as u64;
        let head_start = Duration::from_nanos(period.as_nanos() as u64 * next);
        let clock = Clock {
            start: Instant::now() - head_start,
            start_unix: unix_now().saturating_sub(head_start),
            rtp_base: AtomicU32::new(fastrand::u32(..)),
        };
        let position = Mutex::new(Position { next, clip: 0, origin: 0 });
        Self { clips, period, clock, sender: broadcast::Sender::new(WAITING_PICTURES_MAX), position }
    }

    /// When the first picture was taken, since the Unix epoch.
    pub(super) fn start_unix(&self) -> Duration {
        self.clock.start_unix
    }

    /// Makes pictures for ever. Late ones are made up for, so that numbers keep to the clock.
    pub(super) async fn run(&self) {
        let first = self.position.lock().unwrap_or_else(PoisonError::into_inner).next;
        let begin = self.clock.start + Duration::from_nanos(self.period.as_nanos() as u64 * first);
        let mut ticks = tokio::time::interval_at(begin, self.period);
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

    fn recorded(&self, position: Position) -> &Arc<Picture> {
        let pictures = &self.clips[position.clip].pictures;
        &pictures[((position.next - position.origin) % pictures.len() as u64) as usize]
    }

    fn picture(&self, position: Position) -> LivePicture {
        let mark: Bytes = sei::build_picture_number(position.next).into();
        // Far smaller than a packet.
        let mark = Payload::whole(mark);
        let recorded = self.recorded(position).clone();
        LivePicture { number: position.next, rtp_time: self.rtp_time(position.next), recorded, mark }
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
        let live = Live::new(vec![clip(1)], Duration::from_millis(2), Duration::ZERO);
        let mut pictures = live.join().pictures;
        tokio::select! {
            () = live.run() => {}
            () = async {
                let mut previous: Option<Arc<LivePicture>> = None;
                for number in 0..7 {
                    let picture = pictures.recv().await.unwrap();
                    assert_eq!((picture.number, picture.recorded.key), (number, number % 3 == 0));
                    let units: Vec<&[u8]> = picture.payloads().map(|payload| &payload.bytes()[..]).collect();
                    assert_eq!(units.len(), picture.packets());
                    let frame = length_prefixed(units);
                    assert_eq!(frame.len() as u64, picture.bytes());
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
        let live = Live::new(vec![clip(1)], Duration::from_millis(40), Duration::ZERO);
        let mut position = live.position.lock().unwrap();
        position.next = 4;
        drop(position);
        assert_eq!(live.join().rtp_time, live.rtp_time(6));
    }

    #[tokio::test]
    async fn rtp_time_jumps_both_ways_and_the_wall_does_not() {
        let live = Live::new(vec![clip(1)], Duration::from_millis(40), Duration::ZERO);
        let before = live.rtp_time(10);
        live.jump(1000);
        assert_eq!(live.rtp_time(10), before.wrapping_add(90_000));
        live.jump(-3_600_000);
        assert_eq!(live.rtp_time(10), before.wrapping_add(90_000).wrapping_sub(324_000_000));
        assert!(live.now().0.abs_diff(unix_now()) < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn another_clip_begins_with_its_first_picture() {
        let live = Live::new(vec![clip(1), clip(2)], Duration::from_millis(40), Duration::ZERO);
        live.position.lock().unwrap().next = 4;
        assert!(!live.show(2));
        assert!(live.show(1));
        let position = *live.position.lock().unwrap();
        let picture = live.picture(position);
        assert!(picture.recorded.key);
        assert_eq!((picture.number, &picture.recorded.digest), (4, &clip(2).pictures[0].digest));
    }

    #[tokio::test]
    async fn a_head_start_changes_where_the_clip_begins_and_no_time() {
        let live = Live::new(vec![clip(1)], Duration::from_millis(40), Duration::from_millis(90));
        assert_eq!(live.position.lock().unwrap().next, 2);
        let taken = live.start_unix() + Duration::from_millis(80);
        assert!(taken.abs_diff(unix_now()) < Duration::from_secs(1));
        let mut pictures = live.join().pictures;
        tokio::select! {
            () = live.run() => {}
            picture = pictures.recv() => {
                let picture = picture.unwrap();
                assert_eq!((picture.number, &picture.recorded.digest), (2, &clip(1).pictures[2].digest));
            }
        }
    }
}
