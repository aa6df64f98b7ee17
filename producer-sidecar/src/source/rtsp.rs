//! One connection to an RTSP server, over TCP, by retina: from DESCRIBE to its end, and why it ended.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use retina::client::{
    Credentials as RtspCredentials, Demuxed, PlayOptions, Session, SessionOptions, SetupOptions,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use streamfleet_contract::{RtspSource, SourceReason};
use streamfleet_media::track::{Access, Codec, Sample, TrackParameters};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::credentials::Credentials;
use super::outlet::{Closed, Outlet};
use super::slices::SliceJoiner;
use super::{Ending, SourceError};

/// How long a camera may take to answer a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a playing camera may send no picture.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Text of foreign errors is cut to this many characters.
const MESSAGE_CHARS_MAX: usize = 200;

/// Plays a camera once: from the connection's beginning to its end.
pub async fn run(
    source: &RtspSource,
    credentials: Option<Credentials>,
    outlet: &mut Outlet,
    stop: &CancellationToken,
) -> Result<Ending, Closed> {
    let mut connection = match stop.run_until_cancelled(Connection::open(&source.url, credentials)).await {
        Some(Ok(connection)) => connection,
        Some(Err(error)) => return Ok(error.into()),
        None => return Ok(Ending::Stopped),
    };
    let mut joiner = SliceJoiner::default();
    let mut first_read = None;
    let mut first = true;
    let ending = loop {
        let frame = match stop.run_until_cancelled(connection.next()).await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => break error.into(),
            None => break Ending::Stopped,
        };
        if std::mem::take(&mut first) {
            outlet.connected(vec![Codec::H264]).await?;
        }
        let now = outlet.now();
        match joiner.push(frame) {
            Some(whole) => {
                let read_at = first_read.replace(now).unwrap_or(now);
                outlet.sample(whole, read_at).await?;
            }
            None => _ = first_read.get_or_insert(now),
        }
    };
    if let (Some(whole), Some(read_at)) = (joiner.finish(), first_read.take()) {
        outlet.sample(whole, read_at).await?;
    }
    Ok(ending)
}

/// A connection that plays.
pub struct Connection {
    demuxed: Demuxed,
    stream: usize,
    parameters: Option<TrackParameters>,
    password: Option<String>,
}

impl Connection {
    /// Connects, logs in, chooses the video stream and starts it.
    pub async fn open(url: &str, credentials: Option<Credentials>) -> Result<Self, SourceError> {
        let url = parse_url(url)?;
        resolve(&url).await?;
        let password = credentials.as_ref().map(|credentials| credentials.password.clone());
        let describe = |error| classify(&error, password.as_deref());
        let options = SessionOptions::default()
            .user_agent(format!("streamfleet-producer/{}", env!("CARGO_PKG_VERSION")))
            .creds(credentials.map(|c| RtspCredentials { username: c.username, password: c.password }));
        let mut session = timeout(ANSWER_TIMEOUT, Session::describe(url, options))
            .await
            .map_err(|_| silent_request("DESCRIBE"))?
            .map_err(describe)?;
        let stream = choose_stream(session.streams().iter().map(|s| (s.media(), s.encoding_name())))?;
        let setup = SetupOptions::default().frame_format(FrameFormat::MP4);
        timeout(ANSWER_TIMEOUT, session.setup(stream, setup))
            .await
            .map_err(|_| silent_request("SETUP"))?
            .map_err(describe)?;
        let session = timeout(ANSWER_TIMEOUT, session.play(PlayOptions::default()))
            .await
            .map_err(|_| silent_request("PLAY"))?
            .map_err(describe)?;
        let demuxed = session.demuxed().map_err(describe)?;
        Ok(Self { demuxed, stream, parameters: None, password })
    }

    /// The next frame; an error says why there is none, and ends the connection.
    pub async fn next(&mut self) -> Result<Sample, SourceError> {
        loop {
            let item = timeout(SILENCE_MAX, self.next_video()).await.map_err(|_| {
                SourceError::new(SourceReason::Silent, format!("no picture for {SILENCE_MAX:?}"))
            })??;
            if let Some(frame) = self.convert(item) {
                return Ok(frame);
            }
        }
    }

    async fn next_video(&mut self) -> Result<VideoFrame, SourceError> {
        loop {
            match self.demuxed.next().await {
                Some(Ok(CodecItem::VideoFrame(frame))) => return Ok(frame),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(classify(&error, self.password.as_deref())),
                None => {
                    return Err(SourceError::new(
                        SourceReason::Disconnected,
                        "the camera ended the connection",
                    ));
                }
            }
        }
    }

