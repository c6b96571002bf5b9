//! One attempt: credentials, request, dial; then the open connection and what is scoped to it.

use std::{
    any::Any,
    error::Error as StdError,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

use everwire_engine::{Connection as _, Engine, EngineError, EngineErrorKind, Stage};
use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::{
    Driver,
    renew::Renewing,
    span::{SpanStage, attempt_span, record_stage},
};
use crate::{
    Attempt, AttemptStage, AuthenticationError, AuthenticationErrorKind, core::Input, decode::EventDecoder,
    hooks::Lane,
};

/// What a dial yields.
pub(super) type Dialled<C> = Result<(C, Attempt), DialError>;

/// A dial under way.
pub(super) struct Dial<C> {
    future: BoxFuture<'static, Dialled<C>>,
    reached: Reached,
    told: AttemptStage,
}

impl<C> Dial<C> {
    /// What came of it; while nothing did, the stage that it has come to, if that is news.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<Dialled<C>, Option<AttemptStage>> {
        match self.future.poll_unpin(cx) {
            Poll::Ready(dialled) => Ok(dialled),
            Poll::Pending => {
                let stage = self.reached.stage();
                let news = std::mem::replace(&mut self.told, stage) != stage;
                Err(news.then_some(stage))
            }
        }
    }
}

/// How far a dial is: its future writes it, the driver reads it.
#[derive(Clone, Default)]
struct Reached(Arc<AtomicU8>);

impl Reached {
    const STAGES: [AttemptStage; 3] = [AttemptStage::Dial, AttemptStage::Credentials, AttemptStage::Request];

    fn to(&self, stage: AttemptStage) {
        let index = Self::STAGES.iter().position(|&known| known == stage).unwrap_or_default();
        self.0.store(index as u8, Relaxed);
    }

    fn stage(&self) -> AttemptStage {
        Self::STAGES[usize::from(self.0.load(Relaxed))]
    }
}

/// Why a dial failed.
pub(super) enum DialError {
    Authentication(AuthenticationError),
    Engine(EngineError),
}

/// The authentication: the hook's, or none, which is over at once.
pub(super) type Establishing = Option<BoxFuture<'static, Result<(), AuthenticationError>>>;

/// An open connection and what lives and dies with it.
pub(super) struct Connection<C> {
    pub(super) socket: C,
    pub(super) generation: u64,
    /// Until it is fully established; after that whoever needs it has it.
    pub(super) attempt: Option<Arc<Attempt>>,
    /// While there is a hook that may send.
    pub(super) lane: Option<Lane>,
    pub(super) establishing: Option<Establishing>,
    /// `resubscribe`, and until when queued messages wait for it.
    pub(super) resubscribing: Option<(BoxFuture<'static, ()>, Instant)>,
    pub(super) connected: Option<BoxFuture<'static, ()>>,
    /// Credentials that will expire.
    pub(super) renewing: Option<Box<Renewing>>,
    /// Writing failed; what has arrived is read before the connection counts as ended.
    pub(super) write_error: Option<EngineError>,
    /// The socket had nothing more at the last look.
    pub(super) read_dry: bool,
    /// Reading waits for the application.
    pub(super) paused: bool,
    /// Writing makes no progress, or has failed: what the pump's count was, and until when it may stay so.
    pub(super) stalled: Option<(u64, Instant)>,
}

impl<C> Connection<C> {
    pub(super) fn new(socket: C, attempt: Attempt) -> Self {
        Self {
            socket,
            generation: attempt.generation,
            attempt: Some(Arc::new(attempt)),
            lane: None,
            establishing: None,
            resubscribing: None,
            connected: None,
            renewing: None,
            write_error: None,
            read_dry: false,
            paused: false,
            stalled: None,
        }
    }

    pub(super) fn drop_hooks(&mut self) {
        self.establishing = None;
        self.resubscribing = None;
        self.connected = None;
        self.renewing = None;
        if let Some(lane) = &self.lane {
            lane.end();
        }
    }

    /// Releases everything; who still holds a handle to it learns that it is gone.
    pub(super) fn end(mut self) {
        self.drop_hooks();
    }
}

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    pub(super) fn dial(&mut self, generation: u64) {
        let attempt = Attempt::after(generation, self.cause, self.previous.clone());
        let (dial, span) = self.begin_dial(attempt);
        (self.dial, self.span) = (Some(dial), span);
    }

