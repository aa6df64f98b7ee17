//! Builders against golden files; pods and feeds against tables of conditions.

#![allow(clippy::needless_pass_by_value, reason = "fixtures take JSON literals")]

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};
use streamfleet_contract::{
    Audio, Configuration, FeedStatus, RtspTransport, Source, SourceReason, SourceState, SpoolMode, StoredAt,
    TestPattern, UploadReason, UploadState, parse_problems,
};
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{Camera, CameraReason, CameraStatus, ProducerDefaults};

use super::build::{self, FEEDS_FILE, ProducerPlan};
use super::pods::{self, ProducerState};
use super::reasons::{being_deleted, not_ready};
use super::status::{Decision, Facts, Situation, decide, is_worth_writing};
use crate::aws::Place;

const ARN: &str = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/p-shop.door/1";

fn camera(spec: Value) -> Camera {
    let mut whole = json!({
        "source": { "rtsp": { "url": "rtsp://door.example:554/live" } },
        "streamRef": { "name": "entrance" },
    });
    for (key, value) in spec.as_object().cloned().unwrap_or_default() {
        whole[key] = value;
    }
    let mut camera = Camera::new("door", serde_json::from_value(whole).unwrap());
    camera.metadata.namespace = Some("shop".to_owned());
    camera.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    camera
}

fn place(ca_bundle: Option<&str>) -> Place {
    Place {
        kinesis_video: ca_bundle.map(|_| "https://kvs.example:8443".to_owned()),
        ca_bundle: ca_bundle.map(str::to_owned),
        ..Place::new("eu-west-1", "123456789012")
    }
}

fn plan<'a>(camera: &'a Camera, place: &'a Place, producer: &'a ProducerDefaults) -> ProducerPlan<'a> {
    ProducerPlan {
        camera,
        stream_arn: ARN,
        retention_hours: Some(24),
        place,
        producer,
        default_image: "registry.example/producer:1.0.0",
    }
}

fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "{name} is not what the golden file says. A change here restarts every producer at the next upgrade of the \
         operator. If that is meant: UPDATE_GOLDEN=1 cargo test -p streamfleet-operator\n{text}"
    );
}

#[test]
fn the_deployment_of_a_plain_camera_stays_as_it_is() {
    let (camera, place, producer) = (camera(json!({})), place(None), ProducerDefaults::default());
    let deployment = build::deployment(&plan(&camera, &place, &producer));
    golden("deployment-plain.yaml", &serde_saphyr::to_string(&deployment).unwrap());
}

#[test]
fn the_deployment_of_a_camera_with_everything_stays_as_it_is() {
    let camera = camera(json!({ "credentialsRef": { "name": "door-login" } }));
    let producer: ProducerDefaults = serde_json::from_value(json!({
        "image": "registry.example/other:2.0.0",
        "serviceAccountName": "uploader",
        "credentialsSecretName": "aws-trial",
        "resources": { "requests": { "cpu": "50m" }, "limits": { "memory": "256Mi" } },
    }))
    .unwrap();
    let place = place(Some("PEM"));
    let deployment = build::deployment(&plan(&camera, &place, &producer));
    golden("deployment-full.yaml", &serde_saphyr::to_string(&deployment).unwrap());
}

#[test]
fn the_configuration_is_one_that_the_contract_accepts_and_names_no_secret() {
    let camera =
        camera(json!({ "credentialsRef": { "name": "door-login" }, "fragment": { "targetSeconds": 4 } }));
    let (place, producer) = (place(Some("PEM")), ProducerDefaults::default());
    let plan = plan(&camera, &place, &producer);
    let map = build::config_map(&plan, build::feed(&plan).unwrap()).unwrap();
    let data = map.data.unwrap();
    assert_eq!(data.get("ca.crt").map(String::as_str), Some("PEM"));
    let configuration: Configuration = serde_saphyr::from_str(&data[FEEDS_FILE]).unwrap();
    assert_eq!(parse_problems(&configuration), Vec::<String>::new());
    let feed = &configuration.feeds[0];
    assert_eq!((feed.name.as_str(), feed.fragment.target_seconds), ("shop/door", 4));
    assert_eq!(feed.stream.arn, ARN);
    assert_eq!(feed.stream.ca_file.as_deref(), Some("/etc/streamfleet/ca.crt"));
    let files = feed.credentials.as_ref().unwrap();
    let folder = "/var/run/secrets/streamfleet/camera/11111111-2222-3333-4444-555555555555";
    assert_eq!(files.password_file, format!("{folder}/password"));
}