    /// None for frames that come before the parameters that they need.
    fn convert(&mut self, frame: VideoFrame) -> Option<Sample> {
        let mut changed = None;
        if self.parameters.is_none() || frame.has_new_parameters() {
            let current = self.read_parameters();
            if current.is_some() && current != self.parameters {
                changed.clone_from(&current);
                self.parameters = current;
            }
        }
        self.parameters.as_ref()?;
        let timestamp = frame.timestamp();
        Some(Sample {
            track: 0,
            ticks: timestamp.timestamp(),
            rate: timestamp.clock_rate().get(),
            access: if frame.is_random_access_point() { Access::Start } else { Access::Continue },
            lost: u32::from(frame.loss()),
            data: Bytes::from(frame.into_data()),
            parameters: changed,
        })
    }

    fn read_parameters(&self) -> Option<TrackParameters> {
        let ParametersRef::Video(video) = self.demuxed.streams().get(self.stream)?.parameters()? else {
            return None;
        };
        let (width, height) = video.pixel_dimensions();
        Some(TrackParameters::video(Codec::H264, Bytes::copy_from_slice(video.extra_data()), width, height))
    }
}

fn parse_url(url: &str) -> Result<Url, SourceError> {
    // The parser's error does not quote its input.
    Url::parse(url).map_err(|error| {
        SourceError::new(SourceReason::Refused, format!("the camera's URL is invalid: {error}"))
    })
}

async fn resolve(url: &Url) -> Result<(), SourceError> {
    let Some(host) = url.host_str() else {
        return Err(SourceError::new(SourceReason::HostNotFound, "the camera's URL names no host"));
    };
    let name = host.trim_matches(['[', ']']).to_owned();
    let port = url.port().unwrap_or(554);
    let found = match timeout(ANSWER_TIMEOUT, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(mut addresses)) => addresses.next().is_some(),
        Ok(Err(_)) | Err(_) => false,
    };
    if found {
        Ok(())
    } else {
        Err(SourceError::new(SourceReason::HostNotFound, format!("no address for \"{host}\"")))
    }
}

/// The first H.264 video stream among `(media, encoding)` as the camera describes them.
fn choose_stream<'a>(streams: impl Iterator<Item = (&'a str, &'a str)>) -> Result<usize, SourceError> {
    let mut others = Vec::new();
    for (index, (media, encoding)) in streams.enumerate() {
        if !media.eq_ignore_ascii_case("video") {
            continue;
        }
        if encoding.eq_ignore_ascii_case("h264") {
            return Ok(index);
        }
        others.push(codec_name(encoding));
    }
    if others.is_empty() {
        return Err(SourceError::new(SourceReason::NoVideo, "the camera offers no video"));
    }
    let message = format!("the camera's video is {}: set the camera to H.264", others.join(", "));
    Err(SourceError::new(SourceReason::UnsupportedCodec, message))
}

/// The names that people know; anything else as the camera calls it, cut short.
fn codec_name(encoding: &str) -> String {
    match encoding.to_ascii_lowercase().as_str() {
        "h265" | "hevc" => "H.265".to_owned(),
        "jpeg" => "MJPEG".to_owned(),
        "mp4v-es" => "MPEG-4 Part 2".to_owned(),
        other => other.chars().filter(char::is_ascii_graphic).take(32).collect(),
    }
}

fn silent_request(method: &str) -> SourceError {
    SourceError::new(SourceReason::Unreachable, format!("no answer to {method} for {ANSWER_TIMEOUT:?}"))
}

/// retina's errors have a status and a text, but no kinds: the beginnings of its texts are matched
/// (retina 0.4.21, `src/error.rs`). What matches nothing is a fault in what the camera sent.
fn classify(error: &retina::Error, password: Option<&str>) -> SourceError {
    let text = clean(&error.to_string(), password);
    match error.status_code() {
        Some(401) => {
            let message = match password {
                Some(_) => "the camera refuses the user name or password",
                None => "the camera asks for a user name and password, and none are configured",
            };
            SourceError::new(SourceReason::AuthenticationFailed, message)
        }
        Some(status) if (200..300).contains(&status) => SourceError::new(SourceReason::InvalidMedia, text),
        Some(status) => {
            SourceError::new(SourceReason::Refused, format!("the camera answers with status {status}"))
        }
        None if text.starts_with("Unable to connect") || text.starts_with("Timeout") => {
            SourceError::new(SourceReason::Unreachable, text)
        }
        None if text.starts_with("Error reading from") || text.starts_with("Error writing to") => {
            SourceError::new(SourceReason::Disconnected, text)
        }
        None => SourceError::new(SourceReason::InvalidMedia, text),
    }
}

