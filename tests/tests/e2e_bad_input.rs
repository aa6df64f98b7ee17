//! Bad input, and what it gets, on the real cluster: refused at apply with the field and what to do, or accepted and
//! explained in a condition. None of it disturbs another camera, and no secret shows anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use serde_json::{Value, json};
use streamfleet_crds::{Camera, ConditionType, StreamClass, VideoStream};
use streamfleet_tests::camera::{self, Clip, Login, Recipe};
use streamfleet_tests::cluster::Cluster;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::emulator::{ACCOUNT, free_port};
use streamfleet_tests::e2e::kubectl::{apply, kubectl};
use streamfleet_tests::e2e::manifests::{TRIAL_SECRET, camera, own_stream, secret, stream, trial_secret};
use streamfleet_tests::e2e::objects::{Expected, SOON, has_condition, pod_of, status_of};
use streamfleet_tests::e2e::other_camera::OtherCamera;
use streamfleet_tests::e2e::places::Search;
use streamfleet_tests::e2e::world::claim_cluster;
use streamfleet_tests::e2e::{OperatorLock, Planted, World};
use streamfleet_tests::steps::Steps;
use streamfleet_tests::tools::cache_dir;

/// A password with everything in it that is special in URLs, quotes and digests.
const CAMERA_PASSWORD: &str = "Planted-Camera/p@ss:w\"rd+%41";
const WRONG_CAMERA_PASSWORD: &str = "Planted-Wrong-Camera-Password/9f";
const URL_PASSWORD: &str = "Planted-Url-Password-4d2b";
const WRONG_AWS_SECRET: &str = "Planted/Wrong+Aws/Secret/Key/000000000000";
/// Planted where it does not belong, to see that the search finds it there.
const CANARY: &str = "Planted-Canary-Bird-77e1";

const CAMERA_USER: &str = "viewer";

// ---- refused at apply

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