#[test]
fn what_camera_and_class_say_about_source_sound_and_buffer_reaches_the_producer() {
    let camera = camera(json!({
        "source": { "rtsp": {
            "url": "rtsps://door.example/live", "transport": "Tcp",
            "tls": { "caBundle": "CAMERA PEM", "insecureSkipVerify": false },
        } },
        "audio": "All",
    }));
    let producer: ProducerDefaults = serde_json::from_value(json!({
        "roleARN": "arn:aws:iam::123456789012:role/uploader",
        "buffer": { "memory": "128Mi", "spool": { "size": "2Gi", "mode": "Journal" } },
    }))
    .unwrap();
    let place = Place { sts: Some("https://sts.example".to_owned()), ..place(None) };
    let plan = plan(&camera, &place, &producer);
    let data = build::config_map(&plan, build::feed(&plan).unwrap()).unwrap().data.unwrap();
    assert_eq!(data.get("camera-ca.crt").map(String::as_str), Some("CAMERA PEM"));
    let configuration: Configuration = serde_saphyr::from_str(&data[FEEDS_FILE]).unwrap();
    assert_eq!(parse_problems(&configuration), Vec::<String>::new());
    assert_eq!(configuration.process.memory_budget_bytes, 128 << 20);
    let spool = configuration.process.spool.unwrap();
    assert_eq!((spool.max_bytes, spool.mode), (2 << 30, SpoolMode::Journal));
    let feed = &configuration.feeds[0];
    let Source::Rtsp(rtsp) = &feed.source else { panic!("{:?}", feed.source) };
    assert_eq!(rtsp.tls.as_ref().unwrap().ca_file.as_deref(), Some("/etc/streamfleet/camera-ca.crt"));
    assert_eq!((feed.audio, feed.stream.retention_hours), (Audio::All, Some(24)));
    assert_eq!(feed.stream.role_arn, producer.role_arn);
    assert_eq!(feed.stream.sts_endpoint.as_deref(), Some("https://sts.example"));

    let pod = build::deployment(&plan).spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    assert_eq!(container.resources.as_ref().unwrap().limits.as_ref().unwrap()["memory"].0, "224Mi");
    let mount = container.volume_mounts.as_ref().unwrap().iter().find(|mount| mount.name == "spool").unwrap();
    assert_eq!((mount.mount_path.as_str(), mount.read_only), (spool.path.as_str(), None));
    let volume = pod.volumes.as_ref().unwrap().iter().find(|volume| volume.name == "spool").unwrap();
    assert_eq!(volume.empty_dir.as_ref().unwrap().size_limit.as_ref().unwrap().0, "2192Mi");
}

#[test]
fn a_file_is_mounted_read_only_and_a_test_pattern_needs_nothing() {
    let source_of = |spec| {
        let (camera, place, producer) = (camera(spec), place(None), ProducerDefaults::default());
        let plan = plan(&camera, &place, &producer);
        let pod = build::deployment(&plan).spec.unwrap().template.spec.unwrap();
        (build::feed(&plan).unwrap().source, pod)
    };
    let file = json!({ "source": { "file": { "claimName": "clips", "path": "a/door.mp4", "loop": true } } });
    let (source, pod) = source_of(file);
    let Source::File(file) = source else { panic!("{source:?}") };
    assert_eq!((file.path.as_str(), file.repeat), ("/var/lib/streamfleet/input/a/door.mp4", true));
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    assert_eq!(mounts.iter().find(|mount| mount.name == "input").unwrap().read_only, Some(true));
    let udp = json!({ "source": { "rtsp": { "url": "rtsp://door.example/live", "transport": "Udp" } } });
    let Source::Rtsp(rtsp) = source_of(udp).0 else { panic!() };
    assert_eq!(rtsp.transport, RtspTransport::Udp);
    let (source, pod) = source_of(json!({ "source": { "testPattern": {} } }));
    assert_eq!(source, Source::TestPattern(TestPattern::default()));
    assert_eq!(pod.volumes.unwrap().len(), 1);
}

