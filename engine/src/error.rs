//! What can go wrong with a connection, and where.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::Endpoint;

/// Where in the life of a connection something happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// Before anything was sent: the request itself.
    Request,
    /// Name resolution.
    Resolve,
    /// TCP (or another transport) to the server or the proxy.
    Connect,
    /// The tunnel through a proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The HTTP upgrade.
    Upgrade,
    /// The attempt as a whole, for its overall deadline.
    Attempt,
    /// The open connection.
    Open,
}

impl Stage {
    /// A short name for logs, metrics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Attempt => "attempt",
            Self::Open => "open connection",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong, as something to match on. Decisions look at this, never at texts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// The request cannot be carried out as it is: a bad URL, a forbidden header.
    InvalidRequest,
    /// There is no request: whoever makes one for each attempt, such as the client's request provider, failed. The
    /// source says why; no engine returns this itself.
    NoRequest,
    /// The engine cannot be used as it is configured: an unreadable CA, no proxy of that scheme.
    InvalidConfiguration,
    /// The name could not be resolved.
    Resolve,
    /// No address of the server accepted a connection.
    Connect,
    /// The proxy refused or misbehaved.
    Proxy,
    /// The proxy wants authentication, or refused ours (HTTP 407, SOCKS5 user/password).
    ProxyAuthentication,
    /// The TLS handshake failed for a reason other than the certificate.
    Tls,
    /// The server's certificate was refused.
    Certificate(CertificateProblem),
    /// The server answered the upgrade with something that is no valid acceptance.
    Upgrade,
    /// The server answered the upgrade with another HTTP status; see [`EngineError::refusal`].
    Refused(u16),
    /// A stage did not end within its deadline.
    Timeout,
    /// The peer broke the WebSocket protocol.
    Protocol,
    /// A text message or close reason was not UTF-8.
    InvalidUtf8,
    /// A frame or message exceeds a limit of ours.
    TooLarge {
        /// What was too large.
        what: Limit,
        /// How large it is, where the peer said so.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The transport failed or ended: reset, broken pipe, end of file without a close frame.
    Io,
    /// The connection is closed already.
    Closed,
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Limit {
    /// One frame.
    Frame,
    /// One message, all fragments together.
    Message,
    /// The head of an HTTP answer.
    Head,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame => "frame",
            Self::Message => "message",
            Self::Head => "HTTP head",
        })
    }
}

/// Why a certificate was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// It is no longer valid.
    Expired,
    /// It is not valid yet; also what a wrong clock of ours looks like.
    NotYetValid,
    /// It is for another host.
    WrongHost,
    /// Nobody we trust has issued it; self-signed ones are of this kind.
    UnknownIssuer,
    /// It was revoked.
    Revoked,
    /// None of the pinned keys is in its chain.
    PinMismatch,
    /// Something else; the source says what.
    Other,
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet (or the clock of this machine is wrong)",
            Self::WrongHost => "it is for another host",
            Self::UnknownIssuer => "nobody who is trusted has issued it (is it self-signed?)",
            Self::Revoked => "it was revoked",
            Self::PinMismatch => "none of the pinned keys is in its chain",
            Self::Other => "it is not acceptable",
        })
    }
}

/// An HTTP answer that was no acceptance of the upgrade.
#[derive(Clone)]
#[non_exhaustive]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// All headers, `Retry-After` among them.
    pub headers: HeaderMap,
    /// The body, up to 64 KiB of it.
    pub body: Bytes,
}

impl Refusal {
    /// A refusal from its parts.
    pub const fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }
}

/// Header values and the body may hold secrets: they do not print.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_len", &self.body.len())
            .finish()
    }
}

/// A failed attempt or a broken connection: what, where, and why.
///
/// Cheap to clone. `Display` is one clause without the source; [`source`](StdError::source) has the chain.
/// Nothing secret prints: the endpoint is shown without userinfo, path and query.
#[derive(Clone)]
pub struct EngineError(Arc<Inner>);

struct Inner {
    kind: EngineErrorKind,
    stage: Stage,
    endpoint: Option<Endpoint>,
    detail: Option<String>,
    elapsed: Option<Duration>,
    refusal: Option<Refusal>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl EngineError {
    /// An error of a kind, at a stage.
    pub fn new(kind: EngineErrorKind, stage: Stage) -> Self {
        Self(Arc::new(Inner {
            kind,
            stage,
            endpoint: None,
            detail: None,
            elapsed: None,
            refusal: None,
            source: None,
        }))
    }

    /// An upgrade that the server answered otherwise.
    pub fn refused(refusal: Refusal) -> Self {
        let mut error = Self::new(EngineErrorKind::Refused(refusal.status.as_u16()), Stage::Upgrade);
        error.edit().refusal = Some(refusal);
        error
    }

    /// A stage that did not end within its deadline.
    pub fn timeout(stage: Stage, deadline: Duration) -> Self {
        let mut error = Self::new(EngineErrorKind::Timeout, stage);
        error.edit().elapsed = Some(deadline);
        error
    }

    /// With words that say what exactly, and what to do. Must hold no secret.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.edit().detail = Some(detail.into());
        self
    }

