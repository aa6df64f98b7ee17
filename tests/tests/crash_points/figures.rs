//! What the tests of this program have tried, in one line: the last of them to end says it.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Who has something to say, in this order.
const PARTS: [&str; 4] = ["points", "stale views", "planted faults", "transitions"];

static SAID: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());

/// What one of them has tried.
pub fn say(part: &'static str, text: String) {
    assert!(PARTS.contains(&part), "{part}");
    let mut said = SAID.lock().unwrap();
    said.insert(part, text);
    if said.len() == PARTS.len() {
        let all: Vec<&str> = PARTS.iter().filter_map(|part| said.get(part)).map(String::as_str).collect();
        println!("crash_points in all: {}", all.join("; "));
    }
}