#[test]
fn a_container_that_is_the_source_runs_restricted_and_sees_the_socket_alone() {
    let camera = camera(json!({ "source": { "container": {
        "image": "registry.example/ffmpeg:7", "args": ["-f", "mpegts"], "env": [{ "name": "A", "value": "b" }],
    } } }));
    let producer = ProducerDefaults { credentials_secret_name: Some("aws".to_owned()), ..Default::default() };
    let place = place(None);
    let plan = plan(&camera, &place, &producer);
    let pod = build::deployment(&plan).spec.unwrap().template.spec.unwrap();
    let [own, source] = pod.containers.as_slice() else { panic!("{:?}", pod.containers) };
    assert_eq!(source.security_context, own.security_context);
    assert_eq!(source.security_context.as_ref().unwrap().run_as_non_root, Some(true));
    let mounts = source.volume_mounts.as_ref().unwrap();
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert!(own.volume_mounts.as_ref().unwrap().contains(&mounts[0]));
    let env = source.env.as_ref().unwrap();
    let Source::Socket(socket) = build::feed(&plan).unwrap().source else { panic!() };
    assert_eq!((env[0].name.as_str(), env[0].value.as_ref()), ("STREAMFLEET_SOCKET", Some(&socket.path)));
    assert!(socket.path.starts_with(&mounts[0].mount_path));
    assert_eq!(env[1].name, "A");
}

#[test]
fn the_revision_changes_with_anything_in_the_feed_and_with_nothing_else() {
    let revision = |spec, bundle| {
        let (camera, place, producer) = (camera(spec), place(Some(bundle)), ProducerDefaults::default());
        build::feed(&plan(&camera, &place, &producer)).unwrap().revision
    };
    let base = revision(json!({}), "PEM");
    assert_eq!(base, revision(json!({}), "PEM"));
    assert_ne!(base, revision(json!({}), "OTHER"));
    assert_ne!(base, revision(json!({ "offlineAfterSeconds": 31 }), "PEM"));
    assert_ne!(
        base,
        revision(json!({ "source": { "rtsp": { "url": "rtsp://door.example:554/sub" } } }), "PEM")
    );
}

#[test]
fn a_stream_without_retention_goes_by_received() {
    let (camera, place, producer) = (camera(json!({})), place(None), ProducerDefaults::default());
    let plan = ProducerPlan { retention_hours: Some(0), ..plan(&camera, &place, &producer) };
    assert_eq!(build::feed(&plan).unwrap().stored_at, StoredAt::Received);
}

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "p", "uid": "pod-1", "labels": { "streamfleet.io/camera-uid": "u" } },
        "status": status,
    }))
    .unwrap()
}

fn container(state: Value) -> Value {
    json!({
        "podIP": "10.0.0.1",
        "containerStatuses": [{ "name": "producer", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state }],
    })
}

