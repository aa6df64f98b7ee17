//! The least that a client of a camera can do: it reads and throws away. What it costs is what all clients pay; where it
//! falls behind, the cameras are too slow and a measurement is void.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// As much as is read at once.
const READ_SIZE: usize = 64 << 10;

/// Plays all cameras, throws away what they send for this long, and gives how many bytes each has sent.
pub async fn read(urls: &[String], time: Duration) -> Result<Vec<u64>> {
    let until = Instant::now() + time;
    let readers: Vec<_> = urls.iter().map(|url| tokio::spawn(read_one(url.clone(), until))).collect();
    let mut counts = Vec::new();
    for reader in readers {
        counts.push(reader.await??);
    }
    Ok(counts)
}

async fn read_one(url: String, until: Instant) -> Result<u64> {
    let address = url.strip_prefix("rtsp://").and_then(|rest| rest.split('/').next());
    let mut stream = TcpStream::connect(address.context("not an RTSP URL")?).await?;
    let mut rest = BytesMut::new();
    ask(&mut stream, &mut rest, "DESCRIBE", &url, "").await?;
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    let answer = ask(&mut stream, &mut rest, "SETUP", &format!("{url}/track1"), transport).await?;
    let session = answer.lines().find_map(|line| line.strip_prefix("Session: "));
    let session = session.and_then(|session| session.split(';').next()).context("SETUP gave no session")?;
    ask(&mut stream, &mut rest, "PLAY", &url, &format!("Session: {session}\r\n")).await?;
    let mut buffer = vec![0; READ_SIZE];
    let mut count = rest.len() as u64;
    loop {
        match tokio::time::timeout_at(until, stream.read(&mut buffer)).await {
            Err(_) => return Ok(count),
            Ok(read) => {
                let read = read?;
                ensure!(read > 0, "{url} ended the connection: a reader was too slow");
                count += read as u64;
            }
        }
    }
}

/// One request and the head of its answer; what follows it stays in `rest`. Bodies are skipped.
async fn ask(
    stream: &mut TcpStream,
    rest: &mut BytesMut,
    method: &str,
    uri: &str,
    headers: &str,
) -> Result<String> {
    let request = format!("{method} {uri} RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0_usize);
            if rest.len() >= end + 4 + length {
                ensure!(head.starts_with("RTSP/1.0 200"), "{method} {uri}: {head}");
                drop(rest.split_to(end + 4 + length));
                return Ok(head);
            }
        }
        ensure!(stream.read_buf(rest).await? > 0, "{uri} ended the connection after {method}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{Camera, Clip, Options, Recipe};

    #[tokio::test]
    async fn all_that_cameras_send_is_counted() {
        let folder = std::env::temp_dir().join(format!("streamfleet-reader-{}", std::process::id()));
        let recipe =
            Recipe { width: 64, height: 48, rate: 25, key_interval: 5, seconds: 2, ..Recipe::default() };
        let clip = Clip::read(&recipe.make(&folder).await.unwrap()).unwrap();
        let cameras = [
            Camera::start(Options::on_loopback(clip.clone())).await.unwrap(),
            Camera::start(Options::on_loopback(clip)).await.unwrap(),
        ];
        let urls: Vec<String> = cameras.iter().map(Camera::url).collect();
        let counts = read(&urls, Duration::from_secs(1)).await.unwrap();
        for (camera, count) in cameras.iter().zip(counts) {
            let sent = camera.sent();
            assert!(sent.pictures > 10, "{sent:?}");
            // Packets have heads, and sender reports stand between.
            assert!(count >= sent.bytes && count < sent.bytes * 2 + 4_000, "{count} of {sent:?}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
