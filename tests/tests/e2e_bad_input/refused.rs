//! Refused at apply: what the server says through kubectl.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use streamfleet_tests::e2e::kubectl::apply;
use streamfleet_tests::e2e::manifests::{camera, own_stream, stream};
use streamfleet_tests::e2e::world::claim_cluster;

use crate::secrets::URL_PASSWORD;

/// An object that is refused, what the refusal says, and what it does not repeat.
struct Refused {
    what: &'static str,
    object: Value,
    says: &'static [&'static str],
    conceals: &'static [&'static str],
}

impl Refused {
    fn new(what: &'static str, object: Value, says: &'static [&'static str]) -> Self {
        Self { what, object, says, conceals: &[] }
    }
}

const GOOD_URL: &str = "rtsp://door.example/live";

/// Sources, which have rules between their fields.
fn refused_sources() -> Vec<Refused> {
    let sourced = |source: Value| {
        let mut object = camera("refused", GOOD_URL, &json!({ "streamRef": { "name": "yard" } }));
        object["spec"]["source"] = source;
        object
    };
    vec![
        Refused::new(
            "two sources",
            sourced(json!({ "rtsp": { "url": GOOD_URL }, "testPattern": {} })),
            &["spec.source must name exactly one kind of source, rtsp, file, testPattern or container"],
        ),
        Refused::new(
            "TLS settings for a URL without TLS",
            sourced(json!({ "rtsp": { "url": GOOD_URL, "tls": { "insecureSkipVerify": true } } })),
            &["spec.source.rtsp.tls is for rtsps URLs", "begin spec.source.rtsp.url with rtsps://"],
        ),
        Refused::new(
            "datagrams beside TLS",
            sourced(json!({ "rtsp": { "url": "rtsps://door.example/live", "transport": "Udp" } })),
            &["spec.source.rtsp.transport cannot be Udp for an rtsps URL", "use Tcp"],
        ),
        Refused::new(
            "a transport that does not exist",
            sourced(json!({ "rtsp": { "url": GOOD_URL, "transport": "Multicast" } })),
            &["spec.source.rtsp.transport", "Tcp", "Udp"],
        ),
        Refused::new(
            "a test pattern of an odd size",
            sourced(json!({ "testPattern": { "width": 641 } })),
            &["spec.source.testPattern.width must be a multiple of 16 from 160 to 1920"],
        ),
        Refused::new(
            "a file outside its volume",
            sourced(json!({ "file": { "claimName": "clips", "path": "../etc/passwd" } })),
            &["spec.source.file.path must be a path on the volume without .."],
        ),
        Refused::new(
            "credentials for a source that asks for none",
            {
                let mut object = sourced(json!({ "testPattern": {} }));
                object["spec"]["credentialsRef"] = json!({ "name": "login" });
                object
            },
            &["spec.credentialsRef is for cameras that are read over RTSP"],
        ),
    ]
}

fn refused() -> Vec<Refused> {
    let reference = json!({ "streamRef": { "name": "yard" } });
    let stream = |more| stream("refused", "standard", &more);
    let camera = |url, more| camera("refused", url, more);
    let mut both = reference.clone();
    both["streamTemplate"] = json!({ "spec": { "streamClassName": "standard" } });
    let mut without_source = camera("", &reference);
    without_source["spec"] = reference.clone();
    let good = GOOD_URL;
    let user_info = format!("rtsp://admin:{URL_PASSWORD}@door.example/live");
    let one_stream = &["set exactly one of spec.streamRef", "spec.streamTemplate"];
    vec![
        Refused::new(
            "no source",
            without_source,
            &["spec.source", "set spec.source.rtsp.url, for example rtsp://"],
        ),
        Refused::new("both streamRef and streamTemplate", camera(good, &both), one_stream),
        Refused::new("neither streamRef nor streamTemplate", camera(good, &json!({})), one_stream),
        Refused {
            what: "a URL with user information",
            object: camera(&user_info, &reference),
            says: &[
                "spec.source.rtsp.url must not hold a user name or password",
                "Secret",
                "spec.credentialsRef.name",
            ],
            conceals: &[URL_PASSWORD, "admin"],
        },
        Refused::new(
            "retention -1",
            stream(json!({ "retentionHours": -1 })),
            &["spec.retentionHours", "must not be negative", "or 0 to keep nothing"],
        ),
        Refused::new(
            "retention 87,601",
            stream(json!({ "retentionHours": 87_601 })),
            &["spec.retentionHours", "at most 87600", "write a smaller number"],
        ),
        Refused::new(
            "an invalid stream name",
            stream(json!({ "streamName": "front door" })),
            &["spec.streamName", "1 to 256 letters, digits", "for example front-door"],
        ),
        Refused::new(
            "a stream name that is too long",
            stream(json!({ "streamName": "x".repeat(257) })),
            &["spec.streamName", "1 to 256 letters, digits"],
        ),
        Refused::new(
            "an unknown field of a stream",
            stream(json!({ "retentionHuors": 3 })),
            &["unknown field", "spec.retentionHuors"],
        ),
        Refused {
            what: "an unknown field of a camera, with a password in it",
            object: camera(good, &json!({ "streamRef": { "name": "yard" }, "password": URL_PASSWORD })),
            says: &["unknown field", "spec.password"],
            conceals: &[URL_PASSWORD],
        },
    ]
}

/// A change that is refused: the object as it is, as it would become, and what the refusal says.
fn refused_changes() -> Vec<(Value, Value, &'static [&'static str])> {
    let named = |name| stream("named", "standard", &json!({ "streamName": name }));
    let of_class = |class| stream("classed", class, &json!({}));
    let templated = |class| camera("templated", "rtsp://door.example/live", &own_stream(class));
    let class_message: &[&str] =
        &["streamClassName", "streamClassName cannot be changed", "Make another object for the other class"];
    vec![
        (
            named("one"),
            named("two"),
            &["spec", "streamName cannot be changed", "Make another object for the other stream"],
        ),
        (
            named("one"),
            stream("named", "standard", &json!({ "streamName": null })),
            &["streamName cannot be changed"],
        ),
        (of_class("standard"), of_class("other"), class_message),
        (templated("standard"), templated("other"), class_message),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn refused_at_apply_with_the_field_and_what_to_do() -> Result<()> {
    // No operator may put its finalizer on what is made here: nobody would take it off.
    let (cluster, _client, _lock) = claim_cluster().await?;
    let namespace = cluster.namespace("e2e-refused").await?;
    for Refused { what, object, says, conceals } in refused().into_iter().chain(refused_sources()) {
        let reply = apply(&cluster, &namespace.name, &[object]).await?;
        ensure!(!reply.success, "{what} was accepted: {}", reply.output);
        for text in says {
            ensure!(reply.error.contains(text), "{what}: {text:?} is not in the message: {}", reply.error);
        }
        for text in conceals {
            ensure!(!reply.error.contains(text), "{what}: the message repeats {text:?}: {}", reply.error);
            ensure!(!reply.output.contains(text), "{what}: the output repeats {text:?}: {}", reply.output);
        }
    }
    for (before, after, says) in refused_changes() {
        apply(&cluster, &namespace.name, &[before]).await?.succeeded()?;
        let reply = apply(&cluster, &namespace.name, std::slice::from_ref(&after)).await?;
        ensure!(!reply.success, "{after} was accepted: {}", reply.output);
        for text in says {
            ensure!(reply.error.contains(text), "{after}: {text:?} is not in the message: {}", reply.error);
        }
    }
    namespace.delete().await
}