#[test]
fn what_keeps_a_pod_from_running_has_a_reason_each() {
    let unschedulable = json!({ "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes" },
    ] });
    let table = [
        (unschedulable, CameraReason::ProducerNotScheduled),
        (
            container(json!({ "waiting": { "reason": "ImagePullBackOff" } })),
            CameraReason::ProducerImageUnavailable,
        ),
        (
            container(json!({ "waiting": { "reason": "ErrImageNeverPull" } })),
            CameraReason::ProducerImageUnavailable,
        ),
        (container(json!({ "waiting": { "reason": "CrashLoopBackOff" } })), CameraReason::ProducerCrashing),
        (
            container(json!({ "waiting": { "reason": "CreateContainerConfigError" } })),
            CameraReason::ProducerCrashing,
        ),
        (container(json!({ "terminated": { "exitCode": 1 } })), CameraReason::ProducerCrashing),
        (container(json!({ "waiting": { "reason": "ContainerCreating" } })), CameraReason::ProducerStarting),
        (json!({}), CameraReason::ProducerStarting),
    ];
    for (status, expected) in table {
        let state = pods::state(Some(&pod(status.clone())), None);
        assert!(
            matches!(&state, ProducerState::Down { reason, .. } if *reason == expected),
            "{status}: {state:?}"
        );
    }
}

#[test]
fn a_running_pod_is_asked_at_its_address() {
    let running = container(json!({ "running": {} }));
    let expected =
        ProducerState::Running { pod_uid: "pod-1".to_owned(), address: "10.0.0.1:8080".parse().unwrap() };
    assert_eq!(pods::state(Some(&pod(running)), None), expected);
}

#[test]
fn a_pod_that_may_not_be_made_is_told_by_its_deployment() {
    let deployment: Deployment = serde_json::from_value(json!({ "status": { "conditions": [
        { "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota" },
    ] } }))
    .unwrap();
    let ProducerState::Down { reason, message } = pods::state(None, Some(&deployment)) else { panic!() };
    assert_eq!(reason, CameraReason::ProducerNotAdmitted);
    assert!(message.contains("exceeded quota"), "{message}");
}

#[test]
fn the_newest_pod_counts_and_one_that_ends_only_without_a_successor() {
    let with = |name: &str, created: &str, ends: bool, uid: &str| -> Pod {
        let mut value = json!({ "metadata": {
            "name": name, "creationTimestamp": created, "labels": { "streamfleet.io/camera-uid": uid },
        } });
        if ends {
            value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:09Z");
        }
        serde_json::from_value(value).unwrap()
    };
    let old = with("old", "2026-01-01T00:00:00Z", true, "u");
    let new = with("new", "2026-01-01T00:00:01Z", false, "u");
    let foreign = with("foreign", "2026-01-01T00:00:05Z", false, "v");
    let current =
        |pods: &[&Pod]| pods::current(pods.iter().copied(), "u").and_then(|pod| pod.metadata.name.clone());
    assert_eq!(current(&[&old, &new, &foreign]).as_deref(), Some("new"));
    assert_eq!(current(&[&old, &foreign]).as_deref(), Some("old"));
    assert_eq!(current(&[&foreign]), None);
}

const NOW_MS: i64 = 1_800_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_millisecond(NOW_MS).unwrap()
}

fn feed(source: (SourceState, SourceReason), upload: (UploadState, UploadReason)) -> FeedStatus {
    serde_json::from_value(json!({
        "id": "u", "revision": "r",
        "source": { "state": source.0, "reason": source.1, "sinceMs": NOW_MS - 5000 },
        "upload": { "state": upload.0, "reason": upload.1, "sinceMs": NOW_MS - 4000 },
        "media": { "codec": "H264", "width": 1280, "height": 720, "frameRateMillis": 24_960, "keyFrameIntervalMs": 1000, "bitrate": 1 },
    }))
    .unwrap()
}

fn facts() -> Facts {
    Facts {
        stream_name: Some("p-shop.door".to_owned()),
        has_credentials: true,
        offline_after: SignedDuration::from_secs(30),
        ..Facts::default()
    }
}

fn look(before: &CameraStatus, situation: &Situation) -> Decision {
    decide(before, situation, &facts(), Some(1), now())
}

