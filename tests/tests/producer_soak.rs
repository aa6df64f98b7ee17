//! A minute of `make soak`: random faults, and what the process holds beside media does not grow.

#![expect(clippy::print_stdout, reason = "the figures are to be seen")]

use streamfleet_tests::e2e::random;
use streamfleet_tests::figures::{Figure, table};
use streamfleet_tests::soak::Soak;
use streamfleet_tests::steps::Steps;

/// `STREAMFLEET_SEED` plays one again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_descriptors_and_tasks_are_the_same_after_random_faults_and_nothing_is_lost() {
    let seed = random::seed().unwrap();
    println!("{}={seed}", random::SEED_VARIABLE);
    let figures = Soak::short(seed).run(&Steps::start()).await.unwrap();
    println!("{}", table(&figures));
    let missed: Vec<&Figure> = figures.iter().filter(|figure| figure.is_missed()).collect();
    assert!(missed.is_empty(), "seed {seed}: {missed:#?}");
}
