use std::time::{Duration, Instant};

use aws_sdk_kinesisvideo::types::ApiName;

use crate::support::{Form, Rig, Upload, cluster, head, millis};

const ABSOLUTE: [(&str, &str); 1] = [("x-amzn-fragment-timecode-type", "ABSOLUTE")];

#[tokio::test]
async fn acknowledgements_come_while_the_upload_goes_on() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    assert!(upload.head.contains("transfer-encoding: chunked"), "{}", upload.head);
    upload.send(&head(&[1])).await;
    upload.send(&cluster(1000)).await;
    let begun = upload.ack().await.unwrap();
    assert_eq!((&begun["EventType"], &begun["FragmentTimecode"]), (&"BUFFERING".into(), &1000.into()));
    upload.send(&cluster(3000)).await;
    let received = upload.until("RECEIVED 1000").await;
    assert_eq!(received["FragmentNumber"], begun["FragmentNumber"]);
    upload.until("PERSISTED 1000").await;
    upload.finish().await;
    assert!(upload.rest().await.ends_with(&["RECEIVED 3000".into(), "PERSISTED 3000".into()]));
}

#[tokio::test]
async fn absolute_request_lines_and_a_hundred_continue_are_understood() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let clients = rig.clients();
    let url = clients.endpoint("cam", ApiName::PutMedia).await;
    let mut upload = Upload::open_at(&clients, &url, "cam", &ABSOLUTE, Form::Absolute).await;
    assert_eq!(upload.status, 200, "{}", upload.head);
    upload.finish().await;
    upload.rest().await;
    let mut upload = Upload::open_at(&clients, &url, "cam", &ABSOLUTE, Form::Expecting).await;
    assert_eq!(upload.status, 100, "{}", upload.head);
    upload.send(&head(&[1])).await;
    upload.next_head().await;
    assert_eq!(upload.status, 200, "{}", upload.head);
    upload.send(&cluster(0)).await;
    upload.finish().await;
    assert_eq!(upload.rest().await, ["BUFFERING 0", "RECEIVED 0", "PERSISTED 0"]);
}

#[tokio::test]
async fn relative_times_count_from_the_start_of_the_session() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let clients = rig.clients();
    let url = clients.endpoint("cam", ApiName::PutMedia).await;
    for (start, expected) in
        [("1732012345.678", 1_732_012_347_678), ("2026-11-22T19:01:26.548Z", 1_795_374_088_548)]
    {
        let headers =
            [("x-amzn-fragment-timecode-type", "RELATIVE"), ("x-amzn-producer-start-timestamp", start)];
        let mut upload = Upload::open_at(&clients, &url, "cam", &headers, Form::Plain).await;
        upload.send(&[head(&[1]), cluster(2000)].concat()).await;
        upload.finish().await;
        upload.until("PERSISTED 2000").await;
        assert_eq!(upload.ack().await, None);
        let stored = clients.stored("cam").await;
        let time = millis(&stored.last().unwrap().producer_timestamp.unwrap());
        assert_eq!(time, expected, "{start}");
    }
}

#[tokio::test]
async fn a_refused_head_gets_an_ordinary_error() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    rig.stream("other", 1).await;
    let clients = rig.clients();
    let url = clients.endpoint("cam", ApiName::PutMedia).await;
    let elsewhere = clients.endpoint("cam", ApiName::GetMedia).await;
    let wrong = rig.clients().with_key("streamfleet", "wrong");
    for (clients, url, name, headers, status, code) in [
        (&clients, &elsewhere, "cam", &ABSOLUTE[..], 400, "InvalidEndpointException"),
        (&clients, &url, "other", &ABSOLUTE[..], 400, "InvalidEndpointException"),
        (&clients, &url, "missing", &ABSOLUTE[..], 404, "ResourceNotFoundException"),
        (&clients, &url, "cam", &[][..], 400, "InvalidArgumentException"),
        (&wrong, &url, "cam", &ABSOLUTE[..], 403, "InvalidSignatureException"),
    ] {
        let upload = Upload::open_at(clients, url, name, headers, Form::Plain).await;
        assert_eq!(upload.status, status, "{code}: {}", upload.head);
        assert!(upload.head.contains(&format!("x-amzn-errortype: {code}")), "{}", upload.head);
    }
}