/// The first line, without control characters and without the password, of bounded length.
fn clean(text: &str, password: Option<&str>) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = match password {
        Some(password) if !password.is_empty() => line.replace(password, "***"),
        _ => line.to_owned(),
    };
    line.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn the_first_h264_stream_is_chosen_among_others() {
        let streams = [("audio", "mpeg4-generic"), ("video", "h265"), ("video", "H264")];
        assert_eq!(choose_stream(streams.into_iter()), Ok(2));
    }

    #[test]
    fn a_codec_that_is_not_carried_is_named() {
        let error = choose_stream([("video", "h265"), ("video", "jpeg")].into_iter()).unwrap_err();
        assert_eq!(error.reason, SourceReason::UnsupportedCodec);
        assert!(error.message.contains("H.265, MJPEG"), "{error}");
        let error = choose_stream([("audio", "pcma")].into_iter()).unwrap_err();
        assert_eq!(error.reason, SourceReason::NoVideo);
    }

    #[test]
    fn foreign_text_loses_passwords_further_lines_and_length() {
        let text = format!("bad hunter2 \u{7}here{}\nconn: secret", "x".repeat(500));
        let cleaned = clean(&text, Some("hunter2"));
        assert!(cleaned.starts_with("bad *** here"), "{cleaned}");
        assert_eq!(cleaned.chars().count(), MESSAGE_CHARS_MAX);
        assert!(!cleaned.contains("secret"));
    }

    #[tokio::test]
    async fn a_host_without_an_address_and_a_closed_port_are_told_apart() {
        let error = Connection::open("rtsp://no-such-host.invalid/x", None).await.err().unwrap();
        assert_eq!(error.reason, SourceReason::HostNotFound);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = Connection::open(&format!("rtsp://127.0.0.1:{port}/x"), None).await.err().unwrap();
        assert_eq!(error.reason, SourceReason::Unreachable);
    }

    /// A camera that gives these answers, one to each request, then ends the connection. An answer is a status line with
    /// headers, and a body.
    async fn camera(answers: &[(&str, &str)]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
        let answers: Vec<(String, String)> =
            answers.iter().map(|(h, b)| ((*h).to_owned(), (*b).to_owned())).collect();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            for (n, (head, body)) in answers.iter().enumerate() {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let byte = socket.read_u8().await.unwrap();
                    request.push(byte);
                }
                let length = body.len();
                let text =
                    format!("RTSP/1.0 {head}\r\nCSeq: {}\r\nContent-Length: {length}\r\n\r\n{body}", n + 1);
                socket.write_all(text.as_bytes()).await.unwrap();
            }
        });
        url
    }

    fn description(media: &str) -> (String, String) {
        let head = "200 OK\r\nContent-Type: application/sdp".to_owned();
        (head, format!("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n{media}"))
    }

    async fn refusal_of(answers: &[(&str, &str)], credentials: Option<Credentials>) -> SourceError {
        Connection::open(&camera(answers).await, credentials).await.err().expect("it is no camera")
    }

    #[tokio::test]
    async fn what_a_camera_answers_is_told_apart() {
        let challenge = "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"1\"";
        let credentials = Credentials { username: "admin".to_owned(), password: "hunter2".to_owned() };
        let none = refusal_of(&[(challenge, "")], None).await;
        assert_eq!(none.reason, SourceReason::AuthenticationFailed);
        assert!(none.message.contains("none are configured"), "{none}");
        let wrong = refusal_of(&[(challenge, ""), (challenge, "")], Some(credentials)).await;
        assert_eq!(wrong.reason, SourceReason::AuthenticationFailed);
        assert!(wrong.message.contains("refuses") && !wrong.message.contains("hunter2"), "{wrong}");
        let missing = refusal_of(&[("404 Not Found", "")], None).await;
        assert_eq!((missing.reason, missing.message.contains("404")), (SourceReason::Refused, true));
        assert_eq!(refusal_of(&[], None).await.reason, SourceReason::Disconnected);
        let (head, body) = description("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=control:1\r\n");
        assert_eq!(refusal_of(&[(&head, &body)], None).await.reason, SourceReason::UnsupportedCodec);
        let (head, body) = description("m=audio 0 RTP/AVP 8\r\na=control:1\r\n");
        assert_eq!(refusal_of(&[(&head, &body)], None).await.reason, SourceReason::NoVideo);
        assert_eq!(
            refusal_of(&[("200 OK", "no description")], None).await.reason,
            SourceReason::InvalidMedia
        );
    }
}
