//! The parsers of what peers, users and the environment may say, each with what must hold of it, for fuzzers.
//!
//! Not part of the interface: nothing here is promised from one version to the next.
#![expect(clippy::missing_panics_doc, reason = "to panic is how each of them reports")]

use http::StatusCode;

use super::{
    body::{BodyReader, MAX_BODY},
    head::{Head, HeadReader, MAX_HEAD},
    proxy::{self, Environment},
    redirect, upgrade,
};
use crate::{ConnectRequest, EngineError, EngineErrorKind, Proxy, Stage};

/// The longest detail that is reasonable: an error must not carry an answer of any length.
const MAX_WORDS: usize = 1024;

/// What a proxy answers to CONNECT.
pub fn connect_response(bytes: &[u8]) {
    let outcome = head(EngineErrorKind::Proxy, Stage::Proxy, bytes);
    if let Ok(Some((head, rest))) = outcome {
        let tunnel = proxy::connect::check(&head, &rest, true);
        assert_eq!(tunnel.is_ok(), head.status.is_success() && rest.is_empty());
        tunnel.map_or_else(|error| check(&error, Stage::Proxy), drop);
    }
}

/// What a SOCKS5 proxy answers, all its answers in a row.
pub fn socks_reply(bytes: &[u8]) {
    let request = ConnectRequest::new("wss://name.invalid/").expect("a constant");
    let proxy = Proxy::socks5("socks5://user:s3cret@proxy").expect("a constant");
    for credentials in [None, proxy.credentials()] {
        let (mut socks, _) = proxy::socks::Socks::new(request.endpoint(), credentials);
        let mut rest = bytes;
        let mut steps = 0;
        while socks.wants() > 0 && socks.wants() <= rest.len() {
            assert!(socks.wants() <= proxy::socks::MAX_WANTED && steps < 6, "no end of it");
            let (answer, behind) = rest.split_at(socks.wants());
            rest = behind;
            steps += 1;
            if let Err(error) = socks.handle(answer) {
                check(&error, Stage::Proxy);
                break;
            }
        }
    }
}

/// What a server answers to the upgrade, with a body that may follow.
pub fn upgrade_response(bytes: &[u8]) {
    // The key of RFC 6455 §1.3, so that an acceptance can be found.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let outcome = head(EngineErrorKind::Upgrade, Stage::Upgrade, bytes);
    let Ok(Some((head, rest))) = outcome else { return };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let accepted = upgrade::check_acceptance(&head, KEY, &["v1".to_owned()]);
        accepted.map_or_else(|error| check(&error, Stage::Upgrade), drop);
    }
    let mut whole = BodyReader::new(&head);
    whole.handle(&rest);
    let mut dripping = BodyReader::new(&head);
    let _ = rest.iter().any(|byte| dripping.handle(std::slice::from_ref(byte)));
    let body = whole.into_body();
    assert!(body.len() <= MAX_BODY);
    assert_eq!(body, dripping.into_body(), "a body is the same in any pieces");
}

/// What a server answers to the offer to compress messages, the value of `Sec-WebSocket-Extensions`.
#[cfg(feature = "deflate")]
pub fn deflate_answer(text: &str) {
    crate::frames::holds_of(text);
}

/// A URL, a header and a subprotocol of the user's.
pub fn url(text: &str) {
    match ConnectRequest::new(text) {
        Ok(request) => {
            let endpoint = request.endpoint();
            assert!(!endpoint.host().is_empty() && endpoint.port() != 0);
            assert!(request.path_and_query().starts_with('/'));
            let sent = [request.path_and_query(), request.authority()].concat();
            assert!(sent.bytes().all(|byte| byte > b' ' && byte != 0x7f), "it would break the head");
            // What is printed of it names the same endpoint.
            let again = ConnectRequest::new(&endpoint.to_string()).expect("an endpoint is a URL");
            assert_eq!(again.endpoint(), endpoint);
            let _ = redirect::target(&request, text);
        }
        Err(error) => check(&error, Stage::Request),
    }
    let request = ConnectRequest::new("ws://h/a/b").expect("a constant");
    let _ = redirect::resolves(&request, text);
    if let Ok(to) = redirect::target(&request, text) {
        assert!(to.endpoint().host().eq_ignore_ascii_case("h"), "a redirect stays with its server");
    }
    if let Some((name, value)) = text.split_once(':')
        && let Ok(request) = request.clone().header(name, value)
    {
        let sent = request.headers().iter().map(|(_, value)| value.as_bytes().to_vec()).next();
        assert!(!sent.expect("one").iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let _ = request.subprotocol(text);
}

/// What the environment says about proxies, and the server it is asked about.
pub fn proxy_environment(variables: &[(&str, &str)], host: &str) {
    let environment = Environment::read(|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    });
    for scheme in ["ws", "wss"] {
        let Ok(request) = ConnectRequest::new(&format!("{scheme}://{host}/")) else { return };
        match environment.proxy_for(request.endpoint()) {
            Ok(None) => {}
            Ok(Some(proxy)) => assert!(!proxy.to_string().contains('@'), "credentials do not print"),
            Err(error) => check(&error, Stage::Proxy),
        }
    }
}

/// Whether a list like that of `NO_PROXY` covers a host.
pub fn no_proxy(list: &str, host: &str) -> bool {
    let variables = [("all_proxy", "http://proxy"), ("no_proxy", list)];
    let environment = Environment::read(|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    });
    ConnectRequest::new(&format!("ws://{host}/"))
        .is_ok_and(|request| environment.proxy_for(request.endpoint()).is_ok_and(|proxy| proxy.is_none()))
}

