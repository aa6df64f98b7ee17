//! Starting and ending an emulator.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet, time::interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::{
    auth::{Credentials, CredentialsError, Revoked},
    cloudwatch,
    control::ControlOptions,
    hooks::{calls::Calls, faults::Faults, outage::Outage},
    options::Options,
    roles::{Roles, RolesError},
    service::Service,
    store::Catalog,
    wire::{Authority, Listener, TlsError, serve, server_names},
};

/// How often expired media is purged and deleted streams are removed.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Why an emulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be read or written.
    #[error("failed to open the data folder '{path}'")]
    Data {
        /// The folder.
        path: PathBuf,
        #[source]
        #[doc = "Why."]
        source: io::Error,
    },
    /// Another emulator has it.
    #[error("the data folder '{0}' is in use by another emulator")]
    InUse(PathBuf),
    /// An address cannot be listened at.
    #[error("failed to listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        #[source]
        #[doc = "Why."]
        source: io::Error,
    },
    /// The file of keys cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The file of roles cannot be used.
    #[error(transparent)]
    Roles(#[from] RolesError),
    /// TLS cannot be served.
    #[error("failed to set up HTTPS")]
    Tls(#[from] TlsError),
    /// The URL made of a listener's address is none.
    #[error("failed to make the URL to advertise")]
    Advertise(#[from] url::ParseError),
}

/// A running emulator. It ends with [`shutdown`](Self::shutdown), or abruptly, as by `kill -9`, with the runtime.
#[derive(Debug)]
pub struct Emulator {
    http: SocketAddr,
    https: Option<SocketAddr>,
    advertise: Url,
    data: PathBuf,
    service: Arc<Service>,
    listeners: JoinSet<()>,
    /// Keeps other emulators out of the data folder.
    _lock: File,
}

impl Emulator {
    /// Opens the data folder, binds the listeners and serves. Writes `addresses.json`, and `ca.crt` for HTTPS, into the
    /// data folder.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let data = options.data.clone();
        let failed = |source| StartError::Data { path: data.clone(), source };
        fs::create_dir_all(&data).map_err(failed)?;
        let lock = lock(&options)?;
        let addresses_path = data.join("addresses.json");
        forget_addresses(&addresses_path).map_err(failed)?;
        let plain = bind(options.listen).await?;
        let secure = match options.listen_tls {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let http = plain.local_addr().map_err(failed)?;
        let https = secure.as_ref().map(TcpListener::local_addr).transpose().map_err(failed)?;
        let advertise = match &options.advertise {
            Some(url) => url.clone(),
            None => default_url(http, https)?,
        };
        let mut listeners = vec![Listener { socket: plain, tls: None }];
        if let (Some(socket), Some(address)) = (secure, https) {
            let names = server_names(address.ip(), advertise.host_str());
            let tls = Some(Authority::load_or_make(&data)?.acceptor(names)?);
            listeners.push(Listener { socket, tls });
        }
        let control = ControlOptions {
            advertise: advertise.clone(),
            seed: fastrand::u64(..),
            ..options.control.clone()
        };
        let catalog = Catalog::open(&data, control).map_err(failed)?;
        let cloudwatch = cloudwatch::live::Live::open(&data, options.cloudwatch.clone()).map_err(failed)?;
        let service = Arc::new(Service {
            credentials: Credentials::load(options.credentials.clone())?,
            revoked: Revoked::default(),
            roles: Roles::load(options.roles.as_deref())?,
            options,
            catalog,
            cloudwatch,
            calls: Calls::default(),
            faults: Faults::default(),
            discarded: AtomicU64::new(0),
            outage: Outage::default(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(serve(listener, service.clone()));
        }
        tasks.spawn(keep_house(service.clone()));
        tasks.spawn(cloudwatch::live::run(service.clone()));
        let addresses = json!({"http": http.to_string(), "https": https.map(|address| address.to_string())});
        write_addresses(&addresses_path, &addresses.to_string()).map_err(failed)?;
        Ok(Self { http, https, advertise, data, service, listeners: tasks, _lock: lock })
    }

    /// Where plain HTTP is served.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where HTTPS is served, if it is.
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https
    }

    /// What `GetDataEndpoint` answers, before the base path.
    pub fn advertised(&self) -> &Url {
        &self.advertise
    }

    /// The certificate authority to trust for HTTPS.
    pub fn ca_path(&self) -> PathBuf {
        self.data.join("ca.crt")
    }

    /// Ends connections, stores what was received, and returns when all is on disk.
    pub async fn shutdown(mut self) {
        self.service.shutdown.cancel();
        self.service.tasks.close();
        self.service.tasks.wait().await;
        while self.listeners.join_next().await.is_some() {}
    }
}

/// Keeps a second emulator out of the folder: two would write the same logs.
fn lock(options: &Options) -> Result<File, StartError> {
    let path = options.data.clone();
    let file = match File::create(path.join("lock")) {
        Ok(file) => file,
        Err(source) => return Err(StartError::Data { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(path)),
        Err(TryLockError::Error(source)) => Err(StartError::Data { path, source }),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn default_url(http: SocketAddr, https: Option<SocketAddr>) -> Result<Url, url::ParseError> {
    match https {
        Some(address) => Url::parse(&format!("https://{address}")),
        None => Url::parse(&format!("http://{http}")),
    }
}

/// Whoever waits for the file must not find that of an earlier run.
fn forget_addresses(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whoever waits for the file must never see half of it.
fn write_addresses(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("json.new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

async fn keep_house(service: Arc<Service>) {
    let mut ticks = interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            () = service.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let service = service.clone();
        let done = tokio::task::spawn_blocking(move || {
            service.catalog.sweep().and_then(|()| service.catalog.expire())
        })
        .await;
        if let Ok(Err(error)) = done {
            tracing::warn!(error = &error as &dyn std::error::Error, "Housekeeping failed");
        }
    }
}
