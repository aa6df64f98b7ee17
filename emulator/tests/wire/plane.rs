//! The control plane's switches over HTTP, and what outlives the process.

use std::{fs, time::Duration};

use aws_sdk_kinesisvideo::types::{
    ConfigurationStatus, NotificationConfiguration, NotificationDestinationConfig, Status, Tag,
};
use serde_json::json;

use crate::support::{ACCOUNT, Clients, REGION, Rig, code};

const OTHER_ACCOUNT: &str = "210987654321";

/// An emulator with a key of each of two accounts, and a client of the second.
async fn two_accounts() -> (Rig, Clients) {
    let file = std::env::temp_dir().join(format!("emulator-keys-{:016x}.json", fastrand::u64(..)));
    let keys = json!({"keys": [
        {"accessKeyId": "streamfleet", "secretAccessKey": "streamfleet"},
        {"accessKeyId": "other", "secretAccessKey": "secret", "account": OTHER_ACCOUNT},
    ]});
    fs::write(&file, keys.to_string()).unwrap();
    let rig = Rig::start_with(|options| options.credentials = Some(file)).await;
    let other = rig.clients().with_key("other", "secret");
    (rig, other)
}

#[tokio::test]
async fn lists_lag_by_what_is_ordered() {
    let rig = Rig::start().await;
    let options = rig.hook("options", Some(json!({"listLagMs": 3_600_000}))).await;
    assert_eq!(options["listLagMs"], 3_600_000);
    let kvs = rig.clients().control();
    rig.stream("cam", 1).await;
    let listed = async || kvs.list_streams().send().await.unwrap().stream_info_list.unwrap().len();
    assert_eq!(listed().await, 0);
    kvs.describe_stream().stream_name("cam").send().await.unwrap();
    rig.hook("options", Some(json!({"listLagMs": 0}))).await;
    // Milliseconds are the grain of the lag.
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(listed().await, 1);
}

#[tokio::test]
async fn quotas_are_switched_on_and_off() {
    let rig = Rig::start_with(|options| options.control.quotas = true).await;
    rig.stream("cam", 1).await;
    let kvs = rig.clients().control();
    let throttled = async || {
        let mut throttled = 0;
        for _ in 0..12 {
            let told = code(kvs.describe_stream().stream_name("cam").send().await);
            throttled += usize::from(told == "ClientLimitExceededException");
        }
        throttled
    };
    assert!(throttled().await > 0);
    rig.hook("options", Some(json!({"quotas": false}))).await;
    assert_eq!(throttled().await, 0);
    let counts = rig.hook("call-counts", None).await;
    assert_eq!(counts["DescribeStream"]["calls"], 24);
    assert!(counts["DescribeStream"]["errors"]["ClientLimitExceededException"].as_u64() > Some(0));
}

