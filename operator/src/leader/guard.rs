//! A client of the API server that writes nothing once this replica does not lead any more, and counts what it writes. Every
//! write of ours goes this way, events included, so that none can forget to ask.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tower::ServiceBuilder;
use tower::retry::RetryLayer;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::Leadership;
use crate::metrics::Metrics;

/// How often a request is sent again that the API server has no time for. Each try is checked anew; what still fails then is
/// tried again by the object's own back-off.
const TRIES: u32 = 4;
/// The first pause between them; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The same client, whose writes are checked first.
pub fn guarded(client: &Client, leadership: &Leadership, metrics: &Arc<Metrics>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let (client, leadership, metrics) = (client.clone(), leadership.clone(), metrics.clone());
    let checked =
        tower::service_fn(move |request| send(client.clone(), leadership.clone(), metrics.clone(), request));
    match RetryPolicy::new(PAUSE, PAUSE_MAX, TRIES, false) {
        Ok(policy) => {
            Client::new(ServiceBuilder::new().layer(RetryLayer::new(policy)).service(checked), namespace)
        }
        // The pauses above are in order.
        Err(_) => Client::new(checked, namespace),
    }
}

async fn send(
    client: Client,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    request: Request<Body>,
) -> Result<Response<Body>, tower::BoxError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(client.send(request).await?);
    }
    leadership.check()?;
    let (resource, verb) = (resource(request.uri().path()), verb(request.method()));
    let name = name(request.uri().path());
    let span = tracing::debug_span!("kube_write", otel.kind = "client", resource, verb, name, code = Empty);
    let answer = leadership.during(client.send(request)).instrument(span.clone()).await;
    let code = match &answer {
        Ok(Ok(response)) => response.status().as_u16(),
        Ok(Err(_)) | Err(_) => 0,
    };
    span.record("code", code);
    metrics.kube_write(resource, verb, code);
    Ok(answer??)
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "patch",
    }
}

/// The resource and subresource of a path such as `/apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE`.
fn resource(path: &str) -> String {
    match parts(path).as_slice() {
        [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
        [resource, ..] => (*resource).to_owned(),
        [] => String::new(),
    }
}

/// The name in such a path; `None` where the object is only being made.
fn name(path: &str) -> Option<&str> {
    parts(path).get(1).copied()
}

/// The resource, the name and the subresource of such a path, as far as it has them.
fn parts(path: &str) -> Vec<&str> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let skipped = if parts.next() == Some("api") { 1 } else { 2 };
    let rest: Vec<&str> = parts.skip(skipped).collect();
    match rest.as_slice() {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest.to_vec(),
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use kube::Api;
    use kube::api::{Patch, PatchParams};

    use super::super::Reign;
    use super::*;
    use crate::telemetry::testing::Spans;

    /// A client whose requests come to nothing but a count.
    fn counted(status: u16) -> (Client, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let counter = count.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            let body =
                Body::from(br#"{"kind":"Status","apiVersion":"v1","metadata":{},"code":503}"#.to_vec());
            async move { Response::builder().status(status).body(body) }
        });
        (Client::new(service, "shop"), count)
    }

    async fn write(client: &Client) -> Result<ConfigMap, kube::Error> {
        let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
        api.patch("a", &PatchParams::default(), &Patch::Merge(&serde_json::json!({}))).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_lead_reads_but_writes_nothing() {
        let (plain, sent) = counted(404);
        let metrics = Arc::new(Metrics::default());
        let (reign, leadership) = Reign::begin();
        let client = guarded(&plain, &leadership, &metrics);
        write(&client).await.unwrap_err();
        assert_eq!(sent.load(Ordering::SeqCst), 1);
        assert!(metrics.text().unwrap().contains("resource=\"configmaps\",verb=\"patch\",code=\"404\"} 1"));

        reign.end();
        let error = write(&client).await.unwrap_err();
        assert!(
            matches!(&error, kube::Error::Service(cause) if cause.to_string().contains("lead")),
            "{error}"
        );
        assert_eq!(sent.load(Ordering::SeqCst), 1);
        let pods: Api<Pod> = Api::default_namespaced(client);
        pods.get("a").await.unwrap_err();
        assert_eq!(sent.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_sent_again_is_checked_again() {
        let (plain, sent) = counted(503);
        let (reign, leadership) = Reign::begin();
        let client = guarded(&plain, &leadership, &Arc::default());
        write(&client).await.unwrap_err();
        assert_eq!(sent.load(Ordering::SeqCst), 1 + TRIES);

        let writing = tokio::spawn(async move { write(&client).await });
        while sent.load(Ordering::SeqCst) == 1 + TRIES {
            tokio::task::yield_now().await;
        }
        reign.end();
        let error = writing.await.unwrap().unwrap_err();
        assert!(matches!(error, kube::Error::Service(_)), "{error}");
        assert_eq!(sent.load(Ordering::SeqCst), 2 + TRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn each_write_is_a_span_of_its_pass_and_a_read_is_none() {
        let spans = Spans::default();
        let _kept = spans.keep();
        let (plain, _) = counted(404);
        let client = guarded(&plain, &Leadership::sole(), &Arc::default());
        let pass = async {
            write(&client).await.unwrap_err();
            let pods: Api<Pod> = Api::default_namespaced(client.clone());
            pods.get("a").await.unwrap_err();
        };
        pass.instrument(tracing::info_span!("pass")).await;
        let spans = spans.named("kube_write");
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert!(spans[0].starts_with("pass/"), "{spans:?}");
        let fields =
            "kube_write otel.kind=\"client\" resource=\"configmaps\" verb=\"patch\" name=\"a\" code=404";
        assert!(spans[0].ends_with(fields), "{spans:?}");
    }

    #[test]
    fn a_path_tells_the_resource() {
        let streams = "/apis/streamfleet.io/v1alpha1/namespaces/shop/videostreams";
        for (path, expected, named) in [
            (format!("{streams}/door/status"), "videostreams/status", Some("door")),
            (
                "/apis/streamfleet.io/v1alpha1/streamclasses/standard".to_owned(),
                "streamclasses",
                Some("standard"),
            ),
            ("/api/v1/namespaces/shop/configmaps/a".to_owned(), "configmaps", Some("a")),
            ("/api/v1/namespaces/shop".to_owned(), "namespaces", Some("shop")),
            ("/apis/events.k8s.io/v1/namespaces/shop/events".to_owned(), "events", None),
        ] {
            assert_eq!((resource(&path).as_str(), name(&path)), (expected, named));
        }
    }
}
