//! One track's media clock on the timeline.

/// How far a picture may lie before the latest one of its track: B-frames come after the pictures that they are shown
/// before.
const REORDER_US_MAX: i64 = 1_500_000;

/// A media clock that goes ahead by this much, without that time having passed, has jumped.
const JUMP_US_MIN: i64 = 1_000_000;

/// How far a track may run ahead of the node's clock, counted from its anchor. Generous: servers send the last seconds in
/// a burst when a connection starts.
const AHEAD_US_MAX: i64 = 10_000_000;

/// How far it may fall behind: TCP delivers late what a slow network has held up, and it is no less true then.
const BEHIND_US_MAX: i64 = 60_000_000;

/// Largest correction of one frame's time.
pub const SLEW_US_MAX: i64 = 1_000;

/// How long the smallest delay is looked for before a track's goal is set by it.
const WINDOW_US: i64 = 8_000_000;

/// Delays that differ by less are the same: networks do not deliver more evenly.
const DEAD_BAND_US: i64 = 20_000;

/// Ticks to microseconds.
pub(super) fn micros(ticks: i128, rate: u32) -> i64 {
    let micros = ticks * 1_000_000 / i128::from(rate.max(1));
    i64::try_from(micros.clamp(-(1 << 61), 1 << 61)).unwrap_or(0)
}

/// A track's clock from its anchor on.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    rate: u32,
    ticks: i64,
    /// The time at `ticks`, before corrections.
    us: i64,
    /// The corrections so far.
    pub(super) applied_us: i64,
    /// What they are to become.
    pub(super) goal_us: i64,
    latest_ticks: i64,
    /// The monotonic clock less the track's time, whatever that is: at the anchor; the least of the window before; and of
    /// this one.
    late_us: i64,
    least_before: Option<i64>,
    window: Option<(i64, i64)>,
}

impl Clock {
    /// A clock that stands at `us` at `ticks`, seen at the monotonic time `mono_us`.
    pub(super) fn new(ticks: i64, rate: u32, us: i64, mono_us: i64) -> Self {
        Self {
            rate,
            ticks,
            us,
            applied_us: 0,
            goal_us: 0,
            latest_ticks: ticks,
            late_us: mono_us.saturating_sub(us),
            least_before: None,
            window: None,
        }
    }

    /// The corrected time at `ticks`.
    pub(super) fn time_us(&self, ticks: i64) -> i64 {
        let since = micros(i128::from(ticks) - i128::from(self.ticks), self.rate);
        self.us.saturating_add(since).saturating_add(self.applied_us)
    }

    /// The corrected time of tick 0.
    pub(super) fn zero_us(&self) -> i64 {
        self.time_us(0)
    }

    /// How far behind the monotonic clock the track runs at the least.
    pub(super) fn least_late_us(&self) -> i64 {
        let now = self.window.map(|(_, least)| least);
        now.into_iter().chain(self.least_before).min().unwrap_or(self.late_us)
    }

    /// Whether a sample at `ticks` that comes at `mono_us` can be of the same clock.
    pub(super) fn continues(&self, ticks: i64, rate: u32, is_start: bool, mono_us: i64) -> bool {
        let step = micros(i128::from(ticks) - i128::from(self.latest_ticks), self.rate);
        let late = mono_us.saturating_sub(self.time_us(ticks));
        let since_anchor = late.saturating_sub(self.late_us);
        // What decoding starts with is later than all before it, whatever is reordered.
        let is_back = step < if is_start { 0 } else { -REORDER_US_MAX };
        let is_ahead = step > JUMP_US_MIN && late < self.least_late_us() - JUMP_US_MIN;
        rate == self.rate && !is_back && !is_ahead && (-AHEAD_US_MAX..=BEHIND_US_MAX).contains(&since_anchor)
    }

    /// Moves the corrections towards their goal as one sample at `ticks` allows: by at most [`SLEW_US_MAX`] and by one
    /// part in `part` of the time since the latest sample. Gives by how much.
    pub(super) fn slew(&mut self, ticks: i64, part: i64) -> i64 {
        let passed = micros(i128::from(ticks) - i128::from(self.latest_ticks), self.rate).max(0);
        self.latest_ticks = self.latest_ticks.max(ticks);
        let most = (passed / part).min(SLEW_US_MAX);
        let step = self.goal_us.saturating_sub(self.applied_us).clamp(-most, most);
        self.applied_us += step;
        step
    }

    /// Notes when the sample at `ticks` came. The true time is `ahead_us` ahead of the monotonic clock. At a window's end the
    /// goal is set so that the sample with the least delay came without any; unless that is nearly so.
    pub(super) fn note_arrival(&mut self, ticks: i64, mono_us: i64, ahead_us: i64) {
        let late = mono_us.saturating_sub(self.time_us(ticks));
        let (since, least) = self.window.map_or((mono_us, late), |(since, least)| (since, least.min(late)));
        if mono_us.saturating_sub(since) < WINDOW_US {
            self.window = Some((since, least));
            return;
        }
        self.least_before = Some(least);
        self.window = None;
        let behind = least.saturating_add(ahead_us);
        let is_right = behind.unsigned_abs() <= DEAD_BAND_US.unsigned_abs();
        self.goal_us = self.applied_us.saturating_add(if is_right { 0 } else { behind });
    }

    /// Moves the whole clock.
    pub(super) fn shift(&mut self, by_us: i64) {
        self.us = self.us.saturating_add(by_us);
        self.late_us = self.late_us.saturating_sub(by_us);
        let moved = |late: i64| late.saturating_sub(by_us);
        self.least_before = self.least_before.map(moved);
        self.window = self.window.map(|(since, least)| (since, moved(least)));
    }
}
