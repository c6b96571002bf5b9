//! What can be set on the tungstenite engine.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    TungsteniteEngine,
    connector::ErasedConnector,
    proxy::{Environment, Proxy, ProxyChoice},
    resolve::{ErasedResolver, Resolver, SystemResolver},
    socket::SocketOptions,
};
use crate::{
    EngineError, EngineErrorKind, Stage,
    frames::{Deflate, FLOOD, FrameConfig, SMALL},
};

/// How long each stage of an attempt may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) resolve: Duration,
    pub(crate) connect: Duration,
    pub(crate) proxy: Duration,
    pub(crate) tls: Duration,
    pub(crate) upgrade: Duration,
    pub(crate) attempt: Duration,
}

/// The checked configuration.
pub(crate) struct Config {
    pub(crate) deadlines: Deadlines,
    pub(crate) resolver: Box<dyn ErasedResolver>,
    pub(crate) stagger: Duration,
    pub(crate) redirects: usize,
    pub(crate) proxy: ProxyChoice,
    /// In the place of resolver, proxy and socket options.
    pub(crate) connector: Option<Box<dyn ErasedConnector>>,
    pub(crate) socket: SocketOptions,
    pub(crate) frames: FrameConfig,
    /// What is offered to the server; `None` without the feature.
    pub(crate) deflate: Option<Deflate>,
    /// What the machine refused matters only to those who ask for TLS.
    #[cfg(feature = "rustls")]
    pub(crate) tls: Result<Arc<rustls::ClientConfig>, EngineError>,
}

/// Sets up a [`TungsteniteEngine`]. Every value has a default that suits a chat-like client; a value that
/// cannot work is refused by [`build`](Self::build).
///
/// ```
/// use std::time::Duration;
/// use everwire_engine::TungsteniteEngine;
///
/// let engine = TungsteniteEngine::builder()
///     .attempt_timeout(Duration::from_secs(8))
///     .max_message_size(1 << 20)
///     .build()?;
/// # let _ = engine;
/// assert!(TungsteniteEngine::builder().tls_timeout(Duration::ZERO).build().is_err());
/// # Ok::<(), everwire_engine::EngineError>(())
/// ```
pub struct TungsteniteEngineBuilder {
    deadlines: Deadlines,
    resolver: Box<dyn ErasedResolver>,
    stagger: Duration,
    pub(super) redirects: usize,
    proxy: ProxyChoice,
    pub(super) connector: Option<Box<dyn ErasedConnector>>,
    pub(super) socket: SocketOptions,
    frames: FrameConfig,
    deflate: Option<Deflate>,
    #[cfg(feature = "rustls")]
    pub(super) tls: super::tls_options::TlsOptions,
    /// The first thing that was wrong, told when built.
    pub(super) error: Option<EngineError>,
}

impl Default for TungsteniteEngineBuilder {
    fn default() -> Self {
        let stage = Duration::from_secs(5);
        Self {
            deadlines: Deadlines {
                resolve: stage,
                connect: stage,
                proxy: stage,
                tls: stage,
                upgrade: stage,
                attempt: Duration::from_secs(15),
            },
            resolver: Box::new(SystemResolver),
            stagger: Duration::from_millis(250),
            redirects: 0,
            proxy: ProxyChoice::None,
            connector: None,
            socket: SocketOptions::default(),
            frames: FrameConfig {
                small_read_buffer: SMALL,
                read_buffer: 16 << 10,
                flood_read_buffer: FLOOD,
                write_buffer: 16 << 10,
                max_frame: 16 << 20,
                max_message: 64 << 20,
            },
            deflate: None,
            #[cfg(feature = "rustls")]
            tls: super::tls_options::TlsOptions::default(),
            error: None,
        }
    }
}

