//! What is known about a KVS stream, and how well: what was read in this pass, or what a sweep saw a while ago. A step that
//! changes something can be built only on the former, and the types say so.

use std::collections::BTreeMap;

use crate::aws::{Settings, StreamInfo};

/// How well something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It was read from the service in this pass.
    Fresh,
    /// It is what a sweep or an earlier pass saw.
    Cached,
}

/// What is seen under the name of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of them in a pass, and it is nearly always a stream"
)]
pub enum View {
    /// There is no stream.
    Absent(Freshness),
    /// There is one.
    Present(Observed),
}

/// A stream as it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its description.
    pub info: StreamInfo,
    /// What the description lacks.
    pub settings: Settings,
    freshness: Freshness,
}

impl Observed {
    /// What was read in this pass, the description after the settings or together with them.
    pub const fn fresh(info: StreamInfo, settings: Settings) -> Self {
        Self { info, settings, freshness: Freshness::Fresh }
    }

    /// What is known from before, or in part.
    pub const fn cached(info: StreamInfo, settings: Settings) -> Self {
        Self { info, settings, freshness: Freshness::Cached }
    }

    /// Its tags.
    pub const fn tags(&self) -> &BTreeMap<String, String> {
        &self.settings.tags
    }

    /// What a change is sent under; `None` where the stream was not read in this pass.
    pub fn fence(&self) -> Option<Fence> {
        (self.freshness == Freshness::Fresh)
            .then(|| Fence { arn: self.info.arn.clone(), version: self.info.version.clone() })
    }
}

impl View {
    /// The stream, if there is one.
    pub const fn stream(&self) -> Option<&Observed> {
        match self {
            Self::Present(observed) => Some(observed),
            Self::Absent(_) => None,
        }
    }

    /// Whether it was read in this pass.
    pub const fn is_fresh(&self) -> bool {
        let freshness = match self {
            Self::Present(observed) => observed.freshness,
            Self::Absent(freshness) => *freshness,
        };
        matches!(freshness, Freshness::Fresh)
    }

    /// The permission to make a stream; `None` where it was not read in this pass that there is none.
    pub fn vacancy(&self) -> Option<Vacancy> {
        matches!(self, Self::Absent(Freshness::Fresh)).then_some(Vacancy(()))
    }
}

/// The stream that a change is meant for, and the version that it is computed from. Only [`Observed::fence`] makes one, and only
/// from a fresh read: so no step that changes or destroys something rests on a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    arn: String,
    version: String,
}

impl Fence {
    /// The ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The version of the settings.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// That there is no stream of the name, by a fresh read. Only [`View::vacancy`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vacancy(());

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{desired, observed};
    use super::*;

    #[test]
    fn a_cache_gives_no_leave_to_change_anything() {
        let fresh = observed(&desired(json!({})));
        assert!(fresh.fence().is_some());
        let cached = Observed::cached(fresh.info.clone(), fresh.settings);
        assert_eq!(cached.fence(), None);
        assert_eq!(View::Present(cached).vacancy(), None);
        assert_eq!(View::Absent(Freshness::Cached).vacancy(), None);
        assert!(View::Absent(Freshness::Fresh).vacancy().is_some());
    }
}
