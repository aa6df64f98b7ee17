//! Log lines go to standard error. Foreign crates log errors alone: their other lines hold requests, answers and what
//! was read from files, and so might hold secrets.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be understood.
    #[error("failed to parse the log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    #[error("failed to set up logging")]
    Init(#[from] TryInitError),
}

/// Sets up logging for the process.
pub fn init(filter: &str, json: bool) -> Result<(), LoggingError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    let lines = lines.with_filter(filter).with_filter(FilterFn::new(is_ours_or_error));
    tracing_subscriber::registry().with(lines).try_init()?;
    Ok(())
}

fn is_ours_or_error(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("streamfleet") || *metadata.level() <= Level::ERROR
}
