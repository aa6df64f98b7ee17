//! The client against servers that answer as they are told to.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use streamfleet_contract::{RtspTls, SourceState};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::source::SourceEvent;

/// What a server does at each request: gives an answer's status line with headers, and its body.
type Answers = Vec<(String, String)>;

/// Answers requests in order, then ends the connection. Gives the requests.
async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, answers: Answers) -> Vec<String> {
    let mut requests = Vec::new();
    for (head, body) in answers {
        let Some(request) = request(&mut socket).await else { break };
        let sequence = header(&request, "CSeq").unwrap().to_owned();
        requests.push(request);
        let length = body.len();
        let text = format!("RTSP/1.0 {head}\r\nCSeq: {sequence}\r\nContent-Length: {length}\r\n\r\n{body}");
        socket.write_all(text.as_bytes()).await.unwrap();
    }
    _ = socket.shutdown().await;
    requests
}

async fn request(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(socket.read_u8().await.ok()?);
    }
    Some(String::from_utf8(request).unwrap())
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &'a str| line.split_once(": ").filter(|(key, _)| *key == name);
    request.lines().find_map(named).map(|(_, value)| value)
}

fn answers(list: &[(&str, &str)]) -> Answers {
    list.iter().map(|(head, body)| ((*head).to_owned(), (*body).to_owned())).collect()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    (listener, url)
}

fn login() -> Credentials {
    Credentials { username: "admin".to_owned(), password: "hunter2".to_owned() }
}

/// Opens a camera that gives these answers; how that failed, and the requests.
async fn refusal_of(list: &[(&str, &str)], credentials: Option<Credentials>) -> (SourceError, Vec<String>) {
    let (listener, url) = listen().await;
    let list = answers(list);
    let server = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, list).await });
    let error = open_url(&url, credentials).await.map(drop).expect_err("it is no camera");
    (error, server.await.unwrap())
}

async fn open_url(url: &str, credentials: Option<Credentials>) -> Result<Playing, SourceError> {
    let never = CancellationToken::new();
    let opened = open(&RtspSource::new(url), Audio::Auto, credentials, Clock::start(), &never).await;
    opened.map(|playing| playing.expect("nobody stops it"))
}

const H264: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z2QAM6zoAoALWQ==,aO48MA==\r\na=control:track1\r\n";
const DESCRIBED: &str = "200 OK\r\nContent-Type: application/sdp";
const SET_UP: &str = "200 OK\r\nSession: abc;timeout=30\r\nTransport: RTP/AVP/TCP;unicast;interleaved=4-5";
const DIGEST: &str = "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"1\"";

#[tokio::test]
async fn what_a_camera_answers_is_told_apart() {
    let (none, _) = refusal_of(&[(DIGEST, "")], None).await;
    assert_eq!(none.reason, SourceReason::AuthenticationFailed);
    assert!(none.message.contains("none are configured"), "{none}");
    let (wrong, requests) = refusal_of(&[(DIGEST, ""), (DIGEST, "")], Some(login())).await;
    assert_eq!(wrong.reason, SourceReason::AuthenticationFailed);
    assert!(wrong.message.contains("refuses"), "{wrong}");
    assert!(!format!("{wrong} {requests:?}").contains("hunter2"));
    let (missing, _) = refusal_of(&[("404 Not Found", "")], None).await;
    assert_eq!((missing.reason, missing.message.contains("404")), (SourceReason::Refused, true));
    for status in ["453 Not Enough Bandwidth", "503 Service Unavailable"] {
        let (busy, _) = refusal_of(&[(DESCRIBED, H264), (status, "")], None).await;
        assert_eq!(busy.reason, SourceReason::ServerBusy);
    }
    assert_eq!(refusal_of(&[], None).await.0.reason, SourceReason::Disconnected);
    let mjpeg = "v=0\r\nm=video 0 RTP/AVP 26\r\n";
    assert_eq!(refusal_of(&[(DESCRIBED, mjpeg)], None).await.0.reason, SourceReason::UnsupportedCodec);
    let sound = "v=0\r\nm=audio 0 RTP/AVP 8\r\n";
    assert_eq!(refusal_of(&[(DESCRIBED, sound)], None).await.0.reason, SourceReason::NoVideo);
    let text = "no description";
    assert_eq!(refusal_of(&[(DESCRIBED, text)], None).await.0.reason, SourceReason::InvalidMedia);
}

