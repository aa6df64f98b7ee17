//! Accepted, and explained in a condition; meanwhile a healthy camera records on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use serde_json::{Value, json};
use streamfleet_crds::{Camera, ConditionType, StreamClass, VideoStream};
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::World;
use streamfleet_tests::e2e::emulator::ACCOUNT;
use streamfleet_tests::e2e::kubectl::kubectl;
use streamfleet_tests::e2e::manifests::{TRIAL_SECRET, camera, own_stream, secret, trial_secret};
use streamfleet_tests::e2e::objects::{Expected, SOON, has_condition, pod_of, status_of};
use streamfleet_tests::steps::Steps;

use crate::secrets::{
    CAMERA_PASSWORD, URL_PASSWORD, WRONG_AWS_SECRET, lines, planted, search, search_finds_the_canary,
    search_reaches_every_place,
};
use crate::site::{
    CAMERA_USER, Cameras, Classes, broken_objects, make_classes, with_credentials, with_source,
};

/// What a condition must be and say.
struct Explained {
    camera: &'static str,
    condition: Expected,
    says: &'static [&'static str],
}

/// The cameras that the producer itself finds something wrong with; each is then not Ready, for the same reason.
const EXPLAINED: &[Explained] = &[
    Explained {
        camera: "secret-missing",
        condition: (ConditionType::Authenticated, "False", "CredentialsMissing"),
        says: &["Secret of spec.credentialsRef", "username", "make it, no restart is needed"],
    },
    Explained {
        camera: "key-missing",
        condition: (ConditionType::Authenticated, "False", "CredentialsMissing"),
        says: &["Secret of spec.credentialsRef", "password", "make it, no restart is needed"],
    },
    Explained {
        camera: "unreachable",
        condition: (ConditionType::Reachable, "False", "Unreachable"),
        says: &["check that it is on", "spec.source.rtsp.url"],
    },
    Explained {
        camera: "unknown-host",
        condition: (ConditionType::Reachable, "False", "HostNotFound"),
        says: &["check spec.source.rtsp.url", "DNS"],
    },
    Explained {
        camera: "wrong-password",
        condition: (ConditionType::Authenticated, "False", "AuthenticationFailed"),
        says: &["refuses the user name or password", "correct the Secret of spec.credentialsRef"],
    },
    Explained {
        camera: "vp8",
        condition: (ConditionType::MediaCompatible, "False", "UnsupportedCodec"),
        says: &["codec", "set the camera to H.264"],
    },
    Explained {
        camera: "mjpeg",
        condition: (ConditionType::MediaCompatible, "False", "UnsupportedCodec"),
        says: &["codec", "set the camera to H.264"],
    },
    Explained {
        camera: "container",
        condition: (ConditionType::Ready, "False", "ContainerSourceNotAllowed"),
        says: &["does not allow containers as sources", "spec.producer.allowContainerSources"],
    },
    Explained {
        camera: "aws-refused",
        condition: (ConditionType::Ingesting, "False", "AwsCredentialsRefused"),
        says: &["AWS refuses the producer's credentials", "spec.producer"],
    },
];

/// What is explained on the stream or its class, before there is a producer.
const EXPLAINED_ON_STREAMS: &[Explained] = &[
    Explained {
        camera: "no-class",
        condition: (ConditionType::Ready, "False", "StreamClassNotFound"),
        says: &["no-such-class"],
    },
    Explained {
        camera: "not-admitted",
        condition: (ConditionType::Ready, "False", "NamespaceNotAllowed"),
        says: &["allowedNamespaces"],
    },
    Explained {
        camera: "other-account",
        condition: (ConditionType::Ready, "False", "StreamClassNotReady"),
        says: &["StreamClass"],
    },
];

/// What a healthy camera's pod says it has stored last, in milliseconds of the Unix epoch.
async fn last_persisted(world: &World, namespace: &str) -> Result<i64> {
    let status = status_of(&pod_of(&world.client, namespace, "healthy").await?).await?;
    let stored = status.feeds.first().and_then(|feed| feed.stored).context("nothing is stored yet")?;
    Ok(stored.media_ms)
}

/// Waits until the healthy camera stores again what is newer than now, and sees that it is Ready since `since`.
async fn stays_healthy(world: &World, namespace: &str, since: &Value) -> Result<()> {
    let before = last_persisted(world, namespace).await?;
    until(Duration::from_secs(30), "the healthy camera's last persisted time advances", async || {
        let now = last_persisted(world, namespace).await?;
        // More than what was under way: a later fragment altogether.
        Ok(if now > before + 2000 { Look::Done(()) } else { Look::NotYet(format!("{now} after {before}")) })
    })
    .await?;
    let (_, now) = healthy_since(world, namespace).await?;
    ensure!(now == *since, "the healthy camera was not Ready for a while: since {since}, now {now}");
    Ok(())
}

