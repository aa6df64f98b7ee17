use std::time::Duration;

use serde_json::json;

use crate::support::{ACCOUNT, Clients, Rig, Upload, cluster, head};

const ROLE: &str = "arn:aws:iam::123456789012:role/path/producer";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;

fn code<T, E: aws_smithy_types::error::metadata::ProvideErrorMetadata, R>(
    result: Result<T, aws_sdk_sts::error::SdkError<E, R>>,
) -> String
where
    aws_sdk_sts::error::SdkError<E, R>: aws_smithy_types::error::metadata::ProvideErrorMetadata,
{
    use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
    result.err().and_then(|error| error.code().map(str::to_owned)).unwrap_or_default()
}

async fn assumed(rig: &Rig) -> Clients {
    let request = rig.clients().sts().assume_role().role_arn(ROLE).role_session_name("feed-1");
    let answer = request.policy(POLICY).duration_seconds(900).send().await.unwrap();
    assert_eq!(
        answer.assumed_role_user().unwrap().arn(),
        "arn:aws:sts::123456789012:assumed-role/producer/feed-1"
    );
    rig.clients().with_temporary(answer.credentials().unwrap())
}

#[tokio::test]
async fn a_key_of_an_assumed_role_uploads_and_its_session_policy_is_recorded() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let clients = assumed(&rig).await;
    let identity = clients.sts().get_caller_identity().send().await.unwrap();
    assert_eq!(identity.arn(), Some("arn:aws:sts::123456789012:assumed-role/producer/feed-1"));
    assert_eq!(identity.account(), Some(ACCOUNT));
    let mut upload = Upload::open(&clients, "cam").await;
    upload.send(&[head(&[1]), cluster(0)].concat()).await;
    upload.finish().await;
    assert_eq!(upload.rest().await, ["BUFFERING 0", "RECEIVED 0", "PERSISTED 0"]);
    let tokens = rig.hook("tokens", None).await;
    assert_eq!(
        tokens[0]["role"],
        json!({"roleArn": ROLE, "sessionName": "feed-1", "policy": POLICY, "byWebIdentity": false})
    );
}

#[tokio::test]
async fn a_token_runs_out_by_time_and_on_order() {
    let rig = Rig::start_with(|options| options.token_lifetime = Some(Duration::from_millis(300))).await;
    rig.stream("cam", 1).await;
    let clients = assumed(&rig).await;
    clients.control().list_streams().send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert_eq!(code(clients.control().list_streams().send().await), "ExpiredTokenException");
    assert_eq!(code(clients.sts().get_caller_identity().send().await), "ExpiredToken");
    let rig = Rig::start().await;
    let clients = assumed(&rig).await;
    clients.control().list_streams().send().await.unwrap();
    assert_eq!(rig.hook("expire-tokens", Some(json!({}))).await, json!({"expired": 1}));
    assert_eq!(code(clients.control().list_streams().send().await), "ExpiredTokenException");
}

#[tokio::test]
async fn a_temporary_key_needs_its_own_token() {
    let rig = Rig::start().await;
    let request = rig.clients().sts().assume_role().role_arn(ROLE).role_session_name("feed-1");
    let mut key = request.send().await.unwrap().credentials.unwrap();
    key.session_token = "another".to_owned();
    let clients = rig.clients().with_temporary(&key);
    assert_eq!(code(clients.control().list_streams().send().await), "UnrecognizedClientException");
}

#[tokio::test]
async fn a_web_identity_stands_for_a_signature() {
    let rig = Rig::start().await;
    rig.stream("cam", 1).await;
    let sts = rig.clients().with_key("unknown", "unknown").sts();
    let request = sts.assume_role_with_web_identity().role_arn(ROLE).role_session_name("feed-2");
    let answer = request.clone().web_identity_token("a.b.c").send().await.unwrap();
    let clients = rig.clients().with_temporary(answer.credentials().unwrap());
    clients.control().describe_stream().stream_name("cam").send().await.unwrap();
    assert_eq!(rig.hook("tokens", None).await[0]["role"]["byWebIdentity"], true);
    assert_eq!(code(request.web_identity_token("abc").send().await), "InvalidIdentityToken");
}

#[tokio::test]
async fn what_is_no_role_no_policy_and_no_duration_is_refused() {
    let rig = Rig::start().await;
    let sts = rig.clients().sts();
    let request = || sts.assume_role().role_arn(ROLE).role_session_name("feed-1");
    for (request, expected) in [
        (request().role_arn("arn:aws:iam::123456789012:user/somebody"), "ValidationError"),
        (request().role_session_name("a b"), "ValidationError"),
        (request().duration_seconds(60), "ValidationError"),
        (request().policy("{"), "MalformedPolicyDocument"),
    ] {
        assert_eq!(code(request.send().await), expected);
    }
}