/// The head of an answer and what came behind it. It is the same in whatever pieces it comes.
fn head(kind: EngineErrorKind, stage: Stage, bytes: &[u8]) -> Result<Option<(Head, Vec<u8>)>, EngineError> {
    let read = |size: usize| {
        let mut reader = HeadReader::new(kind, stage);
        let mut pieces = bytes.chunks(size);
        while let Some(piece) = pieces.next() {
            if let Some(head) = reader.handle(piece)? {
                let mut rest = reader.into_rest().to_vec();
                pieces.for_each(|piece| rest.extend_from_slice(piece));
                return Ok(Some((head, rest)));
            }
        }
        Ok::<_, EngineError>(None)
    };
    let whole = read(bytes.len().max(1));
    // A head that is too long is told earlier in small pieces, so only short ones are compared.
    if bytes.len() <= MAX_HEAD {
        match (&whole, &read(1)) {
            (Ok(Some(whole)), Ok(Some(dripped))) => {
                assert_eq!((whole.0.status, &whole.1), (dripped.0.status, &dripped.1));
                assert_eq!(whole.0.headers, dripped.0.headers);
            }
            (Ok(None), Ok(None)) => {}
            (Err(whole), Err(dripped)) => assert_eq!(whole.to_string(), dripped.to_string()),
            (whole, dripped) => panic!("in one piece {whole:?}, byte by byte {dripped:?}"),
        }
    }
    whole.inspect_err(|error| check(error, stage))
}

/// What holds of every error.
fn check(error: &EngineError, stage: Stage) {
    let words = error.to_string();
    assert_eq!(error.stage(), stage, "{words}");
    assert!(words.len() < MAX_WORDS, "an error of {} bytes", words.len());
    assert!(!words.contains("s3cret"), "{words}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Fuzzers go further; this keeps what they check true on every machine.
        #[test]
        fn what_must_hold_holds_of_mutated_answers(
            at in 0..200_usize,
            byte: u8,
            cut in 0..200_usize,
            which in 0..4_usize,
        ) {
            let mut bytes = [
                &b"HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n"[..],
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v1\r\n\r\n\x81\x00",
                b"HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
                b"\x05\x02\x01\x00\x05\x00\x00\x03\x04name\x00\x50",
            ][which].to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(1));
            connect_response(&bytes);
            upgrade_response(&bytes);
            socks_reply(&bytes);
        }

        #[cfg(feature = "deflate")]
        #[test]
        fn what_must_hold_holds_of_answers_about_compression(
            parts in proptest::collection::vec(0..7_usize, 0..6),
            bits in 0..20_u8,
        ) {
            let words = [
                "permessage-deflate", ";", ",", "client_max_window_bits=", "server_max_window_bits=",
                "server_no_context_takeover", "client_no_context_takeover",
            ];
            let said: String = parts.into_iter().map(|part| words[part]).collect();
            deflate_answer(&said);
            deflate_answer(&format!("permessage-deflate; {said}{bits}"));
        }

        #[test]
        fn what_must_hold_holds_of_texts(text in "(wss?://)?([a-z]{0,3}:s3cret@)?[ -~]{0,30}", host in "[ -~]{0,20}") {
            if !text.contains("s3cret") {
                url(&text);
            }
            proxy_environment(&[("HTTPS_PROXY", &text), ("ALL_PROXY", &text), ("NO_PROXY", &host)], &host);
            no_proxy(&text, &host);
        }
    }
}
