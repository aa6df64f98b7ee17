//! As much HTTP as tests need to ask an admin port or order a fault: one request, one answer, no TLS.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer takes at most so long: whoever is asked here is on this machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// The body of an answer to GET; an error for statuses other than 2xx.
pub async fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    request(address, "GET", path, "").await
}

/// The body of an answer; an error for statuses other than 2xx.
pub async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
    let exchange = exchange(address, method, path, body);
    let answer = tokio::time::timeout(ANSWER_MAX, exchange).await;
    let answer = answer.with_context(|| format!("{method} {address}{path}: no answer"))?;
    let answer = answer.with_context(|| format!("{method} {address}{path}"))?;
    let (status, content) = parse(&answer).with_context(|| format!("{method} {address}{path}: no HTTP"))?;
    if !(200..300).contains(&status) {
        bail!("{method} {address}{path}: status {status}: {}", String::from_utf8_lossy(content));
    }
    Ok(content.to_vec())
}

/// HTTP/1.0, so that the answer ends with the connection and has no chunks.
async fn exchange(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Status and body.
fn parse(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = b"HTTP/1.0 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(parse(answer), Some((404, b"no".as_slice())));
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n"), None);
    }
}
