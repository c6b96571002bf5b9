//! An engine that plays a script.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{DuplexConnection, duplex_with};
use crate::{ConnectRequest, Engine, EngineError, EngineErrorKind, Handshake, Stage};

/// What a [`ScriptedEngine`] does with one attempt.
#[derive(Clone, Debug)]
pub struct Step {
    delay: Option<Duration>,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    Accept(Handshake),
    Fail(EngineError),
    Hang,
}

impl Step {
    /// The attempt succeeds; the server's end waits in [`ScriptedEngine::next_connection`].
    pub fn accept() -> Self {
        Self::accept_with(Handshake::default())
    }

    /// Like [`accept`](Self::accept), reporting this handshake.
    pub const fn accept_with(handshake: Handshake) -> Self {
        Self { delay: None, outcome: Outcome::Accept(handshake) }
    }

    /// The attempt fails: with a whole [`EngineError`], or with a kind at the stage where that kind is at
    /// home.
    pub fn fail(error: impl Into<ScriptedFailure>) -> Self {
        Self { delay: None, outcome: Outcome::Fail(error.into().0) }
    }

    /// The attempt neither succeeds nor fails, until its future is dropped.
    pub const fn hang() -> Self {
        Self { delay: None, outcome: Outcome::Hang }
    }

    /// The same, after a time (tokio's clock, so it obeys paused time).
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }
}

/// What [`Step::fail`] takes: an [`EngineError`] or an [`EngineErrorKind`].
#[derive(Debug)]
pub struct ScriptedFailure(EngineError);

impl From<EngineError> for ScriptedFailure {
    fn from(error: EngineError) -> Self {
        Self(error)
    }
}

impl From<EngineErrorKind> for ScriptedFailure {
    fn from(kind: EngineErrorKind) -> Self {
        let stage = match kind {
            EngineErrorKind::InvalidRequest | EngineErrorKind::InvalidConfiguration => Stage::Request,
            EngineErrorKind::Resolve => Stage::Resolve,
            EngineErrorKind::Connect => Stage::Connect,
            EngineErrorKind::Proxy | EngineErrorKind::ProxyAuthentication => Stage::Proxy,
            EngineErrorKind::Tls | EngineErrorKind::Certificate(_) => Stage::Tls,
            EngineErrorKind::Upgrade | EngineErrorKind::Refused(_) => Stage::Upgrade,
            EngineErrorKind::Timeout => Stage::Attempt,
            _ => Stage::Open,
        };
        Self(EngineError::new(kind, stage))
    }
}

/// An engine that plays a script: one [`Step`] per attempt, in order; after the last one it does what
/// [`otherwise`](Self::otherwise) says, by default accepting.
///
/// Clones share everything, so a test keeps one and gives the other to the code under test.
#[derive(Clone)]
pub struct ScriptedEngine(Arc<Shared>);

struct Shared {
    script: Mutex<Script>,
    arrived: Notify,
    dialling: Arc<AtomicUsize>,
    live: Arc<AtomicUsize>,
}

struct Script {
    steps: VecDeque<Step>,
    otherwise: Step,
    capacity: usize,
    requests: Vec<ConnectRequest>,
    accepted: VecDeque<DuplexConnection>,
    most_live: usize,
}

