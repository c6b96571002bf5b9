//! The HTTP upgrade (RFC 6455 §4): what is asked, and whether the answer is an acceptance.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    body::BodyReader,
    head::{Head, HeadReader, read_head},
    key,
};
use crate::{
    ConnectRequest, EngineError, EngineErrorKind, Refusal, Stage,
    frames::{Agreement, Deflate},
};

/// An upgrade that the server accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) headers: HeaderMap,
    pub(crate) subprotocol: Option<String>,
    /// How messages are compressed, when the server accepted our offer.
    pub(crate) compression: Option<Agreement>,
    /// What came behind the answer: the beginning of the first frames.
    pub(crate) rest: Bytes,
}

/// How an upgrade ended that did not fail.
pub(crate) enum Answer {
    Accepted(Accepted),
    Refused(Refusal),
}

/// Asks for the upgrade and reads the answer, with the body of a refusal.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    request: &ConnectRequest,
    offer: Option<&Deflate>,
) -> Result<Answer, EngineError> {
    let key = key::generate()?;
    let io_error = |error| invalid("the transport failed").with_source(error);
    io.write_all(&question(request, &key, offer)).await.map_err(io_error)?;
    io.flush().await.map_err(io_error)?;
    let (head, rest) = read_head(io, HeadReader::new(EngineErrorKind::Upgrade, Stage::Upgrade)).await?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let subprotocol = check_acceptance(&head, &key, request.subprotocols())?;
        let compression = check_extensions(&head.headers, offer)?;
        // Without anything behind it, the head's buffer would be kept as long as the connection, for nothing.
        let rest = if rest.is_empty() { Bytes::new() } else { rest.freeze() };
        let headers = head.headers;
        return Ok(Answer::Accepted(Accepted { headers, subprotocol, compression, rest }));
    }
    let body = read_body(io, &head, rest).await;
    Ok(Answer::Refused(Refusal::new(head.status, head.headers, body)))
}

/// The request, as it goes over the wire. Names are written as browsers write them: some servers and
/// middleboxes compare them letter by letter.
fn question(request: &ConnectRequest, key: &str, offer: Option<&Deflate>) -> Vec<u8> {
    let mut text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        request.path_and_query(),
        request.authority(),
    )
    .into_bytes();
    if !request.subprotocols().is_empty() {
        text.extend_from_slice(b"Sec-WebSocket-Protocol: ");
        text.extend_from_slice(request.subprotocols().join(", ").as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    if let Some(offer) = offer {
        text.extend_from_slice(format!("Sec-WebSocket-Extensions: {}\r\n", offer.offer()).as_bytes());
    }
    for (name, value) in request.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// RFC 6455 §4.1, what the client must check; gives the subprotocol that was chosen.
pub(crate) fn check_acceptance(
    head: &Head,
    key: &str,
    offered: &[String],
) -> Result<Option<String>, EngineError> {
    if !has_token(&head.headers, &header::UPGRADE, "websocket") {
        return Err(invalid("the answer lacks `Upgrade: websocket`"));
    }
    if !has_token(&head.headers, &header::CONNECTION, "upgrade") {
        return Err(invalid("the answer lacks `Connection: Upgrade`"));
    }
    match single(&head.headers, &header::SEC_WEBSOCKET_ACCEPT)? {
        Some(accept) if accept == key::acceptance(key) => {}
        Some(_) => return Err(invalid("Sec-WebSocket-Accept does not match our key")),
        None => return Err(invalid("the answer lacks Sec-WebSocket-Accept")),
    }
    match single(&head.headers, &header::SEC_WEBSOCKET_PROTOCOL)? {
        None => Ok(None),
        Some(chosen) if offered.iter().any(|offer| offer == chosen) => Ok(Some(chosen.to_owned())),
        Some(_) => Err(invalid("the server chose a subprotocol that was not offered")),
    }
}

/// RFC 6455 §9.1: what the server chose must have been offered. It may stand in several headers, or in one.
fn check_extensions(headers: &HeaderMap, offer: Option<&Deflate>) -> Result<Option<Agreement>, EngineError> {
    let mut chosen = Vec::new();
    for value in headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        let value =
            value.to_str().map_err(|_| invalid("the answer's Sec-WebSocket-Extensions is not ASCII"))?;
        chosen.extend(value.split(',').map(str::trim).filter(|extension| !extension.is_empty()));
    }
    match (&chosen[..], offer) {
        ([], _) => Ok(None),
        (_, None) => Err(invalid("the server chose an extension, and none was offered")),
        ([extension], Some(offer)) => offer.accept(extension).map(Some).map_err(invalid),
        (_, Some(_)) => Err(invalid("the server chose more extensions than were offered")),
    }
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Result<Option<&'a str>, EngineError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(format!("the answer has the header {name} twice")));
    }
    let text = value.to_str().map_err(|_| invalid(format!("the answer's header {name} is not ASCII")))?;
    Ok(Some(text.trim()))
}