/// `True`, `False` or `Unknown` of the five steps and `Ready`, as `T`, `F` and `?`, and the reason of `Ready`.
fn shown(status: &CameraStatus) -> (String, String) {
    let types = ["Reachable", "Authenticated", "MediaCompatible", "Streaming", "Ingesting", "Ready"];
    let letters =
        types.map(|type_| match find_condition(&status.conditions, type_).unwrap().status.as_str() {
            "True" => 'T',
            "False" => 'F',
            _ => '?',
        });
    (letters.iter().collect(), find_condition(&status.conditions, "Ready").unwrap().reason.clone())
}

const STORING: (UploadState, UploadReason) = (UploadState::Storing, UploadReason::Persisting);
const LOST: (UploadState, UploadReason) = (UploadState::Failed, UploadReason::SourceLost);
const STREAMING: (SourceState, SourceReason) = (SourceState::Streaming, SourceReason::Streaming);

#[test]
fn each_state_of_a_feed_shows_how_far_the_chain_holds() {
    use SourceReason as S;
    use UploadReason as U;
    let failed = |reason| (SourceState::Failed, reason);
    let upload = |reason| (UploadState::Failed, reason);
    let table = [
        (STREAMING, STORING, "TTTTTT", "Recording"),
        (STREAMING, (UploadState::Storing, U::CatchingUp), "TTTTTT", "CatchingUp"),
        (STREAMING, (UploadState::Storing, U::EndpointUnreachable), "TTTTTT", "Recording"),
        (STREAMING, (UploadState::Waiting, U::Opening), "TTTTFF", "Opening"),
        (STREAMING, upload(U::AwsCredentialsRefused), "TTTTFF", "AwsCredentialsRefused"),
        (STREAMING, upload(U::StreamHeldElsewhere), "TTTTFF", "StreamHeldElsewhere"),
        (STREAMING, upload(U::NoPersistedAcks), "TTTTFF", "NoPersistedAcks"),
        (STREAMING, upload(U::KmsKeyUnusable), "TTTTFF", "KmsKeyUnusable"),
        (
            (SourceState::Connecting, S::Connecting),
            (UploadState::Waiting, U::NoMedia),
            "????FF",
            "Connecting",
        ),
        (failed(S::HostNotFound), LOST, "F??FFF", "HostNotFound"),
        (failed(S::Unreachable), LOST, "F??FFF", "Unreachable"),
        (failed(S::CredentialsMissing), LOST, "?F?FFF", "CredentialsMissing"),
        (failed(S::AuthenticationFailed), LOST, "TF?FFF", "AuthenticationFailed"),
        (failed(S::Refused), LOST, "T??FFF", "Refused"),
        (failed(S::UnsupportedCodec), LOST, "TTFFFF", "UnsupportedCodec"),
        (failed(S::NoVideo), LOST, "TTFFFF", "NoVideo"),
        (failed(S::Silent), LOST, "TTTFFF", "Silent"),
        (failed(S::Disconnected), LOST, "???FFF", "Disconnected"),
        // Reachable turns at once, Ready only when nothing was stored for a while.
        (failed(S::Unreachable), STORING, "F??FTT", "Recording"),
    ];
    for (source, upload, letters, reason) in table {
        let situation = Situation::Fed(Box::new(feed(source, upload)));
        let status = look(&CameraStatus::default(), &situation).status;
        assert_eq!(shown(&status), (letters.to_owned(), reason.to_owned()), "{source:?} {upload:?}");
    }
}

#[test]
fn the_state_in_words_says_what_is_wrong_and_since_when() {
    let words = |source, upload| {
        look(&CameraStatus::default(), &Situation::Fed(Box::new(feed(source, upload)))).status.state.unwrap()
    };
    assert_eq!(words(STREAMING, STORING), "Recording");
    let unreachable = words((SourceState::Failed, SourceReason::Unreachable), LOST);
    assert_eq!(unreachable, "Camera unreachable since 2027-01-15T07:59:55Z");
    let refused = words(STREAMING, (UploadState::Failed, UploadReason::AwsCredentialsRefused));
    assert_eq!(refused, "AWS refuses the credentials since 2027-01-15T07:59:56Z");
}

