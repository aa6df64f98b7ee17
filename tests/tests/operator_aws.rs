//! The operator's AWS calls as they go over the wire: by the SDK, to the emulator, which checks each against the service's model.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use serde_json::{Value, json};
use streamfleet_crds::{AlarmState, ImageFormat, ImageGeneration, ImageTimestamp, Notification, StorageTier};
use streamfleet_emulator::{Emulator, Options};
use streamfleet_operator::aws::sdk::SdkClouds;
use streamfleet_operator::aws::{
    Alarm, AlarmMetric, AlarmQuery, AwsError, Cloud, Clouds as _, Comparison, CompositeAlarm, ErrorKind,
    ExternalId, MissingData, NewStream, Place, RetentionChange, Statistic, StreamInfo, StreamState,
    StreamUpdate, Which,
};
use streamfleet_operator::metrics::Metrics;
use streamfleet_tests::e2e::http;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const ACCOUNT: &str = "123456789012";
const ROLE: &str = "arn:aws:iam::123456789012:role/streamfleet";

/// How long anything may take to come about on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

struct World {
    emulator: Emulator,
    folder: std::path::PathBuf,
    clouds: SdkClouds,
}

impl World {
    async fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("operator-aws-{name}-{}", std::process::id()));
        let emulator = Emulator::start(Options::new(&folder)).await?;
        let keys = Credentials::new("streamfleet", "streamfleet", None, None, "test");
        let clouds = SdkClouds::new(Arc::new(Metrics::default())).with_credentials(keys);
        Ok(Self { emulator, folder, clouds })
    }

    fn address(&self) -> SocketAddr {
        self.emulator.http_addr()
    }

    fn place(&self) -> Place {
        let endpoint = Some(format!("http://{}", self.address()));
        Place {
            kinesis_video: endpoint.clone(),
            sts: endpoint.clone(),
            cloud_watch: endpoint,
            ..Place::new("eu-west-1", ACCOUNT)
        }
    }

    async fn cloud(&self) -> Result<Arc<dyn Cloud>> {
        Ok(self.clouds.cloud(&self.place()).await?)
    }

    async fn order(&self, path: &str, order: &Value) -> Result<()> {
        http::request(self.address(), "POST", &format!("/_emulator/{path}"), &order.to_string()).await?;
        Ok(())
    }

    /// How often each operation was called since this was last asked.
    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let counts = http::get(self.address(), "/_emulator/call-counts").await?;
        let counts: BTreeMap<String, Value> = serde_json::from_slice(&counts)?;
        http::request(self.address(), "DELETE", "/_emulator/call-counts", "").await?;
        Ok(counts
            .into_iter()
            .map(|(operation, count)| (operation, count["calls"].as_u64().unwrap_or_default()))
            .collect())
    }

    async fn clear(self) -> Result<()> {
        self.emulator.shutdown().await;
        tokio::fs::remove_dir_all(&self.folder).await?;
        Ok(())
    }
}

fn stream(name: &str) -> NewStream {
    NewStream {
        name: name.to_owned(),
        retention_hours: 24,
        tags: BTreeMap::from([("streamfleet.io/name".to_owned(), name.to_owned())]),
        ..NewStream::default()
    }
}

