//! The operator, whole, in process and in virtual time: stopped before and after each call of AWS and each write to the API server,
//! with answers lost, with the lease lost to another one, with views that are old, with faults planted around it. The invariants I1 to I4, I6 and I7 of operators-facts
//! §8.2 are looked at at every step.
//!
//! To look closer: `CRASH_POINTS_LOG=info` or `=debug` prints the operator's log, `CRASH_POINTS_PATH` names the way (or a part of its
//! name), `CRASH_POINTS_AT` the number of a point, `CRASH_POINTS_MUTANT` the planted fault, `CRASH_POINTS_SEED` the seed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it is all a test: what is not there fails it; figures are shown also when it passes"
)]

mod actions;
mod alarms;
mod api;
mod class_paths;
mod cloud;
mod ends;
mod facts;
mod figures;
mod invariants;
mod mutants;
mod paths;
mod planted;
mod random;
mod recorded;
mod refused;
mod rest;
mod schema;
mod slowness;
mod stale;
mod terms;
mod trace;
mod turns;
mod wanted;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use paths::Path;
use recorded::{Recorded, record};
use world::{How, Interruption, World};

/// Runs a way with an interruption; the answer is what is against the invariants.
fn interrupt(path: &Path, prepared: &World, recorded: &Recorded, plan: Interruption) -> Vec<String> {
    let world = prepared.fork();
    world.lock().plan = Some(plan);
    path.act(&world);
    world.to_rest();
    path.expect(&world);
    let mut inner = world.lock();
    let summary = rest::summary(&mut inner);
    if summary != recorded.summary {
        inner.violate(format!("end: not as undisturbed:\n{summary}\n{}", recorded.summary));
    }
    let reached = inner.points.get(plan.at).filter(|_| inner.is_reached).cloned();
    if reached.as_ref() != Some(&recorded.points[plan.at]) {
        inner.violate(format!("the point was not reached, but {reached:?}"));
    }
    inner.violations.clone()
}

/// What came of the points of a way.
struct Tried {
    points: usize,
    runs: usize,
    problems: Vec<String>,
}

/// Stops the operator at each point of a way, and loses each answer.
fn try_all(path: &Path) -> Tried {
    let prepared = path.prepared();
    let recorded = record(path, &prepared);
    let (mut runs, mut problems) = (0, Vec::new());
    let only: Option<usize> = std::env::var("CRASH_POINTS_AT").ok().and_then(|at| at.parse().ok());
    for (at, label) in recorded.points.iter().enumerate() {
        if only.is_some_and(|only| only != at) {
            continue;
        }
        for how in How::ALL {
            if !how.suits(label) {
                continue;
            }
            let found = interrupt(path, &prepared, &recorded, Interruption { at, how });
            if !found.is_empty() {
                problems.push(format!("{}: {how:?} at {at}, {label}: {found:#?}", path.name));
            }
            runs += 1;
        }
    }
    println!("{}: {} points, {runs} runs", path.name, recorded.points.len());
    Tried { points: recorded.points.len(), runs, problems }
}

#[test]
fn wherever_it_is_stopped_or_an_answer_is_lost_it_ends_as_undisturbed() {
    let only = std::env::var("CRASH_POINTS_PATH").unwrap_or_default();
    let paths: Vec<&Path> = class_paths::all().into_iter().filter(|path| path.name.contains(&only)).collect();
    let tried = in_parallel(&paths, |path| try_all(path));
    let points: usize = tried.iter().map(|tried| tried.points).sum();
    let runs: usize = tried.iter().map(|tried| tried.runs).sum();
    let problems: Vec<String> = tried.into_iter().flat_map(|tried| tried.problems).collect();
    println!("crash points: {points} in {} ways, {runs} runs, none skipped", paths.len());
    assert!(problems.is_empty(), "{} of {runs}: {}", problems.len(), problems.join("\n"));
    assert!(points > 150 || !only.is_empty(), "{points}");
    if only.is_empty() {
        figures::say("points", format!("{points} points of {} ways, {runs} runs", paths.len()));
    }
}

/// Does something with each, with as many threads as there are processors.
fn in_parallel<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(one);
                    done.lock().unwrap().push(result);
                }
            });
        }
    });
    done.into_inner().unwrap()
}
