//! A role that is assumed: what is asked for, what signs, and when it is asked for again.

use std::time::{Duration, SystemTime};

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/feeder";

/// A service that is STS too.
async fn service() -> Service {
    let mut service = Service::start().await;
    let address = service.listener.local_addr().unwrap();
    let mut stream = service.uploader.stream().clone();
    stream.role_arn = Some(ROLE.to_owned());
    stream.sts_endpoint = Some(format!("http://{address}"));
    service.uploader = Uploader::new(stream, Arc::clone(&service.uploader.shared));
    service
}

impl Service {
    /// Answers `AssumeRole` with this key, and gives what was asked.
    async fn assume_role(&self, key: &str, lasts: Duration) -> (String, Vec<(String, String)>) {
        let mut asked = self.request().await;
        let form = asked.body().await;
        let expiry = jiff::Timestamp::try_from(SystemTime::now() + lasts).unwrap();
        let xml = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>assumed-secret</SecretAccessKey>\
             <SessionToken>assumed-token</SessionToken><Expiration>{expiry}</Expiration></Credentials>\
             </AssumeRoleResult></AssumeRoleResponse>"
        );
        asked.answer("200 OK", &xml).await;
        let form = url::form_urlencoded::parse(&form).into_owned().collect();
        (asked.head, form)
    }

    /// Takes a session that is signed by this key.
    async fn session_of(&self, key: &str) -> Request {
        let mut request = self.request().await;
        assert!(request.head.starts_with("POST /base/putMedia "), "{}", request.head);
        assert!(request.head.contains(&format!("Credential={key}/")), "{}", request.head);
        assert!(request.head.contains("x-amz-security-token: assumed-token"), "{}", request.head);
        request.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        request
    }
}

impl Request {
    async fn body(&mut self) -> Vec<u8> {
        let (_, rest) = self
            .head
            .to_lowercase()
            .split_once("content-length: ")
            .map(|(a, b)| (a.len(), b.to_owned()))
            .unwrap();
        let length: usize = rest.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.unwrap();
        body
    }
}

#[tokio::test]
async fn a_role_is_assumed_for_the_stream_alone_and_signs_what_follows() {
    let service = service().await;
    let (_upload, mut events) = service.open();
    let (head, form) = service.assume_role("ASSUMED1", Duration::from_hours(1)).await;
    assert!(head.contains("Credential=AKID/"), "the process's own key asks: {head}");
    let field =
        |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap();
    assert_eq!((field("Action"), field("RoleArn")), ("AssumeRole", ROLE));
    let policy: serde_json::Value = serde_json::from_str(field("Policy")).unwrap();
    assert_eq!(policy["Statement"][0]["Resource"], service.uploader.stream().arn);
    let asked = service.data_endpoint().await;
    assert!(asked.head.contains("Credential=ASSUMED1/"), "{}", asked.head);
    let _request = service.session_of("ASSUMED1").await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
    // The next session needs neither the role nor the endpoint again.
    let (_upload, _events) = service.open();
    service.session_of("ASSUMED1").await;
}

#[tokio::test]
async fn a_session_is_told_before_its_credentials_expire_and_the_next_has_new_ones() {
    let service = service().await;
    let (_upload, mut events) = service.open();
    service.assume_role("ASSUMED1", Duration::from_secs(2)).await;
    service.data_endpoint().await;
    let _request = service.session_of("ASSUMED1").await;
    let start = Instant::now();
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::CredentialsExpireSoon)));
    assert!(start.elapsed() < Duration::from_secs(2), "it is still good: {:?}", start.elapsed());
    let (_upload, mut next_events) = service.open();
    service.assume_role("ASSUMED2", Duration::from_hours(1)).await;
    let _next = service.session_of("ASSUMED2").await;
    assert_eq!(next_events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
    assert!(events.try_recv().is_err(), "the old session goes on");
}

#[tokio::test]
async fn a_role_that_cannot_be_renewed_serves_until_it_expires() {
    let service = service().await;
    let (_upload, mut events) = service.open();
    service.assume_role("ASSUMED1", Duration::from_secs(2)).await;
    service.data_endpoint().await;
    let _request = service.session_of("ASSUMED1").await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::CredentialsExpireSoon)));
    let (_upload, mut events) = service.open();
    service.request().await.answer("503 Unavailable", "").await;
    let _request = service.session_of("ASSUMED1").await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
}

#[tokio::test]
async fn an_expired_token_is_replaced_at_the_next_attempt() {
    let service = service().await;
    let (_upload, mut events) = service.open();
    service.assume_role("ASSUMED1", Duration::from_hours(1)).await;
    service.data_endpoint().await;
    let mut request = service.request().await;
    let status = "403 Forbidden\r\nx-amzn-ErrorType: ExpiredTokenException";
    request.answer(status, "{\"Message\":\"assumed-token has expired\"}").await;
    let Some((_, UploadEvent::Closed(Ending::Refused(refusal, message)))) = events.recv().await else {
        panic!("a refusal is due")
    };
    assert_eq!(refusal, Refusal::CredentialsRefused);
    assert!(!message.contains("assumed-token"), "{message}");
    let (_upload, _events) = service.open();
    service.assume_role("ASSUMED2", Duration::from_hours(1)).await;
    service.session_of("ASSUMED2").await;
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_said_with_its_reason() {
    let service = service().await;
    let (_upload, mut events) = service.open();
    let xml = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
               <Code>AccessDenied</Code><Message>User x is not authorized to perform: sts:AssumeRole</Message>\
               </Error></ErrorResponse>";
    service.request().await.answer("403 Forbidden", xml).await;
    let Some((_, UploadEvent::Closed(Ending::Refused(refusal, message)))) = events.recv().await else {
        panic!("a refusal is due")
    };
    assert_eq!(refusal, Refusal::CredentialsRefused);
    assert!(message.contains("AssumeRole") && message.contains("not authorized"), "{message}");
}

#[tokio::test]
async fn the_services_time_is_told_once_a_session() {
    let service = Service::start().await;
    let (_upload, mut events) = service.open();
    let mut request = service.put_media().await;
    let date = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3_600))
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    request.write(&format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
    let Some((_, UploadEvent::ServerTime(ahead_ms))) = events.recv().await else { panic!("the time is due") };
    assert!((ahead_ms - 3_600_000).abs() < 1_000, "{ahead_ms}");
}
