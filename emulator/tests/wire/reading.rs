use std::time::Duration;

use aws_sdk_kinesisvideo::types::ApiName;
use aws_sdk_kinesisvideoarchivedmedia::{error::ProvideErrorMetadata, types as archive};
use aws_sdk_kinesisvideomedia::types::{StartSelector, StartSelectorType};
use aws_smithy_types::{DateTime, byte_stream::ByteStream};

use crate::support::{Rig, Upload, cluster, fragments, head, millis, now_ms, payloads};

/// A stored stream with clusters at these times.
async fn recorded(rig: &Rig, name: &str, times: &[u64]) -> Vec<String> {
    rig.stream(name, 1).await;
    let mut upload = rig.upload(name).await;
    upload.send(&head(&[1])).await;
    for time in times {
        upload.send(&cluster(*time)).await;
    }
    upload.finish().await;
    upload.rest().await;
    rig.clients().stored(name).await.into_iter().filter_map(|one| one.fragment_number).collect()
}

async fn get_media(rig: &Rig, name: &str, selector: StartSelector) -> ByteStream {
    let client = rig.clients().media(name).await;
    client.get_media().stream_name(name).start_selector(selector).send().await.unwrap().payload
}

fn selector(kind: StartSelectorType) -> aws_sdk_kinesisvideomedia::types::builders::StartSelectorBuilder {
    StartSelector::builder().start_selector_type(kind)
}

#[tokio::test]
async fn get_media_gives_back_what_was_put_with_the_services_tags() {
    let rig = Rig::start().await;
    let base = now_ms() - 60_000;
    let numbers = recorded(&rig, "cam", &[base, base + 2000]).await;
    let mut body = get_media(&rig, "cam", selector(StartSelectorType::Earliest).build().unwrap()).await;
    let found = fragments(&mut body, 2).await;
    for (index, fragment) in found.iter().enumerate() {
        let time = base + 2000 * index as u64;
        let expected = [format!("frame at {time}"), format!("frame at {}", time + 40)];
        assert_eq!(payloads(fragment), expected.map(bytes::Bytes::from));
        let metadata = &fragment.metadata;
        assert!(metadata.is_complete(), "{metadata:?}");
        assert_eq!(metadata.number.as_ref().unwrap().as_str(), numbers[index]);
        assert_eq!(metadata.producer_timestamp, Some(time));
        assert_eq!(metadata.continuation_token.as_ref(), Some(&numbers[index]));
        assert!(now_ms() - metadata.server_timestamp.unwrap() < 30_000);
    }
}

#[tokio::test]
async fn every_selector_starts_where_it_says() {
    let rig = Rig::start().await;
    let base = now_ms() - 60_000;
    let numbers = recorded(&rig, "cam", &[base, base + 2000, base + 4000]).await;
    let time = |ms: u64| DateTime::from_millis(ms as i64);
    let by_number = selector(StartSelectorType::FragmentNumber).after_fragment_number(&numbers[0]);
    let by_token = selector(StartSelectorType::ContinuationToken).continuation_token(&numbers[1]);
    let inside = selector(StartSelectorType::ProducerTimestamp).start_timestamp(time(base + 2040));
    let between = selector(StartSelectorType::ProducerTimestamp).start_timestamp(time(base + 2041));
    let by_server = selector(StartSelectorType::ServerTimestamp).start_timestamp(time(base));
    for (what, selector, expected) in [
        ("EARLIEST", selector(StartSelectorType::Earliest), base),
        ("NOW", selector(StartSelectorType::Now), base + 4000),
        ("FRAGMENT_NUMBER", by_number, base + 2000),
        ("CONTINUATION_TOKEN", by_token, base + 4000),
        ("PRODUCER_TIMESTAMP in a fragment", inside, base + 2000),
        ("PRODUCER_TIMESTAMP between fragments", between, base + 4000),
        ("SERVER_TIMESTAMP before all", by_server, base),
    ] {
        let mut body = get_media(&rig, "cam", selector.build().unwrap()).await;
        let found = fragments(&mut body, 1).await;
        assert_eq!(found[0].metadata.producer_timestamp, Some(expected), "{what}");
    }
}

#[tokio::test]
async fn at_the_live_edge_fragments_come_as_they_are_received() {
    // Nothing is persisted in this test: what is read is live.
    let rig = Rig::start_with(|options| {
        options.persist_delay = Duration::from_hours(1)..=Duration::from_hours(1);
    })
    .await;
    rig.stream("cam", 1).await;
    let mut body = get_media(&rig, "cam", selector(StartSelectorType::Now).build().unwrap()).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(1000)].concat()).await;
    upload.send(&cluster(2000)).await;
    let found = fragments(&mut body, 1).await;
    assert_eq!(found[0].timecode, Some(1000));
    upload.send(&cluster(3000)).await;
    let found = fragments(&mut body, 1).await;
    assert_eq!(found[0].timecode, Some(2000));
}

