//! Whose credentials sign: the process's own, by the SDK's default chain, or those of a role that a feed assumes.
//!
//! The chain: environment, profile files, web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`), container endpoint
//! (`AWS_CONTAINER_CREDENTIALS_FULL_URI`, `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`: EKS Pod Identity), instance. Profile files
//! are read again when they change, tokens each time that they are used. Credentials are taken anew some minutes before they
//! expire; where that fails the old ones serve until the end. Nothing that was read is in an error.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_kinesisvideo::config::{Region, SharedCredentialsProvider};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::control;
use super::network::Network;
use super::refusal::Judgement;
use crate::session::Refusal;

/// Where nothing was found it is not searched again for this time.
const MISSING_FOR: Duration = Duration::from_secs(1);

/// Credentials are taken anew this long before they expire, or after three quarters of their life if that is later.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);

/// How often profile files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Credentials, and until when they are good.
#[derive(Debug, Clone)]
pub struct Held {
    /// What signs.
    pub credentials: Credentials,
    /// When others are to be taken; none where they do not expire.
    pub renew_at: Option<SystemTime>,
    /// Rises whenever the process's own credentials were replaced in a file.
    pub generation: u64,
}

impl Held {
    /// Taken at `now`.
    pub fn taken(credentials: Credentials, now: SystemTime, generation: u64) -> Self {
        let renew_at = credentials.expiry().map(|expiry| {
            let life = expiry.duration_since(now).unwrap_or_default();
            expiry.checked_sub(EXPIRY_MARGIN.min(life / 4)).unwrap_or(expiry)
        });
        Self { credentials, renew_at, generation }
    }

    /// Whether they need not be taken anew.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.renew_at.is_none_or(|at| now < at)
    }

    /// Whether they are good for anything.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|expiry| now < expiry)
    }
}

/// The process's AWS identity. Shared by all feeds.
#[derive(Debug, Default)]
pub struct Identity {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Kept while it works; made anew after a refusal or a change of the files, since it reads them once.
    provider: Option<SharedCredentialsProvider>,
    current: Option<Held>,
    /// The current ones come from files that have changed since.
    replaced: bool,
    generation: u64,
    /// When the chain last found nothing: all feeds ask at once, and a search may take seconds.
    missing_at: Option<Instant>,
    files: Option<Vec<Stamp>>,
    looked_at: Option<Instant>,
}

/// What tells one content of a file from another: a mounted Secret changes by the swap of a link.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(Option<(Option<SystemTime>, u64)>);

impl Identity {
    /// With these credentials, until they are refused.
    #[cfg(test)]
    pub fn fixed(credentials: Credentials) -> Self {
        let current = Some(Held::taken(credentials, SystemTime::now(), 0));
        Self { state: Mutex::new(State { current, ..State::default() }) }
    }

    /// Credentials that are good for some minutes. The region says where a role is assumed, if the chain does so.
    pub async fn held(&self, region: &str, network: &Network, now: SystemTime) -> Result<Held, Judgement> {
        let mut state = self.state.lock().await;
        state.look().await;
        if let Some(current) = state.current.as_ref().filter(|held| !state.replaced && held.is_fresh(now)) {
            return Ok(current.clone());
        }
        let found = if state.missing_at.is_some_and(|at| at.elapsed() < MISSING_FOR) {
            Err(missing())
        } else {
            let found = Box::pin(state.search(region, network, now)).await;
            state.missing_at = found.is_err().then(Instant::now);
            found
        };
        let still_good = state.current.as_ref().filter(|held| held.is_valid(now));
        found.or_else(|judgement| still_good.cloned().ok_or(judgement))
    }

    /// Forgets what was refused, if it is still what would be given out.
    pub async fn refused(&self, refused: &Credentials) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|held| same(&held.credentials, refused)) {
            state.current = None;
            state.provider = None;
        }
    }
}

fn same(a: &Credentials, b: &Credentials) -> bool {
    (a.access_key_id(), a.secret_access_key(), a.session_token())
        == (b.access_key_id(), b.secret_access_key(), b.session_token())
}

impl State {
    /// Looks whether the profile files have changed, if that is due.
    async fn look(&mut self) {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(Instant::now());
        let mut stamps = Vec::new();
        for path in profile_files() {
            let metadata = tokio::fs::metadata(&path).await.ok();
            stamps.push(Stamp(metadata.map(|metadata| (metadata.modified().ok(), metadata.len()))));
        }
        let before = self.files.replace(stamps);
        if before.is_some() && before != self.files {
            self.provider = None;
            self.replaced = true;
        }
    }

    async fn search(&mut self, region: &str, network: &Network, now: SystemTime) -> Result<Held, Judgement> {
        let provider = match self.provider.take() {
            Some(provider) => provider,
            None => load_provider(region, network).await.ok_or_else(missing)?,
        };
        // The error is not shown: a provider's may quote what it has read.
        let credentials = provider.provide_credentials().await.map_err(|_| missing())?;
        self.provider = Some(provider);
        let replaced = std::mem::take(&mut self.replaced);
        if replaced && self.current.as_ref().is_some_and(|held| !same(&held.credentials, &credentials)) {
            self.generation += 1;
        }
        let held = Held::taken(credentials, now, self.generation);
        self.current = Some(held.clone());
        Ok(held)
    }
}

/// Where the SDK reads profiles.
fn profile_files() -> impl Iterator<Item = PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let file = move |variable: &str, name: &str| {
        let named = std::env::var_os(variable).map(PathBuf::from);
        named.or_else(|| home.as_ref().map(|home| home.join(".aws").join(name)))
    };
    [file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config")]
        .into_iter()
        .flatten()
}

fn missing() -> Judgement {
    Judgement {
        refusal: Refusal::CredentialsMissing,
        message: "the default chain finds no AWS credentials".to_owned(),
        forget_endpoint: false,
        doubt_clock: false,
    }
}

async fn load_provider(region: &str, network: &Network) -> Option<SharedCredentialsProvider> {
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .http_client(control::client(network, None))
        .load()
        .await;
    config.credentials_provider()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiring_in(seconds: u64, now: SystemTime) -> Credentials {
        Credentials::new("a", "b", None, Some(now + Duration::from_secs(seconds)), "test")
    }

    #[test]
    fn credentials_are_renewed_before_they_expire_and_short_ones_not_at_once() {
        let now = SystemTime::now();
        let hour = Held::taken(expiring_in(3_600, now), now, 0);
        assert!(hour.is_fresh(now + Duration::from_secs(3_299)));
        assert!(!hour.is_fresh(now + Duration::from_mins(55)));
        assert!(hour.is_valid(now + Duration::from_secs(3_599)));
        assert!(!hour.is_valid(now + Duration::from_hours(1)));
        let short = Held::taken(expiring_in(20, now), now, 0);
        assert!(
            short.is_fresh(now + Duration::from_secs(14)) && !short.is_fresh(now + Duration::from_secs(15))
        );
        let endless = Held::taken(Credentials::new("a", "b", None, None, "test"), now, 0);
        assert!(endless.is_fresh(now + Duration::from_hours(10_000)));
    }
}
