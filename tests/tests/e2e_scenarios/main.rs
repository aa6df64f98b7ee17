//! The scenarios in which other operators are known to fail, on the real apiserver: each is a test by that name, with an emulator
//! and an operator of its own that looks after classes of its own alone, so that they run beside one another.

mod alarms;
mod api_proxy;
mod crash;
mod policies;
mod skew;
mod split;
mod stale;
mod storms;

use streamfleet_tests::e2e::scene;