#[tokio::test]
async fn a_session_that_is_set_up_and_not_played_is_given_back() {
    let full = "453 Not Enough Bandwidth";
    let answers = [(DESCRIBED, H264), (SET_UP, ""), (full, ""), ("200 OK", "")];
    let (busy, requests) = refusal_of(&answers, None).await;
    assert_eq!(busy.reason, SourceReason::ServerBusy);
    let last = requests.last().unwrap();
    assert!(last.starts_with("TEARDOWN ") && header(last, "Session") == Some("abc"), "{last}");
}

#[tokio::test]
async fn a_stop_while_a_session_is_being_set_up_gives_it_back() {
    for stops_at in ["SETUP", "PLAY"] {
        let (listener, url) = listen().await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            let mut socket = listener.accept().await.unwrap().0;
            let mut requests = Vec::new();
            while let Some(request) = request(&mut socket).await {
                let method = request.split(' ').next().unwrap().to_owned();
                let sequence = header(&request, "CSeq").unwrap().to_owned();
                if method == stops_at {
                    stopped.cancel();
                    // The client hears of it before it has the answer.
                    tokio::task::yield_now().await;
                }
                let (head, body) = if method == "DESCRIBE" { (DESCRIBED, H264) } else { (SET_UP, "") };
                // PLAY has no answer.
                if method != "PLAY" {
                    let length = body.len();
                    let answer = format!(
                        "RTSP/1.0 {head}\r\nCSeq: {sequence}\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
                requests.push(request);
            }
            requests
        });
        let opened = open(&RtspSource::new(&*url), Audio::Auto, None, Clock::start(), &stop)
            .await
            .map(|p| p.is_some());
        assert_eq!(opened, Ok(false));
        let requests = server.await.unwrap();
        let last = requests.last().unwrap();
        assert!(last.starts_with("TEARDOWN ") && header(last, "Session") == Some("abc"), "{requests:?}");
    }
}

#[tokio::test]
async fn a_host_without_an_address_and_a_closed_port_are_told_apart() {
    let error = open_url("rtsp://no-such-host.invalid/x", None).await.err().unwrap();
    assert_eq!(error.reason, SourceReason::HostNotFound);
    let (listener, url) = listen().await;
    drop(listener);
    assert_eq!(open_url(&url, None).await.err().unwrap().reason, SourceReason::Unreachable);
}

#[tokio::test]
async fn a_stream_is_set_up_and_played_by_the_names_that_the_camera_gives() {
    let (listener, url) = listen().await;
    let based = format!("{DESCRIBED}\r\nContent-Base: {url}/base/");
    let list = answers(&[(&based, H264), (SET_UP, ""), ("200 OK", "")]);
    let server = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, list).await });
    let mut playing = open_url(&url, None).await.unwrap();
    assert_eq!(playing.player.channels(0), Some(&mut [4, 5]), "what the camera chose");
    let requests = server.await.unwrap();
    assert!(requests[0].starts_with(&format!("DESCRIBE {url} RTSP/1.0\r\n")), "{requests:?}");
    assert!(requests[1].starts_with(&format!("SETUP {url}/base/track1 RTSP/1.0\r\n")), "{requests:?}");
    assert_eq!(header(&requests[1], "Transport"), Some("RTP/AVP/TCP;unicast;interleaved=0-1"));
    assert!(requests[2].starts_with(&format!("PLAY {url}/base/ RTSP/1.0\r\n")), "{requests:?}");
    assert_eq!((header(&requests[1], "Session"), header(&requests[2], "Session")), (None, Some("abc")));
}

type Hash = fn(&str) -> String;

/// RFC 2617 §3.2.2 and RFC 7616 §3.4, with the hash function given.
fn digest_response(request: &str, hash: Hash) -> (String, String) {
    let authorization = header(request, "Authorization").unwrap().strip_prefix("Digest ").unwrap();
    let value = |name: &str| {
        let pair = authorization.split(", ").find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.unwrap_or_default().trim_matches('"').to_owned()
    };
    let method = request.split(' ').next().unwrap();
    let secret = hash(&format!("admin:{}:hunter2", value("realm")));
    let what = hash(&format!("{method}:{}", value("uri")));
    let nonce = value("nonce");
    let expected = match value("qop").as_str() {
        "" => hash(&format!("{secret}:{nonce}:{what}")),
        qop => hash(&format!("{secret}:{nonce}:{}:{}:{qop}:{what}", value("nc"), value("cnonce"))),
    };
    (value("response"), expected)
}

fn md5(text: &str) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(text))
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(text))
}

