//! Reading the head of an HTTP answer, of a proxy or of the server, from a peer that may send anything.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{EngineError, EngineErrorKind, Limit, Stage};

/// The largest head that is read. Common servers and proxies themselves stop between 8 and 64 KiB.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// The most headers that are taken.
const MAX_HEADERS: usize = 128;

/// Status line and headers.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// A head whose bytes arrive in pieces of any size.
#[derive(Debug)]
pub(crate) struct HeadReader {
    kind: EngineErrorKind,
    stage: Stage,
    buffer: BytesMut,
    /// Bytes of interim answers, which count for the limit too: they could go on for ever.
    interim: usize,
    /// Up to here no end of a head was found; so a head that drips in costs no more than one that does not.
    searched: usize,
}

impl HeadReader {
    /// A reader whose complaints have this kind and stage.
    pub(crate) fn new(kind: EngineErrorKind, stage: Stage) -> Self {
        Self { kind, stage, buffer: BytesMut::new(), interim: 0, searched: 0 }
    }

    /// Takes more bytes; gives the head when it is complete. Interim answers (1xx, except 101) are skipped.
    ///
    /// # Errors
    /// What it was made with for garbage, [`EngineErrorKind::TooLarge`] for a head without an end.
    pub(crate) fn handle(&mut self, bytes: &[u8]) -> Result<Option<Head>, EngineError> {
        self.buffer.extend_from_slice(bytes);
        loop {
            self.check_beginning()?;
            let Some(len) = self.find_end() else {
                if self.interim + self.buffer.len() > MAX_HEAD {
                    return Err(self.too_large());
                }
                return Ok(None);
            };
            if self.interim + len > MAX_HEAD {
                return Err(self.too_large());
            }
            let bytes = self.buffer.split_to(len);
            self.searched = 0;
            let head = self.parse(&bytes)?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim += len;
        }
    }

    /// What came behind the head.
    pub(crate) fn into_rest(self) -> BytesMut {
        self.buffer
    }

    /// Refuses what is no HTTP as soon as it shows, so that nobody waits for the end of a head that never
    /// comes.
    fn check_beginning(&self) -> Result<(), EngineError> {
        const BEGINNING: &[u8] = b"HTTP/1.";
        let len = self.buffer.len().min(BEGINNING.len());
        if self.buffer[..len] == BEGINNING[..len] {
            return Ok(());
        }
        // Alert and handshake records of TLS.
        let words = match (&self.buffer[..], self.stage) {
            ([0x15 | 0x16, ..], Stage::Proxy) => {
                "the answer is TLS, not HTTP: TLS to the proxy itself is not supported, is there a plain port?"
            }
            ([0x15 | 0x16, ..], _) => {
                "the answer is TLS, not HTTP: the port wants an encrypted connection (wss://)"
            }
            _ => "the answer is not HTTP/1.1",
        };
        Err(self.error(words))
    }

    fn find_end(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        let found = self.buffer[from..].windows(4).position(|window| window == b"\r\n\r\n");
        self.searched = self.buffer.len();
        found.map(|at| from + at + 4)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Head, EngineError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(self.error("the answer's head is malformed")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(self.error(format!("the answer has more than {MAX_HEADERS} headers")));
            }
            Err(error) => return Err(self.error("the answer's head is malformed").with_source(error)),
        }
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let Some(status) = status else { return Err(self.error("the answer's status is no HTTP status")) };
        let mut map = HeaderMap::with_capacity(response.headers.len());
        for header in response.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_bytes(header.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(self.error("the answer has a malformed header"));
            };
            map.append(name, value);
        }
        Ok(Head { status, headers: map })
    }

    fn error(&self, detail: impl Into<String>) -> EngineError {
        EngineError::new(self.kind, self.stage).with_detail(detail)
    }

    fn too_large(&self) -> EngineError {
        let kind = EngineErrorKind::TooLarge {
            what: Limit::Head,
            size: self.interim + self.buffer.len(),
            max: MAX_HEAD,
        };
        EngineError::new(kind, self.stage).with_detail("the head of the answer has no end")
    }
}