#[tokio::test]
async fn a_number_that_is_none_gets_an_error_in_the_body() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let selector = selector(StartSelectorType::FragmentNumber).after_fragment_number("123").build().unwrap();
    let mut body = get_media(&rig, "cam", selector).await;
    let found = fragments(&mut body, 1).await;
    assert_eq!(found[0].metadata.error_id, Some(4000), "{found:?}");
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_fourth_reader_is_refused_and_a_session_ends_cleanly_at_its_limit() {
    let rig = Rig::start_with(|options| options.get_session_limit = Duration::from_secs(2)).await;
    recorded(&rig, "cam", &[1000]).await;
    let earliest = || selector(StartSelectorType::Earliest).build().unwrap();
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(get_media(&rig, "cam", earliest()).await);
    }
    let client = rig.clients().media("cam").await;
    let fourth = client.get_media().stream_name("cam").start_selector(earliest()).send().await;
    assert!(fourth.unwrap_err().into_service_error().is_connection_limit_exceeded_exception());
    // Nothing more is put: two are asked for, and the end of the answer comes behind a whole fragment.
    let found = fragments(&mut readers.pop().unwrap(), 2).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].metadata.is_complete());
}

#[tokio::test]
async fn a_list_in_pages_has_every_fragment_once_and_the_range_counts() {
    let rig = Rig::start().await;
    let base = now_ms() - 600_000;
    let times: Vec<u64> = (0..25).map(|index| base + 2000 * index).collect();
    recorded(&rig, "cam", &times).await;
    let clients = rig.clients();
    let client = clients.archive_at(&clients.endpoint("cam", ApiName::ListFragments).await);
    let range = archive::TimestampRange::builder()
        .start_timestamp(DateTime::from_millis(times[1] as i64))
        .end_timestamp(DateTime::from_millis(times[23] as i64))
        .build()
        .unwrap();
    let selector = archive::FragmentSelector::builder()
        .fragment_selector_type(archive::FragmentSelectorType::ProducerTimestamp)
        .timestamp_range(range)
        .build()
        .unwrap();
    let mut found = Vec::new();
    let mut request = client.list_fragments().stream_name("cam").max_results(10).fragment_selector(selector);
    loop {
        let page = request.send().await.unwrap();
        found.extend(page.fragments.unwrap_or_default());
        let Some(token) = page.next_token else { break };
        // The token alone goes on.
        request = client.list_fragments().stream_name("cam").max_results(10).next_token(token);
    }
    let mut listed: Vec<u64> = found.iter().map(|one| millis(&one.producer_timestamp.unwrap())).collect();
    assert!(!listed.is_sorted(), "no order is promised, and none kept");
    listed.sort_unstable();
    assert_eq!(listed, times[1..=23]);
    assert!(
        found.iter().all(|one| one.fragment_length_in_milliseconds == 40 && one.fragment_size_in_bytes > 100)
    );
}

#[tokio::test]
async fn a_list_of_fragments_comes_in_the_order_asked_and_stops_at_a_wrong_number() {
    let rig = Rig::start().await;
    let numbers = recorded(&rig, "cam", &[1000, 2000, 3000]).await;
    let clients = rig.clients();
    let client = clients.archive_at(&clients.endpoint("cam", ApiName::GetMediaForFragmentList).await);
    let wrong = "91343852333181432392682062607743920146159169392";
    let request = client.get_media_for_fragment_list().stream_name("cam");
    let request =
        request.fragments(&numbers[2]).fragments(&numbers[0]).fragments(wrong).fragments(&numbers[1]);
    let mut body = request.send().await.unwrap().payload;
    let found = fragments(&mut body, 4).await;
    let times: Vec<_> = found.iter().map(|fragment| fragment.timecode).collect();
    assert_eq!(times, [Some(3000), Some(1000), None]);
    assert_eq!(found[2].metadata.error_id, Some(4000));
}

#[tokio::test]
async fn another_apis_endpoint_is_refused() {
    let rig = Rig::start().await;
    let numbers = recorded(&rig, "cam", &[1000]).await;
    let clients = rig.clients();
    let client = clients.archive_at(&clients.endpoint("cam", ApiName::ListFragments).await);
    let request = client.get_media_for_fragment_list().stream_name("cam").fragments(&numbers[0]);
    assert_eq!(request.send().await.unwrap_err().code(), Some("InvalidEndpointException"));
}

#[tokio::test]
async fn a_decrease_of_retention_deletes_older_media_at_once() {
    use aws_sdk_kinesisvideo::types::UpdateDataRetentionOperation as Change;
    let rig = Rig::start().await;
    recorded(&rig, "cam", &[1000]).await;
    let kvs = rig.clients().control();
    let version = async || {
        let described = kvs.describe_stream().stream_name("cam").send().await.unwrap();
        described.stream_info.unwrap().version.unwrap()
    };
    let change = async |operation: Change| {
        let request = kvs.update_data_retention().stream_name("cam").current_version(version().await);
        request.operation(operation).data_retention_change_in_hours(1).send().await.unwrap();
    };
    change(Change::DecreaseDataRetention).await;
    assert!(rig.clients().stored("cam").await.is_empty());
    change(Change::IncreaseDataRetention).await;
    let rig = rig.restart().await;
    assert!(rig.clients().stored("cam").await.is_empty(), "it does not come back");
    let mut upload = Upload::open(&rig.clients(), "cam").await;
    upload.send(&[head(&[1]), cluster(9000)].concat()).await;
    upload.finish().await;
    upload.until("PERSISTED 9000").await;
    assert_eq!(rig.clients().stored("cam").await.len(), 1);
}
