//! AWS, in process: the operator's `Cloud` over the emulator's machines, call by call, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use streamfleet_crds::{ImageFormat, ImageGeneration, ImageTimestamp, Notification, StorageTier};
use streamfleet_operator::aws::{
    Alarm, AlarmInfo, AlarmQuery, Answer, AwsError, Caller, Cloud, Clouds, CompositeAlarm, CompositeInfo,
    ErrorKind, ExternalId, NewStream, Place, RetentionChange, StreamInfo, StreamState, StreamUpdate, Turn,
    Which,
};

use crate::alarms;
use crate::trace::{What, is_change};
use crate::world::{ACCOUNT, Inner, Replica, World};

/// The clouds of a world, as one of its operators calls them.
pub struct InProcess {
    world: World,
    by: Replica,
}

impl InProcess {
    pub fn new(world: &World, by: Replica) -> Self {
        Self { world: world.clone(), by }
    }
}

impl Clouds for InProcess {
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>> {
        let (world, by) = (self.world.clone(), self.by);
        let cloud: Arc<dyn Cloud> = Arc::new(OneCloud { world, by, place: place.clone() });
        async move { Ok(cloud) }.boxed()
    }

    fn forget(&self, _place: &Place) {}

    fn trouble(&self, _place: &Place) -> Option<AwsError> {
        None
    }
}

/// One account and region.
struct OneCloud {
    world: World,
    by: Replica,
    place: Place,
}

impl OneCloud {
    async fn call(&self, operation: &'static str, request: Value) -> Result<Value, AwsError> {
        // With a planted fault an error holds what it should not.
        let secret = self.place.external_id.as_ref().map(ExternalId::expose);
        let leak = self.world.lock().mutants.leaks().then_some(secret).flatten();
        let message = leak.unwrap_or("connection reset by peer").to_owned();
        let unreachable = AwsError { operation, kind: ErrorKind::Unreachable, message };
        let late = self.world.lock().slow.takes_late(operation);
        if let Some(after) = late {
            self.take_effect_late(operation, request, after);
            return Err(unreachable);
        }
        let lost = || Err(unreachable);
        let role = self.place.role_arn.as_deref().and_then(|arn| arn.rsplit('/').next());
        let asked = (role.unwrap_or_default().to_owned(), operation);
        let effect = move |inner: &mut Inner| {
            if inner.denied.contains(&asked) {
                let code = "AccessDeniedException".to_owned();
                return Ok(Err((code, format!("role {} may not call {}", asked.0, asked.1))));
            }
            Ok(carry_out(inner, operation, request))
        };
        let answer = self.world.step(self.by, operation, effect, lost).await?;
        answer.map_err(|(code, message)| AwsError::of_service(operation, &code, Some(&message)))
    }
}

/// Does what is asked, as far as the planted fault lets it.
fn carry_out(
    inner: &mut Inner,
    operation: &'static str,
    mut request: Value,
) -> Result<Value, (String, String)> {
    if let Some(answer) = inner.mutants.clone().answers_itself(inner, operation, &request) {
        return answer;
    }
    inner.mutants.clone().alters(inner, operation, &mut request);
    if is_change(operation) {
        crate::invariants::before(inner, operation, &request);
    }
    let answer = perform(inner, operation, &request);
    let seen = answer.clone().map_err(|(code, _)| code);
    inner.note(What::Aws { operation, request: request.clone(), answer: seen });
    let mut answer = answer;
    inner.mutants.clone().follows(inner, operation, &request, &mut answer);
    answer
}

/// Calls the machine.
pub fn perform(
    inner: &mut Inner,
    operation: &'static str,
    request: &Value,
) -> Result<Value, (String, String)> {
    let (scope, now_ms) = (World::scope(), inner.now_ms());
    if operation == "GetCallerIdentity" {
        return Ok(json!({ "Account": ACCOUNT }));
    }
    let answer = if CloudWatchOperation::has(operation) {
        inner.cloudwatch.call(&scope, operation, request, now_ms)
    } else {
        inner.control.call(&scope, operation, request, now_ms)
    };
    answer.map_err(|error| (error.code.to_owned(), error.message))
}

struct CloudWatchOperation;

impl CloudWatchOperation {
    fn has(name: &str) -> bool {
        ["DescribeAlarms", "PutMetricAlarm", "PutCompositeAlarm", "DeleteAlarms"].contains(&name)
    }
}

