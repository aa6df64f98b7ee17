//! Log lines, and traces of passes where they are asked for: each pass is a span, with one below it for each call to AWS and each
//! write to the API server. What is called and what is answered is told, never what is sent.

#[cfg(test)]
pub mod testing;

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::args::{LogFormat, Settings};

/// What foreign crates may log, whatever the filter says: those of AWS would show key ids, tokens and signed requests.
const QUIET: &str = "aws_config=warn,aws_credential_types=warn,aws_runtime=warn,aws_sigv4=warn,aws_smithy_runtime=warn,\
                     aws_smithy_runtime_api=warn,aws_smithy_http_client=warn,aws_sdk_cloudwatch=warn,\
                     aws_sdk_kinesisvideo=warn,aws_sdk_sts=warn";
/// What becomes part of a trace: our own spans and lines.
const TRACED: &str = "off,streamfleet_operator=debug";
/// How long a collector is waited for. What it does not take then is dropped.
const COLLECTOR_WITHIN: Duration = Duration::from_secs(10);
/// The longest answer of a collector.
const ANSWER_MAX: usize = 64 << 10;

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--log` is not a filter.
    #[error("failed to read the log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logging was started before.
    #[error("failed to install the log writer")]
    Install(#[source] tracing_subscriber::util::TryInitError),
    /// `--otlp-endpoint` is not an address.
    #[error("failed to prepare the export of traces")]
    Traces(#[source] ExporterBuildError),
}

/// What runs for logs and traces. Dropped, it sends what is left.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            // A collector that does not answer holds up nobody's stop.
            let _ = traces.shutdown_with_timeout(COLLECTOR_WITHIN / 2);
        }
    }
}

/// Writes log lines to standard error from now on, and sends traces to the collector where one is named. To be called within the
/// runtime, which has to outlive the answer.
///
/// # Errors
/// When the settings cannot be used, or logging was started before.
pub fn start(settings: &Settings) -> Result<Telemetry, Error> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = EnvFilter::try_new(format!("{},{QUIET}", settings.log)).map_err(Error::Filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = match settings.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = settings.otlp_endpoint.as_deref().map(|endpoint| provider(endpoint, &settings.pod_name));
    let traces = traces.transpose().map_err(Error::Traces)?;
    let spans = traces.as_ref().map(layer);
    let all = Registry::default().with(lines.with_filter(filter)).with(spans);
    all.try_init().map_err(Error::Install)?;
    Ok(Telemetry { traces })
}

/// Sends spans to a collector that speaks OTLP over HTTP, from a thread of its own.
fn provider(endpoint: &str, pod: &str) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(Handle::current()))
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()?;
    let resource = Resource::builder()
        .with_service_name("streamfleet-operator")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", pod.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn layer<S>(provider: &SdkTracerProvider) -> impl tracing_subscriber::Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    let tracer = provider.tracer("streamfleet-operator");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
    layer.with_filter(EnvFilter::new(TRACED))
}

/// The way to the collector. The exporter's thread has no runtime, so that requests are made in the operator's.
#[derive(Debug)]
struct Collector {
    runtime: Handle,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Collector {
    fn new(runtime: Handle) -> Self {
        Self { runtime, client: Client::builder(TokioExecutor::new()).build_http() }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let exchange = async move {
            let (parts, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, body))
        };
        // The timer too has to be made inside the runtime.
        self.runtime.spawn(async { tokio::time::timeout(COLLECTOR_WITHIN, exchange).await }).await??
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::State;
    use axum::http::{HeaderMap, Uri};
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    type Received = (Uri, HeaderMap, Bytes);

    async fn take(to: State<UnboundedSender<Received>>, uri: Uri, headers: HeaderMap, body: Bytes) {
        let _ = to.send((uri, headers, body));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pass_becomes_a_span_at_the_collector() {
        let (to, mut received) = unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(take).with_state(to)).await });

        let provider = provider(&format!("http://{address}/"), "pod-1").unwrap();
        tracing::subscriber::with_default(Registry::default().with(layer(&provider)), || {
            tracing::info_span!("pass", kind = "VideoStream", name = "front-door").in_scope(|| ());
        });
        let telemetry = Telemetry { traces: Some(provider) };
        tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();

        let next = tokio::time::timeout(Duration::from_secs(20), received.recv());
        let (uri, headers, body) = next.await.unwrap().unwrap();
        assert_eq!(
            (uri.path(), &headers["content-type"]),
            ("/v1/traces", &"application/x-protobuf".parse().unwrap())
        );
        let text = String::from_utf8_lossy(&body);
        for word in ["pass", "VideoStream", "front-door", "streamfleet-operator", "pod-1"] {
            assert!(text.contains(word), "{word} is not in the trace");
        }
    }
}
