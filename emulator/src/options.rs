//! How an emulator is set up. The flags of the binary, with their defaults, are in `main.rs`.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use streamfleet_media::limits::{PUT_MEDIA_IDLE_SECONDS_MAX, PUT_MEDIA_SESSION_SECONDS_MAX};
use url::Url;

/// The account of the default key.
pub const DEFAULT_ACCOUNT: &str = "123456789012";

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
    /// The account of keys that name none.
    pub account: String,
    /// Time from `RECEIVED` to `PERSISTED`, drawn evenly. An assumption: the service does not document it.
    pub persist_delay: RangeInclusive<Duration>,
    /// How long a stream stays `CREATING`, `UPDATING` and `DELETING`.
    pub state_delay: Duration,
    /// Age at which `PutMedia` ends with error 4003.
    pub put_session_limit: Duration,
    /// Age at which `GetMedia` ends cleanly.
    pub get_session_limit: Duration,
    /// Silence after which `PutMedia` is closed.
    pub idle_limit: Duration,
    /// Silence after which `IDLE` is sent, and again each time. An assumption.
    pub idle_ack_interval: Duration,
}

impl Options {
    /// The service's own limits, free ports on the loopback, and data in `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: loopback,
            listen_tls: Some(loopback),
            advertise: None,
            data: data.into(),
            credentials: None,
            account: DEFAULT_ACCOUNT.to_owned(),
            persist_delay: Duration::from_millis(500)..=Duration::from_millis(1500),
            state_delay: Duration::from_millis(100),
            put_session_limit: Duration::from_secs(PUT_MEDIA_SESSION_SECONDS_MAX),
            get_session_limit: Duration::from_secs(PUT_MEDIA_SESSION_SECONDS_MAX),
            idle_limit: Duration::from_secs(PUT_MEDIA_IDLE_SECONDS_MAX),
            idle_ack_interval: Duration::from_secs(5),
        }
    }
}
