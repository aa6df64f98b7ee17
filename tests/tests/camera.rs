//! The test camera as its clients see it: a bare client of our own, and ffmpeg's as the foreign one.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use streamfleet_media::h264::{NalKind, length_prefixed, nal_kind, sei};
use streamfleet_tests::camera::{Camera, Clip, Login, Options, Order, Recipe, picture_digest};
use streamfleet_tests::journal::{self, EndReason, Entry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

/// Long enough for a busy machine; nothing here takes more than a second or two.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of this test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("streamfleet-camera-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A small camera: 25 pictures and two key frames a second.
async fn options(folder: &Folder) -> Options {
    let recipe =
        Recipe { width: 320, height: 180, rate: 25, key_interval: 12, seconds: 2, slices: 1, kbps: None };
    let clip = Clip::read(&recipe.make(&folder.0).await.unwrap()).unwrap();
    Options { journal: Some(folder.0.join("journal")), ..Options::on_loopback(clip) }
}

fn journal_of(folder: &Folder) -> Vec<Entry> {
    journal::read(&folder.0.join("journal")).unwrap()
}

/// A picture as a client gets it.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    number: u64,
    digest: String,
    rtp_time: u32,
}

/// A client that knows just enough: no authentication, one track, RTP over the connection.
struct Client {
    stream: TcpStream,
    buffer: BytesMut,
    sps: Vec<u8>,
}

impl Client {
    async fn play(camera: &Camera) -> Self {
        let stream = TcpStream::connect(camera.address()).await.unwrap();
        let mut client = Self { stream, buffer: BytesMut::new(), sps: Vec::new() };
        let url = camera.url();
        let description = client.ask("DESCRIBE", &url, "Accept: application/sdp\r\n").await;
        assert!(description.contains("a=rtpmap:96 H264/90000"), "{description}");
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
        let answer = client.ask("SETUP", &format!("{url}/track1"), transport).await;
        assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
        let session = answer.lines().find_map(|line| line.strip_prefix("Session: ")).unwrap();
        let session = session.split(';').next().unwrap().to_owned();
        let answer = client.ask("PLAY", &url, &format!("Session: {session}\r\n")).await;
        assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
        client
    }

    async fn ask(&mut self, method: &str, uri: &str, headers: &str) -> String {
        let request = format!("{method} {uri} RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer.split_to(end + 4).to_vec()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                let length: usize = length.parse().unwrap();
                while self.buffer.len() < length {
                    self.read().await.unwrap();
                }
                return head + std::str::from_utf8(&self.buffer.split_to(length)).unwrap();
            }
            self.read().await.unwrap();
        }
    }

    async fn read(&mut self) -> std::io::Result<()> {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.unwrap()?;
        if read == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// The next RTP packet; reports are passed over.
    async fn packet(&mut self) -> std::io::Result<Bytes> {
        loop {
            while self.buffer.len() < 4 {
                self.read().await?;
            }
            assert_eq!(self.buffer[0], b'$');
            let (channel, length) =
                (self.buffer[1], usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]])));
            while self.buffer.len() < 4 + length {
                self.read().await?;
            }
            self.buffer.advance(4);
            let packet = self.buffer.split_to(length).freeze();
            if channel == 0 {
                return Ok(packet);
            }
        }
    }

    /// The next whole picture.
    async fn picture(&mut self) -> std::io::Result<Received> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        loop {
            let packet = self.packet().await?;
            let payload = &packet[12..];
            if payload[0] & 0x1f == 28 {
                if payload[1] & 0x80 != 0 {
                    nals.push(vec![payload[0] & 0xe0 | payload[1] & 0x1f]);
                }
                nals.last_mut().unwrap().extend_from_slice(&payload[2..]);
            } else {
                nals.push(payload.to_vec());
            }
            if packet[1] & 0x80 != 0 {
                if let Some(sps) = nals.iter().find(|nal| nal_kind(nal) == Some(NalKind::Sps)) {
                    self.sps.clone_from(sps);
                }
                let units = || nals.iter().map(AsRef::as_ref);
                return Ok(Received {
                    number: sei::picture_number(&length_prefixed(units())).unwrap(),
                    digest: picture_digest(&self.sps, units()),
                    rtp_time: u32::from_be_bytes(packet[4..8].try_into().unwrap()),
                });
            }
        }
    }
}

/// What the journal says was sent over one connection.
fn sent_over(journal: &[Entry], wanted: u64) -> Vec<(u64, String)> {
    let sent = |entry: &Entry| match entry {
        Entry::Picture { connection, number, digest, .. } if *connection == wanted => {
            Some((*number, digest.clone()))
        }
        _ => None,
    };
    journal.iter().filter_map(sent).collect()
}

#[tokio::test]
async fn what_a_client_gets_is_what_the_journal_has() {
    let folder = Folder::new("journal");
    let camera = Camera::start(options(&folder).await).await.unwrap();
    let mut client = Client::play(&camera).await;
    let mut received = Vec::new();
    for _ in 0..40 {
        received.push(client.picture().await.unwrap());
    }
    camera.order(Order::CutClose).await.unwrap();
    // All that was sent before the connection is closed still comes.
    while let Ok(picture) = client.picture().await {
        received.push(picture);
    }
    camera.stop().await;
    let journal = journal_of(&folder);
    let seen: Vec<(u64, String)> = received.iter().map(|p| (p.number, p.digest.clone())).collect();
    assert_eq!(seen, sent_over(&journal, 1));
    assert!(received.windows(2).all(|pair| pair[1].number == pair[0].number + 1));
    assert!(received.windows(2).all(|pair| pair[1].rtp_time.wrapping_sub(pair[0].rtp_time) == 3600));
    assert!(
        matches!(journal.last(), Some(Entry::End { connection: 1, reason: EndReason::Cut, .. })),
        "{journal:?}"
    );
    let first_key = journal.iter().find_map(|entry| match entry {
        Entry::Picture { key, .. } => Some(*key),
        _ => None,
    });
    assert_eq!(first_key, Some(true));
}