/// Waits until the stream can be changed.
async fn active(cloud: &dyn Cloud, arn: &str) -> Result<StreamInfo> {
    let start = Instant::now();
    loop {
        let info = cloud.describe_stream(Which::Arn(arn)).await?.context("the stream is gone")?;
        if info.state == StreamState::Active {
            return Ok(info);
        }
        ensure!(start.elapsed() < LIMIT, "{info:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn kind<T: std::fmt::Debug>(answer: Result<T, AwsError>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind)
}

#[tokio::test]
async fn every_setting_of_a_stream_is_set_and_read_back() -> Result<()> {
    let world = World::new("streams").await?;
    let cloud = world.cloud().await?;
    let new = NewStream {
        media_type: Some("video/h264".to_owned()),
        device_name: Some("door".to_owned()),
        kms_key_id: Some("alias/own".to_owned()),
        storage_tier: Some(StorageTier::Warm),
        ..stream("door")
    };
    let arn = cloud.create_stream(&new).await?;
    assert_eq!(kind(cloud.create_stream(&new).await), Some(ErrorKind::InUse));
    let info = active(&*cloud, &arn).await?;
    assert_eq!((info.name.as_str(), info.retention_hours, info.arn.as_str()), ("door", 24, arn.as_str()));
    assert_eq!((info.media_type.as_deref(), info.device_name.as_deref()), (Some("video/h264"), Some("door")));
    assert!(info.kms_key_id.as_deref().is_some_and(|key| key.ends_with("alias/own")), "{info:?}");
    assert_eq!(cloud.list_streams().await?, std::slice::from_ref(&info));
    assert_eq!(cloud.storage_tier(&arn).await?, StorageTier::Warm);
    assert_eq!(cloud.list_tags(&arn).await?, new.tags);

    cloud.change_retention(&arn, &info.version, RetentionChange::Increase(24)).await?;
    assert_eq!(
        kind(cloud.change_retention(&arn, &info.version, RetentionChange::Increase(24)).await),
        Some(ErrorKind::VersionMismatch)
    );
    let info = active(&*cloud, &arn).await?;
    assert_eq!(info.retention_hours, 48);
    let update =
        StreamUpdate { device_name: Some("gate".to_owned()), media_type: Some("video/h265".to_owned()) };
    cloud.update_stream(&arn, &info.version, &update).await?;
    let info = active(&*cloud, &arn).await?;
    assert_eq!((info.media_type, info.device_name), (update.media_type, update.device_name));
    cloud.change_storage_tier(&arn, &info.version, StorageTier::Hot).await?;
    active(&*cloud, &arn).await?;
    assert_eq!(cloud.storage_tier(&arn).await?, StorageTier::Hot);

    cloud.tag_stream(&arn, &BTreeMap::from([("site".to_owned(), "berlin".to_owned())])).await?;
    cloud.untag_stream(&arn, &["streamfleet.io/name".to_owned(), "never".to_owned()]).await?;
    assert_eq!(cloud.list_tags(&arn).await?, BTreeMap::from([("site".to_owned(), "berlin".to_owned())]));

    let info = active(&*cloud, &arn).await?;
    cloud.delete_stream(&arn, &info.version).await?;
    let start = Instant::now();
    while cloud.describe_stream(Which::Name("door")).await?.is_some() {
        ensure!(start.elapsed() < LIMIT, "the stream does not go");
        sleep(Duration::from_millis(20)).await;
    }
    cloud.delete_stream(&arn, &info.version).await?;
    world.clear().await
}

#[tokio::test]
async fn images_and_notifications_are_set_read_back_and_taken_away() -> Result<()> {
    let world = World::new("images").await?;
    let cloud = world.cloud().await?;
    let arn = cloud.create_stream(&stream("door")).await?;
    active(&*cloud, &arn).await?;
    assert_eq!(cloud.image_generation(&arn).await?, None);
    assert_eq!(cloud.notification(&arn).await?, None);
    let images = ImageGeneration {
        timestamp: ImageTimestamp::Producer,
        destination_uri: "s3://pictures/door".to_owned(),
        destination_region: None,
        sampling_interval_millis: 3000,
        format: ImageFormat::Jpeg,
        jpeg_quality: Some(70),
        width_pixels: Some(640),
        height_pixels: None,
    };
    cloud.set_image_generation(&arn, Some(&images)).await?;
    let filled = ImageGeneration { destination_region: Some("eu-west-1".to_owned()), ..images.clone() };
    assert_eq!(cloud.image_generation(&arn).await?, Some(filled));
    let png = ImageGeneration {
        timestamp: ImageTimestamp::Server,
        destination_region: Some("eu-west-1".to_owned()),
        format: ImageFormat::Png,
        jpeg_quality: None,
        width_pixels: None,
        height_pixels: Some(360),
        ..images
    };
    cloud.set_image_generation(&arn, Some(&png)).await?;
    assert_eq!(cloud.image_generation(&arn).await?, Some(png));
    let topic = Notification { topic_arn: format!("arn:aws:sns:eu-west-1:{ACCOUNT}:fragments") };
    cloud.set_notification(&arn, Some(&topic)).await?;
    assert_eq!(cloud.notification(&arn).await?, Some(topic.clone()));
    cloud.set_image_generation(&arn, None).await?;
    cloud.set_notification(&arn, None).await?;
    assert_eq!((cloud.image_generation(&arn).await?, cloud.notification(&arn).await?), (None, None));

    let empty = cloud.create_stream(&NewStream { retention_hours: 0, ..stream("empty") }).await?;
    active(&*cloud, &empty).await?;
    assert_eq!(kind(cloud.set_notification(&empty, Some(&topic)).await), Some(ErrorKind::NoRetention));
    world.clear().await
}

fn alarm(name: &str) -> Alarm {
    Alarm {
        name: format!("streamfleet/north/{name}"),
        description: "No video comes into door".to_owned(),
        metric: AlarmMetric::Stream {
            metric: "PutMedia.IncomingFragments".to_owned(),
            stream_name: "door".to_owned(),
            statistic: Statistic::Sum,
        },
        comparison: Comparison::LessThan,
        threshold: 1.0,
        period_seconds: 60,
        evaluation_periods: 5,
        datapoints_to_alarm: 3,
        missing_data: MissingData::Breaching,
        actions: vec![format!("arn:aws:sns:eu-west-1:{ACCOUNT}:cameras")],
        actions_enabled: true,
        tags: BTreeMap::from([("streamfleet.io/installation".to_owned(), "north".to_owned())]),
    }
}

#[tokio::test]
async fn alarms_are_read_back_as_they_were_put_and_go_whether_all_are_there_or_not() -> Result<()> {
    let world = World::new("alarms").await?;
    let cloud = world.cloud().await?;
    let plain = alarm("door/NoIngest");
    let query = Alarm {
        metric: AlarmMetric::Insights(
            "SELECT MAX(\"PutMedia.ErrorAckCount\") FROM SCHEMA(\"AWS/KinesisVideo\", StreamName)".to_owned(),
        ),
        comparison: Comparison::GreaterThan,
        missing_data: MissingData::NotBreaching,
        actions_enabled: false,
        ..alarm("fleet/ErrorAcks")
    };
    let other = Alarm { name: "somebody/else".to_owned(), ..plain.clone() };
    for alarm in [&plain, &query, &other] {
        cloud.put_alarm(alarm).await?;
    }
    let site = CompositeAlarm {
        name: "streamfleet/north/site/berlin".to_owned(),
        description: "A camera of the site".to_owned(),
        rule: format!("ALARM(\"{}\")", plain.name),
        actions: Vec::new(),
        actions_enabled: true,
        tags: BTreeMap::new(),
    };
    cloud.put_composite_alarm(&site).await?;

    let ours = AlarmQuery::Prefix("streamfleet/north/".to_owned());
    let found = cloud.describe_alarms(&ours).await?;
    let alarms: Vec<&Alarm> = found.iter().map(|info| &info.alarm).collect();
    assert_eq!(alarms, [&plain, &query]);
    assert_eq!(found[0].state, AlarmState::InsufficientData);
    assert_eq!(found[0].arn, format!("arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm:{}", plain.name));
    let sites = cloud.describe_composite_alarms(&ours).await?;
    assert_eq!(sites.iter().map(|info| &info.alarm).collect::<Vec<_>>(), [&site]);

    cloud.put_alarm(&Alarm { threshold: 2.0, ..plain.clone() }).await?;
    let names: Vec<String> =
        std::iter::once(plain.name.clone()).chain((0..150).map(|number| format!("none-{number}"))).collect();
    let found = cloud.describe_alarms(&AlarmQuery::Names(names.clone())).await?;
    assert_eq!(found.len(), 1);
    assert!(found[0].alarm != plain);

    cloud.delete_alarms(&[site.name]).await?;
    cloud.delete_alarms(&names).await?;
    assert_eq!(cloud.describe_alarms(&ours).await?.len(), 1);
    world.clear().await
}

#[tokio::test]
async fn more_names_than_a_call_takes_are_asked_for_in_several() -> Result<()> {
    let world = World::new("names").await?;
    let cloud = world.cloud().await?;
    for number in 0..3 {
        cloud.put_alarm(&alarm(&format!("{number:03}"))).await?;
    }
    world.calls().await?;
    let names = (0..250).map(|number| alarm(&format!("{number:03}")).name).collect();
    assert_eq!(cloud.describe_alarms(&AlarmQuery::Names(names)).await?.len(), 3);
    assert_eq!(world.calls().await?.get("DescribeAlarms"), Some(&3));
    world.clear().await
}

#[tokio::test]
async fn the_account_is_confirmed_before_anything_else_is_asked_and_a_wrong_one_is_asked_nothing()
-> Result<()> {
    let world = World::new("account").await?;
    let place = Place { account: "210987654321".to_owned(), ..world.place() };
    let cloud = world.clouds.cloud(&place).await?;
    assert_eq!(kind(cloud.create_stream(&stream("door")).await), Some(ErrorKind::WrongAccount));
    assert_eq!(kind(cloud.list_streams().await), Some(ErrorKind::WrongAccount));
    assert_eq!(kind(cloud.put_alarm(&alarm("door")).await), Some(ErrorKind::WrongAccount));
    let asked = world.calls().await?;
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["GetCallerIdentity"]);
    let cloud = world.cloud().await?;
    for _ in 0..3 {
        cloud.list_streams().await?;
    }
    let asked = world.calls().await?;
    assert_eq!((asked.get("GetCallerIdentity"), asked.get("ListStreams")), (Some(&1), Some(&3)));
    world.clear().await
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id_and_a_wrong_one_is_refused_by_name_and_never_shown()
-> Result<()> {
    let world = World::new("role").await?;
    let role = json!({ "arn": ROLE, "externalId": "planted-external-id" });
    world.order("roles", &json!({ "roles": [role] })).await?;
    let place = |id: &str| Place {
        role_arn: Some(ROLE.to_owned()),
        external_id: Some(ExternalId::new(id)),
        ..world.place()
    };
    let cloud = world.clouds.cloud(&place("planted-external-id")).await?;
    let caller = cloud.caller().await?;
    assert!(caller.arn.contains(":assumed-role/streamfleet/streamfleet-operator"), "{caller:?}");
    cloud.create_stream(&stream("door")).await?;
    let cloud = world.clouds.cloud(&place("planted-other-id")).await?;
    let error = cloud.list_streams().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RoleRefused, "{error}");
    let shown = format!("{error} {error:?} {:?}", place("planted-other-id"));
    assert!(!shown.contains("planted"), "{shown}");
    world.clear().await
}

#[tokio::test]
async fn refused_for_number_is_tried_again_unless_the_effect_is_relative() -> Result<()> {
    let world = World::new("throttle").await?;
    let cloud = world.cloud().await?;
    let arn = cloud.create_stream(&stream("door")).await?;
    let info = active(&*cloud, &arn).await?;
    world.calls().await?;
    for operation in ["DescribeStream", "TagStream", "UpdateDataRetention"] {
        let fault = json!({ "operation": operation, "action": "throttle", "count": 1 });
        world.order("faults", &fault).await?;
    }
    assert_eq!(cloud.describe_stream(Which::Arn(&arn)).await?, Some(info.clone()));
    cloud.tag_stream(&arn, &BTreeMap::from([("a".to_owned(), "b".to_owned())])).await?;
    let raise = RetentionChange::Increase(1);
    assert_eq!(kind(cloud.change_retention(&arn, &info.version, raise).await), Some(ErrorKind::Throttled));
    let asked = world.calls().await?;
    assert_eq!((asked["DescribeStream"], asked["TagStream"], asked["UpdateDataRetention"]), (2, 2, 1));
    world.clear().await
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_never_sent_again_by_itself() -> Result<()> {
    let world = World::new("lost").await?;
    let cloud = world.cloud().await?;
    let arn = cloud.create_stream(&stream("door")).await?;
    let info = active(&*cloud, &arn).await?;
    world.calls().await?;
    for operation in ["CreateStream", "UpdateDataRetention", "DeleteStream"] {
        let fault = json!({ "operation": operation, "action": "drop-after-effect", "count": 1 });
        world.order("faults", &fault).await?;
    }
    let raise = RetentionChange::Increase(1);
    let lost = Some(ErrorKind::Unreachable);
    assert_eq!(kind(cloud.change_retention(&arn, &info.version, raise).await), lost);
    let info = active(&*cloud, &arn).await?;
    assert_eq!(info.retention_hours, 25);
    assert_eq!(kind(cloud.create_stream(&stream("gate")).await), lost);
    assert_eq!(kind(cloud.delete_stream(&arn, &info.version).await), lost);
    let asked = world.calls().await?;
    assert_eq!((asked["UpdateDataRetention"], asked["CreateStream"], asked["DeleteStream"]), (1, 1, 1));
    world.clear().await
}

#[tokio::test]
async fn an_account_that_refuses_is_asked_a_few_times_only_and_comes_back_by_itself() -> Result<()> {
    let world = World::new("revoked").await?;
    let cloud = world.cloud().await?;
    cloud.list_streams().await?;
    world.order("revoked", &json!({ "account": ACCOUNT, "as": "expired-token" })).await?;
    world.calls().await?;
    for _ in 0..500 {
        assert_eq!(kind(cloud.list_streams().await), Some(ErrorKind::CredentialsRefused));
    }
    let asked: u64 = world.calls().await?.values().sum();
    ensure!(asked <= 8, "{asked} calls to an account that refuses each");
    assert_eq!(
        world.clouds.trouble(&world.place()).map(|error| error.kind),
        Some(ErrorKind::CredentialsRefused)
    );

    http::request(world.address(), "DELETE", &format!("/_emulator/revoked/{ACCOUNT}"), "").await?;
    let start = Instant::now();
    while let Err(error) = world.cloud().await?.list_streams().await {
        ensure!(start.elapsed() < LIMIT, "{error}");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.clouds.trouble(&world.place()), None);
    world.clear().await
}

/// Runs another test of this program by itself, with these variables.
async fn run_again(test: &str, variables: &[(&str, String)]) -> Result<bool> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["--exact", test]).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    for (name, value) in variables {
        command.env(name, value);
    }
    Ok(tokio::time::timeout(LIMIT, command.status()).await??.success())
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used_for_all_but_its_exceptions() -> Result<()> {
    const TEST: &str = "every_setting_of_a_stream_is_set_and_read_back";
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let variable = ("HTTP_PROXY", format!("http://{}", proxy.local_addr()?));
    // With the first connection the listener goes, so that the next one fails at once.
    let first_line = async move {
        let (mut socket, _) = proxy.accept().await?;
        let mut head = [0; 512];
        let length = socket.read(&mut head).await?;
        anyhow::Ok(String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned())
    };
    let variables = [variable.clone()];
    let (line, passed) = tokio::join!(first_line, run_again(TEST, &variables));
    let line = line?;
    assert!(line.starts_with("POST http://127.0.0.1:"), "{line}");
    assert!(!passed?, "the proxy answered nothing");
    assert!(run_again(TEST, &[variable, ("NO_PROXY", "127.0.0.1".to_owned())]).await?);
    Ok(())
}
