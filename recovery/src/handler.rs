//! The handle and its builder.

use std::{fmt, sync::Arc};

use everwire_netmon::{LifecycleMonitor, NetworkMonitor};
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;

use crate::{
    Decide, Decision, DecisionTable, InvalidConfig, Notice, ReconnectionPolicy, RecoverableClient,
    RecoveryCore, RecoveryOptions, RecoveryStatus, RetryStrategy, Rng, decision, default_policy,
    driver::{self, Hints, Links, Told},
    strategy,
};

/// Manages the reconnection of one client, for all cases: create it beside the client and keep it.
///
/// A cheap handle: clone it freely. The task behind it ends when the last clone is dropped, or when the client
/// is gone; until then it watches the client's snapshots, the network and the application's place, and asks
/// the client to connect, to probe or to disconnect. It never connects against the user's wish.
///
/// The first connection is the user's own: `client.connect()`. See [`RecoverableClient`] for what a client
/// must be.
///
/// Bind it to a name, as `let _recovery = …`: `let _ = …` drops it at once, and nothing reconnects any more.
#[derive(Clone, Debug)]
#[must_use = "recovery ends when its last handle is dropped: keep it as long as the client"]
pub struct ConnectionRecoveryHandler {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    links: Arc<Links>,
    task: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ConnectionRecoveryHandler {
    /// Recovers `client` with all defaults, and without a network monitor.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new<C: RecoverableClient>(client: C) -> Self {
        Self::builder(client).spawn().expect("the defaults are valid")
    }

    /// Recovers `client`, with what you replace.
    pub fn builder<C: RecoverableClient>(client: C) -> RecoveryBuilder<C> {
        RecoveryBuilder {
            client,
            network: Box::pin(stream::pending()),
            lifecycle: Box::pin(stream::pending()),
            strategy: Box::new(strategy::Usual),
            added: Vec::new(),
            replaced: None,
            decide: None,
            table: None,
            options: RecoveryOptions::usual(),
            seed: None,
        }
    }

    /// Every decision from now on; the first call begins with what was decided since the start. A reader who
    /// falls more than 32 decisions behind misses the oldest. Ends when recovery does.
    pub fn decisions(&self) -> impl Stream<Item = Decision> + Send + Unpin + 'static {
        self.inner.links.decisions.subscribe()
    }

    /// Every notice from now on, as [`decisions`](Self::decisions).
    pub fn notices(&self) -> impl Stream<Item = Notice> + Send + Unpin + 'static {
        self.inner.links.notices.subscribe()
    }

    /// What recovery is doing. After a stop, it says why until something starts again.
    pub fn status(&self) -> RecoveryStatus {
        self.inner.links.status()
    }

    /// Makes the attempt that is due at once, for a user who presses "retry": the ladder starts again, the
    /// limits, a stop and being offline give way, and a [`RetryBudget`](crate::RetryBudget) gives no token for it.
    /// Does nothing while the client is connected or connecting, and nothing after a `disconnect` by the user: connect
    /// the client itself then.
    pub fn retry_now(&self) {
        self.inner.links.retry_now.ring();
    }
}

/// Builds a [`ConnectionRecoveryHandler`].
pub struct RecoveryBuilder<C> {
    client: C,
    network: Hints<everwire_netmon::NetworkStatus>,
    lifecycle: Hints<everwire_netmon::Lifecycle>,
    strategy: Box<dyn RetryStrategy>,
    added: Vec<Box<dyn ReconnectionPolicy>>,
    replaced: Option<Box<dyn ReconnectionPolicy>>,
    decide: Option<Box<dyn Decide>>,
    table: Option<DecisionTable>,
    options: Arc<RecoveryOptions>,
    seed: Option<u64>,
}

impl<C: RecoverableClient> RecoveryBuilder<C> {
    /// What is known of the network. Default: nothing.
    pub fn monitor(mut self, monitor: impl NetworkMonitor) -> Self {
        self.network = Box::pin(monitor.chain(stream::pending()));
        self
    }

    /// What is known of the application's place, foreground or background. Default: nothing.
    pub fn lifecycle(mut self, lifecycle: impl LifecycleMonitor) -> Self {
        self.lifecycle = Box::pin(lifecycle.chain(stream::pending()));
        self
    }

    /// The formula of the ladder. Default: [`Exponential::full`](crate::Exponential::full).
    pub fn strategy(mut self, strategy: impl RetryStrategy) -> Self {
        self.strategy = Box::new(strategy);
        self
    }

    /// Adds a policy to those that hold already: all must allow. Those of the start are the user's wish, the
    /// network and the application's place; there is no limit of attempts or time among them.
    pub fn policy(mut self, policy: impl ReconnectionPolicy) -> Self {
        self.added.push(Box::new(policy));
        self
    }

    /// Replaces the policies of the start. The user's wish holds all the same.
    pub fn only_policy(mut self, policy: impl ReconnectionPolicy) -> Self {
        self.replaced = Some(Box::new(policy));
        self
    }

    /// Whether the first attempt ever is retried when it fails. Default: yes. A short way to
    /// [`DecisionTable::retry_initial`]; without effect on a table that is given with [`decide`](Self::decide).
    pub fn retry_initial(mut self, retry_initial: bool) -> Self {
        self.table = Some(self.table.unwrap_or_default().retry_initial(retry_initial));
        self
    }

    /// What follows from the end of a connection. Default: [`DecisionTable::default`].
    pub fn decide(mut self, decide: impl Decide) -> Self {
        self.decide = Some(Box::new(decide));
        self
    }

    /// All other durations and switches. Those that many clients have in common are best given as one [`Arc`]: each client
    /// holds a copy of its own otherwise.
    pub fn options(mut self, options: impl Into<Arc<RecoveryOptions>>) -> Self {
        self.options = options.into();
        self
    }

    /// Same seed, same delays. Default: different ones in every handler.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When a duration, the strategy or a policy cannot work as configured; names the field.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(self) -> Result<ConnectionRecoveryHandler, InvalidConfig> {
        self.options.validate()?;
        self.strategy.validate()?;
        let start = self.replaced.unwrap_or_else(|| default_policy(&self.options));
        let policy = self
            .added
            .into_iter()
            .fold(start, |policy, added| Box::new(policy.and(added)) as Box<dyn ReconnectionPolicy>);
        policy.validate()?;
        let rng = self.seed.map_or_else(Rng::from_entropy, Rng::seeded);
        let decide = self.decide.unwrap_or_else(|| match self.table {
            Some(table) => Box::new(table),
            None => Box::new(decision::Usual),
        });
        let core = RecoveryCore::with(self.options, decide, self.strategy, policy, rng);

        let links = Arc::new(Links::new());
        let task = tokio::spawn(driver::run(
            self.client.into_background(),
            core,
            self.network,
            self.lifecycle,
            Told(Arc::clone(&links)),
        ));
        let inner = Inner { links, task };
        Ok(ConnectionRecoveryHandler { inner: Arc::new(inner) })
    }
}

impl<C> fmt::Debug for RecoveryBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryBuilder")
            .field("strategy", &self.strategy)
            .field("options", &self.options)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