impl TungsteniteEngineBuilder {
    /// How long the resolution of a name may take (default 5 s).
    pub const fn resolve_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.resolve = timeout;
        self
    }

    /// How long one address may take to accept TCP (default 5 s).
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.connect = timeout;
        self
    }

    /// How long the tunnel through a proxy may take, once the proxy has accepted TCP (default 5 s).
    pub const fn proxy_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.proxy = timeout;
        self
    }

    /// How long the TLS handshake may take (default 5 s).
    pub const fn tls_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.tls = timeout;
        self
    }

    /// How long the HTTP upgrade may take (default 5 s).
    pub const fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.upgrade = timeout;
        self
    }

    /// How long an attempt may take as a whole (default 15 s).
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.attempt = timeout;
        self
    }

    /// Resolves names in this way (default: [`SystemResolver`]).
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Box::new(resolver);
        self
    }

    /// How long an address has the field to itself before the next one is tried beside it (default 250 ms,
    /// [RFC 8305 §5](https://www.rfc-editor.org/rfc/rfc8305#section-5)).
    pub const fn stagger(mut self, delay: Duration) -> Self {
        self.stagger = delay;
        self
    }

    /// Connects through this proxy, always (default: no proxy, whatever the environment says).
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = ProxyChoice::Always(proxy);
        self
    }

    /// Connects through the proxy that the environment names, which is read now: `HTTPS_PROXY` for `wss://`,
    /// `HTTP_PROXY` for `ws://`, `ALL_PROXY` for what these leave open. Lower case comes before upper case, a
    /// value without a scheme is an HTTP proxy, and under CGI (`REQUEST_METHOD` is set) only the lower-case
    /// `http_proxy` counts.
    ///
    /// `NO_PROXY` lists who is reached directly, parted by commas or spaces: a domain, with all below it and
    /// with or without a dot before it; an address; a network such as `10.0.0.0/8`; or `*` for everybody.
    /// Names are compared as they are written, and are not resolved.
    ///
    /// A value that cannot be used fails the attempts that need it, with
    /// [`EngineErrorKind::InvalidConfiguration`] and the name of the variable.
    pub fn proxy_from_environment(mut self) -> Self {
        self.proxy = ProxyChoice::Environment(Environment::read(|name| std::env::var(name).ok()));
        self
    }

    /// The read buffer of a connection in bytes, while much comes (default 16 KiB, and 128 KiB once 128 KiB have come
    /// without a pause; a size that is set is that of a flood too). While little does, it is 2 KiB, or less where this is
    /// less. While frames of 64 KiB and more come it is 128 KiB at least, and while the application keeps its messages as
    /// fast as they come, there may be 32 KiB more.
    pub const fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.frames.read_buffer = bytes;
        self.frames.flood_read_buffer = bytes;
        self
    }

    /// So many bytes of sent messages are gathered before they are written without being flushed (default
    /// 16 KiB).
    pub const fn write_buffer_size(mut self, bytes: usize) -> Self {
        self.frames.write_buffer = bytes;
        self
    }

    /// Buffers of 128 KiB: for few connections that receive a great deal.
    pub const fn firehose(self) -> Self {
        self.read_buffer_size(128 << 10).write_buffer_size(128 << 10)
    }

    /// Buffers of at most 4 KiB, and a read buffer of 256 bytes while hardly more than pongs comes: for thousands of
    /// connections that are mostly quiet. Costs speed under load: every read brings less.
    pub const fn many_idle(mut self) -> Self {
        self.frames.small_read_buffer = 256;
        self.read_buffer_size(4 << 10).write_buffer_size(4 << 10)
    }

    /// The largest frame that is received, in bytes of payload (default 16 MiB).
    pub const fn max_frame_size(mut self, bytes: usize) -> Self {
        self.frames.max_frame = bytes;
        self
    }

    /// The largest message that is received, all fragments together (default 64 MiB).
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.frames.max_message = bytes;
        self
    }

    /// Offers to compress messages in this way (default: no offer, and no cost). A server that declines is spoken to
    /// without; one whose answer does not fit the offer fails the attempt with [`EngineErrorKind::Upgrade`].
    #[cfg(feature = "deflate")]
    pub const fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidConfiguration`], naming the value. Missing certificates of the *system* are
    /// an error only of the attempts that need them.
    pub fn build(self) -> Result<TungsteniteEngine, EngineError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let d = &self.deadlines;
        for (name, timeout) in [
            ("resolve_timeout", d.resolve),
            ("connect_timeout", d.connect),
            ("proxy_timeout", d.proxy),
            ("tls_timeout", d.tls),
            ("upgrade_timeout", d.upgrade),
            ("attempt_timeout", d.attempt),
            ("stagger", self.stagger),
        ] {
            if timeout.is_zero() {
                return Err(invalid(format!("{name} is zero")));
            }
        }
        for (name, size) in [
            ("read_buffer_size", self.frames.read_buffer),
            ("max_frame_size", self.frames.max_frame),
            ("max_message_size", self.frames.max_message),
        ] {
            if size == 0 {
                return Err(invalid(format!("{name} is zero")));
            }
        }
        for (name, is_set) in [
            ("a proxy", !matches!(self.proxy, ProxyChoice::None)),
            ("bind_address", self.socket.bind.is_some()),
            ("bind_interface", self.socket.interface.is_some()),
        ] {
            if is_set && self.connector.is_some() {
                let words =
                    format!("{name} has no effect beside a connector or a Unix socket: leave one out");
                return Err(invalid(words));
            }
        }
        if let Some(deflate) = &self.deflate {
            deflate.check().map_err(invalid)?;
        }
        Ok(TungsteniteEngine(Arc::new(Config {
            deadlines: self.deadlines,
            resolver: self.resolver,
            stagger: self.stagger,
            redirects: self.redirects,
            proxy: self.proxy,
            connector: self.connector,
            socket: self.socket,
            frames: self.frames,
            deflate: self.deflate,
            #[cfg(feature = "rustls")]
            tls: self.tls.build()?,
        })))
    }
}

impl fmt::Debug for TungsteniteEngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TungsteniteEngineBuilder")
            .field("deadlines", &self.deadlines)
            .field("stagger", &self.stagger)
            .field("redirects", &self.redirects)
            .field("proxy", &self.proxy)
            .field("connector", &self.connector.is_some())
            .field("socket", &self.socket)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

pub(super) fn invalid(detail: String) -> EngineError {
    EngineError::new(EngineErrorKind::InvalidConfiguration, Stage::Request).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_readme_has_the_stages_and_the_defaults() {
        let defaults = TungsteniteEngineBuilder::default().deadlines;
        let rows: Vec<Vec<&str>> = include_str!("../../README.md")
            .lines()
            .filter(|line| line.contains("_timeout`"))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let expected = [
            (Stage::Resolve, defaults.resolve, "`resolve_timeout`"),
            (Stage::Connect, defaults.connect, "`connect_timeout`"),
            (Stage::Proxy, defaults.proxy, "`proxy_timeout`"),
            (Stage::Tls, defaults.tls, "`tls_timeout`"),
            (Stage::Upgrade, defaults.upgrade, "`upgrade_timeout`"),
            (Stage::Attempt, defaults.attempt, "`attempt_timeout`"),
        ];
        assert_eq!(rows.len(), expected.len());
        for (row, (stage, deadline, setter)) in rows.iter().zip(expected) {
            assert_eq!(row[1..4], [stage.to_string(), format!("{deadline:?}"), setter.to_owned()]);
        }
    }

    #[test]
    fn a_value_that_cannot_work_is_refused_by_name() {
        let zero = Duration::ZERO;
        for (builder, name) in [
            (TungsteniteEngine::builder().resolve_timeout(zero), "resolve_timeout"),
            (TungsteniteEngine::builder().attempt_timeout(zero), "attempt_timeout"),
            (TungsteniteEngine::builder().stagger(zero), "stagger"),
            (TungsteniteEngine::builder().max_message_size(0), "max_message_size"),
        ] {
            let error = builder.build().expect_err(name);
            assert_eq!(error.kind(), EngineErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
