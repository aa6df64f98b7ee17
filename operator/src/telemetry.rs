//! Log lines.

use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, Settings};

/// What foreign crates may log, whatever the filter says: those of AWS would show key ids, tokens and signed requests.
const QUIET: &str = "aws_config=warn,aws_credential_types=warn,aws_runtime=warn,aws_sigv4=warn,aws_smithy_runtime=warn,\
                     aws_smithy_runtime_api=warn,aws_smithy_http_client=warn,aws_sdk_cloudwatch=warn,\
                     aws_sdk_kinesisvideo=warn,aws_sdk_sts=warn";

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--log` is not a filter.
    #[error("failed to read the log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logging was started before.
    #[error("failed to install the log writer")]
    Install(#[source] tracing_subscriber::util::TryInitError),
}

/// Writes log lines to standard error from now on.
pub fn start(settings: &Settings) -> Result<(), Error> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = EnvFilter::try_new(format!("{},{QUIET}", settings.log)).map_err(Error::Filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => builder.with_ansi(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(Error::Install)
}
