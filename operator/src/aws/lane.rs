//! Who goes first where calls wait for a quota: work on new and changed objects, then looks that somebody asked for, then the
//! steady sweep. The lane goes with the task, so that no call has to name it.

use std::future::Future;

tokio::task_local! {
    static LANE: Lane;
}

/// Who goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// An object is new or has changed: somebody waits for it.
    #[default]
    Fresh,
    /// Somebody has asked for a look: of one object, or of thousands at a time.
    Asked,
    /// Nobody does: it looks whether all is as it was.
    Sweep,
}

impl Lane {
    /// All of them, who goes first before who goes last.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Asked, Self::Sweep];

    /// The lane of this task: `Fresh` where none was said.
    pub fn current() -> Self {
        LANE.try_with(|lane| *lane).unwrap_or_default()
    }

    /// For metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Asked => "asked",
            Self::Sweep => "sweep",
        }
    }

    /// Runs this in the lane.
    pub async fn run<F: Future>(self, future: F) -> F::Output {
        LANE.scope(self, future).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lane_goes_with_the_task_and_is_fresh_where_none_is_said() {
        assert_eq!(Lane::current(), Lane::Fresh);
        let inside = Lane::Sweep.run(async { Lane::current() }).await;
        assert_eq!(inside, Lane::Sweep);
        assert_eq!(Lane::current(), Lane::Fresh);
    }
}
