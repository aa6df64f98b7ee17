//! The session in virtual time, drawn from seeds: against a peer that does whatever a service could do, and against the
//! emulator's own machine with faults. Nothing is let go before it is stored or told as a gap, each session resumes where it
//! must, times rise, memory stays bounded, calls stay within their limits, and when the faults end everything is stored.
//!
//! A seed that fails is told with its trace, and goes to [`KEPT`].

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test of several files: it tells what it has seen, and the trace of a seed that fails"
)]

mod calls;
mod camera;
mod gaps;
mod hostile;
mod service;
mod store;
mod tally;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use streamfleet_producer::session::State;
use streamfleet_producer::session::mutant::{Mutant, Mutant as M};

use crate::tally::Tally;
use crate::world::{Case, EVENTS, PeerKind, World};

/// Seeds that have failed once.
const KEPT: [(PeerKind, u64); 5] = [
    (PeerKind::Service, 24_478),
    (PeerKind::Hostile, 30),
    (PeerKind::Hostile, 79),
    (PeerKind::Hostile, 4_251),
    (PeerKind::Hostile, 5_271),
];

const HOSTILE_CASES: u64 = 20_000;
const SERVICE_CASES: u64 = 10_000;

/// What is seen less often than this is not tried.
const SEEN_LEAST: u64 = 1_000;

fn run(case: Case) -> (Tally, Option<String>) {
    catch_unwind(AssertUnwindSafe(|| World::run(case)))
        .unwrap_or_else(|_| (Tally::default(), Some("a panic".to_owned())))
}

/// Runs cases on all processors; gives what they saw and the first that fails.
fn run_all(cases: u64, peer: PeerKind, mutant: Option<Mutant>) -> (Tally, Option<(u64, String)>) {
    let (next, all, failed) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(None));
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= cases || failed.lock().unwrap().is_some() {
                break;
            }
            let (saw, violation) = run(Case { seed, peer, mutant, traced: false });
            tally.add(&saw);
            if let Some(violation) = violation {
                failed.lock().unwrap().get_or_insert((seed, violation));
            }
        }
        all.lock().unwrap().add(&tally);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, Into::into) {
            scope.spawn(work);
        }
    });
    (all.into_inner().unwrap(), failed.into_inner().unwrap())
}

fn hold(cases: u64, peer: PeerKind) -> Tally {
    let begun = Instant::now();
    let (tally, failed) = run_all(cases, peer, None);
    if let Some((seed, violation)) = failed {
        run(Case { seed, peer, mutant: None, traced: true });
        panic!("seed {seed} against {peer:?}: {violation}");
    }
    println!("{cases} cases against {peer:?} in {:.1} s: {tally}", begun.elapsed().as_secs_f64());
    assert!(tally.total >= cases * EVENTS, "a case has at least {EVENTS} events");
    tally
}

const STATES: [State; 7] = [
    State::Empty,
    State::BackingOff,
    State::OnHold,
    State::Opening,
    State::Streaming,
    State::CatchingUp,
    State::Finishing,
];

/// What must have been tried against the one and the other; of both together all that there is.
const HOSTILE_EVENTS: [&str; 7] =
    ["late PERSISTED", "a late error", "loaded", "stored", "gap Expired", "retimed", "held elsewhere"];
const SERVICE_EVENTS: [&str; 12] = [
    "fault: error",
    "fault: withheld",
    "fault: delayed",
    "fault: stalled",
    "fault: frozen",
    "fault: slow",
    "fault: cut",
    "cut",
    "loaded",
    "stored",
    "gap BufferOverflow",
    "gap Refused",
];

/// Nothing is lost unsaid whatever a hostile peer does, and everything is in the emulator's archive or said to be missing.
/// One test, since what is seen is counted over both.
#[test]
fn nothing_is_lost_unsaid_whoever_is_at_the_other_end() {
    let errors: Vec<u32> = (4000..=4012).chain(4500..=4507).chain([4999, 5000, 5001]).collect();
    let mut all = hold(HOSTILE_CASES, PeerKind::Hostile);
    let mut rare = all.below(SEEN_LEAST, &HOSTILE_EVENTS, &errors, &STATES);
    let service = hold(SERVICE_CASES, PeerKind::Service);
    rare.extend(service.below(SEEN_LEAST, &SERVICE_EVENTS, &errors, &STATES));
    all.add(&service);
    let seen: Vec<_> = all.events.keys().copied().collect();
    rare.extend(all.below(SEEN_LEAST, &seen, &[], &[]));
    assert!(rare.is_empty(), "too rare to count as tried: {rare:#?}");
}

#[test]
fn seeds_that_have_failed_once_hold() {
    for (peer, seed) in KEPT {
        let (_, violation) = run(Case { seed, peer, mutant: None, traced: false });
        assert_eq!(violation, None, "seed {seed} against {peer:?}");
    }
}

/// Runs one seed with its trace: `SIMULATION_SEED=12 SIMULATION_PEER=service`.
#[test]
fn one_seed_with_its_trace() {
    let Some(seed) = std::env::var("SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    let is_service = std::env::var("SIMULATION_PEER").is_ok_and(|peer| peer == "service");
    let peer = if is_service { PeerKind::Service } else { PeerKind::Hostile };
    let (_, violation) = run(Case { seed, peer, mutant: None, traced: true });
    assert_eq!(violation, None);
}

/// What is broken on purpose, to see that it is found.
const PLANTED: [Mutant; 23] = [
    M::FreesAtReceived,
    M::FreesWhatIsNotWhole,
    M::DeafToLateWords,
    M::LateErrorRollsBack,
    M::CursorOfFailedAttempt,
    M::ResumesLate,
    M::NoStallTimers,
    M::ForgetsToHold,
    M::NoBackOff,
    M::ResetsAtOpening,
    M::TwoSessions,
    M::TimeGoesBack,
    M::SkipsTheWrongOne,
    M::SilentLoadFailure,
    M::SilentOverflow,
    M::SilentExpiry,
    M::TrackMissing,
    M::NoPace,
    M::CutsTooShort,
    M::CutsTooLong,
    M::GapEndsAtItsStart,
    M::CallsTheStoredMissing,
    M::SilentRest,
];
/// What only a peer shows that says things which an honest service does not.
const BY_THE_HOSTILE_ALONE: [Mutant; 3] =
    [M::FreesWhatIsNotWhole, M::LateErrorRollsBack, M::CallsTheStoredMissing];

#[test]
fn planted_faults_are_found() {
    let missed = missed(&PLANTED, PeerKind::Hostile, HOSTILE_CASES / 10);
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// What the emulator takes, keeps and says shows nearly all of them.
#[test]
fn planted_faults_are_found_against_the_service() {
    let mut planted = PLANTED.to_vec();
    planted.retain(|mutant| !BY_THE_HOSTILE_ALONE.contains(mutant));
    let missed = missed(&planted, PeerKind::Service, SERVICE_CASES / 10);
    assert!(missed.is_empty(), "not found: {missed:?}");
}

fn missed(planted: &[Mutant], peer: PeerKind, cases: u64) -> Vec<Mutant> {
    let mut missed = Vec::new();
    for mutant in planted {
        match run_all(cases, peer, Some(*mutant)).1 {
            Some((seed, violation)) => {
                println!("{mutant:?} is found by seed {seed} against {peer:?}: {violation}");
            }
            None => missed.push(*mutant),
        }
    }
    missed
}