#[tokio::test]
async fn a_second_connection_is_refused_until_the_first_has_ended() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let mut first = rig.upload("cam").await;
    let second = Upload::open(&rig.clients(), "cam").await;
    assert_eq!(second.status, 400);
    assert!(second.head.contains("ConnectionLimitExceededException"), "{}", second.head);
    first.send(&[head(&[1]), cluster(0)].concat()).await;
    first.finish().await;
    assert_eq!(first.rest().await, ["BUFFERING 0", "RECEIVED 0", "PERSISTED 0"]);
    // At the end of the first one's answer the place is free.
    assert_eq!(Upload::open(&rig.clients(), "cam").await.status, 200);
}

#[tokio::test]
async fn a_client_that_vanishes_frees_its_place() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    drop(rig.upload("cam").await);
    let begun = Instant::now();
    while Upload::open(&rig.clients(), "cam").await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "the place stays taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_error_ends_the_session_and_what_was_received_before_is_stored() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(1000), cluster(2000), cluster(1500)].concat()).await;
    let acks = upload.rest().await;
    assert_eq!(acks.last().map(String::as_str), Some("ERROR 4004"), "{acks:?}");
    let begun = Instant::now();
    while rig.clients().stored("cam").await.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(5), "not stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_its_whole_fragments_and_no_half_one() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(1000), cluster(2000)].concat()).await;
    upload.until("BUFFERING 2000").await;
    drop(upload);
    // The next session's fragment is stored after everything of the broken one.
    let begun = Instant::now();
    let mut next = loop {
        let upload = Upload::open(&rig.clients(), "cam").await;
        if upload.status == 200 {
            break upload;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "the place stays taken");
    };
    next.send(&[head(&[1]), cluster(5000)].concat()).await;
    next.finish().await;
    next.until("PERSISTED 5000").await;
    let stored = rig.clients().stored("cam").await;
    let times: Vec<_> = stored.iter().map(|one| millis(&one.producer_timestamp.unwrap())).collect();
    assert_eq!(times, [1000, 5000]);
}

#[tokio::test]
async fn without_retention_nothing_is_persisted() {
    let rig = Rig::start().await;
    rig.stream("cam", 0).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(0)].concat()).await;
    upload.finish().await;
    assert_eq!(upload.rest().await, ["BUFFERING 0", "RECEIVED 0"]);
    assert!(rig.clients().stored("cam").await.is_empty());
}

#[tokio::test]
async fn silence_is_remarked_on_and_then_ended() {
    let rig = Rig::start_with(|options| {
        options.idle_ack_interval = Duration::from_millis(100);
        options.idle_limit = Duration::from_millis(450);
    })
    .await;
    rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(0)].concat()).await;
    let acks = upload.rest().await;
    assert_eq!(acks.first().map(String::as_str), Some("BUFFERING 0"));
    assert!(acks.len() >= 3 && acks[1..].iter().all(|ack| ack == "IDLE"), "{acks:?}");
}

#[tokio::test]
async fn a_session_has_a_limit() {
    let rig = Rig::start_with(|options| options.put_session_limit = Duration::from_millis(200)).await;
    rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&head(&[1])).await;
    assert_eq!(upload.rest().await, ["ERROR 4003"]);
}

#[tokio::test]
async fn a_session_ends_when_its_stream_is_deleted() {
    let rig = Rig::start().await;
    let arn = rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(0)].concat()).await;
    upload.until("BUFFERING 0").await;
    rig.clients().control().delete_stream().stream_arn(arn).send().await.unwrap();
    assert_eq!(upload.rest().await, ["ERROR 4008"]);
}