fn refused() -> Vec<Refused> {
    let reference = json!({ "streamRef": { "name": "yard" } });
    let stream = |more| stream("refused", "standard", &more);
    let camera = |url, more| camera("refused", url, more);
    let mut both = reference.clone();
    both["streamTemplate"] = json!({ "spec": { "streamClassName": "standard" } });
    let mut without_source = camera("", &reference);
    without_source["spec"].as_object_mut().unwrap().remove("source");
    let user_info = format!("rtsp://admin:{URL_PASSWORD}@door.example/live");
    let good = "rtsp://door.example/live";
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
    for Refused { what, object, says, conceals } in refused() {
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

// ---- accepted and explained

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
        camera: "h265",
        condition: (ConditionType::MediaCompatible, "False", "UnsupportedCodec"),
        says: &["codec", "set the camera to H.264"],
    },
    Explained {
        camera: "mjpeg",
        condition: (ConditionType::MediaCompatible, "False", "UnsupportedCodec"),
        says: &["codec", "set the camera to H.264"],
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

/// The cameras that stand on this machine.
struct Cameras {
    /// One without, one with a password.
    ours: Vec<camera::Camera>,
    others: Vec<OtherCamera>,
}

impl Cameras {
    async fn start(world: &World) -> Result<Self> {
        let clip = Clip::read(&Recipe::default().make(&cache_dir().join("media")).await?)?;
        let mut ours = Vec::new();
        for login in
            [None, Some(Login { user: CAMERA_USER.to_owned(), password: CAMERA_PASSWORD.to_owned() })]
        {
            let mut options = camera::Options::on_loopback(clip.clone());
            options.listen = (world.cluster.bridge_address(), 0).into();
            options.login = login;
            ours.push(camera::Camera::start(options).await?);
        }
        let mut others = Vec::new();
        for codec in ["h265", "mjpeg"] {
            others.push(OtherCamera::start(&world.folder, world.cluster.bridge_address(), codec).await?);
        }
        Ok(Self { ours, others })
    }
}

/// The names of the classes that are used.
struct Classes {
    good: String,
    closed: String,
    other_account: String,
}

async fn make_classes(world: &mut World) -> Result<Classes> {
    let other = ACCOUNT.chars().rev().collect::<String>();
    Ok(Classes {
        good: world.class("good", &json!({})).await?,
        closed: world.class("closed", &json!({ "allowedNamespaces": { "from": "None" } })).await?,
        other_account: world.class("other-account", &json!({ "aws": { "accountID": other } })).await?,
    })
}

fn with_credentials(class: &str, secret: &str) -> Value {
    let mut more = own_stream(class);
    more["credentialsRef"] = json!({ "name": secret });
    more
}

/// All objects but those of the healthy camera and of refused AWS credentials.
fn broken_objects(world: &World, cameras: &Cameras, classes: &Classes) -> Result<Vec<Value>> {
    let login = cameras.ours[1].url();
    let nobody = free_port(world.cluster.bridge_address())?;
    let good = &classes.good;
    let plain = cameras.ours[0].url();
    Ok(vec![
        secret("half-secret", &[("username", CAMERA_USER)]),
        secret("wrong-secret", &[("username", CAMERA_USER), ("password", WRONG_CAMERA_PASSWORD)]),
        camera("secret-missing", &login, &with_credentials(good, "late-secret")),
        camera("key-missing", &login, &with_credentials(good, "half-secret")),
        camera("wrong-password", &login, &with_credentials(good, "wrong-secret")),
        camera("unreachable", &format!("rtsp://{nobody}/live"), &own_stream(good)),
        camera("unknown-host", "rtsp://nobody.cameras.example/live", &own_stream(good)),
        camera("h265", &cameras.others[0].url, &own_stream(good)),
        camera("mjpeg", &cameras.others[1].url, &own_stream(good)),
        camera("no-class", &plain, &own_stream("no-such-class")),
        camera("not-admitted", &plain, &own_stream(&classes.closed)),
        camera("other-account", &plain, &own_stream(&classes.other_account)),
    ])
}

fn planted(world: &World) -> Planted {
    let mut planted = Planted::default();
    planted.add("camera password", CAMERA_PASSWORD);
    planted.add("wrong camera password", WRONG_CAMERA_PASSWORD);
    planted.add("password in a URL", URL_PASSWORD);
    planted.add("AWS secret key", &world.emulator.keys.secret);
    planted.add("AWS session token", &world.emulator.keys.token);
    planted.add("wrong AWS secret key", WRONG_AWS_SECRET);
    planted
}

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
    let aws_refused = camera("aws-refused", &cameras.ours[0].url(), &own_stream(&classes.good));
    world.apply(&refused, &[aws_refused]).await?.succeeded()?;
    stays_healthy(&world, &namespace, &since).await?;

    other_account_is_explained_on_the_class(&world, &classes).await?;
    producers_explain(&world, &namespace, &refused).await?;
    streams_explain(&world, &namespace).await?;
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

    recovers_without_a_new_pod(&world, &namespace).await?;
    aws_credentials_are_mended_without_a_new_pod(&world, &refused).await?;
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

fn says_all(what: &str, message: &str, says: &[&str]) -> Result<()> {
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

// ---- the search

async fn search(world: &World, planted: &Planted, namespaces: &[&str], refusal: &str) -> Result<Search> {
    let mut search = Search::default();
    search.look(planted, "kubectl's refusal", refusal.as_bytes());
    search.files(planted, &[world.operator_log(), &world.emulator_log()])?;
    // Events about classes, which have no namespace.
    search.objects(planted, &world.cluster, "default").await?;
    for namespace in namespaces {
        search.objects(planted, &world.cluster, namespace).await?;
        search.pods(planted, &world.cluster, &world.client, namespace).await?;
    }
    search.classes(planted, &world.cluster).await?;
    let operator = world.operator()?;
    search.admin(planted, "the operator", operator.admin(), &["/metrics", "/readyz", "/healthz"]).await;
    search.process(planted, "the operator", operator.pid());
    search.process(planted, "the emulator", world.emulator.pid());
    let calls = format!("{:?}", world.emulator.calls(0).await?);
    search.look(planted, "the emulator's log of calls", calls.as_bytes());
    search.arguments(planted)?;
    Ok(search)
}

/// A search of nothing finds nothing: each kind of place has been there and held something.
fn search_reaches_every_place(search: &Search) -> Result<()> {
    let places = [
        "file ",
        "objects e2e-bad",
        "objects streamclasses",
        "log of pod streamfleet-healthy",
        "log of pod streamfleet-aws-refused",
        "log of pod streamfleet-wrong-password",
        "/status of pod streamfleet-healthy",
        "/metrics of pod streamfleet-healthy",
        "/metrics of the operator",
        "environment of pod streamfleet-healthy",
        "environment of the operator",
        "arguments of process",
        "kubectl's refusal",
    ];
    for place in places {
        ensure!(search.has_seen(place), "nothing of {place:?} was searched, only {:#?}", search.places);
    }
    Ok(())
}

/// The same search finds a secret that stands in a ConfigMap, an event, and an argument.
async fn search_finds_the_canary(world: &World, namespaces: &[&str]) -> Result<()> {
    let namespace = namespaces[0];
    let objects = [
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "canary" }, "data": { "a": CANARY } }),
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "canary" }, "reason": "Canary",
            "message": format!("failed to log in with {CANARY}"), "type": "Warning",
            "involvedObject": { "kind": "Camera", "name": "healthy", "namespace": namespace },
        }),
    ];
    world.apply(namespace, &objects).await?.succeeded()?;
    let mut bird = Planted::default();
    bird.add("canary", CANARY);
    let mut process = std::process::Command::new("sh")
        .args(["-c", "read line", CANARY])
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    let found = search(world, &bird, namespaces, &format!("error: {CANARY}")).await;
    process.kill()?;
    process.wait()?;
    let found = found?;
    let places = ["/configmaps", "/events", "arguments of process", "kubectl's refusal"];
    for place in places {
        ensure!(
            found.hits.iter().any(|hit| hit.place.contains(place)),
            "no canary in {place}: {:?}",
            found.hits
        );
    }
    let args = ["delete", "configmap/canary", "event/canary", "--namespace", namespace];
    kubectl(&world.cluster, &args, "").await?.succeeded().map(drop)
}