#[tokio::test]
async fn digests_of_all_kinds_prove_the_password_without_telling_it() {
    let kinds: [(&str, Hash); 3] = [
        ("realm=\"a b\", nonce=\"n1\"", md5),
        ("realm=\"x\", qop=\"auth\", nonce=\"n2\", opaque=\"o\", algorithm=MD5", md5),
        ("realm=\"x\", qop=\"auth\", nonce=\"n3\", algorithm=SHA-256", sha256),
    ];
    for (challenge, hash) in kinds {
        let asks = format!("401 Unauthorized\r\nWWW-Authenticate: Digest {challenge}");
        let (_, requests) =
            refusal_of(&[(&asks, ""), (DESCRIBED, H264), (SET_UP, ""), ("404 Not Found", "")], Some(login()))
                .await;
        assert_eq!(requests.len(), 4);
        for request in &requests[1..] {
            let (response, expected) = digest_response(request, hash);
            assert_eq!(response, expected, "{request}");
        }
        assert!(!requests.concat().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_stale_nonce_is_answered_anew_and_basic_is_answered_where_nothing_else_is_offered() {
    let stale = "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"2\", stale=TRUE";
    let (error, requests) =
        refusal_of(&[(DIGEST, ""), (stale, ""), ("404 Not Found", "")], Some(login())).await;
    assert_eq!(error.reason, SourceReason::Refused);
    assert!(requests[2].contains("nonce=\"2\""), "{requests:?}");
    let expired = [(DIGEST, ""), (DESCRIBED, H264), (DIGEST, ""), (SET_UP, ""), ("404 Not Found", "")];
    let (error, requests) = refusal_of(&expired, Some(login())).await;
    assert_eq!((error.reason, requests.len()), (SourceReason::Refused, 5), "{requests:?}");
    let basic = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"";
    let (_, requests) = refusal_of(&[(basic, ""), ("404 Not Found", "")], Some(login())).await;
    assert_eq!(header(&requests[1], "Authorization"), Some("Basic YWRtaW46aHVudGVyMg=="));
    let both = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"1\"";
    let (_, requests) = refusal_of(&[(both, ""), ("404 Not Found", "")], Some(login())).await;
    assert!(header(&requests[1], "Authorization").unwrap().starts_with("Digest"), "{requests:?}");
    let other = "401 Unauthorized\r\nWWW-Authenticate: Negotiate";
    let (error, _) = refusal_of(&[(other, "")], Some(login())).await;
    assert_eq!(error.reason, SourceReason::AuthenticationFailed);
}

#[tokio::test]
async fn redirects_are_followed_but_another_server_does_not_get_the_password() {
    let (first, url) = listen().await;
    let (second, _) = listen().await;
    let elsewhere = format!("rtsp://localhost:{}/other", second.local_addr().unwrap().port());
    let moved = answers(&[(&format!("302 Found\r\nLocation: {elsewhere}"), "")]);
    tokio::spawn(async move { serve(first.accept().await.unwrap().0, moved).await });
    let asks = answers(&[("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", "")]);
    let server = tokio::spawn(async move { serve(second.accept().await.unwrap().0, asks).await });
    let error = open_url(&url, Some(login())).await.err().unwrap();
    assert_eq!(error.reason, SourceReason::AuthenticationFailed);
    let requests = server.await.unwrap();
    assert!(requests[0].starts_with(&format!("DESCRIBE {elsewhere} ")), "{requests:?}");
    assert_eq!(header(&requests[0], "Authorization"), None);
}

#[tokio::test]
async fn redirects_without_end_are_left() {
    let (listener, url) = listen().await;
    let to_itself = format!("301 Moved\r\nLocation: {url}");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            serve(socket, answers(&[(&to_itself, "")])).await;
        }
    });
    let error = open_url(&url, None).await.err().unwrap();
    assert!(error.reason == SourceReason::Refused && error.message.contains("again"), "{error}");
}

/// A server with a certificate of its own, which it gives.
async fn tls_camera(answers: Answers) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, _) = listen().await;
    let url = format!("rtsps://localhost:{}/live", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, answers) = (acceptor.clone(), answers.clone());
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    serve(socket, answers).await;
                }
            });
        }
    });
    (url, made.cert.pem())
}

