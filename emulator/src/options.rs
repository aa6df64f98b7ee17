//! How an emulator is set up. The flags of the binary, with their defaults, are in `main.rs`.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use streamfleet_media::limits::PUT_MEDIA_SESSION_SECONDS_MAX;
use url::Url;

use crate::cloudwatch::Settings;
use crate::control::ControlOptions;
use crate::ingest::{Rules, line::LineSettings};

/// The account of the default key.
pub const DEFAULT_ACCOUNT: &str = "123456789012";

/// What becomes of media that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is stored, and can be read.
    Disk,
    /// It is checked, acknowledged and dropped: for load tests.
    Nothing,
}

/// How an emulator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where plain HTTP is served. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// Where HTTPS is served, if at all.
    pub listen_tls: Option<SocketAddr>,
    /// What `GetDataEndpoint` answers; the HTTPS listener, else the plain one, when absent.
    pub advertise: Option<Url>,
    /// The data folder; made when it is not there.
    pub data: PathBuf,
    /// The known keys; `streamfleet` / `streamfleet` when absent.
    pub credentials: Option<PathBuf>,
    /// The roles that STS knows; every role when absent.
    pub roles: Option<PathBuf>,
    /// The account of keys that name none.
    pub account: String,
    /// Time from `RECEIVED` to `PERSISTED`, drawn evenly. An assumption: the service does not document it.
    pub persist_delay: RangeInclusive<Duration>,
    /// How the control plane is set up. `advertise` and `seed` there are set at the start.
    pub control: ControlOptions,
    /// How alarms and metrics are set up.
    pub cloudwatch: Settings,
    /// Age at which `PutMedia` ends with error 4003.
    pub put_session_limit: Duration,
    /// Age at which `GetMedia` ends cleanly.
    pub get_session_limit: Duration,
    /// Silence after which `PutMedia` is closed.
    pub idle_limit: Duration,
    /// Silence after which `IDLE` is sent, and again each time. An assumption.
    pub idle_ack_interval: Duration,
    /// What media may be.
    pub rules: Rules,
    /// How far a fragment may be ahead of our clock (error 4007). An assumption: the bound is not documented.
    pub future_limit: Option<Duration>,
    /// How far a fragment may be behind our clock (error 4007).
    pub past_limit: Option<Duration>,
    /// `PutMedia` calls to one stream in any second; more are `ClientLimitExceededException`.
    pub calls_per_second: Option<u32>,
    /// Fragments of one stream in a second; more wait.
    pub fragments_per_second: Option<u32>,
    /// Bytes of one stream in a second; more wait.
    pub bytes_per_second: Option<u64>,
    /// What becomes of media.
    pub keep: Keep,
    /// How long temporary keys are valid, whatever their requests ask for.
    pub token_lifetime: Option<Duration>,
}

impl Options {
    /// The service's own limits, free ports on the loopback, and data in `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let line = LineSettings::new("");
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: loopback,
            listen_tls: Some(loopback),
            advertise: None,
            data: data.into(),
            credentials: None,
            roles: None,
            account: DEFAULT_ACCOUNT.to_owned(),
            persist_delay: line.persist_delay,
            control: ControlOptions {
                creating_ms: 100,
                updating_ms: 100,
                deleting_ms: 100,
                ..ControlOptions::default()
            },
            cloudwatch: Settings::default(),
            put_session_limit: line.session_limit,
            get_session_limit: Duration::from_secs(PUT_MEDIA_SESSION_SECONDS_MAX),
            idle_limit: line.idle_limit,
            idle_ack_interval: line.idle_ack_interval,
            rules: line.rules,
            future_limit: line.future_limit,
            past_limit: line.past_limit,
            calls_per_second: line.calls_per_second,
            fragments_per_second: line.fragments_per_second,
            bytes_per_second: line.bytes_per_second,
            keep: Keep::Disk,
            token_lifetime: None,
        }
    }
}
