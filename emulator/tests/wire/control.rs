use std::time::Duration;

use aws_sdk_kinesisvideo::types::{
    ComparisonOperator, Status, StreamNameCondition, UpdateDataRetentionOperation as Change,
};

use crate::support::{ACCOUNT, Clients, REGION, Rig, code, delays, millis};

#[tokio::test]
async fn a_stream_is_described_as_it_was_made() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    let request =
        kvs.create_stream().stream_name("cam-1").data_retention_in_hours(24).media_type("video/h264");
    let arn = request.tags("owner", "we").send().await.unwrap().stream_arn.unwrap();
    let info = kvs.describe_stream().stream_arn(&arn).send().await.unwrap().stream_info.unwrap();
    assert_eq!(info.stream_name(), Some("cam-1"));
    assert_eq!(info.status(), Some(&Status::Active));
    assert_eq!(info.data_retention_in_hours(), Some(24));
    assert_eq!(info.media_type(), Some("video/h264"));
    assert_eq!(info.device_name(), None);
    let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/kinesisvideo");
    assert_eq!(info.kms_key_id(), Some(key.as_str()));
    let version = info.version().unwrap();
    assert!(version.len() == 20 && version.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{version}");
    let created = millis(info.creation_time().unwrap());
    assert_eq!(arn, format!("arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/cam-1/{created}"));
    let tags = kvs.list_tags_for_stream().stream_name("cam-1").send().await.unwrap().tags.unwrap();
    assert_eq!(tags.get("owner").map(String::as_str), Some("we"));
}

#[tokio::test]
async fn creating_and_deleting_take_the_time_that_is_set() {
    let rig = Rig::start_with(|options| options.control = delays(400)).await;
    let kvs = rig.clients().control();
    let arn = rig.stream("cam", 1).await;
    let status = async || {
        let described = kvs.describe_stream().stream_name("cam").send().await;
        described.map(|described| described.stream_info.unwrap().status.unwrap())
    };
    assert_eq!(status().await.unwrap(), Status::Creating);
    assert_eq!(code(kvs.delete_stream().stream_arn(&arn).send().await), "ResourceInUseException");
    while status().await.unwrap() == Status::Creating {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status().await.unwrap(), Status::Active);
    kvs.delete_stream().stream_arn(&arn).send().await.unwrap();
    assert_eq!(status().await.unwrap(), Status::Deleting);
    assert_eq!(code(kvs.create_stream().stream_name("cam").send().await), "ResourceInUseException");
    while status().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(code(status().await), "ResourceNotFoundException");
    assert_ne!(rig.stream("cam", 1).await, arn);
}

#[tokio::test]
async fn retention_changes_by_a_delta_under_the_version() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    rig.stream("cam", 2).await;
    let info = async || kvs.describe_stream().stream_name("cam").send().await.unwrap().stream_info.unwrap();
    let change = async |version: String, operation: Change, hours: i32| {
        let request = kvs.update_data_retention().stream_name("cam").current_version(version);
        request.operation(operation).data_retention_change_in_hours(hours).send().await
    };
    let first = info().await.version.unwrap();
    change(first.clone(), Change::IncreaseDataRetention, 3).await.unwrap();
    assert_eq!(info().await.data_retention_in_hours, Some(5));
    // Sent again after an unclear answer, the same change does not happen twice.
    let again = change(first.clone(), Change::IncreaseDataRetention, 3).await;
    assert_eq!(code(again), "VersionMismatchException");
    let second = info().await.version.unwrap();
    assert_ne!(second, first);
    let below_zero = change(second.clone(), Change::DecreaseDataRetention, 6).await;
    assert_eq!(code(below_zero), "InvalidArgumentException");
    let above = change(second.clone(), Change::IncreaseDataRetention, 87_596).await;
    assert_eq!(code(above), "InvalidArgumentException");
    change(second, Change::DecreaseDataRetention, 5).await.unwrap();
    assert_eq!(info().await.data_retention_in_hours, Some(0));
}

#[tokio::test]
async fn a_list_has_pages_and_a_prefix() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    for name in ["b-2", "a-1", "b-1", "b-3"] {
        rig.stream(name, 1).await;
    }
    let condition = StreamNameCondition::builder()
        .comparison_operator(ComparisonOperator::BeginsWith)
        .comparison_value("b-")
        .build();
    let mut names = Vec::new();
    let mut pages = 0;
    let request = kvs.list_streams().max_results(2).stream_name_condition(condition);
    let mut paginator = request.into_paginator().send();
    while let Some(page) = paginator.next().await {
        pages += 1;
        names.extend(page.unwrap().stream_info_list.unwrap().into_iter().filter_map(|info| info.stream_name));
    }
    assert_eq!((names, pages), (["b-1", "b-2", "b-3"].map(str::to_owned).to_vec(), 2));
}

