//! Faults of uploads by the hooks; what they do in detail is tested with the machine itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Rig, Upload, cluster, head};

/// Longer than anything here takes, shorter than what is held back on purpose.
const SOON: Duration = Duration::from_millis(700);

async fn rig_with(order: Value) -> Rig {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    rig.hook("faults", Some(order)).await;
    rig
}

async fn begun(rig: &Rig) -> Upload {
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(1000)].concat()).await;
    upload
}

#[tokio::test]
async fn an_error_may_name_no_fragment_and_come_late() {
    let order =
        json!({"action": "ack-error", "errorId": 5001, "named": false, "at": "persisted", "count": 1});
    let rig = rig_with(order).await;
    let mut upload = begun(&rig).await;
    upload.send(&cluster(2000)).await;
    let error = upload.until("ERROR 5001").await;
    assert_eq!((&error["FragmentNumber"], error.get("FragmentTimecode")), (&"".into(), None));
    assert_eq!(rig.clients().stored("cam").await.len(), 0, "it is not stored");
    assert_eq!(rig.hook("faults", None).await, json!({"faults": []}), "it strikes once");
}

#[tokio::test]
async fn an_open_session_gets_an_error_at_once() {
    let rig = rig_with(json!({"action": "throttle", "operation": "GetMedia"})).await;
    let mut upload = begun(&rig).await;
    upload.until("BUFFERING 1000").await;
    let told = rig.hook("error", Some(json!({"stream": "cam", "errorId": 4003}))).await;
    assert_eq!(told, json!({"failed": 1}));
    assert_eq!(upload.until("ERROR 4003").await["FragmentTimecode"], 1000);
}

#[tokio::test]
async fn withheld_acknowledgements_are_not_sent_but_the_media_is_stored() {
    let rig = rig_with(json!({"action": "withhold", "stream": "cam", "kinds": ["PERSISTED"]})).await;
    let mut upload = begun(&rig).await;
    upload.finish().await;
    assert_eq!(upload.rest().await, ["BUFFERING 1000", "RECEIVED 1000"]);
    assert_eq!(rig.clients().stored("cam").await.len(), 1);
}

#[tokio::test]
async fn everything_withheld_keeps_the_answer_open_until_it_is_lifted() {
    let rig = rig_with(json!({"action": "withhold"})).await;
    let mut upload = begun(&rig).await;
    upload.finish().await;
    assert!(timeout(SOON, upload.ack()).await.is_err(), "something was sent");
    rig.heal().await;
    assert_eq!(upload.rest().await, Vec::<String>::new());
}

