//! Faults that the simulation plants to show that it would find them. Only builds with debug assertions have them; in
//! a release build [`super::Session`] has no field for them, and every question after one is a constant "no".

/// A fault to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// RECEIVED frees where PERSISTED should.
    FreesAtReceived,
    /// An acknowledgement of storage frees a fragment whose end was not written, or that has grown since.
    FreesWhatIsNotWhole,
    /// What a finished session says late is not heard.
    DeafToLateWords,
    /// An error of a finished session ends the one that stands.
    LateErrorRollsBack,
    /// After a failed attempt the next goes on where that one stood.
    CursorOfFailedAttempt,
    /// A session begins one group late.
    ResumesLate,
    /// No stall is noticed.
    NoStallTimers,
    /// An error that wants to wait is tried again like any other.
    ForgetsToHold,
    /// Attempts follow each other as fast as may be.
    NoBackOff,
    /// A session that is accepted counts as success.
    ResetsAtOpening,
    /// The next session is opened while the last is finishing.
    TwoSessions,
    /// A group that begins before the latest block goes into the same session.
    TimeGoesBack,
    /// The oldest fragment is skipped instead of the one that was refused.
    SkipsTheWrongOne,
    /// A group that cannot be loaded goes without a word.
    SilentLoadFailure,
    /// A group that is dropped for want of room goes without a word.
    SilentOverflow,
    /// What is too old goes without a word.
    SilentExpiry,
    /// A fragment may lack a track.
    TrackMissing,
    /// Fragments and bytes are sent as fast as the network takes them.
    NoPace,
    /// A fragment ends at each key frame, however early.
    CutsTooShort,
    /// Fragments end only where the session ends.
    CutsTooLong,
    /// A gap is told as if it ended where it begins.
    GapEndsAtItsStart,
    /// What another session has stored of a fragment that is refused is called missing.
    CallsTheStoredMissing,
    /// A group that is given up while it comes: what still comes of it goes without a word.
    SilentRest,
}