#[tokio::test]
async fn tags_are_upserted_and_removed() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    let arn = rig.stream("cam", 1).await;
    kvs.tag_stream().stream_arn(&arn).tags("a", "1").tags("b", "2").send().await.unwrap();
    kvs.tag_stream().stream_arn(&arn).tags("a", "3").send().await.unwrap();
    kvs.untag_stream().stream_arn(&arn).tag_key_list("b").tag_key_list("unknown").send().await.unwrap();
    let tags = kvs.list_tags_for_stream().stream_arn(&arn).send().await.unwrap().tags.unwrap();
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), [("a".to_owned(), "3".to_owned())]);
    let no_arn = kvs.tag_stream().stream_arn("cam").tags("a", "1").send().await;
    assert_eq!(code(no_arn), "InvalidResourceFormatException");
}

#[tokio::test]
async fn a_stream_is_deleted_by_its_own_arn_and_version_only() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    let arn = rig.stream("cam", 1).await;
    let other = format!("{}/1", arn.rsplit_once('/').unwrap().0);
    assert_eq!(code(kvs.delete_stream().stream_arn(&other).send().await), "ResourceNotFoundException");
    let stale = kvs.delete_stream().stream_arn(&arn).current_version("stale").send().await;
    assert_eq!(code(stale), "VersionMismatchException");
    let foreign = arn.replace(ACCOUNT, "999999999999");
    assert_eq!(code(kvs.delete_stream().stream_arn(&foreign).send().await), "NotAuthorizedException");
    kvs.delete_stream().stream_arn(&arn).send().await.unwrap();
    assert_eq!(code(kvs.delete_stream().stream_arn(&arn).send().await), "ResourceNotFoundException");
}

#[tokio::test]
async fn bad_shapes_are_invalid_arguments() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    let create = || kvs.create_stream().stream_name("ok");
    for (what, request) in [
        ("name", kvs.create_stream().stream_name("bad name")),
        ("retention", create().data_retention_in_hours(-1)),
        ("retention", create().data_retention_in_hours(87_601)),
        ("media type", create().media_type("video/h264, audio/aac")),
    ] {
        assert_eq!(code(request.send().await), "InvalidArgumentException", "{what}");
    }
    assert_eq!(code(kvs.describe_stream().send().await), "InvalidArgumentException");
    assert_eq!(code(kvs.list_streams().max_results(10_001).send().await), "InvalidArgumentException");
    let api = kvs.get_data_endpoint().stream_name("ok").api_name("BOGUS".into());
    create().send().await.unwrap();
    assert_eq!(code(api.send().await), "InvalidArgumentException");
}

#[tokio::test]
async fn sts_tells_the_caller_and_refuses_strangers() {
    let rig = Rig::start().await;
    let identity = rig.clients().sts().get_caller_identity().send().await.unwrap();
    assert_eq!(identity.account(), Some(ACCOUNT));
    assert_eq!(identity.arn(), Some("arn:aws:iam::123456789012:user/streamfleet"));
    let wrong = rig.clients().with_key("streamfleet", "wrong");
    assert_eq!(code(wrong.sts().get_caller_identity().send().await), "SignatureDoesNotMatch");
    assert_eq!(code(wrong.control().list_streams().send().await), "InvalidSignatureException");
    let stranger = rig.clients().with_key("nobody", "streamfleet");
    assert_eq!(code(stranger.sts().get_caller_identity().send().await), "InvalidClientTokenId");
    assert_eq!(code(stranger.control().list_streams().send().await), "UnrecognizedClientException");
}

#[tokio::test]
async fn https_is_trusted_by_the_authority_in_the_data_folder_also_after_a_restart() {
    let folder = crate::support::Folder::new();
    let mut arn = String::new();
    let mut authority = Vec::new();
    for start in 0..2 {
        let mut options = streamfleet_emulator::Options::new(&folder.0);
        options.control = delays(0);
        let emulator = streamfleet_emulator::Emulator::start(options).await.unwrap();
        if start == 0 {
            authority = std::fs::read(emulator.ca_path()).unwrap();
        }
        let url = format!("https://localhost:{}", emulator.https_addr().unwrap().port());
        let clients = Clients::new(&url).with_authority(&authority);
        if start == 0 {
            arn = clients.create("cam", 1).await;
        }
        let described = clients.control().describe_stream().stream_name("cam").send().await.unwrap();
        assert_eq!(described.stream_info.unwrap().stream_arn, Some(arn.clone()));
        emulator.shutdown().await;
    }
}