#[test]
fn a_camera_that_was_recorded_a_moment_ago_says_what_is_wrong_by_now() {
    let mut feed = feed(STREAMING, (UploadState::Storing, UploadReason::EndpointUnreachable));
    feed.upload.message = "no route to host".to_owned();
    let status = look(&CameraStatus::default(), &Situation::Fed(Box::new(feed))).status;
    for type_ in ["Ingesting", "Ready"] {
        let condition = find_condition(&status.conditions, type_).unwrap();
        assert_eq!(condition.status, "True");
        let text = &condition.message;
        assert!(text.contains("within the last 30 s") && text.contains("no route to host"), "{text}");
    }
}

#[test]
fn a_camera_without_credentials_needs_no_authentication() {
    let facts = Facts { has_credentials: false, ..facts() };
    let situation = Situation::Fed(Box::new(feed(STREAMING, STORING)));
    let status = decide(&CameraStatus::default(), &situation, &facts, Some(1), now()).status;
    let condition = find_condition(&status.conditions, "Authenticated").unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "NotApplicable"));
}

#[test]
fn a_stream_that_keeps_nothing_is_ready_and_says_so() {
    let facts = Facts { stored_at: StoredAt::Received, ..facts() };
    let situation = Situation::Fed(Box::new(feed(STREAMING, STORING)));
    let status = decide(&CameraStatus::default(), &situation, &facts, Some(1), now()).status;
    assert_eq!(shown(&status), ("TTTTTT".to_owned(), "NotStored".to_owned()));
}

/// A status after video was stored so many seconds ago.
fn stored_ago(seconds: i64) -> CameraStatus {
    let mut feed = feed(STREAMING, STORING);
    let wall = NOW_MS - seconds * 1000;
    feed.stored = serde_json::from_value(json!({ "mediaMs": wall, "wallMs": wall })).unwrap();
    look(&CameraStatus::default(), &Situation::Fed(Box::new(feed))).status
}

fn starting() -> Situation {
    Situation::Down { reason: CameraReason::ProducerStarting, message: "starting".to_owned() }
}

#[test]
fn a_pod_that_is_replaced_leaves_the_camera_ready_until_its_time_is_over() {
    let decision = look(&stored_ago(10), &starting());
    assert_eq!(shown(&decision.status).0, "?????T");
    assert_eq!(decision.ready_until, Some(now() + SignedDuration::from_secs(20)));
    let decision = look(&stored_ago(31), &starting());
    assert_eq!(shown(&decision.status), ("?????F".to_owned(), "ProducerStarting".to_owned()));
    assert_eq!(decision.ready_until, None);
    // The successor has stored nothing yet; what its predecessor stored counts.
    let opening = Situation::Fed(Box::new(feed(STREAMING, (UploadState::Waiting, UploadReason::Opening))));
    assert_eq!(shown(&look(&stored_ago(10), &opening).status).0, "TTTTFT");
}

#[test]
fn a_pod_that_does_not_answer_makes_everything_unknown() {
    let status = look(&stored_ago(1), &Situation::Unreachable).status;
    assert_eq!(shown(&status), ("??????".to_owned(), "ProducerUnreachable".to_owned()));
}

#[test]
fn an_operator_that_has_just_started_leaves_everything_as_it_was() {
    let before = stored_ago(300);
    let after = look(&before, &Situation::Unheard).status;
    assert_eq!(shown(&after), shown(&before));
    assert!(!is_worth_writing(&before, &after));
}

#[test]
fn a_camera_without_a_stream_says_why() {
    let held =
        Situation::Held { reason: CameraReason::StreamClaimed, message: "Camera gate writes it".to_owned() };
    let status = look(&stored_ago(1), &held).status;
    assert_eq!(shown(&status), ("?????F".to_owned(), "StreamClaimed".to_owned()));
    assert!(find_condition(&status.conditions, "Ready").unwrap().message.contains("gate"));
}