    /// With the endpoint it was about.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.edit().endpoint = Some(endpoint);
        self
    }

    /// With its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.edit().source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> EngineErrorKind {
        self.0.kind
    }

    /// Where it went wrong.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The endpoint it was about, where known.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.0.endpoint.as_ref()
    }

    /// The server's answer, when it refused the upgrade.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal.as_ref()
    }

    fn edit(&mut self) -> &mut Inner {
        // Builders run before the error is shared. A clone that is edited all the same loses its source,
        // which cannot be cloned, and keeps the rest.
        if Arc::get_mut(&mut self.0).is_none() {
            let old = Arc::clone(&self.0);
            self.0 = Arc::new(Inner {
                kind: old.kind,
                stage: old.stage,
                endpoint: old.endpoint.clone(),
                detail: old.detail.clone(),
                elapsed: old.elapsed,
                refusal: old.refusal.clone(),
                source: Some(Box::new(Self(old))),
            });
        }
        Arc::get_mut(&mut self.0).expect("just made, shared with nobody")
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match inner.kind {
            EngineErrorKind::InvalidRequest => f.write_str("the request is invalid")?,
            EngineErrorKind::NoRequest => f.write_str("there is no request to dial")?,
            EngineErrorKind::InvalidConfiguration => f.write_str("the engine's configuration is invalid")?,
            EngineErrorKind::Resolve => f.write_str("the name could not be resolved")?,
            EngineErrorKind::Connect => f.write_str("no address accepted a connection")?,
            EngineErrorKind::Proxy => f.write_str("the proxy refused the tunnel")?,
            EngineErrorKind::ProxyAuthentication => f.write_str("the proxy asks for other credentials")?,
            EngineErrorKind::Tls => f.write_str("the TLS handshake failed")?,
            EngineErrorKind::Certificate(problem) => write!(f, "the certificate was refused: {problem}")?,
            EngineErrorKind::Upgrade => f.write_str("the answer to the upgrade is no valid acceptance")?,
            EngineErrorKind::Refused(status) => {
                write!(f, "the server refused the upgrade with HTTP {status}")?;
            }
            EngineErrorKind::Timeout => f.write_str("not done within the deadline")?,
            EngineErrorKind::Protocol => f.write_str("the peer broke the WebSocket protocol")?,
            EngineErrorKind::InvalidUtf8 => f.write_str("a text was not UTF-8")?,
            EngineErrorKind::TooLarge { what, size, max } => {
                let article = if what == Limit::Head { "an" } else { "a" };
                write!(f, "{article} {what} of {size} bytes exceeds the limit of {max}")?;
            }
            EngineErrorKind::Io => f.write_str("the transport failed")?,
            EngineErrorKind::Closed => f.write_str("the connection is closed")?,
        }
        if let Some(elapsed) = inner.elapsed {
            write!(f, " of {elapsed:?}")?;
        }
        if let Some(detail) = &inner.detail {
            write!(f, ": {detail}")?;
        }
        write!(f, " (stage: {}", inner.stage)?;
        if let Some(endpoint) = &inner.endpoint {
            write!(f, ", endpoint: {endpoint}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineError")
            .field("kind", &self.0.kind)
            .field("stage", &self.0.stage)
            .field("endpoint", &self.0.endpoint)
            .field("detail", &self.0.detail)
            .field("refusal", &self.0.refusal)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for EngineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// An error of the open connection's transport.
impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        let failed = Self::new(EngineErrorKind::Io, Stage::Open);
        #[cfg(feature = "rustls")]
        if let Some(tls) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            return failed.with_detail(format!("TLS says: {tls}")).with_source(error);
        }
        failed.with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_clause_and_the_source_is_apart() {
        let error = EngineError::from(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer"));
        assert_eq!(error.to_string(), "the transport failed (stage: open connection)");
        assert_eq!(error.source().expect("has a source").to_string(), "reset by peer");
    }

    #[test]
    fn a_refusal_keeps_the_answer_and_prints_no_values() {
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", "session=s3cret".parse().unwrap());
        let error = EngineError::refused(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            headers,
            Bytes::from_static(b"s3cret"),
        ));
        assert_eq!(error.kind(), EngineErrorKind::Refused(503));
        assert_eq!(error.refusal().unwrap().body, "s3cret");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn editing_a_shared_error_keeps_the_original_as_its_source() {
        let original = EngineError::from(io::Error::other("cause"));
        let edited = original.clone().with_detail("more");
        assert_eq!(edited.to_string(), "the transport failed: more (stage: open connection)");
        assert_eq!(edited.source().unwrap().to_string(), original.to_string());
    }
}