#[tokio::test]
async fn the_keys_of_one_account_are_revoked_and_restored() {
    let (rig, other) = two_accounts().await;
    for (how, of_kvs, of_sts) in [
        ("access-denied", "AccessDeniedException", "AccessDenied"),
        ("expired-token", "ExpiredTokenException", "ExpiredToken"),
        ("unknown-key", "UnrecognizedClientException", "InvalidClientTokenId"),
    ] {
        rig.hook("revoked", Some(json!({"account": OTHER_ACCOUNT, "as": how}))).await;
        assert_eq!(code(other.control().list_streams().send().await), of_kvs);
        assert_eq!(code(other.sts().get_caller_identity().send().await), of_sts);
        rig.clients().control().list_streams().send().await.unwrap();
    }
    assert_eq!(rig.delete(&format!("revoked/{OTHER_ACCOUNT}")).await, json!({"restored": true}));
    other.control().list_streams().send().await.unwrap();
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_with_its_external_id_only() {
    let (rig, other) = two_accounts().await;
    let role = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/fleet");
    let roles = json!({"roles": [{"arn": role, "externalId": "ours", "trustedAccounts": [ACCOUNT]}]});
    rig.hook("roles", Some(roles)).await;
    let assume = |clients: &Clients, id: Option<&str>| {
        let request = clients.sts().assume_role().role_arn(&role).role_session_name("operator");
        request.set_external_id(id.map(str::to_owned)).send()
    };
    let ours = rig.clients();
    assert_eq!(code(assume(&ours, None).await), "AccessDenied");
    assert_eq!(code(assume(&ours, Some("theirs")).await), "AccessDenied");
    assert_eq!(code(assume(&ours, Some("not fine")).await), "ValidationError");
    assert_eq!(code(assume(&other, Some("ours")).await), "AccessDenied");
    let stranger = ours.sts().assume_role().role_arn(format!("{role}-2")).role_session_name("operator");
    assert_eq!(code(stranger.send().await), "AccessDenied");
    let given = assume(&ours, Some("ours")).await.unwrap();
    let assumed = rig.clients().with_temporary(given.credentials().unwrap());
    let arn = assumed.create("cam", 1).await;
    assert!(arn.contains(OTHER_ACCOUNT), "{arn}");
    assert_eq!(code(ours.control().describe_stream().stream_arn(arn).send().await), "NotAuthorizedException");
    let streams = rig.hook("streams", None).await;
    assert_eq!((&streams[0]["account"], &streams[0]["status"]), (&json!(OTHER_ACCOUNT), &json!("ACTIVE")));
}

#[tokio::test]
async fn a_fault_strikes_one_account_with_the_error_that_is_ordered() {
    let (rig, other) = two_accounts().await;
    for (action, is_made) in [("error", false), ("error-after-effect", true)] {
        let order = json!({
            "operation": "CreateStream", "account": OTHER_ACCOUNT, "action": action,
            "code": "AccountStreamLimitExceededException", "count": 1,
        });
        rig.hook("faults", Some(order)).await;
        rig.stream(action, 1).await;
        let created = other.control().create_stream().stream_name("cam").send().await;
        assert_eq!(code(created), "AccountStreamLimitExceededException");
        let described = other.control().describe_stream().stream_name("cam").send().await;
        assert_eq!(described.is_ok(), is_made, "{action}");
    }
    let calls = rig.hook("calls", None).await;
    assert_eq!((&calls[0]["account"], &calls[0]["region"]), (&json!(ACCOUNT), &json!(REGION)));
}

#[tokio::test]
async fn settings_tags_and_channels_outlive_the_process() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    rig.stream("cam", 1).await;
    let gone = rig.stream("gone", 1).await;
    let topic = NotificationDestinationConfig::builder().uri("arn:aws:sns:eu-central-1:123456789012:topic");
    let notification = NotificationConfiguration::builder()
        .status(ConfigurationStatus::Enabled)
        .destination_config(topic.build().unwrap())
        .build()
        .unwrap();
    let update = kvs.update_notification_configuration().stream_name("cam");
    update.notification_configuration(notification.clone()).send().await.unwrap();
    kvs.tag_stream().stream_name("cam").tags("a", "1").send().await.unwrap();
    let tag = Tag::builder().key("b").value("2").build().unwrap();
    let channel = kvs.create_signaling_channel().channel_name("ch").tags(tag).send().await.unwrap();
    kvs.delete_stream().stream_arn(&gone).send().await.unwrap();
    let rig = rig.restart().await;
    let kvs = rig.clients().control();
    let told = kvs.describe_notification_configuration().stream_name("cam").send().await.unwrap();
    assert_eq!(told.notification_configuration, Some(notification));
    let tags = kvs.list_tags_for_stream().stream_name("cam").send().await.unwrap().tags.unwrap();
    assert_eq!(tags.get("a").map(String::as_str), Some("1"));
    let info =
        kvs.describe_signaling_channel().channel_name("ch").send().await.unwrap().channel_info.unwrap();
    assert_eq!((info.channel_arn, info.channel_status), (channel.channel_arn.clone(), Some(Status::Active)));
    let tags = kvs.list_tags_for_resource().resource_arn(channel.channel_arn.unwrap()).send().await.unwrap();
    assert_eq!(tags.tags.unwrap().get("b").map(String::as_str), Some("2"));
    let streams = kvs.list_streams().send().await.unwrap().stream_info_list.unwrap();
    assert_eq!(streams.len(), 1);
}
