//! HTTP CONNECT (RFC 9110 §9.3.6): the question and what counts as an answer.

use http::StatusCode;

use super::{Credentials, refused, unauthorized};
use crate::{Endpoint, EngineError, pipeline::head::Head};

/// The request for a tunnel, as it goes over the wire.
pub(super) fn question(to: &Endpoint, credentials: Option<&Credentials>) -> Vec<u8> {
    let (host, port) = (to.host(), to.port());
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut text = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(Credentials { user, password }) = credentials {
        let pair = [user, &b":"[..], password].concat();
        text.push_str("Proxy-Authorization: Basic ");
        data_encoding::BASE64.encode_append(&pair, &mut text);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Whether the tunnel stands. `rest` is what came behind the head: nobody may speak in the tunnel before us,
/// and bytes that the proxy slips in there must not pass for the server's.
pub(in crate::pipeline) fn check(head: &Head, rest: &[u8], had_credentials: bool) -> Result<(), EngineError> {
    match head.status {
        status if status.is_success() && rest.is_empty() => Ok(()),
        status if status.is_success() => Err(refused("bytes came before the tunnel was used")),
        // 401 is what tinyproxy says of a wrong password. The server cannot be meant: nobody has reached it.
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
            Err(unauthorized(had_credentials))
        }
        status => Err(refused(format!("it answered CONNECT with HTTP {}", status.as_u16()))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::{ConnectRequest, EngineErrorKind};

    fn asked(url: &str, userinfo: Option<&str>) -> String {
        let credentials = userinfo.map(Credentials::decode);
        let request = ConnectRequest::new(url).unwrap();
        String::from_utf8(question(request.endpoint(), credentials.as_ref())).unwrap()
    }

    fn answered(status: u16, rest: &[u8]) -> Result<(), EngineError> {
        let head = Head { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new() };
        check(&head, rest, true)
    }

    #[test]
    fn the_question_names_host_and_port_and_none_of_the_request() {
        let text = asked("wss://u:pw@h/p?token=1", None);
        assert_eq!(text, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
        // The credentials of RFC 7617 §2.
        let text = asked("ws://[::1]:81/", Some("Aladdin:open%20sesame"));
        assert!(text.starts_with("CONNECT [::1]:81 HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"), "{text}");
    }

    #[test]
    fn any_success_is_a_tunnel_and_everything_else_has_its_kind() {
        assert!(answered(200, b"").is_ok());
        assert!(answered(204, b"").is_ok());
        for status in [401, 407] {
            assert_eq!(answered(status, b"").unwrap_err().kind(), EngineErrorKind::ProxyAuthentication);
        }
        for status in [101, 302, 403, 502] {
            let error = answered(status, b"").unwrap_err();
            assert_eq!(error.kind(), EngineErrorKind::Proxy);
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
        assert_eq!(answered(200, b"HTTP/1.1 101").unwrap_err().kind(), EngineErrorKind::Proxy);
    }
}
