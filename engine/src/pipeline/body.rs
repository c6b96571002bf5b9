//! The body of a refusal: framed by its length, by chunks, or by the end of the connection.

use bytes::{Buf, Bytes, BytesMut};
use http::header;

use super::head::Head;

/// So much of a refusal's body is kept.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// Collects a body (RFC 9112 §6), at most [`MAX_BODY`] of it.
#[derive(Debug)]
pub(crate) struct BodyReader {
    framing: Framing,
    /// Bytes of the wire that are not understood yet: part of the line that begins a chunk.
    pending: BytesMut,
    body: BytesMut,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes remain.
    Length(u64),
    ChunkLine,
    /// So many bytes of this chunk remain, its line end among them.
    Chunk(u64),
    UntilEnd,
    Done,
}

impl BodyReader {
    pub(crate) fn new(head: &Head) -> Self {
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let is_chunked = text(header::TRANSFER_ENCODING)
            .and_then(|codings| codings.rsplit(',').next())
            .is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
        let length = text(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
        let framing = match length {
            _ if is_chunked => Framing::ChunkLine,
            _ if matches!(head.status.as_u16(), 204 | 304) => Framing::Done,
            Some(0) => Framing::Done,
            Some(length) => Framing::Length(length),
            None => Framing::UntilEnd,
        };
        Self { framing, pending: BytesMut::new(), body: BytesMut::new() }
    }

    /// Takes more bytes; says whether the body is complete, or as long as it is kept.
    pub(crate) fn handle(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        loop {
            let available = self.pending.len() as u64;
            match self.framing {
                Framing::Done => return true,
                Framing::UntilEnd => self.take(available),
                Framing::Length(remaining) => {
                    let len = remaining.min(available);
                    self.take(len);
                    self.framing =
                        if len == remaining { Framing::Done } else { Framing::Length(remaining - len) };
                }
                Framing::ChunkLine => match httparse::parse_chunk_size(&self.pending) {
                    Ok(httparse::Status::Complete((_, 0))) | Err(_) => self.framing = Framing::Done,
                    Ok(httparse::Status::Complete((line, size))) => {
                        self.pending.advance(line);
                        self.framing = Framing::Chunk(size.saturating_add(2));
                        continue;
                    }
                    // A line for a size is short; one that is not is none.
                    Ok(httparse::Status::Partial) if self.pending.len() > 1024 => return true,
                    Ok(httparse::Status::Partial) => {}
                },
                Framing::Chunk(remaining) => {
                    let data = remaining.saturating_sub(2).min(available);
                    self.take(data);
                    let line_end = (remaining - data).min(2).min(self.pending.len() as u64);
                    if remaining - data <= 2 {
                        self.pending.advance(line_end as usize);
                    }
                    let remaining = remaining - data - if remaining - data <= 2 { line_end } else { 0 };
                    if remaining == 0 {
                        self.framing = Framing::ChunkLine;
                        continue;
                    }
                    self.framing = Framing::Chunk(remaining);
                }
            }
            return matches!(self.framing, Framing::Done) || self.body.len() >= MAX_BODY;
        }
    }

    /// What came.
    pub(crate) fn into_body(self) -> Bytes {
        self.body.freeze()
    }

    fn take(&mut self, len: u64) {
        let taken = self.pending.split_to(len as usize);
        let room = MAX_BODY - self.body.len();
        self.body.extend_from_slice(&taken[..taken.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn body(header: Option<(&'static str, &str)>, bytes: &[u8], size: usize) -> (Bytes, bool) {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let mut reader = BodyReader::new(&Head { status: StatusCode::SERVICE_UNAVAILABLE, headers });
        let mut done = reader.handle(b"");
        for piece in bytes.chunks(size) {
            if !done {
                done = reader.handle(piece);
            }
        }
        (reader.into_body(), done)
    }

    #[test]
    fn each_framing_gives_the_same_body_in_any_pieces() {
        let chunked = b"4\r\nbusy\r\nA;ext=1\r\n, come bac\r\n1\r\nk\r\n0\r\n\r\nnext";
        for size in 1..chunked.len() {
            let (text, done) = body(Some(("transfer-encoding", "gzip, Chunked")), chunked, size);
            assert_eq!((&text[..], done), (&b"busy, come back"[..], true), "pieces of {size}");
            let (text, done) = body(Some(("content-length", "4")), b"busy!", size);
            assert_eq!((&text[..], done), (&b"busy"[..], true));
            let (text, done) = body(None, b"busy!", size);
            assert_eq!((&text[..], done), (&b"busy!"[..], false));
        }
        assert!(body(Some(("content-length", "0")), b"", 1).1, "nothing is waited for");
    }

    #[test]
    fn a_body_is_kept_up_to_its_limit() {
        let endless = vec![b'x'; MAX_BODY + 10];
        for header in [None, Some(("content-length", "99999999999"))] {
            let (kept, done) = body(header, &endless, 1000);
            assert_eq!((kept.len(), done), (MAX_BODY, true));
        }
    }

    proptest! {
        #[test]
        fn chunks_of_any_bytes_never_panic(bytes: Vec<u8>, size in 1..50_usize) {
            body(Some(("transfer-encoding", "chunked")), &bytes, size);
        }
    }
}