fn lines(hits: &[streamfleet_tests::e2e::planted::Hit]) -> String {
    hits.iter().map(|hit| format!("    {hit}\n")).collect()
}

// ---- the operator's own credentials

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn operator_whose_aws_credentials_are_refused_says_so_on_the_class() -> Result<()> {
    let mut world = World::without_operator("refused-op").await?;
    let keys = world.emulator.keys.with_secret(WRONG_AWS_SECRET);
    world.use_keys(&keys)?;
    world.start_operator().await?;
    let class = world.class("good", &json!({})).await?;
    let api: Api<StreamClass> = Api::all(world.client.clone());
    for type_ in [ConditionType::CallerVerified, ConditionType::Ready] {
        let (_, message) = has_condition(&api, &class, (type_, "False", "CredentialsRefused")).await?;
        says_all(&class, &message, &["credentials"])?;
    }
    let mut planted = Planted::default();
    planted.add("wrong AWS secret key", WRONG_AWS_SECRET);
    planted.add("AWS session token", &keys.token);
    let mut search = Search::default();
    search.files(&planted, &[world.operator_log(), &world.emulator_log()])?;
    search.classes(&planted, &world.cluster).await?;
    ensure!(search.hits.is_empty(), "secrets show:\n{}", lines(&search.hits));

    let keys = world.emulator.keys.clone();
    world.use_keys(&keys)?;
    has_condition(&api, &class, (ConditionType::Ready, "True", "CallerVerified")).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn operator_lock_is_held_by_one_at_a_time() -> Result<()> {
    let cluster = Cluster::from_env()?;
    let lock = OperatorLock::acquire(&cluster).await?;
    let second = OperatorLock::acquire(&cluster);
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    ensure!(early.is_err(), "two tests hold the lock");
    drop(lock);
    second.await.map(drop)
}