impl ScriptedEngine {
    /// An engine with this script.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(Arc::new(Shared {
            script: Mutex::new(Script {
                steps: steps.into_iter().collect(),
                otherwise: Step::accept(),
                capacity: 64,
                requests: Vec::new(),
                accepted: VecDeque::new(),
                most_live: 0,
            }),
            arrived: Notify::new(),
            dialling: Arc::default(),
            live: Arc::default(),
        }))
    }

    /// What every attempt after the end of the script meets.
    pub fn otherwise(self, step: Step) -> Self {
        self.lock().otherwise = step;
        self
    }

    /// Room for so many messages in each direction of the connections (default 64).
    pub fn capacity(self, messages: usize) -> Self {
        self.lock().capacity = messages;
        self
    }

    /// One more step at the end of the script.
    pub fn push(&self, step: Step) {
        self.lock().steps.push_back(step);
    }

    /// The server's end of the next accepted attempt, in the order of acceptance; waits for it.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn next_connection(&self) -> DuplexConnection {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some(connection) = self.lock().accepted.pop_front() {
                return connection;
            }
            arrived.await;
        }
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> usize {
        self.lock().requests.len()
    }

    /// The requests of all attempts so far.
    pub fn requests(&self) -> Vec<ConnectRequest> {
        self.lock().requests.clone()
    }

    /// How many attempts are under way: polled at least once, neither settled nor dropped.
    pub fn dialling(&self) -> usize {
        self.0.dialling.load(Ordering::Acquire)
    }

    /// How many connections the code under test holds at this moment.
    pub fn live_connections(&self) -> usize {
        self.0.live.load(Ordering::Acquire)
    }

    /// The most connections that it held at the same time.
    pub fn most_live_connections(&self) -> usize {
        self.lock().most_live
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ScriptedEngine {
    /// Accepts every attempt.
    fn default() -> Self {
        Self::new([])
    }
}

impl Engine for ScriptedEngine {
    type Connection = DuplexConnection;

    async fn connect(&self, request: ConnectRequest) -> Result<DuplexConnection, EngineError> {
        let step = {
            let mut script = self.lock();
            script.requests.push(request);
            script.steps.pop_front().unwrap_or_else(|| script.otherwise.clone())
        };
        let _dialling = LiveGuard::new(&self.0.dialling);
        if let Some(delay) = step.delay {
            tokio::time::sleep(delay).await;
        }
        match step.outcome {
            Outcome::Fail(error) => Err(error),
            Outcome::Hang => std::future::pending().await,
            Outcome::Accept(handshake) => {
                let mut script = self.lock();
                let (ours, theirs) = duplex_with(script.capacity, handshake);
                let ours = ours.with_guard(LiveGuard::new(&self.0.live));
                script.most_live = script.most_live.max(self.live_connections());
                script.accepted.push_back(theirs);
                drop(script);
                self.0.arrived.notify_waiters();
                Ok(ours)
            }
        }
    }
}

impl fmt::Debug for ScriptedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedEngine")
            .field("attempts", &self.attempts())
            .field("live_connections", &self.live_connections())
            .finish_non_exhaustive()
    }
}

/// Counts as one until it is dropped.
pub(super) struct LiveGuard(Arc<AtomicUsize>);

impl LiveGuard {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(counter))
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests read the paused clock")]
mod tests {
    use super::*;

    fn request() -> ConnectRequest {
        ConnectRequest::new("ws://h/").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_script_is_played_in_order_then_the_rest_is_accepted() {
        let engine = ScriptedEngine::new([
            Step::fail(EngineErrorKind::Refused(503)),
            Step::fail(EngineError::timeout(Stage::Tls, Duration::from_secs(5)))
                .after(Duration::from_secs(5)),
        ]);
        let error = engine.connect(request()).await.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Refused(503), Stage::Upgrade));
        let before = tokio::time::Instant::now();
        assert_eq!(engine.connect(request()).await.unwrap_err().stage(), Stage::Tls);
        assert_eq!(before.elapsed(), Duration::from_secs(5));
        let ours = engine.connect(request()).await.unwrap();
        assert_eq!((engine.attempts(), engine.live_connections()), (3, 1));
        let server = engine.next_connection().await;
        drop(ours);
        assert!(server.is_peer_gone());
        assert_eq!((engine.live_connections(), engine.most_live_connections()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_attempt_ends_when_it_is_dropped() {
        let engine = ScriptedEngine::new([Step::hang()]);
        let attempt = tokio::time::timeout(Duration::from_secs(3600), engine.connect(request()));
        let (outcome, seen) = tokio::join!(attempt, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            engine.dialling()
        });
        assert!(outcome.is_err());
        assert_eq!((seen, engine.dialling()), (1, 0));
    }

    #[tokio::test]
    async fn next_connection_waits_for_an_attempt() {
        let engine = ScriptedEngine::default();
        let waiting = engine.clone();
        let server = tokio::spawn(async move { waiting.next_connection().await });
        tokio::task::yield_now().await;
        let mut ours = engine.connect(request()).await.unwrap();
        server.await.unwrap().send("welcome").await.unwrap();
        assert_eq!(ours.recv_text().await, "welcome");
    }
}