#[tokio::test]
async fn a_camera_behind_tls_is_trusted_by_its_authority_or_by_order_alone() {
    let (url, pem) = tls_camera(answers(&[("404 Not Found", "")])).await;
    let file = std::env::temp_dir().join(format!("streamfleet-rtsps-{}", std::process::id()));
    std::fs::write(&file, pem).unwrap();
    let path = Some(file.display().to_string());
    let reason = async |tls: Option<RtspTls>| {
        let source = RtspSource { tls, ..RtspSource::new(&url) };
        let never = CancellationToken::new();
        open(&source, Audio::Auto, None, Clock::start(), &never).await.err().unwrap().reason
    };
    assert_eq!(reason(None).await, SourceReason::CertificateNotTrusted);
    let by_file = RtspTls { ca_file: path, insecure_skip_verify: false };
    assert_eq!(reason(Some(by_file)).await, SourceReason::Refused, "the camera was asked");
    let any = RtspTls { ca_file: None, insecure_skip_verify: true };
    assert_eq!(reason(Some(any)).await, SourceReason::Refused, "the camera was asked");
    let missing = RtspTls { ca_file: Some("/no/such/file".to_owned()), insecure_skip_verify: false };
    assert_eq!(reason(Some(missing)).await, SourceReason::CertificateNotTrusted);
    std::fs::remove_file(&file).unwrap();
}

/// A packet with a slice of an IDR picture that ends a picture, on channel 4.
fn picture(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0xE0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 3_600).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 7, 0x65, 0x88, sequence as u8]);
    streamfleet_media::rtp::framing::interleaved(4, &packet)
}

/// Answers DESCRIBE, SETUP and PLAY.
async fn begin(listener: &TcpListener) -> TcpStream {
    begin_with(listener, SET_UP).await
}

/// The same, with this answer to SETUP.
async fn begin_with(listener: &TcpListener, set_up: &str) -> TcpStream {
    let (mut socket, _) = listener.accept().await.unwrap();
    for (head, body) in [(DESCRIBED, H264), (set_up, ""), ("200 OK", "")] {
        let asked = request(&mut socket).await.unwrap();
        let sequence = header(&asked, "CSeq").unwrap();
        let length = body.len();
        let text = format!("RTSP/1.0 {head}\r\nCSeq: {sequence}\r\nContent-Length: {length}\r\n\r\n{body}");
        socket.write_all(text.as_bytes()).await.unwrap();
    }
    socket
}

/// Runs a source; gives what it says, and stops it by the token.
fn play(url: &str) -> (mpsc::Receiver<SourceEvent>, CancellationToken, tokio::task::JoinHandle<Ending>) {
    let (sender, events) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let (source, stopped) = (RtspSource::new(url), stop.clone());
    let task = tokio::spawn(async move {
        let mut outlet = Outlet::new(Clock::start(), sender);
        run(&source, Audio::Auto, None, &mut outlet, &stopped).await.unwrap()
    });
    (events, stop, task)
}

#[tokio::test]
async fn pictures_come_between_answers_and_noise_and_a_stop_tears_the_session_down() {
    let (listener, url) = listen().await;
    let (mut events, stop, task) = play(&url);
    let mut socket = begin(&listener).await;
    let options = request(&mut socket).await.unwrap();
    assert!(options.starts_with("OPTIONS ") && header(&options, "Session") == Some("abc"), "{options}");
    let answer = format!(
        "RTSP/1.0 200 OK\r\nCSeq: {}\r\nPublic: OPTIONS, GET_PARAMETER\r\n\r\n",
        header(&options, "CSeq").unwrap()
    );
    let unknown = streamfleet_media::rtp::framing::interleaved(9, b"something");
    let stray = b"stray bytes".to_vec();
    let bytes = [picture(1), answer.into_bytes(), unknown, picture(2), stray, picture(3), picture(4)];
    socket.write_all(&bytes.concat()).await.unwrap();
    let Some(SourceEvent::Connected(tracks)) = events.recv().await else { panic!("no connection") };
    assert_eq!(tracks, [streamfleet_media::track::Codec::H264]);
    let state = events.recv().await;
    assert!(matches!(state, Some(SourceEvent::State(SourceState::Streaming, _, _))), "{state:?}");
    for number in 1..=4_u8 {
        let Some(SourceEvent::Sample(sample, _)) = events.recv().await else { panic!("no picture {number}") };
        assert_eq!(sample.data[..], [0, 0, 0, 3, 0x65, 0x88, number]);
        assert_eq!((sample.parameters.is_some(), sample.lost), (number == 1, 0));
    }
    stop.cancel();
    let teardown = request(&mut socket).await.unwrap();
    assert!(teardown.starts_with("TEARDOWN ") && header(&teardown, "Session") == Some("abc"), "{teardown}");
    assert_eq!(task.await.unwrap(), Ending::Stopped);
}

