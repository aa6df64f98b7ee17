//! One client's connection: its requests are answered, and after PLAY the live pictures go to it.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::live::LivePicture;
use super::rtp::{self, Marker, Packetizer};
use super::rtsp::{self, Incoming, Request, Response, Status};
use super::server::{Cut, Shared, unix_ms};
use super::{digest, sdp};
use crate::journal::{EndReason, Entry};

/// How often the time of the wall is told; RFC 3550 §6.2 has at least 5 s.
const REPORT_PERIOD: Duration = Duration::from_secs(5);

const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// Serves one client until either side ends it, and journals the end of what was played.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, id: u64) {
    let mut cuts = shared.cuts.subscribe();
    // A packet is a segment of its own, as it is from a camera.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection::new(shared.clone(), stream, id);
    let reason = tokio::select! {
        biased;
        () = shared.stopped.cancelled() => EndReason::Stopped,
        cut = cuts.recv() => {
            if !matches!(cut, Ok(Cut::Close)) {
                let _ = connection.stream.set_zero_linger();
            }
            EndReason::Cut
        }
        reason = connection.converse() => reason,
    };
    if connection.has_played {
        shared.journal(&Entry::End { connection: id, unix_ms: unix_ms(), reason });
    }
}

struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    id: u64,
    buffer: BytesMut,
    /// What clients must prove their password with; new for each connection.
    nonce: String,
    session: String,
    /// The channels of media and of reports, after SETUP.
    channels: Option<(u8, u8)>,
    player: Option<Player>,
    has_played: bool,
    last_heard: Instant,
}

/// What is known of a client that plays.
struct Player {
    pictures: broadcast::Receiver<Arc<LivePicture>>,
    packetizer: Packetizer,
    channels: (u8, u8),
    /// Nothing that comes before the next key frame can be decoded.
    awaits_key: bool,
    next_report: Instant,
}

enum Wake {
    Heard(std::io::Result<usize>),
    Picture(Result<Arc<LivePicture>, RecvError>),
    NeglectedKeepAlive,
}

impl Connection {
    fn new(shared: Arc<Shared>, stream: TcpStream, id: u64) -> Self {
        Self {
            shared,
            stream,
            id,
            buffer: BytesMut::new(),
            nonce: format!("{:032x}", fastrand::u128(..)),
            session: format!("{:016X}", fastrand::u64(..)),
            channels: None,
            player: None,
            has_played: false,
            last_heard: Instant::now(),
        }
    }