    /// The future of an attempt: credentials, request, dial.
    pub(super) fn begin_dial(&mut self, mut attempt: Attempt) -> (Dial<E::Connection>, tracing::Span) {
        attempt.credentials.clone_from(&self.credentials);
        let unspent = self.unspent.take().filter(|credentials| !credentials.is_expired());
        let span = attempt_span(&attempt);
        let engine = Arc::clone(&self.engine);
        let requests = Arc::clone(&self.settings.requests);
        let ask = self.settings.credentials.as_ref().map(|settings| Arc::clone(&settings.provider));
        let reached = Reached::default();
        let at = reached.clone();
        let dial = async move {
            let span = tracing::Span::current();
            if let Some(unspent) = unspent {
                attempt.credentials = Some(unspent);
            } else if let Some(ask) = ask {
                record_stage(&span, SpanStage::Credentials);
                at.to(AttemptStage::Credentials);
                let provided = AssertUnwindSafe(ask(attempt.clone())).catch_unwind().await;
                attempt.credentials = Some(match provided {
                    Ok(provided) => provided.map_err(DialError::Authentication)?,
                    Err(panic) => {
                        tracing::error!(panic = words(&*panic), "the credential provider panicked");
                        let error = AuthenticationError::new(AuthenticationErrorKind::Panicked);
                        return Err(DialError::Authentication(error));
                    }
                });
            }
            let opened = AssertUnwindSafe(async {
                record_stage(&span, SpanStage::Request);
                at.to(AttemptStage::Request);
                let request = requests.request_boxed(attempt.clone()).await.map_err(request_error)?;
                record_stage(&span, SpanStage::Engine);
                at.to(AttemptStage::Dial);
                engine.connect(request).await
            });
            match opened.catch_unwind().await {
                Ok(Ok(socket)) => Ok((socket, attempt)),
                Ok(Err(error)) => Err(DialError::Engine(error)),
                Err(panic) if at.stage() == AttemptStage::Request => {
                    tracing::error!(panic = words(&*panic), "the request provider panicked");
                    let what = "the request provider (`with_requests`) panicked; this is a bug in it";
                    let error =
                        EngineError::new(EngineErrorKind::NoRequest, Stage::Request).with_detail(what);
                    Err(DialError::Engine(error))
                }
                Err(panic) => {
                    tracing::error!(panic = words(&*panic), "the engine panicked");
                    let error = EngineError::new(EngineErrorKind::InvalidConfiguration, Stage::Attempt)
                        .with_detail("the engine panicked; this is a bug in it");
                    Err(DialError::Engine(error))
                }
            }
        };
        let future = Box::pin(dial.instrument(span.clone()));
        (Dial { future, reached, told: AttemptStage::Dial }, span)
    }

    pub(super) fn poll_dial(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(dial) = &mut self.dial else { return false };
        let generation = self.core.generation();
        let dialled = match dial.poll(cx) {
            Ok(dialled) => dialled,
            Err(news) => {
                if let Some(stage) = news {
                    self.tell(Input::Reached { generation, stage });
                }
                return false;
            }
        };
        self.dial = None;
        match dialled {
            Ok((socket, attempt)) => {
                let handshake = socket.handshake();
                let (local_addr, peer_addr) = (handshake.local_addr, handshake.peer_addr);
                self.credentials.clone_from(&attempt.credentials);
                self.connection = Some(Connection::new(socket, attempt));
                record_stage(&self.span, SpanStage::Authentication);
                self.tell(Input::Opened { generation, local_addr, peer_addr });
            }
            Err(DialError::Engine(error)) => {
                self.tell(Input::OpenFailed { generation, error });
            }
            Err(DialError::Authentication(error)) => {
                self.tell(Input::AuthenticationFailed { generation, error });
            }
        }
        true
    }
}

/// A provider's error: an engine's error speaks for itself, anything else means that there is nothing to dial.
fn request_error(error: Box<dyn StdError + Send + Sync>) -> EngineError {
    match error.downcast::<EngineError>() {
        Ok(error) => *error,
        Err(error) => EngineError::new(EngineErrorKind::NoRequest, Stage::Request)
            .with_detail("the request provider (`with_requests`) failed")
            .with_source(error),
    }
}

/// What a panic said, where it said it in words.
pub(super) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no words)")
}