/// The pod's UID, and since when it is Ready.
async fn healthy_since(world: &World, namespace: &str) -> Result<(String, Value)> {
    let ready = (ConditionType::Ready, "True", "Recording");
    let (object, _) = has_condition(&world.api::<Camera>(namespace), "healthy", ready).await?;
    let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
    let since =
        conditions.iter().find(|found| found.type_ == "Ready").map(|found| &found.last_transition_time);
    let pod = pod_of(&world.client, namespace, "healthy").await?;
    Ok((pod.metadata.uid.context("a pod has a UID")?, serde_json::to_value(since)?))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn bad_input_is_explained_and_disturbs_nobody_and_no_secret_shows() -> Result<()> {
    let steps = Steps::start();
    let mut world = World::start("bad").await?;
    let keys = world.emulator.keys.clone();
    let namespace = world.namespace(&keys).await?;
    let refused = world.namespace(&keys.with_secret(WRONG_AWS_SECRET)).await?;
    let cameras = Cameras::start(&world).await?;
    let classes = make_classes(&mut world).await?;

    let login = secret("login", &[("username", CAMERA_USER), ("password", CAMERA_PASSWORD)]);
    let healthy = camera("healthy", &cameras.ours[1].url(), &with_credentials(&classes.good, "login"));
    world.apply(&namespace, &[login, healthy]).await?.succeeded()?;
    let (pod, since) = healthy_since(&world, &namespace).await?;
    steps.done("the healthy camera records");

    world.apply(&namespace, &broken_objects(&world, &cameras, &classes)?).await?.succeeded()?;
    let pattern =
        with_source("pattern", json!({ "testPattern": { "width": 320, "height": 192 } }), &classes.good);
    world.apply(&namespace, &[pattern]).await?.succeeded()?;
    let aws_refused = camera("aws-refused", &cameras.ours[0].url(), &own_stream(&classes.good));
    world.apply(&refused, &[aws_refused]).await?.succeeded()?;
    stays_healthy(&world, &namespace, &since).await?;

    other_account_is_explained_on_the_class(&world, &classes).await?;
    producers_explain(&world, &namespace, &refused).await?;
    streams_explain(&world, &namespace).await?;
    let recording = (ConditionType::Ready, "True", "Recording");
    has_condition(&world.api::<Camera>(&namespace), "pattern", recording).await?;
    stays_healthy(&world, &namespace, &since).await?;
    steps.done("everything bad is explained, the healthy camera records on");

    let refusal = url_with_user_information(&world, &namespace).await?;
    let planted = planted(&world);
    let namespaces = [&*namespace, &*refused];
    let found = search(&world, &planted, &namespaces, &refusal).await?;
    ensure!(found.hits.is_empty(), "secrets show:\n{}", lines(&found.hits));
    search_reaches_every_place(&found)?;
    search_finds_the_canary(&world, &namespaces).await?;
    steps.done(format!("{} places hold none of {} secrets", found.places.len(), planted.len()));

    // Both wait for the kubelet to bring a Secret into a pod.
    tokio::try_join!(
        recovers_without_a_new_pod(&world, &namespace),
        aws_credentials_are_mended_without_a_new_pod(&world, &refused),
    )?;
    stays_healthy(&world, &namespace, &since).await?;
    ensure!(healthy_since(&world, &namespace).await?.0 == pod, "the healthy camera's pod was replaced");
    steps.done("cameras recover with the same pods when their Secrets come");

    let found = search(&world, &planted, &namespaces, &refusal).await?;
    ensure!(found.hits.is_empty(), "secrets show after the recovery:\n{}", lines(&found.hits));
    for camera in cameras.ours {
        camera.stop().await;
    }
    world.finish().await
}

async fn producers_explain(world: &World, namespace: &str, refused: &str) -> Result<()> {
    let mut reasons = BTreeMap::new();
    for Explained { camera, condition, says } in EXPLAINED {
        let api: Api<Camera> = world.api(if *camera == "aws-refused" { refused } else { namespace });
        let (_, message) = has_condition(&api, camera, *condition).await?;
        says_all(camera, &message, says)?;
        // The steps in front of the one that fails are not blamed, and Ready has the same reason.
        let ready = (ConditionType::Ready, "False", condition.2);
        let (object, message) = has_condition(&api, camera, ready).await?;
        says_all(camera, &message, says)?;
        ensure!(object.status.and_then(|status| status.state).is_some(), "{camera} has no state for people");
        reasons.insert(*camera, condition.2);
    }
    ensure!(reasons["wrong-password"] != reasons["unreachable"], "{reasons:?}");
    Ok(())
}

async fn streams_explain(world: &World, namespace: &str) -> Result<()> {
    for Explained { camera, condition, says } in EXPLAINED_ON_STREAMS {
        let (_, message) = has_condition(&world.api::<VideoStream>(namespace), camera, *condition).await?;
        says_all(camera, &message, says)?;
        let ready = (ConditionType::Ready, "False", "VideoStreamNotReady");
        let (_, message) = has_condition(&world.api::<Camera>(namespace), camera, ready).await?;
        // Somebody who looks at the Camera alone learns where to look.
        says_all(camera, &message, &["VideoStream"])?;
    }
    Ok(())
}

async fn other_account_is_explained_on_the_class(world: &World, classes: &Classes) -> Result<()> {
    let api: Api<StreamClass> = Api::all(world.client.clone());
    let mismatch = (ConditionType::CallerVerified, "False", "AccountMismatch");
    let (class, message) = has_condition(&api, &classes.other_account, mismatch).await?;
    says_all(&classes.other_account, &message, &[ACCOUNT, &class.spec.aws.account_id])?;
    let ready = (ConditionType::Ready, "False", "AccountMismatch");
    has_condition(&api, &classes.other_account, ready).await?;
    let verified = (ConditionType::Ready, "True", "CallerVerified");
    has_condition(&api, &classes.good, verified).await?;
    Ok(())
}

pub fn says_all(what: &str, message: &str, says: &[&str]) -> Result<()> {
    for text in says {
        ensure!(message.contains(text), "{what}: {text:?} is not in the message {message:?}");
    }
    Ok(())
}

/// The Secret comes: the same pod records.
async fn recovers_without_a_new_pod(world: &World, namespace: &str) -> Result<()> {
    let before = pod_of(&world.client, namespace, "secret-missing").await?.metadata.uid;
    let other = pod_of(&world.client, namespace, "key-missing").await?.metadata.uid;
    let entries = [("username", CAMERA_USER), ("password", CAMERA_PASSWORD)];
    let made = [secret("late-secret", &entries), secret("half-secret", &entries)];
    world.apply(namespace, &made).await?.succeeded()?;
    let ready = (ConditionType::Ready, "True", "Recording");
    for (camera, before) in [("secret-missing", before), ("key-missing", other)] {
        has_condition(&world.api::<Camera>(namespace), camera, ready).await?;
        let after = pod_of(&world.client, namespace, camera).await?;
        ensure!(after.metadata.uid == before, "{camera}: the pod was replaced");
        let status = after.status.and_then(|status| status.container_statuses).unwrap_or_default();
        ensure!(
            status.iter().all(|container| container.restart_count == 0),
            "{camera}: the container was restarted"
        );
    }
    Ok(())
}

/// Good AWS credentials come in place of the refused ones: the same pod stores.
async fn aws_credentials_are_mended_without_a_new_pod(world: &World, namespace: &str) -> Result<()> {
    let before = pod_of(&world.client, namespace, "aws-refused").await?.metadata.uid;
    world.apply(namespace, &[trial_secret(&world.emulator.keys)]).await?.succeeded()?;
    let api: Api<Camera> = world.api(namespace);
    until(SOON, "the camera with mended AWS credentials is Ready", async || {
        let object = api.get("aws-refused").await?;
        let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        Ok(if ready { Look::Done(()) } else { Look::NotYet(format!("{conditions:?}")) })
    })
    .await?;
    let after = pod_of(&world.client, namespace, "aws-refused").await?.metadata.uid;
    ensure!(after == before, "{TRIAL_SECRET}: the pod was replaced");
    Ok(())
}

/// What people see who write a password into the URL, by apply and by patch.
async fn url_with_user_information(world: &World, namespace: &str) -> Result<String> {
    let url = format!("rtsp://admin:{URL_PASSWORD}@door.example/live");
    let object = camera("careless", &url, &own_stream("standard"));
    let applied = world.apply(namespace, &[object]).await?;
    ensure!(!applied.success, "a URL with user information was accepted");
    let patch = json!({ "spec": { "source": { "rtsp": { "url": url } } } }).to_string();
    let args = [
        "patch",
        "camera",
        "healthy",
        "--namespace",
        namespace,
        "--type",
        "merge",
        "--patch-file",
        "/dev/stdin",
    ];
    let patched = kubectl(&world.cluster, &args, &patch).await?;
    ensure!(!patched.success && patched.error.contains("credentialsRef"), "{patched:?}");
    Ok(format!("{}{}{}{}", applied.output, applied.error, patched.output, patched.error))
}