/// The JSON of a request without what is not given.
fn request<const N: usize>(members: [(&str, Value); N]) -> Value {
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn done(answer: Result<Value, AwsError>) -> Result<(), AwsError> {
    answer.map(drop)
}

/// Where there is none is no error.
fn found(answer: Result<Value, AwsError>) -> Result<Option<Value>, AwsError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Cloud for OneCloud {
    fn turn<'a>(&'a self, operation: &'static str, stream: &'a str) -> Answer<'a, Turn> {
        async move {
            self.world.wait_in_row(operation).await;
            Ok(Turn::new(operation, stream))
        }
        .boxed()
    }

    fn caller(&self) -> Answer<'_, Caller> {
        async move {
            let answer = self.call("GetCallerIdentity", json!({})).await?;
            let account = answer["Account"].as_str().unwrap_or_default().to_owned();
            Ok(Caller { arn: format!("arn:aws:iam::{account}:role/streamfleet"), account })
        }
        .boxed()
    }

    fn create_stream<'a>(&'a self, stream: &'a NewStream) -> Answer<'a, String> {
        async move {
            let tier = stream.storage_tier.map(|tier| json!({ "DefaultStorageTier": tier_text(tier) }));
            let request = request([
                ("StreamName", json!(stream.name)),
                ("DataRetentionInHours", json!(stream.retention_hours)),
                ("Tags", if stream.tags.is_empty() { Value::Null } else { json!(stream.tags) }),
                ("KmsKeyId", json!(stream.kms_key_id)),
                ("MediaType", json!(stream.media_type)),
                ("DeviceName", json!(stream.device_name)),
                ("StreamStorageConfiguration", json!(tier)),
            ]);
            let answer = self.call("CreateStream", request).await?;
            Ok(answer["StreamARN"].as_str().unwrap_or_default().to_owned())
        }
        .boxed()
    }

    fn describe_stream<'a>(&'a self, which: Which<'a>) -> Answer<'a, Option<StreamInfo>> {
        async move {
            let request = match which {
                Which::Name(name) => json!({ "StreamName": name }),
                Which::Arn(arn) => json!({ "StreamARN": arn }),
            };
            let answer = found(self.call("DescribeStream", request).await)?;
            Ok(answer.map(|answer| stream_info(&answer["StreamInfo"])))
        }
        .boxed()
    }

    fn list_streams(&self) -> Answer<'_, Vec<StreamInfo>> {
        async move {
            let answer = self.call("ListStreams", json!({ "MaxResults": 10_000 })).await?;
            Ok(answer["StreamInfoList"].as_array().into_iter().flatten().map(stream_info).collect())
        }
        .boxed()
    }

    fn list_tags<'a>(&'a self, arn: &'a str) -> Answer<'a, BTreeMap<String, String>> {
        async move {
            let answer = self.call("ListTagsForStream", json!({ "StreamARN": arn })).await?;
            Ok(serde_json::from_value(answer["Tags"].clone()).unwrap_or_default())
        }
        .boxed()
    }

    fn tag_stream<'a>(&'a self, arn: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        async move { done(self.call("TagStream", json!({ "StreamARN": arn, "Tags": tags })).await) }.boxed()
    }

    fn untag_stream<'a>(&'a self, arn: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        async move { done(self.call("UntagStream", json!({ "StreamARN": arn, "TagKeyList": keys })).await) }
            .boxed()
    }

    fn change_retention<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        change: RetentionChange,
    ) -> Answer<'a, ()> {
        async move {
            let (operation, hours) = match change {
                RetentionChange::Increase(hours) => ("INCREASE_DATA_RETENTION", hours),
                RetentionChange::Decrease(hours) => ("DECREASE_DATA_RETENTION", hours),
            };
            let request = json!({
                "StreamARN": arn, "CurrentVersion": version, "Operation": operation,
                "DataRetentionChangeInHours": hours,
            });
            self.wait_unless_turn("UpdateDataRetention", arn).await;
            done(self.call("UpdateDataRetention", request).await)
        }
        .boxed()
    }

    fn delete_stream<'a>(&'a self, arn: &'a str, version: &'a str) -> Answer<'a, ()> {
        async move {
            let request = json!({ "StreamARN": arn, "CurrentVersion": version });
            self.wait_unless_turn("DeleteStream", arn).await;
            found(self.call("DeleteStream", request).await).map(drop)
        }
        .boxed()
    }

    fn update_stream<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        update: &'a StreamUpdate,
    ) -> Answer<'a, ()> {
        async move {
            let request = request([
                ("StreamARN", json!(arn)),
                ("CurrentVersion", json!(version)),
                ("DeviceName", json!(update.device_name)),
                ("MediaType", json!(update.media_type)),
            ]);
            done(self.call("UpdateStream", request).await)
        }
        .boxed()
    }

    fn storage_tier<'a>(&'a self, arn: &'a str) -> Answer<'a, StorageTier> {
        async move {
            let answer = self.call("DescribeStreamStorageConfiguration", json!({ "StreamARN": arn })).await?;
            let tier = &answer["StreamStorageConfiguration"]["DefaultStorageTier"];
            Ok(if tier == "WARM" { StorageTier::Warm } else { StorageTier::Hot })
        }
        .boxed()
    }

    fn change_storage_tier<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        tier: StorageTier,
    ) -> Answer<'a, ()> {
        async move {
            let request = json!({
                "StreamARN": arn, "CurrentVersion": version,
                "StreamStorageConfiguration": { "DefaultStorageTier": tier_text(tier) },
            });
            done(self.call("UpdateStreamStorageConfiguration", request).await)
        }
        .boxed()
    }

    fn image_generation<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<ImageGeneration>> {
        async move {
            let answer =
                self.call("DescribeImageGenerationConfiguration", json!({ "StreamARN": arn })).await?;
            Ok(images(&answer["ImageGenerationConfiguration"]))
        }
        .boxed()
    }

    fn set_image_generation<'a>(
        &'a self,
        arn: &'a str,
        images: Option<&'a ImageGeneration>,
    ) -> Answer<'a, ()> {
        async move {
            let request = request([
                ("StreamARN", json!(arn)),
                ("ImageGenerationConfiguration", images.map_or(Value::Null, images_to_json)),
            ]);
            done(self.call("UpdateImageGenerationConfiguration", request).await)
        }
        .boxed()
    }

    fn notification<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<Notification>> {
        async move {
            let answer = self.call("DescribeNotificationConfiguration", json!({ "StreamARN": arn })).await?;
            let configuration = &answer["NotificationConfiguration"];
            let topic = configuration["DestinationConfig"]["Uri"].as_str();
            let topic = topic.filter(|_| configuration["Status"] == "ENABLED");
            Ok(topic.map(|topic| Notification { topic_arn: topic.to_owned() }))
        }
        .boxed()
    }

    fn set_notification<'a>(
        &'a self,
        arn: &'a str,
        notification: Option<&'a Notification>,
    ) -> Answer<'a, ()> {
        async move {
            let configuration = notification.map(|notification| {
                json!({ "Status": "ENABLED", "DestinationConfig": { "Uri": notification.topic_arn } })
            });
            let request =
                request([("StreamARN", json!(arn)), ("NotificationConfiguration", json!(configuration))]);
            done(self.call("UpdateNotificationConfiguration", request).await)
        }
        .boxed()
    }

    fn describe_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<AlarmInfo>> {
        async move {
            let all = self.alarms("MetricAlarm", query).await?;
            Ok(all.iter().map(alarms::metric_alarm).collect())
        }
        .boxed()
    }

    fn describe_composite_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<CompositeInfo>> {
        async move {
            let all = self.alarms("CompositeAlarm", query).await?;
            Ok(all.iter().map(alarms::composite_alarm).collect())
        }
        .boxed()
    }

    fn put_alarm<'a>(&'a self, alarm: &'a Alarm) -> Answer<'a, ()> {
        async move { done(self.call("PutMetricAlarm", alarms::put_metric(alarm)).await) }.boxed()
    }

    fn put_composite_alarm<'a>(&'a self, alarm: &'a CompositeAlarm) -> Answer<'a, ()> {
        async move { done(self.call("PutCompositeAlarm", alarms::put_composite(alarm)).await) }.boxed()
    }

    fn delete_alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, ()> {
        async move {
            for names in names.chunks(100) {
                found(self.call("DeleteAlarms", json!({ "AlarmNames": names })).await)?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl OneCloud {
    /// A call waits for its turn where it has not done that.
    async fn wait_unless_turn(&self, operation: &'static str, arn: &str) {
        if !Turn::use_up(operation, Some(arn)) {
            self.world.wait_in_row(operation).await;
        }
    }

    /// A call takes effect when its sender does not wait for it any more.
    fn take_effect_late(&self, operation: &'static str, request: Value, after: Duration) {
        let (world, task) = (self.world.clone(), self.world.lock().task());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let mut inner = world.lock();
            inner.acting = task;
            // Nobody hears the answer.
            let _ = carry_out(&mut inner, operation, request);
            inner.acting = None;
            drop(inner);
            world.wake();
        });
    }

    async fn alarms(&self, kind: &str, query: &AlarmQuery) -> Result<Vec<Value>, AwsError> {
        let base = json!({ "AlarmTypes": [kind], "MaxRecords": 100 });
        let mut parts = Vec::new();
        match query {
            AlarmQuery::Prefix(prefix) => parts.push(("AlarmNamePrefix", json!(prefix))),
            AlarmQuery::Names(names) => {
                parts.extend(names.chunks(100).map(|names| ("AlarmNames", json!(names))));
            }
        }
        let mut all = Vec::new();
        for (member, value) in parts {
            let mut request = base.clone();
            request[member] = value;
            loop {
                let page = self.call("DescribeAlarms", request.clone()).await?;
                let found = &page[format!("{kind}s")];
                all.extend(found.as_array().into_iter().flatten().cloned());
                match page["NextToken"].as_str() {
                    Some(token) => request["NextToken"] = token.into(),
                    None => break,
                }
            }
        }
        Ok(all)
    }
}

fn tier_text(tier: StorageTier) -> &'static str {
    match tier {
        StorageTier::Hot => "HOT",
        StorageTier::Warm => "WARM",
    }
}

