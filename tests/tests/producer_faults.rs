//! What becomes of pictures when something breaks, in short: the scenarios of `make faults-producer` with a smaller picture
//! and shorter faults. Each holds the same kinds of limits.

#![expect(clippy::print_stdout, reason = "the counts are to be seen")]
#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use streamfleet_tests::faults::{HEAD, Report, Scale, Scenario};
use streamfleet_tests::figures::{Figure, columns};

async fn held(name: &str) {
    let reports = Scenario::find(name).unwrap().run(Scale::short()).await.unwrap();
    let head = HEAD.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(reports.iter().map(Report::row)).collect();
    println!("{}", columns(&rows));
    assert!(!reports.is_empty());
    let missed: Vec<Figure> = reports.iter().flat_map(Report::figures).filter(Figure::is_missed).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

/// One test for each scenario that tells something within a minute.
macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                held($name).await;
            }
        )*
    };
}

scenarios! {
    nothing_is_lost_when_connections_are_cut: "cut-15",
    nothing_is_lost_when_nobody_listens: "refused-8",
    attempts_are_few_while_connections_are_turned_away: "refused-30",
    nothing_is_lost_when_nothing_comes_back: "black-hole-60",
    nothing_is_lost_when_the_window_closes: "zero-window",
    nothing_is_lost_when_acknowledgements_stop: "acks-stop",
    nothing_is_lost_while_the_uplink_is_too_slow: "slow-uplink",
    errors_of_the_service_cost_what_they_name_and_no_more: "errors",
    nothing_is_lost_when_calls_are_forbidden_for_a_while: "forbidden",
    nothing_is_lost_when_sessions_get_too_old: "session-age",
    nothing_is_lost_or_sent_twice_when_a_session_makes_room_for_the_next: "rotation",
    nothing_is_lost_when_tokens_expire: "token-expires",
    what_a_full_disk_cannot_take_is_a_gap_and_memory_stays_within_its_budget: "disk-full",
    what_was_left_on_disk_is_stored: "spool-10h",
    a_killed_producer_stores_what_its_journal_has: "kill-9",
    a_camera_that_reboots_with_other_parameter_sets_is_a_gap_and_no_more: "camera-reboots",
    nothing_is_lost_when_the_camera_s_clock_jumps_back: "camera-clock-back",
    a_silent_camera_is_a_gap_and_no_more: "camera-silent",
    nothing_is_lost_when_the_node_s_clock_is_stepped: "wall-clock-steps",
    all_cameras_of_a_process_come_back_at_once: "50-cameras-vanish",
}
