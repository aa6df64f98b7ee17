use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Rig, Upload, cluster, head};

#[tokio::test]
async fn a_fault_after_the_effect_hides_the_answer_but_not_the_stream() {
    let rig = Rig::start().await;
    let order =
        json!({"operation": "CreateStream", "stream": "cam", "action": "drop-after-effect", "count": 1});
    rig.hook("faults", Some(order)).await;
    let kvs = rig.clients().control();
    assert!(kvs.create_stream().stream_name("cam").send().await.is_err());
    let again = kvs.create_stream().stream_name("cam").send().await;
    assert!(again.unwrap_err().into_service_error().is_resource_in_use_exception());
    let calls = rig.hook("calls?since=0", None).await;
    let told: Vec<_> = calls
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            (
                call["operation"].as_str().unwrap(),
                call["status"].as_u64().unwrap(),
                call["done"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("CreateStream", 0, true), ("CreateStream", 400, false)]);
    assert_eq!(calls[1]["error"], "ResourceInUseException");
    assert_eq!(calls[0]["stream"], "cam");
    assert_eq!(rig.hook("calls?since=1", None).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_fault_before_the_effect_prevents_it() {
    let rig = Rig::start().await;
    let kvs = rig.clients().control();
    for action in ["drop", "throttle", "internal-failure"] {
        rig.hook("faults", Some(json!({"operation": "CreateStream", "action": action, "count": 1}))).await;
        assert!(kvs.create_stream().stream_name("cam").send().await.is_err(), "{action}");
    }
    let listed = kvs.list_streams().send().await.unwrap();
    assert_eq!(listed.stream_info_list.unwrap_or_default().len(), 0);
    rig.hook("faults", Some(json!({"operation": "CreateStream", "action": "delay", "delayMs": 300}))).await;
    let begun = Instant::now();
    kvs.create_stream().stream_name("cam").send().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn an_upload_is_cut_on_order() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(1000), cluster(2000)].concat()).await;
    upload.until("PERSISTED 1000").await;
    assert_eq!(rig.hook("cut", Some(json!({"stream": "cam"}))).await, json!({"cut": 1}));
    assert!(upload.is_cut().await);
    assert_eq!(rig.clients().stored("cam").await.len(), 1);
}

#[tokio::test]
async fn an_outage_cuts_uploads_and_answers_nothing_until_it_is_over() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let mut upload = rig.upload("cam").await;
    rig.hook("outage", Some(json!({"seconds": 0.5}))).await;
    assert!(upload.is_cut().await);
    let kvs = rig.clients().control();
    assert!(kvs.list_streams().send().await.is_err());
    let begun = Instant::now();
    while kvs.list_streams().send().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the outage does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Upload::open(&rig.clients(), "cam").await.status, 200);
}

#[tokio::test]
async fn a_fragment_gets_the_error_that_was_ordered_for_it() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let order = json!({"stream": "cam", "action": "ack-error", "errorId": 4502, "count": 1});
    rig.hook("faults", Some(order)).await;
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(1000)].concat()).await;
    assert_eq!(upload.rest().await, ["BUFFERING 1000", "ERROR 4502"]);
    let mut upload = rig.upload("cam").await;
    upload.send(&[head(&[1]), cluster(1000)].concat()).await;
    upload.finish().await;
    upload.until("PERSISTED 1000").await;
}
