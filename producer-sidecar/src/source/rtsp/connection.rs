//! One RTSP connection: requests go out, and answers, requests and packets come in.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use streamfleet_contract::SourceReason;
use streamfleet_media::rtp::framing::{Framing, ITEM_BYTES_MAX, Item};
use streamfleet_media::rtp::message::{Kind, Message};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::login::Login;
use super::stream::Stream;
use crate::source::SourceError;

/// How long a camera may take to answer a request, and to take one.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Text of foreign errors is cut to this many characters.
const MESSAGE_CHARS_MAX: usize = 200;

const AGENT: &str = concat!("streamfleet-producer/", env!("CARGO_PKG_VERSION"));

/// Takes packets as they come: the channel, and the packet in place.
pub(super) trait Packets {
    fn packet(&mut self, channel: u8, bytes: &[u8]);
}

/// Before SETUP there are none.
pub(super) struct NoPackets;

impl Packets for NoPackets {
    fn packet(&mut self, _: u8, _: &[u8]) {}
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    buffer: Buffer,
    framing: Framing,
    login: Login,
    /// The number of the last request.
    sequence: u32,
    /// What the server calls the session, once there is one.
    pub(super) session: Option<String>,
}

/// What has been read and not yet been understood.
#[derive(Debug)]
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Connection {
    pub(super) fn new(stream: Stream, login: Login) -> Self {
        // Large enough for any item. The kernel gives the memory when it is written to.
        let buffer = Buffer { bytes: vec![0; ITEM_BYTES_MAX].into(), start: 0, end: 0 };
        Self { stream, buffer, framing: Framing::default(), login, sequence: 0, session: None }
    }

    /// The login, for another server.
    pub(super) fn into_login(self) -> Login {
        self.login
    }

    /// Expects packets on these channels.
    pub(super) fn expect(&mut self, channels: [u8; 2]) {
        for channel in channels {
            self.framing.expect(channel);
        }
    }

    /// From now on the socket is read on the process's grid.
    pub(super) fn leave_reactor(&mut self) -> Result<(), SourceError> {
        self.stream.leave_reactor().map_err(|error| broken(&error))
    }

    /// Asks, logs in where the server wants that, and gives the answer, whatever its status.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        packets: &mut impl Packets,
    ) -> Result<Message, SourceError> {
        let mut challenges = 0;
        loop {
            let sequence = self.send(method, url, headers).await?;
            let answer = timeout(ANSWER_TIMEOUT, self.answer(sequence, packets)).await.map_err(|_| {
                let message = format!("no answer to {method} for {ANSWER_TIMEOUT:?}");
                SourceError::new(SourceReason::Unreachable, message)
            })??;
            if answer.kind != Kind::Response(401) {
                return Ok(answer);
            }
            self.challenged(&answer, challenges)?;
            challenges += 1;
        }
    }

    /// Takes in that the server wants to know who asks.
    pub(super) fn challenged(&mut self, answer: &Message, before: u32) -> Result<(), SourceError> {
        self.login.challenged(answer, before)
    }

    /// Sends a request, and gives its number.
    pub(super) async fn send(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<u32, SourceError> {
        self.sequence += 1;
        let mut text =
            format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\nUser-Agent: {AGENT}\r\n", self.sequence);
        let mut add = |name: &str, value: &str| {
            text.extend([name, ": ", value, "\r\n"]);
        };
        if let Some(authorization) = self.login.authorization(method, url) {
            add("Authorization", &authorization);
        }
        if let Some(session) = &self.session {
            add("Session", session);
        }
        for (name, value) in headers {
            add(name, value);
        }
        text.push_str("\r\n");
        self.write(text.as_bytes()).await?;
        Ok(self.sequence)
    }

    /// Agrees to whatever the server asks for.
    pub(super) async fn agree(&mut self, request: &Message) -> Result<(), SourceError> {
        let sequence = request.sequence().unwrap_or(0);
        self.write(format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n\r\n").as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let written = timeout(ANSWER_TIMEOUT, written).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| broken(&error))
    }

    /// The answer to the request with this number. Some cameras leave the number out.
    async fn answer(&mut self, sequence: u32, packets: &mut impl Packets) -> Result<Message, SourceError> {
        loop {
            while let Some(message) = self.next_message(packets)? {
                let is_answer = matches!(message.kind, Kind::Response(_));
                if is_answer && message.sequence().is_none_or(|number| number >= sequence) {
                    return Ok(message);
                }
            }
            self.fill().await?;
        }
    }

    /// Reads once. Nothing is lost when this is dropped before it is ready.
    pub(super) async fn fill(&mut self) -> Result<(), SourceError> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Reads once more, if that is possible without waiting.
    pub(super) async fn fill_now(&mut self) -> Result<bool, SourceError> {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(|()| true)),
            Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    fn poll_fill(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), SourceError>> {
        let mut room = ReadBuf::new(self.buffer.room());
        let count = match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => room.filled().len(),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
            Poll::Pending => return Poll::Pending,
        };
        self.buffer.end += count;
        Poll::Ready(if count > 0 { Ok(()) } else { Err(ended()) })
    }

    /// The next message of what has been read; packets before it are handed on.
    pub(super) fn next_message(
        &mut self,
        packets: &mut impl Packets,
    ) -> Result<Option<Message>, SourceError> {
        let Self { buffer, framing, .. } = self;
        loop {
            let next = framing.next(&buffer.bytes[buffer.start..buffer.end]);
            let next =
                next.map_err(|error| SourceError::new(SourceReason::InvalidMedia, error.to_string()))?;
            let Some((item, length)) = next else { return Ok(None) };
            buffer.start += length;
            match item {
                Item::Packet { channel, bytes } => packets.packet(channel, bytes),
                Item::Message(message) => return Ok(Some(message)),
                Item::Stray => {}
            }
        }
    }
}

impl Buffer {
    /// Where the next bytes go: behind what is left of the last ones, which is moved to the front for that.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.bytes[self.end..]
    }
}

/// What comes of an answer that is no success.
pub(super) fn refusal(status: u16) -> SourceError {
    let (reason, message) = match status {
        453 | 503 => {
            (SourceReason::ServerBusy, format!("the camera has no place for a session: status {status}"))
        }
        461 => (
            SourceReason::Refused,
            "the camera does not send in this way (status 461): choose the other transport".to_owned(),
        ),
        _ => (SourceReason::Refused, format!("the camera answers with status {status}")),
    };
    SourceError::new(reason, message)
}

fn broken(error: &io::Error) -> SourceError {
    SourceError::new(
        SourceReason::Disconnected,
        format!("the connection to the camera broke: {}", error.kind()),
    )
}

fn ended() -> SourceError {
    SourceError::new(SourceReason::Disconnected, "the camera ended the connection")
}

/// Foreign text as it may be shown: the first line, without control characters and of bounded length.
pub(super) fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}