#[tokio::test]
async fn late_acknowledgements_are_in_order() {
    let rig =
        rig_with(json!({"action": "delay-acks", "kinds": ["RECEIVED"], "delayMs": 300, "count": 1})).await;
    let mut upload = begun(&rig).await;
    upload.until("BUFFERING 1000").await;
    let sent = Instant::now();
    upload.finish().await;
    assert_eq!(upload.rest().await, ["RECEIVED 1000", "PERSISTED 1000"]);
    assert!(sent.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_stalled_body_closes_the_window_and_goes_on_when_lifted() {
    let rig = rig_with(json!({"action": "throttle", "operation": "GetMedia"})).await;
    let mut upload = begun(&rig).await;
    upload.until("BUFFERING 1000").await;
    rig.hook("faults", Some(json!({"action": "stall", "stream": "cam"}))).await;
    // More than the buffers of both sides of a loopback connection hold.
    let frame = vec![0; 16 << 20];
    assert!(!upload.try_send(&frame, SOON).await, "the window stays open");
    rig.heal().await;
    assert_eq!(upload.until("ERROR 4006").await["FragmentTimecode"], 1000, "what follows is read");
}

#[tokio::test]
async fn a_frozen_stream_answers_nothing_to_newcomers_either() {
    let rig = rig_with(json!({"action": "freeze", "stream": "cam", "seconds": 1.5})).await;
    let clients = rig.clients();
    assert!(timeout(SOON, Upload::open(&clients, "cam")).await.is_err(), "an answer came");
    rig.stream("other", 1).await;
    assert_eq!(Upload::open(&clients, "other").await.status, 200);
    // The first one is answered when it has gone already.
    until(async || Upload::open(&clients, "cam").await.status == 200).await;
}

#[tokio::test]
async fn a_slow_link_takes_its_time() {
    let rig = rig_with(json!({"action": "slow", "bytesPerSecond": 40_000})).await;
    let mut upload = rig.upload("cam").await;
    let sent = Instant::now();
    upload.send(&head(&[1])).await;
    for _ in 0..10 {
        upload.send(&void(4000)).await;
    }
    upload.send(&cluster(1000)).await;
    upload.until("BUFFERING 1000").await;
    let took = sent.elapsed().as_secs_f64();
    assert!((0.8..5.0).contains(&took), "{took} s for 40 kB at 40 kB/s");
}

/// An element that nobody reads.
fn void(bytes: usize) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    streamfleet_media::mkv::write::element(&mut out, streamfleet_media::mkv::ids::VOID, &vec![0; bytes]);
    out.to_vec()
}

#[tokio::test]
async fn sessions_are_cut_at_a_byte_and_at_a_fragment() {
    let rig = rig_with(json!({"action": "cut-at-byte", "bytes": 10, "count": 1})).await;
    let mut upload = begun(&rig).await;
    assert!(upload.is_cut().await);
    rig.hook("faults", Some(json!({"action": "cut-at-fragment", "fragment": 2, "count": 1}))).await;
    let mut upload = begun(&rig).await;
    upload.until("BUFFERING 1000").await;
    upload.send(&cluster(2000)).await;
    assert!(upload.is_cut().await);
    let mut upload = begun(&rig).await;
    upload.finish().await;
    upload.until("PERSISTED 1000").await;
}

#[tokio::test]
async fn calls_are_forbidden_and_tokens_have_expired_on_order() {
    for (action, code) in [("forbidden", "AccessDeniedException"), ("expired-token", "ExpiredTokenException")]
    {
        let rig = rig_with(json!({"action": action, "operation": "PutMedia", "skip": 1, "count": 1})).await;
        rig.upload("cam").await;
        let upload = Upload::open(&rig.clients(), "cam").await;
        assert_eq!(upload.status, 403);
        assert!(upload.head.contains(&format!("x-amzn-errortype: {code}")), "{}", upload.head);
    }
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused() {
    let rig = Rig::start().await;
    let host = rig.emulator.http_addr().to_string();
    for order in [
        json!({"action": "ack-error"}),
        json!({"action": "slow"}),
        json!({"action": "stall", "errorId": 4000}),
        json!({"action": "withhold", "kinds": ["NEVER"]}),
        json!({"action": "stall", "operation": "GetMedia"}),
        json!({"action": "cut-at-byte", "fragment": 1}),
    ] {
        let body = order.to_string();
        let request = format!(
            "POST /_emulator/faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(&host).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{order}: {answer}");
    }
}

#[tokio::test]
async fn in_a_refusal_nobody_listens_at_https_and_later_somebody_does() {
    let rig = Rig::start_with(|options| options.listen_tls = Some(([127, 0, 0, 1], 0).into())).await;
    let https = rig.emulator.https_addr().unwrap();
    drop(TcpStream::connect(https).await.unwrap());
    rig.hook("outage", Some(json!({"seconds": 600, "mode": "refuse"}))).await;
    until(async || TcpStream::connect(https).await.is_err()).await;
    let error = TcpStream::connect(https).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    rig.hook("outage", Some(json!({"seconds": 0}))).await;
    until(async || TcpStream::connect(https).await.is_ok()).await;
}

#[tokio::test]
async fn a_black_hole_cuts_nothing_and_answers_nothing() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let mut upload = begun(&rig).await;
    upload.until("BUFFERING 1000").await;
    rig.hook("outage", Some(json!({"seconds": 600, "mode": "black-hole"}))).await;
    upload.send(&cluster(2000)).await;
    upload.finish().await;
    assert!(timeout(SOON, upload.ack()).await.is_err(), "an acknowledgement came");
    let kvs = rig.clients().control();
    assert!(timeout(SOON, kvs.list_streams().send()).await.is_err(), "an answer came");
    rig.hook("outage", Some(json!({"seconds": 0}))).await;
    upload.until("PERSISTED 2000").await;
}

async fn until(holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn anything_is_discarded_and_counted() {
    let rig = Rig::start().await;
    let mut socket = TcpStream::connect(rig.emulator.http_addr()).await.unwrap();
    socket
        .write_all(b"POST /discard HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..50 {
        socket.write_all(b"a\r\n0123456789\r\n").await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert_eq!(rig.hook("discarded", None).await, json!({"bytes": 500}));
}

#[tokio::test]
async fn the_arrival_of_each_frame_is_told() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let before = crate::support::now_ms() * 1000;
    let mut upload = begun(&rig).await;
    upload.finish().await;
    upload.until("PERSISTED 1000").await;
    let arrivals = rig.hook("arrivals?stream=cam", None).await;
    let told: Vec<_> = arrivals.as_array().unwrap().iter().map(|one| (&one["n"], &one["timecode"])).collect();
    assert_eq!(told, [(&json!(1), &json!(1000)), (&json!(2), &json!(1040))]);
    assert!(arrivals[0]["us"].as_u64().unwrap() >= before);
    assert_eq!(rig.hook("arrivals?stream=cam&since=1", None).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn without_keeping_media_everything_is_acknowledged_and_nothing_stored() {
    let rig = Rig::start_with(|options| options.keep = streamfleet_emulator::Keep::Nothing).await;
    rig.stream("cam", 1).await;
    let mut upload = begun(&rig).await;
    upload.finish().await;
    assert_eq!(upload.rest().await, ["BUFFERING 1000", "RECEIVED 1000", "PERSISTED 1000"]);
    assert!(rig.clients().stored("cam").await.is_empty());
}

#[tokio::test]
async fn the_sixth_call_in_a_second_is_throttled() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let _first = rig.upload("cam").await;
    let clients = rig.clients();
    let mut codes = Vec::new();
    let begun = Instant::now();
    for _ in 0..5 {
        codes.push(Upload::open(&clients, "cam").await.head);
    }
    if begun.elapsed() < Duration::from_secs(1) {
        assert!(codes[..4].iter().all(|head| head.contains("ConnectionLimitExceededException")), "{codes:?}");
        assert!(codes[4].contains("ClientLimitExceededException"), "{codes:?}");
    }
}
