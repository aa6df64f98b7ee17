//! An emulator of its own for each test, and clients for it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sdk_kinesisvideo::{error::ProvideErrorMetadata, types::ApiName};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use bytes::Bytes;
use serde_json::Value;
use streamfleet_emulator::{Emulator, Options, control::ControlOptions};
use streamfleet_media::{
    fragment::{Fragment, FragmentReader},
    mkv::write,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp},
    time::timeout,
};

pub const REGION: &str = "eu-central-1";
pub const ACCOUNT: &str = "123456789012";
/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with its test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("emulator-wire-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An emulator without delays, and its clients.
pub struct Rig {
    pub emulator: Emulator,
    pub folder: Folder,
}

impl Rig {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(edit: impl FnOnce(&mut Options)) -> Self {
        let folder = Folder::new();
        let emulator = start_in(&folder.0, edit).await;
        Self { emulator, folder }
    }

    pub async fn restart(self) -> Self {
        let Self { emulator, folder } = self;
        emulator.shutdown().await;
        let emulator = start_in(&folder.0, |_| {}).await;
        Self { emulator, folder }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.emulator.http_addr())
    }

    pub fn clients(&self) -> Clients {
        Clients::new(&self.url())
    }

    /// A stream with this retention, and its ARN.
    pub async fn stream(&self, name: &str, hours: i32) -> String {
        self.clients().create(name, hours).await
    }

    pub async fn upload(&self, name: &str) -> Upload {
        let upload = Upload::open(&self.clients(), name).await;
        assert_eq!(upload.status, 200, "{:?}", upload.head);
        upload
    }

    /// Calls a hook; `body` makes it a POST.
    pub async fn hook(&self, path: &str, body: Option<Value>) -> Value {
        let (method, body) = body.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
        self.hook_by(method, path, body).await
    }

    /// Takes all faults out of force.
    pub async fn heal(&self) {
        self.delete("faults").await;
    }

    /// Calls a hook by DELETE.
    pub async fn delete(&self, path: &str) -> Value {
        self.hook_by("DELETE", path, String::new()).await
    }

    async fn hook_by(&self, method: &str, path: &str, body: String) -> Value {
        let host = self.emulator.http_addr().to_string();
        let request = format!(
            "{method} /_emulator/{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(&host).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

/// The code of a refusal.
pub fn code<T, E: ProvideErrorMetadata>(outcome: Result<T, E>) -> String {
    match outcome {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.code().unwrap_or("no code").to_owned(),
    }
}

/// Streams stay in each state for so long.
pub fn delays(ms: u64) -> ControlOptions {
    ControlOptions { creating_ms: ms, updating_ms: ms, deleting_ms: ms, ..ControlOptions::default() }
}

async fn start_in(data: &Path, edit: impl FnOnce(&mut Options)) -> Emulator {
    let mut options = Options::new(data);
    options.listen_tls = None;
    options.control = delays(0);
    options.persist_delay = Duration::ZERO..=Duration::ZERO;
    edit(&mut options);
    Emulator::start(options).await.unwrap()
}

/// SDK clients for an endpoint.
#[derive(Clone)]
pub struct Clients {
    url: String,
    key: Credentials,
    http: SharedHttpClient,
}

macro_rules! client {
    ($sdk:ident, $self:ident, $url:expr) => {
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::v2026_01_12())
                .region($sdk::config::Region::new(REGION))
                .credentials_provider($self.key.clone())
                .http_client($self.http.clone())
                .endpoint_url($url)
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection($sdk::config::StalledStreamProtectionConfig::disabled())
                .build(),
        )
    };
}

impl Clients {
    pub fn new(url: &str) -> Self {
        let key = Credentials::new("streamfleet", "streamfleet", None, None, "test");
        Self { url: url.to_owned(), key, http: aws_smithy_http_client::Builder::new().build_http() }
    }

    pub fn with_key(mut self, id: &str, secret: &str) -> Self {
        self.key = Credentials::new(id, secret, None, None, "test");
        self
    }

    /// With a temporary key, as STS gives them.
    pub fn with_temporary(mut self, key: &aws_sdk_sts::types::Credentials) -> Self {
        let token = Some(key.session_token.clone());
        self.key =
            Credentials::new(key.access_key_id.clone(), key.secret_access_key.clone(), token, None, "test");
        self
    }

    pub fn with_authority(mut self, pem: &[u8]) -> Self {
        let trust = TrustStore::empty().with_pem_certificate(pem);
        let context = TlsContext::builder().with_trust_store(trust).build().unwrap();
        self.http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(context)
            .build_https();
        self
    }

    pub fn control(&self) -> aws_sdk_kinesisvideo::Client {
        client!(aws_sdk_kinesisvideo, self, &self.url)
    }

    pub fn cloudwatch(&self) -> aws_sdk_cloudwatch::Client {
        client!(aws_sdk_cloudwatch, self, &self.url)
    }

    pub fn sts(&self) -> aws_sdk_sts::Client {
        client!(aws_sdk_sts, self, &self.url)
    }

    pub fn media_at(&self, url: &str) -> aws_sdk_kinesisvideomedia::Client {
        client!(aws_sdk_kinesisvideomedia, self, url)
    }

    pub fn archive_at(&self, url: &str) -> aws_sdk_kinesisvideoarchivedmedia::Client {
        client!(aws_sdk_kinesisvideoarchivedmedia, self, url)
    }

    pub async fn create(&self, name: &str, hours: i32) -> String {
        let request = self.control().create_stream().stream_name(name).data_retention_in_hours(hours);
        request.send().await.unwrap().stream_arn.unwrap()
    }

    pub async fn endpoint(&self, name: &str, api: ApiName) -> String {
        let request = self.control().get_data_endpoint().stream_name(name).api_name(api);
        request.send().await.unwrap().data_endpoint.unwrap()
    }

    pub async fn media(&self, name: &str) -> aws_sdk_kinesisvideomedia::Client {
        self.media_at(&self.endpoint(name, ApiName::GetMedia).await)
    }

    /// All stored fragments, in the order of their numbers.
    pub async fn stored(&self, name: &str) -> Vec<aws_sdk_kinesisvideoarchivedmedia::types::Fragment> {
        use aws_sdk_kinesisvideoarchivedmedia::types::{FragmentSelectorType, TimestampRange};
        let client = self.archive_at(&self.endpoint(name, ApiName::ListFragments).await);
        let time = aws_smithy_types::DateTime::from_secs;
        let range =
            TimestampRange::builder().start_timestamp(time(0)).end_timestamp(time(4_000_000_000)).build();
        let selector = aws_sdk_kinesisvideoarchivedmedia::types::FragmentSelector::builder()
            .fragment_selector_type(FragmentSelectorType::ServerTimestamp)
            .timestamp_range(range.unwrap())
            .build();
        let pages = client.list_fragments().stream_name(name).fragment_selector(selector.unwrap());
        let mut found = pages.send().await.unwrap().fragments.unwrap();
        found.sort_by(|one, other| one.fragment_number.cmp(&other.fragment_number));
        found
    }
}

/// A producer of which every byte is under control.
pub struct Upload {
    lines: Lines,
    write: tcp::OwnedWriteHalf,
    pub status: u16,
    /// The head of the answer.
    pub head: String,
}

/// How the head of a request is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// `POST http://host/path`, as the vendor's Java client writes it.
    Absolute,
    /// With `Expect: 100-continue`; the first bytes are sent when it has come.
    Expecting,
}