#[tokio::test]
async fn the_last_picture_before_the_end_is_handed_on() {
    let (listener, url) = listen().await;
    let (mut events, _stop, task) = play(&url);
    let mut socket = begin(&listener).await;
    request(&mut socket).await.unwrap();
    socket.write_all(&[picture(1), picture(2)].concat()).await.unwrap();
    drop(socket);
    let Ending::Failed(error) = task.await.unwrap() else { panic!("it was not stopped") };
    assert_eq!(error.reason, SourceReason::Disconnected);
    let mut pictures = 0;
    while let Some(event) = events.recv().await {
        pictures += u32::from(matches!(event, SourceEvent::Sample(..)));
    }
    assert_eq!(pictures, 2);
}

#[tokio::test]
async fn a_session_that_the_camera_has_forgotten_or_ends_is_over() {
    for is_forgotten in [true, false] {
        let (listener, url) = listen().await;
        let (_events, _stop, task) = play(&url);
        let mut socket = begin(&listener).await;
        let options = request(&mut socket).await.unwrap();
        let sequence = header(&options, "CSeq").unwrap();
        let text = if is_forgotten {
            format!("RTSP/1.0 454 Session Not Found\r\nCSeq: {sequence}\r\n\r\n")
        } else {
            "TEARDOWN rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_owned()
        };
        socket.write_all(text.as_bytes()).await.unwrap();
        let Ending::Failed(error) = task.await.unwrap() else { panic!("it was not stopped") };
        assert_eq!(error.reason, SourceReason::Disconnected, "{error}");
    }
}

#[tokio::test]
async fn the_session_is_kept_alive_by_what_the_camera_knows() {
    let (listener, url) = listen().await;
    let (_events, stop, task) = play(&url);
    let short = "200 OK\r\nSession: abc;timeout=1";
    let mut socket = begin_with(&listener, short).await;
    let mut methods = Vec::new();
    let answers = ["200 OK\r\nPublic: OPTIONS, GET_PARAMETER", "200 OK", "501 Not Implemented", "200 OK"];
    for head in answers {
        let asked = request(&mut socket).await.unwrap();
        methods.push(asked.split(' ').next().unwrap().to_owned());
        let text = format!("RTSP/1.0 {head}\r\nCSeq: {}\r\n\r\n", header(&asked, "CSeq").unwrap());
        socket.write_all(text.as_bytes()).await.unwrap();
    }
    assert_eq!(methods, ["OPTIONS", "GET_PARAMETER", "GET_PARAMETER", "OPTIONS"]);
    stop.cancel();
    assert_eq!(task.await.unwrap(), Ending::Stopped);
}

#[tokio::test]
async fn datagrams_come_in_order_and_the_camera_is_told_how_they_come() {
    let (listener, url) = listen().await;
    let (sender, mut events) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let source = RtspSource { transport: RtspTransport::Udp, ..RtspSource::new(url) };
    let task = tokio::spawn(async move {
        let mut outlet = Outlet::new(Clock::start(), sender);
        run(&source, Audio::Auto, None, &mut outlet, &stopped).await.unwrap()
    });
    let media = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let reports = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = |socket: &tokio::net::UdpSocket| socket.local_addr().unwrap().port();
    let head = format!(
        "200 OK\r\nSession: abc\r\nTransport: RTP/AVP;unicast;server_port={}-{}",
        port(&media),
        port(&reports)
    );
    let _socket = begin_with(&listener, &head).await;
    let mut buffer = [0; 100];
    let (length, client) = media.recv_from(&mut buffer).await.unwrap();
    assert_eq!((length, buffer[0] >> 6), (12, 2), "a packet that opens the way");
    assert_eq!(client.port() % 2, 0);
    // Without the four bytes of packets within a connection.
    for number in [1, 3, 2, 4, 6] {
        media.send_to(&picture(number)[4..], client).await.unwrap();
    }
    // One of somebody else does not count.
    let stranger = tokio::net::UdpSocket::bind("127.0.0.2:0").await.unwrap();
    stranger.send_to(&picture(5)[4..], client).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        if let Some(SourceEvent::Sample(sample, _)) = events.recv().await {
            seen.push((sample.data[6], sample.lost));
        }
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 0), (4, 0), (6, 1)]);
    // The first report went out before there was anything to tell of; the next tells of what is missing.
    loop {
        let (length, _) = reports.recv_from(&mut buffer).await.unwrap();
        assert_eq!(buffer[1], 201);
        if buffer[0] & 0x1F == 1 && length > 31 {
            assert_eq!(buffer[8..12], [0, 0, 0, 7]);
            break;
        }
    }
    stop.cancel();
    assert_eq!(task.await.unwrap(), Ending::Stopped);
}
