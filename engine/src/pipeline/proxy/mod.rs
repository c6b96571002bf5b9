//! The tunnel through a proxy: which proxy, and the way through it.

pub(super) mod connect;
mod environment;
pub(super) mod socks;

use std::fmt;

use http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) use self::environment::Environment;
use self::socks::Socks;
use super::head::{HeadReader, read_head};
use crate::{Endpoint, EngineError, EngineErrorKind, Stage};

/// A proxy to connect through, with the credentials that its URL has.
///
/// The proxy resolves the server's name, so a name that only the proxy's network knows works. Host and port
/// print; credentials never do.
///
/// ```
/// use everwire_engine::{Proxy, TungsteniteEngine};
///
/// let proxy = Proxy::http("http://user:s3cret@proxy.example.org:3128")?;
/// assert_eq!(proxy.to_string(), "http://proxy.example.org:3128");
/// assert!(!format!("{proxy:?}").contains("s3cret"));
/// let engine = TungsteniteEngine::builder().proxy(proxy).build()?;
/// # let _ = engine;
/// # Ok::<(), everwire_engine::EngineError>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    protocol: Protocol,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http,
    Socks5,
}

/// User and password, percent-decoded. Has no `Debug`, so it cannot print by mistake.
#[derive(Clone)]
pub(super) struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Proxy {
    /// An HTTP proxy that is asked to `CONNECT`
    /// ([RFC 9110 §9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)): `http://host:port`, port 80
    /// when it names none. Userinfo becomes Basic authentication.
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidConfiguration`], saying what is wrong with the URL. TLS to the proxy
    /// (`https://`) is not supported.
    pub fn http(url: &str) -> Result<Self, EngineError> {
        Self::parse(url, Some(Protocol::Http))
    }

    /// A SOCKS5 proxy ([RFC 1928](https://www.rfc-editor.org/rfc/rfc1928)): `socks5://host:port` or
    /// `socks5h://host:port`, which mean the same here; port 1080 when it names none. Userinfo is offered as
    /// user and password ([RFC 1929](https://www.rfc-editor.org/rfc/rfc1929)).
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidConfiguration`], saying what is wrong with the URL or that user or password
    /// are longer than the 255 bytes that the protocol has room for.
    pub fn socks5(url: &str) -> Result<Self, EngineError> {
        Self::parse(url, Some(Protocol::Socks5))
    }

    fn parse(url: &str, wanted: Option<Protocol>) -> Result<Self, EngineError> {
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| {
            invalid("the proxy's URL cannot be parsed").with_source(error)
        })?;
        let protocol = match uri.scheme_str() {
            Some("http") => Protocol::Http,
            Some("socks5" | "socks5h") => Protocol::Socks5,
            Some("https") => return Err(invalid("TLS to the proxy itself (https://) is not supported")),
            other => {
                let other = other.unwrap_or_default();
                return Err(invalid(format!(
                    "the proxy's scheme is {other:?}, where http or socks5 is needed"
                )));
            }
        };
        if wanted.is_some_and(|wanted| wanted != protocol) {
            return Err(invalid("the scheme of the proxy's URL is that of another kind of proxy"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, authority),
        };
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(invalid("the proxy's URL has no host"));
        }
        let port = match crate::request::port_of(host_and_port).map(str::parse) {
            None if protocol == Protocol::Http => 80,
            None => 1080,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return Err(invalid("the port of the proxy's URL is not one of 1-65535")),
        };
        let credentials = userinfo.filter(|userinfo| !userinfo.is_empty()).map(Credentials::decode);
        if let Some(Credentials { user, password }) = &credentials {
            if protocol == Protocol::Socks5 && (user.len() > 255 || password.len() > 255) {
                return Err(invalid("user or password of the proxy is longer than 255 bytes"));
            }
            if user.contains(&b':') && protocol == Protocol::Http {
                return Err(invalid("Basic authentication has no way to send a colon in the user's name"));
            }
        }
        Ok(Self { protocol, host: host.to_owned(), port, credentials })
    }

    /// Where the proxy is: a name or an address without brackets, and the port.
    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    #[cfg(feature = "fuzzing")]
    pub(super) const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Makes a tunnel to the server over an open connection to the proxy.
    pub(crate) async fn tunnel(
        &self,
        io: &mut (impl AsyncRead + AsyncWrite + Unpin),
        to: &Endpoint,
    ) -> Result<(), EngineError> {
        match self.protocol {
            Protocol::Http => {
                io.write_all(&connect::question(to, self.credentials.as_ref())).await.map_err(broken)?;
                io.flush().await.map_err(broken)?;
                let reader = HeadReader::new(EngineErrorKind::Proxy, Stage::Proxy);
                let (head, rest) = read_head(io, reader).await?;
                connect::check(&head, &rest, self.credentials.is_some())
            }
            Protocol::Socks5 => {
                let (mut socks, mut question) = Socks::new(to, self.credentials.as_ref());
                loop {
                    if !question.is_empty() {
                        io.write_all(&question).await.map_err(broken)?;
                        io.flush().await.map_err(broken)?;
                    }
                    let mut answer = [0; socks::MAX_WANTED];
                    let answer = &mut answer[..socks.wants()];
                    if answer.is_empty() {
                        return Ok(());
                    }
                    io.read_exact(answer).await.map_err(broken)?;
                    question = socks.handle(answer)?;
                }
            }
        }
    }
}

impl Credentials {
    fn decode(userinfo: &str) -> Self {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let decode = |text| percent_encoding::percent_decode_str(text).collect();
        Self { user: decode(user), password: decode(password) }
    }
}

/// Scheme, host and port.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &format_args!("{self}"))
            .field("has_credentials", &self.credentials.is_some())
            .finish_non_exhaustive()
    }
}

/// Which proxy an attempt goes through.
#[derive(Debug, Default)]
pub(crate) enum ProxyChoice {
    #[default]
    None,
    Always(Proxy),
    Environment(Environment),
}

impl ProxyChoice {
    pub(crate) fn for_endpoint(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, EngineError> {
        match self {
            Self::None => Ok(None),
            Self::Always(proxy) => Ok(Some(proxy)),
            Self::Environment(environment) => environment.proxy_for(endpoint),
        }
    }
}

fn invalid(detail: impl Into<String>) -> EngineError {
    EngineError::new(EngineErrorKind::InvalidConfiguration, Stage::Proxy).with_detail(detail)
}

fn refused(detail: impl Into<String>) -> EngineError {
    EngineError::new(EngineErrorKind::Proxy, Stage::Proxy).with_detail(detail)
}

fn unauthorized(had_credentials: bool) -> EngineError {
    let words = if had_credentials {
        "it refused the user or the password that the proxy's URL has"
    } else {
        "it wants a user and a password: give them in the proxy's URL"
    };
    EngineError::new(EngineErrorKind::ProxyAuthentication, Stage::Proxy).with_detail(words)
}

fn broken(error: std::io::Error) -> EngineError {
    refused("the transport failed or ended").with_source(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_proxy_prints_where_it_is_and_never_its_credentials() {
        for (proxy, shown) in [
            (Proxy::http("http://us3r:p%40ss@h:3128/ignored"), "http://h:3128"),
            (Proxy::http("http://us3r@h"), "http://h:80"),
            (Proxy::socks5("socks5://us3r:pass@[::1]"), "socks5://[::1]:1080"),
            (Proxy::socks5("socks5h://us3r:pass@h:9"), "socks5://h:9"),
        ] {
            let proxy = proxy.unwrap();
            assert_eq!(proxy.to_string(), shown);
            let printed = format!("{proxy} {proxy:?}");
            assert!(!printed.contains("us3r") && !printed.contains("ass"), "{printed}");
        }
    }

    #[test]
    fn bad_urls_are_refused_in_words_without_their_secrets() {
        let long = format!("socks5://s3cret:{}@h", "x".repeat(256));
        for (error, words) in [
            (Proxy::http("https://s3cret:x@h"), "not supported"),
            (Proxy::http("ftp://s3cret:x@h"), "http or socks5"),
            (Proxy::http("socks5://s3cret:x@h"), "another kind"),
            (Proxy::socks5("http://s3cret:x@h"), "another kind"),
            (Proxy::http("http://s3cret:x@h:0"), "port"),
            (Proxy::http("http://s3cret%3A:x@h"), "colon"),
            (Proxy::http("http://s3cret x@h"), "parsed"),
            (Proxy::http("h:3128"), "scheme"),
            (Proxy::http(""), "parsed"),
            (Proxy::socks5(&long), "255"),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), EngineErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(words), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics_or_tells_its_password(
            url in "(http|socks5|https|x)?(://)?[ -~]{0,20}:s3cret@[ -~]{0,20}",
        ) {
            let printed = match Proxy::parse(&url, None) {
                Ok(proxy) => format!("{proxy} {proxy:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!printed.contains("s3cret"), "{}", printed);
        }
    }
}