impl Upload {
    /// An upload with absolute times.
    pub async fn open(clients: &Clients, name: &str) -> Self {
        let url = clients.endpoint(name, ApiName::PutMedia).await;
        Self::open_at(clients, &url, name, &[("x-amzn-fragment-timecode-type", "ABSOLUTE")], Form::Plain)
            .await
    }

    pub async fn open_at(
        clients: &Clients,
        url: &str,
        name: &str,
        headers: &[(&str, &str)],
        form: Form,
    ) -> Self {
        let target = format!("{url}/putMedia");
        let host = url.trim_start_matches("http://").split('/').next().unwrap();
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("host".to_owned(), host.to_owned()));
        headers.push(("x-amzn-stream-name".to_owned(), name.to_owned()));
        headers.extend(signature(&clients.key, &target, &headers));
        headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
        if form == Form::Expecting {
            headers.push(("expect".to_owned(), "100-continue".to_owned()));
        }
        let path =
            if form == Form::Absolute { &target } else { &target[target.find(host).unwrap() + host.len()..] };
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let lines = lines.concat();
        let (read, mut write) = TcpStream::connect(host).await.unwrap().into_split();
        write.write_all(format!("POST {path} HTTP/1.1\r\n{lines}\r\n").as_bytes()).await.unwrap();
        let mut lines = Lines { read: BufReader::new(read), waiting: Vec::new() };
        let head = lines.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { lines, write, status, head }
    }

    /// Reads another head, after "100 Continue".
    pub async fn next_head(&mut self) {
        self.head = self.lines.head().await;
        self.status = self.head.split(' ').nth(1).unwrap().parse().unwrap();
    }

    /// Sends one chunk.
    pub async fn send(&mut self, bytes: &[u8]) {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.write.write_all(&chunk).await.unwrap();
    }

    /// Sends as much as the window takes within the patience; false when the emulator stops reading.
    pub async fn try_send(&mut self, bytes: &[u8], patience: Duration) -> bool {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        timeout(patience, self.write.write_all(&chunk)).await.is_ok()
    }

    /// Ends the body.
    pub async fn finish(&mut self) {
        self.write.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// The next acknowledgement; `None` at the end of the answer.
    pub async fn ack(&mut self) -> Option<Value> {
        let line = self.lines.body_line().await.expect("the answer was cut");
        line.map(|line| serde_json::from_slice(&line).unwrap())
    }

    /// Whether the answer was broken off rather than ended; what was still acknowledged is passed over.
    pub async fn is_cut(&mut self) -> bool {
        loop {
            match self.lines.body_line().await {
                Err(()) => return true,
                Ok(None) => return false,
                Ok(Some(_)) => {}
            }
        }
    }

    /// All acknowledgements up to the end of the answer, as `KIND timecode` or `ERROR id`.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(ack) = self.ack().await {
            words.push(word(&ack));
        }
        words
    }

    /// Waits for this acknowledgement; others before it are passed over.
    pub async fn until(&mut self, wanted: &str) -> Value {
        loop {
            let ack = self.ack().await.unwrap_or_else(|| panic!("the answer ended before {wanted}"));
            if word(&ack) == wanted {
                return ack;
            }
        }
    }
}

