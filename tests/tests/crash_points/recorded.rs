//! What an undisturbed run of a way comes to.

use serde_json::Value;

use crate::paths::Path;
use crate::rest::{self, Patience};
use crate::world::World;

/// What an undisturbed run of a way came to.
pub struct Recorded {
    /// The calls of AWS and the writes to the API server until all was settled.
    pub points: Vec<String>,
    /// What there was at the end.
    pub summary: Value,
}

/// Goes a way undisturbed, from a world that was prepared for it.
pub fn record(path: &Path, prepared: &World) -> Recorded {
    let world = prepared.fork();
    world.lock().patience = Patience::LONG;
    path.act(&world);
    world.to_rest();
    path.expect(&world);
    let mut inner = world.lock();
    assert_eq!(inner.violations, Vec::<String>::new(), "{}: undisturbed\n{:#?}", path.name, inner.points);
    let points = inner.points[..inner.settled_after].to_vec();
    Recorded { points, summary: rest::summary(&mut inner) }
}