#[tokio::test]
async fn two_clients_get_the_same_pictures_and_a_cut_ends_both() {
    let folder = Folder::new("two");
    let camera = Camera::start(options(&folder).await).await.unwrap();
    let (mut one, mut two) = (Client::play(&camera).await, Client::play(&camera).await);
    let first = two.picture().await.unwrap();
    let same = loop {
        let picture = one.picture().await.unwrap();
        if picture.number == first.number {
            break picture;
        }
    };
    assert_eq!(same, first);
    camera.order(Order::CutReset).await.unwrap();
    for client in [&mut one, &mut two] {
        while client.picture().await.is_ok() {}
    }
    camera.stop().await;
    let ends = journal_of(&folder).iter().filter(|entry| matches!(entry, Entry::End { .. })).count();
    assert_eq!(ends, 2);
}

#[tokio::test]
async fn a_camera_that_vanished_refuses_and_returns_with_numbers_that_went_on() {
    let folder = Folder::new("vanish");
    let camera = Camera::start(options(&folder).await).await.unwrap();
    let before = Client::play(&camera).await.picture().await.unwrap();
    camera.order(Order::Vanish).await.unwrap();
    assert!(TcpStream::connect(camera.address()).await.is_err());
    camera.order(Order::Return).await.unwrap();
    let after = Client::play(&camera).await.picture().await.unwrap();
    assert!(after.number > before.number);
}

#[tokio::test]
async fn a_silent_camera_sends_nothing_and_goes_on_with_a_key_frame() {
    let folder = Folder::new("silence");
    let camera = Camera::start(options(&folder).await).await.unwrap();
    let mut client = Client::play(&camera).await;
    client.picture().await.unwrap();
    camera.order(Order::SilenceOn).await.unwrap();
    let quiet =
        async { while tokio::time::timeout(Duration::from_millis(300), client.picture()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, quiet).await.unwrap();
    let before = sent_over(&journal_of(&folder), 1).len();
    camera.order(Order::SilenceOff).await.unwrap();
    client.picture().await.unwrap();
    let journal = journal_of(&folder);
    let resumed = journal.iter().filter(|entry| matches!(entry, Entry::Picture { .. })).nth(before);
    assert!(matches!(resumed, Some(Entry::Picture { key: true, .. })), "{resumed:?}");
}

#[tokio::test]
async fn a_client_that_neglects_its_keep_alive_is_let_go() {
    let folder = Folder::new("neglect");
    let options = Options { session_timeout: Duration::from_secs(1), ..options(&folder).await };
    let camera = Camera::start(options).await.unwrap();
    let mut client = Client::play(&camera).await;
    while client.picture().await.is_ok() {}
    let journal = journal_of(&folder);
    let end = journal.last();
    assert!(matches!(end, Some(Entry::End { reason: EndReason::NeglectedKeepAlive, .. })), "{end:?}");
}

/// ffprobe's view of a camera: its output, or what it complained about.
async fn probe(url: &str) -> Result<String, String> {
    let fields = "stream=codec_name,width,height,r_frame_rate";
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-rtsp_transport", "tcp", "-show_entries", fields, "-of", "csv=p=0", url])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn ffprobe_reads_the_camera_when_it_knows_the_password() {
    let folder = Folder::new("ffprobe");
    let login = Login { user: "viewer".to_owned(), password: "p@ss:w/rd".to_owned() };
    let camera = Camera::start(Options { login: Some(login), ..options(&folder).await }).await.unwrap();
    let address = camera.address();
    let probed = probe(&format!("rtsp://viewer:p%40ss%3Aw%2Frd@{address}/live")).await;
    assert_eq!(probed.as_deref(), Ok("h264,320,180,25/1"));
    let refused = probe(&format!("rtsp://viewer:wrong@{address}/live")).await.unwrap_err();
    assert!(refused.contains("401"), "{refused}");
    let elsewhere = probe(&format!("rtsp://viewer:p%40ss%3Aw%2Frd@{address}/other")).await.unwrap_err();
    assert!(elsewhere.contains("404"), "{elsewhere}");
}

#[tokio::test]
async fn another_clip_changes_the_picture_that_ffprobe_sees() {
    let folder = Folder::new("clip");
    let larger =
        Recipe { width: 640, height: 360, rate: 25, key_interval: 25, seconds: 1, slices: 1, kbps: None };
    let mut options = options(&folder).await;
    options.clips.push(Clip::read(&larger.make(&folder.0).await.unwrap()).unwrap());
    let camera = Camera::start(options).await.unwrap();
    assert_eq!(probe(&camera.url()).await.as_deref(), Ok("h264,320,180,25/1"));
    assert!(camera.order(Order::Clip(2)).await.is_err());
    camera.order(Order::Clip(1)).await.unwrap();
    assert_eq!(probe(&camera.url()).await.as_deref(), Ok("h264,640,360,25/1"));
}