/// `KIND timecode` or `ERROR id`.
pub fn word(ack: &Value) -> String {
    let kind = ack["EventType"].as_str().unwrap();
    match kind {
        "ERROR" => format!("ERROR {}", ack["ErrorId"]),
        "IDLE" => kind.to_owned(),
        _ => format!("{kind} {}", ack["FragmentTimecode"]),
    }
}

/// The answer's bytes, line by line.
struct Lines {
    read: BufReader<tcp::OwnedReadHalf>,
    /// What came of the body and is not yet a line.
    waiting: Vec<u8>,
}

impl Lines {
    async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = timeout(PATIENCE, self.read.read_line(&mut head)).await.unwrap().unwrap();
            assert!(read > 0, "the connection ended in the head: {head}");
        }
        head
    }

    /// A line of a chunked body; `None` at its end, an error when the connection ends before.
    async fn body_line(&mut self) -> Result<Option<Vec<u8>>, ()> {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.waiting.drain(..=end).collect()));
            }
            let chunk = timeout(PATIENCE, self.chunk()).await.expect("nothing comes").map_err(|_| ())?;
            if chunk.is_empty() {
                return Ok(None);
            }
            self.waiting.extend(chunk);
        }
    }

    async fn chunk(&mut self) -> std::io::Result<Vec<u8>> {
        let mut size = String::new();
        self.read.read_line(&mut size).await?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.read.read_exact(&mut chunk).await?;
        chunk.truncate(size);
        Ok(chunk)
    }
}