fn stream_info(info: &Value) -> StreamInfo {
    let text = |name: &str| info[name].as_str().map(ToOwned::to_owned);
    StreamInfo {
        name: text("StreamName").unwrap_or_default(),
        arn: text("StreamARN").unwrap_or_default(),
        version: text("Version").unwrap_or_default(),
        state: match info["Status"].as_str() {
            Some("CREATING") => StreamState::Creating,
            Some("ACTIVE") => StreamState::Active,
            Some("DELETING") => StreamState::Deleting,
            _ => StreamState::Updating,
        },
        retention_hours: info["DataRetentionInHours"].as_i64().unwrap_or_default() as i32,
        created: alarms::time(&info["CreationTime"]),
        kms_key_id: text("KmsKeyId"),
        media_type: text("MediaType"),
        device_name: text("DeviceName"),
    }
}

fn images_to_json(images: &ImageGeneration) -> Value {
    let region = images.destination_region.as_deref().unwrap_or(crate::world::REGION);
    let quality = images.jpeg_quality.map(|quality| json!({ "JPEGQuality": quality.to_string() }));
    request([
        ("Status", json!("ENABLED")),
        (
            "ImageSelectorType",
            json!(match images.timestamp {
                ImageTimestamp::Server => "SERVER_TIMESTAMP",
                ImageTimestamp::Producer => "PRODUCER_TIMESTAMP",
            }),
        ),
        ("DestinationConfig", json!({ "Uri": images.destination_uri, "DestinationRegion": region })),
        ("SamplingInterval", json!(images.sampling_interval_millis)),
        (
            "Format",
            json!(match images.format {
                ImageFormat::Jpeg => "JPEG",
                ImageFormat::Png => "PNG",
            }),
        ),
        ("FormatConfig", json!(quality)),
        ("WidthPixels", json!(images.width_pixels)),
        ("HeightPixels", json!(images.height_pixels)),
    ])
}

fn images(configuration: &Value) -> Option<ImageGeneration> {
    if configuration["Status"] != "ENABLED" {
        return None;
    }
    let number = |name: &str| configuration[name].as_i64().map(|number| number as i32);
    let destination = &configuration["DestinationConfig"];
    let quality = configuration["FormatConfig"]["JPEGQuality"].as_str();
    Some(ImageGeneration {
        timestamp: if configuration["ImageSelectorType"] == "SERVER_TIMESTAMP" {
            ImageTimestamp::Server
        } else {
            ImageTimestamp::Producer
        },
        destination_uri: destination["Uri"].as_str()?.to_owned(),
        destination_region: destination["DestinationRegion"].as_str().map(ToOwned::to_owned),
        sampling_interval_millis: number("SamplingInterval")?,
        format: if configuration["Format"] == "JPEG" { ImageFormat::Jpeg } else { ImageFormat::Png },
        jpeg_quality: quality.and_then(|quality| quality.parse().ok()),
        width_pixels: number("WidthPixels"),
        height_pixels: number("HeightPixels"),
    })
}