/// The body as far as it comes: the status is known already, so nothing that happens to the body is worth
/// an error.
async fn read_body(io: &mut (impl AsyncRead + Unpin), head: &Head, rest: BytesMut) -> Bytes {
    let mut body = BodyReader::new(head);
    let mut done = body.handle(&rest);
    let mut bytes = [0; 1024]; // part of the future, so not larger than an answer usually is
    let reading = async {
        while !done {
            done = match io.read(&mut bytes).await {
                Ok(len) if len > 0 => body.handle(&bytes[..len]),
                _ => true,
            };
        }
    };
    let _ = tokio::time::timeout(BODY_PATIENCE, reading).await;
    body.into_body()
}

/// How long a refusal's body may take, however steadily it drips; it is a help for people, and no reason to wait
/// until the deadline takes the status from us.
const BODY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

fn invalid(detail: impl Into<String>) -> EngineError {
    EngineError::new(EngineErrorKind::Upgrade, Stage::Upgrade).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key and acceptance of the example in RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn answer(headers: &[(&str, &str)]) -> Result<Option<String>, EngineError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let head = Head { status: StatusCode::SWITCHING_PROTOCOLS, headers: map };
        check_extensions(&head.headers, None)?;
        check_acceptance(&head, KEY, &["v2".to_owned(), "v1".to_owned()])
    }

    #[test]
    fn the_acceptance_of_the_rfc_is_accepted_in_any_case() {
        let ok = answer(&[
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, UPGRADE"),
            ("sec-websocket-accept", ACCEPT),
            ("sec-websocket-protocol", "v1"),
        ]);
        assert_eq!(ok.unwrap().as_deref(), Some("v1"));
    }

    #[test]
    fn every_missing_or_wrong_part_is_named() {
        let good = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", ACCEPT)];
        for (without, words) in [(0, "Upgrade: websocket"), (1, "Connection"), (2, "lacks Sec-WebSocket")] {
            let mut headers = good.to_vec();
            headers.remove(without);
            assert!(answer(&headers).unwrap_err().to_string().contains(words));
        }
        for (extra, words) in [
            (("sec-websocket-accept", ACCEPT), "twice"),
            (("sec-websocket-protocol", "v3"), "not offered"),
            (("sec-websocket-extensions", "permessage-deflate"), "extension"),
        ] {
            let headers = [&good[..], &[extra]].concat();
            let error = answer(&headers).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let wrong = [good[0], good[1], ("sec-websocket-accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];
        assert!(answer(&wrong).unwrap_err().to_string().contains("does not match"));
    }

    #[test]
    fn the_question_has_what_the_rfc_asks_for() {
        let request = ConnectRequest::new("ws://h:81/p?q").unwrap();
        let request = request.header("x-a", "1").unwrap().subprotocol("v2").unwrap();
        let request = request.subprotocol("v1").unwrap();
        let text = String::from_utf8(question(&request, KEY, None)).unwrap();
        assert!(text.starts_with("GET /p?q HTTP/1.1\r\nHost: h:81\r\n"), "{text}");
        assert!(text.contains("\r\nSec-WebSocket-Protocol: v2, v1\r\nx-a: 1\r\n\r\n"), "{text}");
    }
}