    async fn converse(&mut self) -> EndReason {
        loop {
            let ended = match self.wait().await {
                Wake::Heard(Ok(0)) => Some(EndReason::ClosedByClient),
                Wake::Heard(Ok(_)) => {
                    self.last_heard = Instant::now();
                    self.answer_requests().await
                }
                Wake::Heard(Err(_)) => Some(EndReason::Failed),
                Wake::Picture(Ok(picture)) => {
                    self.send_picture(&picture).await.err().map(|_| EndReason::Failed)
                }
                Wake::Picture(Err(RecvError::Lagged(_))) => Some(EndReason::TooSlow),
                Wake::Picture(Err(RecvError::Closed)) => Some(EndReason::Stopped),
                Wake::NeglectedKeepAlive => Some(EndReason::NeglectedKeepAlive),
            };
            if let Some(reason) = ended {
                return reason;
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let deadline = self.last_heard + self.shared.options.session_timeout;
        tokio::select! {
            read = self.stream.read_buf(&mut self.buffer) => Wake::Heard(read),
            picture = next_picture(self.player.as_mut()) => Wake::Picture(picture),
            () = tokio::time::sleep_until(deadline) => Wake::NeglectedKeepAlive,
        }
    }

    /// Answers all requests that have come whole. Gives a reason when the connection is to end.
    async fn answer_requests(&mut self) -> Option<EndReason> {
        loop {
            let request = match rtsp::take_message(&mut self.buffer) {
                Ok(Some(Incoming::Request(request))) => request,
                Ok(Some(Incoming::Packet)) => continue,
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(connection = self.id, %error, "Ended a connection that does not speak RTSP");
                    return Some(EndReason::Failed);
                }
            };
            tracing::debug!(connection = self.id, request.method, request.uri, "Request");
            let response = self.answer(&request).encode(&request);
            let written = self.stream.write_all(&response).await;
            // Some clients do not wait for the answer to this one.
            if request.method == "TEARDOWN" && self.has_played && self.player.is_none() {
                return Some(EndReason::Teardown);
            }
            if written.is_err() {
                return Some(EndReason::Failed);
            }
        }
    }

    fn answer(&mut self, request: &Request) -> Response {
        if request.method == "OPTIONS" {
            return Response::new(Status::Ok).with("Public", METHODS);
        }
        if let Some(login) = &self.shared.options.login
            && !login.admits(request.header("Authorization"), &request.method, &self.nonce)
        {
            let challenge = digest::challenge(&self.nonce);
            return Response::new(Status::Unauthorized).with("WWW-Authenticate", challenge);
        }
        if !self.is_ours(&request.uri) {
            return Response::new(Status::NotFound);
        }
        // Clients name a session as soon as they have one (RFC 2326 §12.37), perhaps with parameters.
        let named = request.header("Session").map(|value| value.split(';').next().unwrap_or(value));
        if named.is_some_and(|named| named != self.session) {
            return Response::new(Status::SessionNotFound);
        }
        match request.method.as_str() {
            "DESCRIBE" => self.describe(request),
            "SETUP" => self.set_up(request),
            "PLAY" => self.play(request),
            // Without a body these only keep the session alive (RFC 2326 §10.8).
            "GET_PARAMETER" | "SET_PARAMETER" => Response::new(Status::Ok).with("Session", &self.session),
            "TEARDOWN" => {
                self.player = None;
                Response::new(Status::Ok)
            }
            _ => Response::new(Status::MethodNotAllowed).with("Allow", METHODS),
        }
    }

    /// Whether a URI names the stream or its track.
    fn is_ours(&self, uri: &str) -> bool {
        let path =
            uri.split_once("://").map_or(uri, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
        let path = path.split('?').next().unwrap_or(path).trim_matches('/');
        let path = path.strip_suffix(sdp::TRACK).unwrap_or(path).trim_end_matches('/');
        path == self.shared.options.path.trim_matches('/') || uri == "*"
    }

    fn describe(&self, request: &Request) -> Response {
        let description = sdp::describe(self.shared.live.clip(), self.shared.options.picture_period);
        Response::new(Status::Ok)
            .with("Content-Base", format!("{}/", request.uri.trim_end_matches('/')))
            .with_body("application/sdp", description)
    }

    fn set_up(&mut self, request: &Request) -> Response {
        let Some(channels) = request.header("Transport").and_then(rtsp::interleaved_channels) else {
            return Response::new(Status::UnsupportedTransport);
        };
        if self.player.is_some() {
            return Response::new(Status::MethodNotValidInThisState);
        }
        self.channels = Some(channels);
        let (media, control) = channels;
        let timeout = self.shared.options.session_timeout.as_secs();
        Response::new(Status::Ok).with("Session", format!("{};timeout={timeout}", self.session)).with(
            "Transport",
            format!("RTP/AVP/TCP;unicast;interleaved={media}-{control};ssrc={:08X}", self.ssrc()),
        )
    }

    fn play(&mut self, request: &Request) -> Response {
        let Some(channels) = self.channels else { return Response::new(Status::MethodNotValidInThisState) };
        if self.player.is_some() {
            return Response::new(Status::Ok).with("Session", &self.session);
        }
        let beginning = self.shared.live.join();
        let packetizer = Packetizer::new(channels.0, self.ssrc(), fastrand::u16(..));
        let url = format!("{}/{}", request.uri.trim_end_matches('/'), sdp::TRACK);
        let first = format!("url={url};seq={};rtptime={}", packetizer.next_sequence(), beginning.rtp_time);
        self.player = Some(Player {
            pictures: beginning.pictures,
            packetizer,
            channels,
            awaits_key: true,
            next_report: Instant::now(),
        });
        self.has_played = true;
        self.shared.played(self.id);
        Response::new(Status::Ok)
            .with("Session", &self.session)
            .with("Range", "npt=now-")
            .with("RTP-Info", first)
    }

    /// Sends one picture, a write for each packet, and journals it when its last byte has gone.
    async fn send_picture(&mut self, picture: &LivePicture) -> std::io::Result<()> {
        let Some(player) = self.player.as_mut() else { return Ok(()) };
        let faults = &self.shared.faults;
        if faults.silent.load(Ordering::Relaxed) {
            player.awaits_key = true;
            return Ok(());
        }
        if player.awaits_key && !picture.recorded.key {
            return Ok(());
        }
        player.awaits_key = false;
        if player.next_report <= Instant::now() && faults.reports.load(Ordering::Relaxed) {
            player.next_report = Instant::now() + REPORT_PERIOD;
            let (wall, rtp_time) = self.shared.live.now();
            let shift = faults.clock_shift_ms.load(Ordering::Relaxed);
            let wall = Duration::from_millis((wall.as_millis() as u64).saturating_add_signed(shift));
            let report =
                rtp::interleaved(player.channels.1, &player.packetizer.sender_report(wall, rtp_time));
            self.stream.write_all(&report).await?;
        }
        self.write_paced(picture).await?;
        self.shared.sent(picture.bytes());
        if self.shared.keeps_journal() {
            self.shared.journal(&Entry::Picture {
                connection: self.id,
                number: picture.number,
                unix_ms: unix_ms(),
                key: picture.recorded.key,
                digest: picture.recorded.digest.clone(),
            });
        }
        Ok(())
    }

    /// Writes the packets of a picture at even distances over half a picture's time.
    async fn write_paced(&mut self, picture: &LivePicture) -> std::io::Result<()> {
        let Some(player) = self.player.as_mut() else { return Ok(()) };
        let each_slice = self.shared.faults.marker_on_each_slice.load(Ordering::Relaxed);
        let marker = if each_slice { Marker::Slice } else { Marker::Picture };
        let began = Instant::now();
        let count = picture.packets();
        let distance = self.shared.options.picture_period / 2 / count as u32;
        for (index, payload) in picture.payloads().enumerate() {
            let due = began + distance * index as u32;
            // Timers cost more than looking at the clock, and fire by whole milliseconds.
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let ends = payload.is_marked(marker, index + 1 == count);
            let head = player.packetizer.head(payload, picture.rtp_time, ends);
            write_both(&mut self.stream, head.as_ref(), payload.bytes()).await?;
        }
        Ok(())
    }

    /// Tells this connection's RTP from others'.
    fn ssrc(&self) -> u32 {
        0x5f00_0000 | (self.id as u32 & 0x00ff_ffff)
    }
}

/// Writes two pieces as one, in a single call as long as the socket takes them.
async fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> std::io::Result<()> {
    let mut written = 0;
    while written < head.len() + body.len() {
        let parts = [
            IoSlice::new(head.get(written..).unwrap_or_default()),
            IoSlice::new(&body[written.saturating_sub(head.len())..]),
        ];
        match stream.write_vectored(&parts).await? {
            0 => return Err(std::io::ErrorKind::WriteZero.into()),
            taken => written += taken,
        }
    }
    Ok(())
}

/// The next picture for a client that plays; never for one that does not.
async fn next_picture(player: Option<&mut Player>) -> Result<Arc<LivePicture>, RecvError> {
    match player {
        Some(player) => player.pictures.recv().await,
        None => std::future::pending().await,
    }
}
