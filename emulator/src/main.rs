//! `streamfleet-emulator`: the flags, the log, the signals.

use std::{io::Write, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use streamfleet_emulator::{
    DEFAULT_ACCOUNT, Emulator, Keep, Options,
    cloudwatch::{QUERY_ALARMS_MAX, Settings},
    control::ControlOptions,
};
use streamfleet_media::limits::FRAGMENT_MS_MIN;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

/// No limit here is longer than a year.
const SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// A local Kinesis Video Streams: control plane, `PutMedia`, `GetMedia`, archive, and STS.
#[derive(Debug, Parser)]
#[command(name = "streamfleet-emulator", version)]
struct Args {
    /// Where plain HTTP is served; port 0 takes a free one (see `addresses.json` in the data folder)
    #[arg(long, default_value = "127.0.0.1:4580")]
    listen: SocketAddr,
    /// Where HTTPS is served; its authority is written to `ca.crt` in the data folder
    #[arg(long)]
    listen_tls: Option<SocketAddr>,
    /// What `GetDataEndpoint` answers, before a base path of its own [default: the HTTPS, else the plain listener]
    #[arg(long)]
    advertise: Option<Url>,
    /// The data folder
    #[arg(long)]
    data: PathBuf,
    /// JSON file of the known keys [default: `streamfleet` / `streamfleet`]
    #[arg(long)]
    credentials: Option<PathBuf>,
    /// JSON file of the roles that may be assumed, with their external IDs [default: every role]
    #[arg(long)]
    roles: Option<PathBuf>,
    /// Account of the keys that name none
    #[arg(long, default_value = DEFAULT_ACCOUNT, value_parser = account)]
    account: String,
    /// Milliseconds from RECEIVED to PERSISTED, drawn evenly from MIN..MAX
    #[arg(long, value_name = "MIN..MAX", default_value = "500..1500", value_parser = delay_range)]
    persist_delay: RangeInclusive<Duration>,
    /// Milliseconds that a stream stays CREATING, UPDATING and DELETING
    #[arg(long, value_name = "MS", default_value_t = 100)]
    state_delay: u64,
    /// Milliseconds by which `ListStreams` is behind
    #[arg(long, value_name = "MS", default_value_t = 0)]
    list_lag: u64,
    /// Calls of the control plane in a second are limited as in the service
    #[arg(long)]
    quotas: bool,
    /// Seconds in a minute of alarms and metrics: with 5, an alarm of 60 seconds is evaluated every 5
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=60))]
    alarm_period: u64,
    /// Alarms that an account may have in a region [default: 5000 with --quotas, else any number]
    #[arg(long, value_name = "N")]
    alarms_max: Option<usize>,
    /// Streams that an account may have in a region
    #[arg(long, value_name = "N", default_value_t = ControlOptions::default().streams_max)]
    streams_max: usize,
    /// Seconds after which PutMedia ends with error 4003
    #[arg(long, value_name = "SECONDS", default_value = "2700", value_parser = seconds)]
    put_session_limit: Duration,
    /// Seconds after which GetMedia ends cleanly
    #[arg(long, value_name = "SECONDS", default_value = "2700", value_parser = seconds)]
    get_session_limit: Duration,
    /// Seconds of silence after which PutMedia is closed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    idle_limit: Duration,
    /// Milliseconds that a fragment must have, but a session's last
    #[arg(long, value_name = "MS", default_value_t = FRAGMENT_MS_MIN)]
    fragment_min: u64,
    /// Seconds by which a fragment may be ahead of the clock (error 4007)
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    future_limit: Duration,
    /// Seconds by which a fragment may be behind the clock (error 4007) [default: any time]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    past_limit: Option<Duration>,
    /// `PutMedia` calls, fragments and bytes in a second for each stream are not limited
    #[arg(long)]
    no_rates: bool,
    /// What becomes of media: `disk`, or `nothing` (it is checked, acknowledged and dropped: for load tests)
    #[arg(long, value_name = "KEEP", default_value = "disk", value_parser = keep)]
    keep: Keep,
    /// Seconds that temporary keys are valid, whatever `AssumeRole` asks for
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    token_lifetime: Option<Duration>,
}

impl Args {
    fn into_options(self) -> Options {
        let mut defaults = Options::new(&self.data);
        defaults.rules.fragment_ms_min = self.fragment_min;
        if self.no_rates {
            defaults.calls_per_second = None;
            defaults.fragments_per_second = None;
            defaults.bytes_per_second = None;
        }
        Options {
            listen: self.listen,
            listen_tls: self.listen_tls,
            advertise: self.advertise,
            credentials: self.credentials,
            roles: self.roles,
            account: self.account,
            persist_delay: self.persist_delay,
            control: ControlOptions {
                creating_ms: self.state_delay,
                updating_ms: self.state_delay,
                deleting_ms: self.state_delay,
                list_lag_ms: self.list_lag,
                quotas: self.quotas,
                streams_max: self.streams_max,
                ..ControlOptions::default()
            },
            cloudwatch: cloudwatch_settings(self.alarm_period * 1000, self.quotas, self.alarms_max),
            put_session_limit: self.put_session_limit,
            get_session_limit: self.get_session_limit,
            idle_limit: self.idle_limit,
            future_limit: Some(self.future_limit),
            past_limit: self.past_limit,
            keep: self.keep,
            token_lifetime: self.token_lifetime,
            ..defaults
        }
    }
}

fn cloudwatch_settings(minute_ms: u64, quotas: bool, alarms_max: Option<usize>) -> Settings {
    let plain = Settings { minute_ms, ..Settings::default() };
    let settings = if quotas { plain.with_quotas() } else { plain };
    let alarms_max = alarms_max.map(|most| (most, QUERY_ALARMS_MAX));
    Settings { alarms_max: alarms_max.or(settings.alarms_max), ..settings }
}

fn keep(text: &str) -> Result<Keep, String> {
    match text {
        "disk" => Ok(Keep::Disk),
        "nothing" => Ok(Keep::Nothing),
        _ => Err(format!("'{text}' is neither 'disk' nor 'nothing'")),
    }
}

fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_account { Ok(text.to_owned()) } else { Err("an account id has 12 digits".to_owned()) }
}

fn millis(text: &str) -> Result<Duration, String> {
    text.trim_end_matches("ms")
        .trim()
        .parse()
        .map(Duration::from_millis)
        .map_err(|_| format!("'{text}' is no number of milliseconds"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("'{text}' is no number of seconds"))?;
    if seconds > SECONDS_MAX {
        return Err(format!("'{text}' is more than a year"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn delay_range(text: &str) -> Result<RangeInclusive<Duration>, String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let range = millis(from)?..=millis(to)?;
    if range.is_empty() { Err(format!("'{text}' begins after its end")) } else { Ok(range) }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // A second default is impossible here: this is the first thing that touches TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch for SIGTERM")?;
    let emulator = Emulator::start(args.into_options()).await?;
    let https = emulator.https_addr().map(|address| format!(", https://{address}")).unwrap_or_default();
    let mut out = std::io::stdout();
    writeln!(out, "ready: http://{}{https}, advertising {}", emulator.http_addr(), emulator.advertised())
        .and_then(|()| out.flush())
        .context("failed to say that it is ready")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    emulator.shutdown().await;
    Ok(())
}
