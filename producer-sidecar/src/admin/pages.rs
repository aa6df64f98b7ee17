//! Answers that grow with what has happened.

use std::convert::Infallible;
use std::{fmt, io};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use streamfleet_media::block::BLOCK_BYTES;

/// A text in pieces of one size, which the allocator takes from the kernel and gives back at once (see `memory.rs` of the
/// program). Grown as one it would be copied from size to size, and each of them stay for a while: thousands of gaps in
/// `/status` and a few more series in `/metrics` took half a MiB more at each look than at the first.
#[derive(Debug, Default)]
pub(super) struct Pages {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Pages {
    fn push(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            if self.last.len() == self.last.capacity() {
                let full = std::mem::replace(&mut self.last, Vec::with_capacity(BLOCK_BYTES));
                self.full.extend((!full.is_empty()).then_some(full));
            }
            let (now, later) = text.split_at(text.len().min(self.last.capacity() - self.last.len()));
            self.last.extend_from_slice(now);
            text = later;
        }
    }

    /// The answer with this text.
    pub(super) fn answer(self, content_type: &'static str) -> Response {
        let length = self.full.iter().map(Vec::len).sum::<usize>() + self.last.len();
        let pages = self.full.into_iter().chain([self.last]);
        let body = Body::from_stream(stream::iter(pages.map(|page| Ok::<_, Infallible>(Bytes::from(page)))));
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

impl io::Write for Pages {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.push(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Pages {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_of_any_length_arrives_as_it_was_written_and_no_piece_of_it_grows() {
        for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7] {
            let text: Vec<u8> = (0..length).map(|at| b'a' + (at % 23) as u8).collect();
            let mut pages = Pages::default();
            text.chunks(1_000).for_each(|part| pages.push(part));
            assert!(pages.full.iter().all(|page| page.capacity() == BLOCK_BYTES));
            let response = pages.answer("text/plain");
            assert_eq!(response.headers()[header::CONTENT_LENGTH], length.to_string());
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert!(body == text, "{length} bytes");
        }
    }
}
