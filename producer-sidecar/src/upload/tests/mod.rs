//! Uploads against a service that is written out by hand, byte for byte, over plain HTTP.

mod credentials;

use aws_credential_types::Credentials;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A service whose `GetDataEndpoint` names itself.
struct Service {
    listener: TcpListener,
    uploader: Uploader,
}

/// A request's head, and the connection that it came by.
struct Request {
    head: String,
    socket: TcpStream,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/x/1";
        let mut stream = Stream::new(arn, "eu-west-1");
        stream.endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
        let credentials =
            Credentials::new("AKID", "verysecret", Some("planted-token".to_owned()), None, "test");
        let shared = Shared { identity: Identity::fixed(credentials), network: Network::default() };
        Self { listener, uploader: Uploader::new(stream, Arc::new(shared)) }
    }

    async fn request(&self) -> Request {
        let (mut socket, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        Request { head: String::from_utf8(head).unwrap(), socket }
    }

    /// Answers `GetDataEndpoint`, and gives the request that follows.
    async fn put_media(&self) -> Request {
        self.data_endpoint().await;
        self.request().await
    }

    /// Answers `GetDataEndpoint`, and gives what was asked.
    async fn data_endpoint(&self) -> Request {
        let endpoint =
            format!("{{\"DataEndpoint\":\"http://{}/base\"}}", self.listener.local_addr().unwrap());
        let mut asked = self.request().await;
        assert!(asked.head.starts_with("POST /getDataEndpoint "), "{}", asked.head);
        asked.answer("200 OK", &endpoint).await;
        asked
    }

    fn open(&self) -> (Upload, mpsc::Receiver<(SessionId, UploadEvent)>) {
        let (sender, events) = mpsc::channel(8);
        (self.uploader.open(SessionId(7), sender), events)
    }
}

impl Request {
    async fn answer(&mut self, status: &str, body: &str) {
        let length = body.len();
        self.write(&format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
        .await;
    }

    async fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    async fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        while !read.ends_with(end) {
            read.push(self.socket.read_u8().await.unwrap());
        }
        read
    }
}

fn chunk(elements: &'static [u8], frame: &'static [u8]) -> Chunk {
    plain_chunk([elements, frame].concat().into())
}

#[tokio::test]
async fn acknowledgements_are_read_while_the_body_goes_on() {
    let service = Service::start().await;
    let (mut upload, mut events) = service.open();
    let body = upload.body.clone().unwrap();
    body.send(chunk(b"head", b"")).await.unwrap();
    let mut request = service.put_media().await;
    assert!(request.head.starts_with("POST /base/putMedia HTTP/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains("transfer-encoding: chunked"), "{}", request.head);
    assert_eq!(request.read_until(b"head\r\n").await, b"4\r\nhead\r\n");
    request.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));

    body.send(chunk(b"el", b"frame")).await.unwrap();
    assert_eq!(request.read_until(b"frame\r\n").await, b"7\r\nelframe\r\n");
    let ack = "{\"EventType\":\"BUFFERING\",\"FragmentTimecode\":5}\n";
    request.write(&format!("{:x}\r\n{ack}\r\n", ack.len())).await;
    let Some((_, UploadEvent::Ack(ack))) = events.recv().await else { panic!("an acknowledgement is due") };
    assert_eq!(ack.timecode, Some(5));

    upload.body = None;
    drop(body);
    assert_eq!(request.read_until(b"\r\n\r\n").await, b"0\r\n\r\n");
    request.write("0\r\n\r\n").await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Closed(Ending::Finished))));
}

#[tokio::test]
async fn a_refusal_is_judged_by_its_code_and_shows_no_secret() {
    let service = Service::start().await;
    let (_upload, mut events) = service.open();
    let mut request = service.put_media().await;
    let status = "403 Forbidden\r\nx-amzn-ErrorType: InvalidSignatureException";
    request.answer(status, "{\"Message\":\"should have been x-amz-security-token:planted-token\"}").await;
    let Some((_, UploadEvent::Closed(Ending::Refused(refusal, message)))) = events.recv().await else {
        panic!("a refusal is due")
    };
    assert_eq!(refusal, Refusal::CredentialsRefused);
    assert!(message.contains("InvalidSignatureException") && !message.contains("planted"), "{message}");
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_from_the_date_of_the_refusal() {
    let service = Service::start().await;
    let (_upload, mut events) = service.open();
    let mut request = service.put_media().await;
    let status =
        "403 Forbidden\r\nx-amzn-ErrorType: InvalidSignatureException\r\ndate: Fri, 01 Jan 2100 00:00:00 GMT";
    request.answer(status, "{}").await;
    let Some((_, UploadEvent::Closed(Ending::Refused(refusal, _)))) = events.recv().await else {
        panic!("a refusal is due")
    };
    assert_eq!(refusal, Refusal::ClockCorrected);
    // The data endpoint is still known: the next request is PutMedia itself, signed by the service's clock.
    let (_upload, _events) = service.open();
    let request = service.request().await;
    assert!(request.head.starts_with("POST /base/putMedia "), "{}", request.head);
    assert!(request.head.contains("x-amz-date: 21000101T0000"), "{}", request.head);
}

#[tokio::test]
async fn an_upload_that_is_dropped_drops_its_connection() {
    let service = Service::start().await;
    let (upload, _events) = service.open();
    let mut request = service.put_media().await;
    drop(upload);
    assert!(request.socket.read_u8().await.is_err(), "the connection has ended");
}

#[tokio::test]
async fn what_the_network_takes_of_a_large_piece_is_seen() {
    let service = Service::start().await;
    let (mut upload, mut events) = service.open();
    let body = upload.body.clone().unwrap();
    body.send(plain_chunk(vec![0; 32 << 20].into())).await.unwrap();
    let mut request = service.put_media().await;
    request.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
    while upload.has_progressed() {
        sleep(Duration::from_millis(100)).await;
    }
    request.socket.read_exact(&mut vec![0; 16 << 20]).await.unwrap();
    assert!(upload.has_progressed());
}

#[tokio::test]
async fn a_broken_connection_is_an_end() {
    let service = Service::start().await;
    let (_upload, mut events) = service.open();
    let mut request = service.put_media().await;
    request.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert_eq!(events.recv().await, Some((SessionId(7), UploadEvent::Opened)));
    drop(request);
    let Some((_, UploadEvent::Closed(ending))) = events.recv().await else { panic!("an end is due") };
    assert!(matches!(ending, Ending::Broken(_)), "{ending:?}");
}