/// Signs as the vendor's C producers do: the body counts as empty.
fn signature(key: &Credentials, url: &str, headers: &[(String, String)]) -> Vec<(String, String)> {
    let identity = key.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("kinesisvideo")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap();
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(&[])).unwrap();
    let (instructions, _) = sign(request, &parameters.into()).unwrap().into_parts();
    let (headers, _) = instructions.into_parts();
    headers.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect()
}

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A time of an answer in milliseconds. The SDK reads the service's fractional seconds as a float and cuts off, so that
/// `to_millis` may be one too low.
pub fn millis(time: &aws_smithy_types::DateTime) -> u64 {
    (time.as_secs_f64() * 1000.0).round() as u64
}

/// The head of a session with these tracks.
pub fn head(tracks: &[u8]) -> Vec<u8> {
    use bytes::BytesMut;
    use streamfleet_media::mkv::ids;
    let mut entries = BytesMut::new();
    for number in tracks {
        let mut entry = BytesMut::new();
        write::element(&mut entry, ids::TRACK_NUMBER, &[*number]);
        write::element(&mut entry, ids::TRACK_TYPE, &[1]);
        write::element(&mut entry, ids::CODEC_ID, b"V_MPEG4/ISO/AVC");
        write::element(&mut entries, ids::TRACK_ENTRY, &entry);
    }
    let mut ebml = BytesMut::new();
    write::element(&mut ebml, ids::DOC_TYPE, b"matroska");
    let mut info = BytesMut::new();
    write::element(&mut info, ids::TIMECODE_SCALE, &1_000_000u32.to_be_bytes());
    let mut out = BytesMut::new();
    write::element(&mut out, ids::EBML, &ebml);
    out.extend_from_slice(&[0x18, 0x53, 0x80, 0x67, 0xFF]);
    write::element(&mut out, ids::INFO, &info);
    write::element(&mut out, ids::TRACKS, &entries);
    out.to_vec()
}

/// A cluster of unknown size with two frames of track 1, 40 ms apart; the payloads name the time.
pub fn cluster(time: u64) -> Vec<u8> {
    let mut out = write::cluster_start(time).to_vec();
    for after in [0, 40] {
        let payload = format!("frame at {}", time + after);
        out.extend_from_slice(&write::simple_block_prefix(1, after as i16, after == 0, payload.len()));
        out.extend_from_slice(payload.as_bytes());
    }
    out
}

/// Reads fragments from an answer until there are `count`, or it ends.
pub async fn fragments(body: &mut aws_smithy_types::byte_stream::ByteStream, count: usize) -> Vec<Fragment> {
    let mut reader = FragmentReader::new();
    let mut found = Vec::new();
    let mut ended = false;
    while found.len() < count && !ended {
        if let Some(bytes) = timeout(PATIENCE, body.next()).await.expect("nothing comes") {
            reader.push(bytes.unwrap());
        } else {
            reader.finish();
            ended = true;
        }
        while let Some(fragment) = reader.next().unwrap() {
            found.push(fragment);
        }
    }
    found
}

/// The payloads of a fragment's frames.
pub fn payloads(fragment: &Fragment) -> Vec<Bytes> {
    fragment.frames.iter().map(|frame| frame.payload.clone()).collect()
}
