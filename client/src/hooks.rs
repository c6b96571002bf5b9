//! What the client calls when a connection opens, and while it lives: `on_connection_established`, `resubscribe`,
//! `on_connected`, `on_credentials_renewed`.
//!
//! The hooks' futures run inside the driver and are dropped with their connection: work that a hook starts by
//! awaiting cannot outlive the connection it was started for.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use everwire_engine::Message;
use futures_core::future::BoxFuture;

use crate::{Attempt, AuthenticationError, Credentials, HealthCheckInfo, NotSentReason};

/// How many messages of a hook wait to leave.
pub(crate) const LANE: usize = 1024;

/// How many received messages wait for a hook that reads replies; beyond it the oldest go.
const REPLIES: usize = 64;

/// The lane between a hook and the driver. Messages of hooks go before everything that is queued.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane(Arc<Mutex<LaneState>>);

#[derive(Debug, Default)]
struct LaneState {
    outgoing: VecDeque<Message>,
    incoming: VecDeque<Message>,
    /// Whether the hook has asked for a reply; until then received messages are not kept for it.
    listening: bool,
    ended: bool,
    hook: Option<Waker>,
    driver: Option<Waker>,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        // A panic of a hook happens outside the lock; the state is whole in any case.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: Message) -> bool {
        if let Some(reason) = NotSentReason::against(&message) {
            tracing::warn!(%reason, "a message of a hook was refused");
            return false;
        }
        let mut state = self.lock();
        if state.ended || state.outgoing.len() == LANE {
            return false;
        }
        state.outgoing.push_back(message);
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
        true
    }

    async fn receive(&self) -> Option<Message> {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            state.listening = true;
            if let Some(message) = state.incoming.pop_front() {
                return Poll::Ready(Some(message));
            }
            if state.ended {
                return Poll::Ready(None);
            }
            state.hook = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Whether no hook is left that could send, nor anything that a hook has kept.
    pub(crate) fn is_forsaken(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The driver takes what the hook sends, at most so many, and is woken when there is more. Returns how many are left.
    pub(crate) fn drain(&self, driver: &Waker, most: usize, mut each: impl FnMut(Message)) -> usize {
        let mut state = self.lock();
        if !state.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            state.driver = Some(driver.clone());
        }
        let taken = most.min(state.outgoing.len());
        state.outgoing.drain(..taken).for_each(&mut each);
        state.outgoing.len()
    }

    /// The driver has received a message.
    pub(crate) fn deliver(&self, message: &Message) {
        let mut state = self.lock();
        if state.listening {
            if state.incoming.len() == REPLIES {
                state.incoming.pop_front();
                tracing::warn!("a hook does not read its replies; the oldest was dropped");
            }
            state.incoming.push_back(message.clone());
            if let Some(hook) = state.hook.take() {
                hook.wake();
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.outgoing.clear();
        if let Some(hook) = state.hook.take() {
            hook.wake();
        }
    }
}

/// What `on_connection_established` works with: the open socket, before anything else may use it. And what
/// `on_credentials_renewed` works with, over a connection that lives.
///
/// A clone that outlives its connection sends into nothing and receives `None`.
#[derive(Clone)]
pub struct HandshakeHandle {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) lane: Lane,
}

impl HandshakeHandle {
    /// Sends a message before everything that is queued. Messages sent here keep their order.
    ///
    /// `false` says that it will not be sent: the connection is gone, 1,024 messages wait already, or it is one that may
    /// not be sent, as [`Message::check`] says, or a close frame, which is the client's to send.
    pub fn send(&self, message: impl Into<Message>) -> bool {
        self.lane.send(message.into())
    }

    /// The next text or binary message that the server sends: the answer to a challenge, say. The message is
    /// decoded and delivered as an event all the same. `None` when the connection is gone.
    ///
    /// Messages that came before the first call of `receive` are not seen here. Cancel-safe.
    pub async fn receive(&self) -> Option<Message> {
        self.lane.receive().await
    }

    /// What is known of this attempt.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The credentials of this attempt, when the client has a provider.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.attempt.credentials.as_ref()
    }
}

impl fmt::Debug for HandshakeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeHandle").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// What `on_connected` and `resubscribe` work with: a fully established connection, and only this one.
#[derive(Clone, Debug)]
pub struct ConnectionScope {
    pub(crate) generation: u64,
    pub(crate) info: HealthCheckInfo,
    pub(crate) previous: Option<HealthCheckInfo>,
    pub(crate) lane: Lane,
}

impl ConnectionScope {
    /// Which attempt led to this connection.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What the first health check told.
    pub const fn info(&self) -> &HealthCheckInfo {
        &self.info
    }

    /// What the first health check of the connection before this one told: with its `connection_id` a server
    /// can say what was missed. `None` for the first connection.
    pub const fn previous(&self) -> Option<&HealthCheckInfo> {
        self.previous.as_ref()
    }

    /// Sends a message over this connection and no other, before everything that is queued.
    ///
    /// `false` says that it will not be sent: the connection is gone, 1,024 messages wait already, or it is one that may
    /// not be sent, as [`Message::check`] says, or a close frame, which is the client's to send.
    pub fn send(&self, message: impl Into<Message>) -> bool {
        self.lane.send(message.into())
    }
}

/// `on_connection_established`, and `on_credentials_renewed`.
pub(crate) type Authenticate =
    Arc<dyn Fn(HandshakeHandle) -> BoxFuture<'static, Result<(), AuthenticationError>> + Send + Sync>;

/// A hook of the user's by its name, whose errors may be of any type.
pub(crate) fn authenticate<F, Fut>(name: &'static str, hook: F) -> Authenticate
where
    F: Fn(HandshakeHandle) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    Arc::new(move |handle| {
        let outcome = hook(handle);
        Box::pin(async move { outcome.await.map_err(|error| AuthenticationError::from(error).of_hook(name)) })
    })
}

pub(crate) type OnConnected = Arc<dyn Fn(ConnectionScope) -> BoxFuture<'static, ()> + Send + Sync>;