/// Reads until the head is complete; gives what came behind it, too.
pub(crate) async fn read_head(
    io: &mut (impl AsyncRead + Unpin),
    mut reader: HeadReader,
) -> Result<(Head, BytesMut), EngineError> {
    let mut bytes = [0; 1024]; // part of the future, so not larger than an answer usually is
    loop {
        let len = match io.read(&mut bytes).await {
            Ok(0) => return Err(reader.error("the connection ended before the answer was complete")),
            Ok(len) => len,
            Err(error) => return Err(reader.error("the transport failed").with_source(error)),
        };
        if let Some(head) = reader.handle(&bytes[..len])? {
            return Ok((head, reader.into_rest()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader() -> HeadReader {
        HeadReader::new(EngineErrorKind::Upgrade, Stage::Upgrade)
    }

    /// A head of this size, of this status.
    fn head_of(size: usize, status: u16) -> Vec<u8> {
        let start = format!("HTTP/1.1 {status} x\r\nx: ");
        let filling = "a".repeat(size - start.len() - 4);
        [start.as_bytes(), filling.as_bytes(), b"\r\n\r\n"].concat()
    }

    /// 64 KiB and no byte more, in one piece and in two, interim answers counted.
    #[test]
    fn a_head_has_a_size_that_it_may_just_reach() {
        const MOST: usize = 65_536;
        let size_of = |error: EngineError| match error.kind() {
            EngineErrorKind::TooLarge { size, max: MOST, .. } => size,
            other => panic!("{other:?}"),
        };
        let read = |bytes: &[u8]| reader().handle(bytes);
        assert!(read(&head_of(MOST, 200)).unwrap().is_some());
        assert_eq!(size_of(read(&head_of(MOST + 1, 200)).unwrap_err()), MOST + 1);
        let cut = |size| head_of(MOST * 2, 200)[..size].to_vec();
        assert!(read(&cut(MOST)).unwrap().is_none(), "the end may still come");
        assert_eq!(size_of(read(&cut(MOST + 1)).unwrap_err()), MOST + 1);

        let hints = head_of(1000, 103);
        let both = |size| [&hints[..], &head_of(size, 200)].concat();
        assert!(read(&both(MOST - 1000)).unwrap().is_some());
        assert_eq!(size_of(read(&both(MOST - 999)).unwrap_err()), MOST + 1);
        let many = |last| [hints.repeat(2), head_of(last, 200)].concat();
        assert!(read(&many(MOST - 2000)).unwrap().is_some());
        assert_eq!(size_of(read(&many(MOST - 1999)).unwrap_err()), MOST + 1);
    }

    #[test]
    fn an_answer_in_tls_says_whose_port_was_wrong() {
        for (stage, kind, words) in [
            (Stage::Proxy, EngineErrorKind::Proxy, "TLS to the proxy itself is not supported"),
            (Stage::Upgrade, EngineErrorKind::Upgrade, "the port wants an encrypted connection (wss://)"),
        ] {
            for record in [0x15, 0x16] {
                let error = HeadReader::new(kind, stage).handle(&[record, 3, 1]).unwrap_err();
                assert!(error.to_string().contains(words), "{error}");
            }
        }
    }

    #[test]
    fn a_head_in_any_pieces_is_the_same_head() {
        let bytes =
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 101 Ok\r\nX-A: 1\r\nx-a: 2\r\n\r\nrest";
        for size in 1..bytes.len() {
            let mut reader = reader();
            let mut head = None;
            let mut pieces = bytes.chunks(size);
            for piece in &mut pieces {
                head = reader.handle(piece).unwrap();
                if head.is_some() {
                    break;
                }
            }
            let head = head.unwrap();
            assert_eq!(head.status, 101);
            assert_eq!(head.headers.get_all("x-a").iter().count(), 2);
            let mut rest = reader.into_rest();
            pieces.for_each(|piece| rest.extend_from_slice(piece));
            assert_eq!(rest, "rest");
        }
    }

    #[test]
    fn garbage_is_refused_at_its_first_byte() {
        for garbage in [&b"S"[..], b"HTTP/2", b"\x15\x03\x03\x00\x02\x02\x46", b"HTTP/1.1 abc\r\n\r\n", b"\0"]
        {
            let error = reader().handle(garbage).unwrap_err();
            assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Upgrade, Stage::Upgrade));
        }
        assert!(reader().handle(b"\x15\x03").unwrap_err().to_string().contains("wss://"));
    }

    #[test]
    fn a_head_without_an_end_is_refused_at_the_limit() {
        let mut reader = reader();
        assert!(reader.handle(b"HTTP/1.1 200 OK\r\n").unwrap().is_none());
        let mut taken = 17;
        let error = loop {
            match reader.handle(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n") {
                Ok(None) => taken += 31,
                Ok(Some(_)) => panic!("there was no end"),
                Err(error) => break error,
            }
        };
        assert!(taken <= MAX_HEAD);
        assert!(
            matches!(error.kind(), EngineErrorKind::TooLarge { what: Limit::Head, max: MAX_HEAD, .. }),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_input_panics_or_is_kept_beyond_the_limit(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        ) {
            let mut reader = reader();
            let _ = reader.handle(b"HTTP/1.1 ");
            for piece in pieces {
                if reader.handle(&piece).is_err() {
                    break;
                }
                prop_assert!(reader.buffer.len() <= MAX_HEAD);
            }
        }
    }
}
