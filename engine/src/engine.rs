//! The box itself: the traits [`Engine`] and [`Connection`], and their closure and boxed forms.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::{Stream, future::BoxFuture};
use futures_sink::Sink;

use crate::{ConnectRequest, EngineError, Handshake, Message};

/// Opens connections. *Purely responsible for connecting and for carrying frames*: it never retries and
/// knows no application protocol.
///
/// # Contract
/// - The returned future is the whole attempt: name resolution, TCP, proxy, TLS, upgrade. It settles within
///   the engine's own deadlines.
/// - **Cancellation**: dropping the future, at any point, releases every socket it holds.
/// - **Errors** carry the stage that failed; a refused upgrade keeps the server's answer.
/// - `connect` may be called again at any time, also while an earlier attempt is under way; attempts do not
///   influence each other.
///
/// The contract is executable: `testing::conformance` (feature `testing`) runs it against any engine.
///
/// # Your own
/// ```
/// use everwire_engine::{ConnectRequest, Engine, EngineError, testing};
///
/// struct InMemory;
///
/// impl Engine for InMemory {
///     type Connection = testing::DuplexConnection;
///
///     async fn connect(&self, _request: ConnectRequest) -> Result<Self::Connection, EngineError> {
///         let (ours, _theirs) = testing::duplex();
///         Ok(ours)
///     }
/// }
/// ```
pub trait Engine: Send + Sync + 'static {
    /// What a successful attempt yields.
    type Connection: Connection;

    /// One attempt to open a connection.
    fn connect(
        &self,
        request: ConnectRequest,
    ) -> impl Future<Output = Result<Self::Connection, EngineError>> + Send;
}

/// An open connection: a stream of received messages and a sink of messages to send.
///
/// # Contract
/// - **Reading** is cancel-safe: a `poll_next` that returned `Pending` has consumed nothing.
/// - A received [`Message::Close`] is the last item; `None` follows. An error, too, is the last item.
/// - **Closing** with a code is sending [`Message::Close`] and reading until `None`; who needs a bound on the
///   time it takes drops the connection when the bound has passed.
/// - What may not be sent, as [`Message::check`] says, is refused by `start_send`, and the connection stays. So does one
///   that takes no message of that size: [`InvalidRequest`](crate::EngineErrorKind::InvalidRequest) and
///   [`TooLarge`](crate::EngineErrorKind::TooLarge) of `start_send` are for that message alone, of which nothing was
///   sent. Any other error is the end.
/// - Protocol pings are answered by the connection; the application sees them for information only.
/// - **Flushing**: a message is on its way when `poll_flush` returns `Ready(Ok)` after its `start_send`.
///   Once the connection has ended, it returns an error while anything is unflushed.
/// - **Dropping** releases the socket at once.
pub trait Connection:
    Stream<Item = Result<Message, EngineError>> + Sink<Message, Error = EngineError> + Send + Unpin + 'static
{
    /// What was agreed when the connection was opened.
    fn handshake(&self) -> &Handshake;
}

impl<E: Engine> Engine for Arc<E> {
    type Connection = E::Connection;

    fn connect(
        &self,
        request: ConnectRequest,
    ) -> impl Future<Output = Result<Self::Connection, EngineError>> + Send {
        E::connect(self, request)
    }
}

/// An engine from a closure.
///
/// ```
/// use everwire_engine::{engine_fn, testing};
/// let engine = engine_fn(|_request| async { Ok(testing::duplex().0) });
/// # fn is_engine(_: impl everwire_engine::Engine) {}
/// # is_engine(engine);
/// ```
pub fn engine_fn<F, Fut, C>(connect: F) -> EngineFn<F>
where
    F: Fn(ConnectRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C, EngineError>> + Send,
    C: Connection,
{
    EngineFn(connect)
}

/// See [`engine_fn`].
#[derive(Clone, Copy)]
pub struct EngineFn<F>(F);

impl<F, Fut, C> Engine for EngineFn<F>
where
    F: Fn(ConnectRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C, EngineError>> + Send,
    C: Connection,
{
    type Connection = C;

    fn connect(&self, request: ConnectRequest) -> impl Future<Output = Result<C, EngineError>> + Send {
        (self.0)(request)
    }
}

impl<F> fmt::Debug for EngineFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineFn").finish_non_exhaustive()
    }
}

/// An engine of any kind, for programs that choose at run time. Costs one allocation per connection and a
/// virtual call per message.
#[derive(Clone)]
pub struct BoxEngine(Arc<dyn ErasedEngine>);

impl BoxEngine {
    /// Boxes an engine.
    pub fn new(engine: impl Engine) -> Self {
        Self(Arc::new(engine))
    }
}

impl Engine for BoxEngine {
    type Connection = BoxConnection;

    fn connect(
        &self,
        request: ConnectRequest,
    ) -> impl Future<Output = Result<BoxConnection, EngineError>> + Send {
        self.0.connect_boxed(request)
    }
}

impl fmt::Debug for BoxEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxEngine").finish_non_exhaustive()
    }
}

/// A connection of any kind; see [`BoxEngine`].
pub struct BoxConnection(Pin<Box<dyn Connection>>);

impl BoxConnection {
    /// Boxes a connection.
    pub fn new(connection: impl Connection) -> Self {
        Self(Box::pin(connection))
    }
}

impl Connection for BoxConnection {
    fn handshake(&self) -> &Handshake {
        self.0.handshake()
    }
}

impl Stream for BoxConnection {
    type Item = Result<Message, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Sink<Message> for BoxConnection {
    type Error = EngineError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.0.as_mut().poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), EngineError> {
        self.0.as_mut().start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.0.as_mut().poll_close(cx)
    }
}

impl fmt::Debug for BoxConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxConnection").field(self.0.handshake()).finish()
    }
}

/// The object-safe form behind [`BoxEngine`].
trait ErasedEngine: Send + Sync {
    fn connect_boxed(&self, request: ConnectRequest) -> BoxFuture<'_, Result<BoxConnection, EngineError>>;
}

impl<E: Engine> ErasedEngine for E {
    fn connect_boxed(&self, request: ConnectRequest) -> BoxFuture<'_, Result<BoxConnection, EngineError>> {
        Box::pin(async move { self.connect(request).await.map(BoxConnection::new) })
    }
}

const _: () = {
    const fn promises<T: Send + Unpin + 'static>() {}
    promises::<BoxEngine>();
    promises::<BoxConnection>();
};