#[test]
fn the_first_failure_is_kept_as_the_time_since_which_it_is_offline() {
    let failed = |reason| Situation::Fed(Box::new(feed((SourceState::Failed, reason), LOST)));
    let first = look(&stored_ago(40), &failed(SourceReason::Disconnected)).status;
    let since = first.offline_since.clone().unwrap();
    assert_eq!(since.0.as_millisecond(), NOW_MS - 5000);
    let mut later = feed((SourceState::Failed, SourceReason::Unreachable), LOST);
    later.source.since_ms = NOW_MS - 1000;
    let second = look(&first, &Situation::Fed(Box::new(later))).status;
    assert_eq!(second.offline_since, Some(since));
    assert_eq!(look(&second, &Situation::Fed(Box::new(feed(STREAMING, STORING)))).status.offline_since, None);
}

#[test]
fn times_and_counts_alone_are_written_only_every_ten_minutes() {
    let before = stored_ago(700);
    let mut after = stored_ago(200);
    after.reconnects = Some(9);
    after.frame_rate = Some(24);
    assert!(!is_worth_writing(&before, &after));
    assert!(is_worth_writing(&before, &stored_ago(100)));
    after.codec = Some("H265".to_owned());
    assert!(is_worth_writing(&before, &after));
}

fn reasons_told(before: &CameraStatus, after: &CameraStatus) -> Vec<(bool, &'static str)> {
    super::turns::notes(before, after).into_iter().map(|note| (note.warning, note.reason)).collect()
}

#[test]
fn a_camera_that_goes_and_comes_back_is_told_once_each() {
    let fed = |source, upload| Situation::Fed(Box::new(feed(source, upload)));
    let unreachable = (SourceState::Failed, SourceReason::Unreachable);
    let recording = look(&CameraStatus::default(), &fed(STREAMING, STORING)).status;
    assert_eq!(reasons_told(&CameraStatus::default(), &recording), [(false, "Recording")]);
    let away = look(&recording, &fed(unreachable, STORING)).status;
    assert_eq!(reasons_told(&recording, &away), [(true, "Unreachable")]);
    let back = look(&away, &fed(STREAMING, STORING)).status;
    assert_eq!(reasons_told(&away, &back), [(false, "Connected")]);
    assert_eq!(reasons_told(&back, &look(&back, &fed(STREAMING, STORING)).status), []);
}

#[test]
fn the_first_steps_of_a_camera_are_no_events() {
    let held = Situation::Held { reason: CameraReason::VideoStreamNotReady, message: String::new() };
    let first = look(&CameraStatus::default(), &held).status;
    assert_eq!(reasons_told(&CameraStatus::default(), &first), []);
    let second = look(&first, &starting()).status;
    assert_eq!(reasons_told(&first, &second), []);
}

#[test]
fn a_stream_that_is_ready_and_not_its_objects_is_not_written_for_what_owned_says() {
    let conditions = |ready: &str, owned: &str| -> Vec<Condition> {
        let condition = |type_, status, message| {
            json!({ "type": type_, "status": status, "reason": "Any", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
        };
        serde_json::from_value(json!([
            condition("Ready", ready, "The stream is there"),
            condition("Owned", owned, "The stream is nobody's"),
        ]))
        .unwrap()
    };
    for (ready, owned, why) in [
        ("True", "False", "The stream is nobody's"),
        ("False", "False", "The stream is there"),
        ("False", "True", "The stream is there"),
    ] {
        let expected = format!("VideoStream entrance is not ready: {why}");
        assert_eq!(not_ready("entrance", &conditions(ready, owned)), expected, "{ready} {owned}");
    }
    assert_eq!(not_ready("entrance", &[]), "VideoStream entrance is not ready: it was not looked at yet");
}

#[test]
fn of_a_stream_that_is_being_deleted_it_is_said_what_comes_after() {
    assert!(being_deleted(&camera(json!({})), "entrance").ends_with("name another in spec.streamRef.name"));
    let template =
        json!({ "streamRef": null, "streamTemplate": { "spec": { "streamClassName": "standard" } } });
    assert!(being_deleted(&camera(template), "door").ends_with("it is made again after that"));
}
