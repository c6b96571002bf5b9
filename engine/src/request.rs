//! Where to connect, and with what.

use std::{fmt, net::Ipv6Addr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{EngineError, EngineErrorKind, Stage};

/// Scheme, host and port: what of a URL may be printed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint {
    secure: bool,
    host: Arc<str>,
    port: u16,
}

impl Endpoint {
    /// The host: a name in lower case (RFC 3986 §6.2.2.1), an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 and 443 when the URL had none.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme asks for TLS.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// A checked request for a connection: URL, headers, subprotocols.
///
/// Everything is checked when it is given, so an engine never meets a malformed one. Paths, queries,
/// userinfo and header values may be secrets: they never print. Clones share what the URL says.
///
/// ```
/// use everwire_engine::ConnectRequest;
///
/// let request = ConnectRequest::new("wss://user:pw@chat.example.org/room?token=s3cret")?
///     .header("x-client", "everwire")?
///     .subprotocol("chat.v2")?;
/// assert_eq!(request.endpoint().to_string(), "wss://chat.example.org:443");
/// assert!(!format!("{request:?}").contains("s3cret"));
/// assert!(ConnectRequest::new("http://example.org").is_err());
/// # Ok::<(), everwire_engine::EngineError>(())
/// ```
#[derive(Clone)]
pub struct ConnectRequest {
    endpoint: Endpoint,
    /// As it goes into the `Host` header.
    authority: Arc<str>,
    path_and_query: Arc<str>,
    headers: HeaderMap,
    /// Of those that were added, in bytes.
    headers_len: usize,
    subprotocols: Vec<String>,
}

impl ConnectRequest {
    /// A request for a `ws://` or `wss://` URL. Userinfo in it becomes Basic authentication
    /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidRequest`], saying what is wrong with the URL.
    pub fn new(url: &str) -> Result<Self, EngineError> {
        // RFC 6455 §3 allows no fragment; http::Uri would drop one without a word.
        if url.contains('#') {
            return Err(invalid("the URL has a fragment (#), which a WebSocket URL must not have"));
        }
        if url.len() > MAX_URL {
            return Err(invalid(format!("the URL has {} bytes, where {MAX_URL} are the most", url.len())));
        }
        if url.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(invalid(
                "the URL has a blank or a control character in it: they are percent-encoded",
            ));
        }
        // http::Uri says of all of these no more than that they cannot be parsed.
        if let Some(why) = missing_scheme(url) {
            return Err(invalid(why));
        }
        if let Some((_, rest)) = url.split_once("://") {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            if host.is_empty() || host.starts_with(':') {
                return Err(invalid("the URL has no host"));
            }
        }
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid("the URL cannot be parsed").with_source(error))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(other @ ("http" | "https")) => {
                return Err(invalid(format!("the URL's scheme is {other:?}, where ws or wss is needed")));
            }
            _ => return Err(invalid("the URL's scheme is another one than ws or wss")),
        };
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(invalid("the URL has no host"));
        }
        if host.len() > MAX_HOST {
            let words =
                format!("the URL's host has {} bytes, where a name has {MAX_HOST} at most", host.len());
            return Err(invalid(words));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, authority),
        };
        if has_stray_brackets(host_and_port) {
            return Err(invalid("the URL's host has brackets, and not an IPv6 address within them alone"));
        }
        let port = match port_of(host_and_port) {
            None => {
                if secure {
                    443
                } else {
                    80
                }
            }
            Some(text) => match text.parse() {
                Ok(0) => return Err(invalid("the URL's port is 0")),
                Ok(port) => port,
                // The text may be the half of a password that was not percent-encoded: it does not print.
                Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    return Err(invalid("the URL's port is beyond 65535"));
                }
                Err(_) => {
                    return Err(invalid("the URL's port is no number (is / ? # in the password encoded?)"));
                }
            },
        };
        let path_and_query = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "" => "/".into(),
            query if query.starts_with('?') => format!("/{query}").into(),
            path => path.into(),
        };
        let mut request = Self {
            endpoint: Endpoint { secure, host: host.to_ascii_lowercase().into(), port },
            authority: host_and_port.into(),
            path_and_query,
            headers: HeaderMap::new(),
            headers_len: 0,
            subprotocols: Vec::new(),
        };
        if let Some(userinfo) = userinfo {
            let mut value = HeaderValue::from_str(&basic(userinfo))
                .map_err(|error| invalid("the URL's userinfo cannot be sent").with_source(error))?;
            value.set_sensitive(true);
            request.headers.insert(http::header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// The same request at another URL, whose userinfo is ignored.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn at(&self, url: &str) -> Result<Self, EngineError> {
        let Self { endpoint, authority, path_and_query, .. } = Self::new(url)?;
        Ok(Self { endpoint, authority, path_and_query, ..self.clone() })
    }

    /// With one more header. A name may be given several times.
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidRequest`] for a name or value that HTTP does not allow, and for the headers
    /// that belong to the handshake itself (`Host`, `Connection`, `Upgrade`, `Sec-WebSocket-*`,
    /// `Content-Length`, `Transfer-Encoding`); and when all headers together have more than 64 KiB.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, EngineError> {
        let name: HeaderName =
            name.parse().map_err(|_| invalid(format!("{name:?} is no name for a header")))?;
        let mut value: HeaderValue = value.parse().map_err(|_| {
            invalid(format!("the value of header {name} has characters that HTTP does not allow"))
        })?;
        let forbidden = ["host", "connection", "upgrade", "content-length", "transfer-encoding"];
        if forbidden.contains(&name.as_str()) || name.as_str().starts_with("sec-websocket-") {
            return Err(invalid(format!(
                "header {name} belongs to the handshake and cannot be set (subprotocols have their own setter)"
            )));
        }
        self.headers_len += name.as_str().len() + value.len() + ": \r\n".len();
        if self.headers_len > MAX_HEADERS {
            return Err(invalid(format!(
                "with header {name} the headers have more than {MAX_HEADERS} bytes, which no server takes"
            )));
        }
        value.set_sensitive(true);
        self.headers.append(name, value);
        Ok(self)
    }

    /// With one more subprotocol to offer, in the order of preference.
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidRequest`] for one that is no HTTP token or is offered twice.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, EngineError> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(invalid(format!("{name:?} is no name for a subprotocol")));
        }
        if self.subprotocols.iter().any(|offered| offered == name) {
            return Err(invalid(format!("subprotocol {name:?} is offered twice")));
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// Scheme, host and port.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Host and port as the URL wrote them: the value of the `Host` header.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query, at least `/`. May hold secrets.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// The additional headers.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The subprotocols to offer.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("endpoint", &format_args!("{}", self.endpoint))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("subprotocols", &self.subprotocols)
            .finish_non_exhaustive()
    }
}

/// The longest URL in bytes: what `http::Uri` takes.
const MAX_URL: usize = 65_534;
/// The longest name in bytes (RFC 1035 §2.3.4, as text).
const MAX_HOST: usize = 253;
/// The most bytes of headers. Common servers stop between 8 and 64 KiB.
const MAX_HEADERS: usize = 64 << 10;

fn invalid(detail: impl Into<String>) -> EngineError {
    EngineError::new(EngineErrorKind::InvalidRequest, Stage::Request).with_detail(detail)
}

/// What is wrong with a URL that does not begin with a scheme. It names the host, where that looks like one: what it
/// was taken for may be a token.
fn missing_scheme(url: &str) -> Option<String> {
    const BEGINS: &str = "it begins with ws:// or wss://";
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-".contains(&b);
    if scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(is_scheme)) {
        return None;
    }
    if url.is_empty() {
        return Some(format!("the URL is empty; {BEGINS}"));
    }
    let host = url.trim_start_matches([':', '/']).split(['/', '?', ':']).next().unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    let is_host = (host.contains('.') || host == "localhost") && host.bytes().all(is_plain);
    let example = if is_host && !url.contains('@') { format!(", as in wss://{host}") } else { String::new() };
    Some(format!("the URL has no scheme; {BEGINS}{example}"))
}

/// Brackets belong around an IPv6 address (with a zone, perhaps), and nothing but a port follows.
fn has_stray_brackets(host_and_port: &str) -> bool {
    match host_and_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, behind)) => {
            let ip = host.split_once('%').map_or(host, |(ip, _zone)| ip);
            ip.parse::<Ipv6Addr>().is_err() || !(behind.is_empty() || behind.starts_with(':'))
        }
        None => host_and_port.contains(['[', ']']),
    }
}

/// What stands after the colon of the port, if there is one.
pub(crate) fn port_of(host_and_port: &str) -> Option<&str> {
    let after_host = match host_and_port.rfind(']') {
        Some(end) => &host_and_port[end + 1..],
        None => host_and_port,
    };
    after_host.rsplit_once(':').map(|(_, port)| port)
}

/// `user:password`, percent-decoded, as the value of an `Authorization` header.
pub(crate) fn basic(userinfo: &str) -> String {
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(userinfo).collect();
    format!("Basic {}", data_encoding::BASE64.encode(&decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(url: &str) -> String {
        ConnectRequest::new(url).expect_err(url).to_string()
    }

    #[test]
    fn bad_urls_get_an_error_that_says_what_is_wrong() {
        assert!(detail("http://a").contains("ws or wss"));
        assert!(detail("ws+unix://a").contains("another one"));
        assert!(detail("wss://").contains("URL"));
        assert!(detail("wss://:80/").contains("no host"));
        assert!(detail("wss://a:0/").contains("port is 0"));
        assert!(detail("wss://a:65536/").contains("beyond 65535"));
        assert!(detail("wss://a/#x").contains("fragment"));
        assert!(detail("wss://a b/").contains("blank"));
        assert!(detail("wss://[::1/").contains("parsed"));
        for url in [
            "wss://[]/",
            "wss://[a]/",
            "wss://[::1",
            "wss://a[::1]:1/",
            "wss://[::1]a/",
            "wss://u@a[01:d::1]:8/",
        ] {
            let detail = detail(url);
            assert!(detail.contains("host") || detail.contains("parsed"), "{url}: {detail}");
        }
    }

    /// What a newcomer writes first: it says how a URL begins, and names the one it is about, without what may be secret.
    #[test]
    fn a_url_without_a_scheme_is_told_how_one_begins() {
        for (url, words) in [
            ("", "the URL is empty; it begins with ws:// or wss://"),
            ("example.org", "the URL has no scheme; it begins with ws:// or wss://, as in wss://example.org"),
            ("example.org/x?token=s3cret", "it begins with ws:// or wss://, as in wss://example.org"),
            ("localhost:8080", "it begins with ws:// or wss://, as in wss://localhost"),
            ("//h.test/?back=https://s3cret", "it begins with ws:// or wss://, as in wss://h.test"),
            ("wss:h.test", "the URL has no scheme; it begins with ws:// or wss://"),
            ("://h.test/", "the URL has no scheme; it begins with ws:// or wss://, as in wss://h.test"),
            ("10.0.0.1:80", "it begins with ws:// or wss://, as in wss://10.0.0.1"),
        ] {
            let detail = detail(url);
            assert!(detail.contains(&format!("{words} (stage")), "{url}: {detail}");
        }
        // What may be a token or a password is not repeated.
        for url in ["user:s3cret@h.test/", "s3cret", "us3cret.S3cret.s3cret", "h.test@s3cret/"] {
            let error = ConnectRequest::new(url).unwrap_err();
            assert!(error.to_string().contains("begins with ws:// or wss:// (stage"), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn endpoints_have_default_ports_and_ipv6_without_brackets() {
        let at = |url| ConnectRequest::new(url).unwrap();
        assert_eq!(at("ws://h").endpoint().to_string(), "ws://h:80");
        assert_eq!(at("wss://h").endpoint().port(), 443);
        assert_eq!(at("wss://[::1]:9/x").endpoint().host(), "::1");
        assert_eq!(at("wss://[::1]:9/x").endpoint().to_string(), "wss://[::1]:9");
        assert_eq!(at("wss://[::1]:9/x").authority(), "[::1]:9");
        assert_eq!(at("ws://h?a=b").path_and_query(), "/?a=b");
        assert_eq!(
            at("ws://Chat.Example").endpoint(),
            at("ws://chat.example:80").endpoint(),
            "hosts have no case"
        );
    }

    #[test]
    fn userinfo_becomes_basic_authentication_and_never_prints() {
        let request = ConnectRequest::new("wss://Aladdin:open%20sesame@h:1/p?q=1").unwrap();
        // The example of RFC 7617 §2.
        assert_eq!(request.headers()["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let printed = format!("{request:?} {}", request.endpoint());
        for secret in ["Aladdin", "sesame", "QWxh", "q=1"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }

    #[test]
    fn headers_of_the_handshake_and_control_characters_are_refused() {
        let request = || ConnectRequest::new("ws://h").unwrap();
        for name in
            ["Host", "Upgrade", "connection", "Sec-WebSocket-Key", "sec-websocket-protocol", "a b", ""]
        {
            assert!(request().header(name, "x").is_err(), "{name}");
        }
        let error = request().header("x-a", "s3cret\r\nX: y").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn subprotocols_are_tokens_and_offered_once() {
        let request = ConnectRequest::new("ws://h").unwrap().subprotocol("v2").unwrap();
        assert!(request.clone().subprotocol("v2").is_err());
        assert!(request.clone().subprotocol("a,b").is_err());
        assert!(request.subprotocol("").is_err());
    }

    #[test]
    fn a_stray_percent_sign_in_the_userinfo_stands_for_itself() {
        assert_eq!(basic("a:100%"), "Basic YToxMDAl");
        assert_eq!(basic("%61:%zz"), "Basic YToleno=");
    }

    #[test]
    fn rule_8_a_password_with_a_bare_slash_does_not_print_as_a_port() {
        for url in ["wss://user:s3c/ret@host/", "wss://user:s3c?ret@host/", "s3cret://host/"] {
            let error = ConnectRequest::new(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3c"), "{error}");
        }
    }
}
