//! What outlives the server's process, as a database does, and what is known of the server's doings.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use everwire_client::reliable::{ReliableLimits, ReliableReceiver, ReliableSender};
use tokio::sync::mpsc;

use crate::{
    fault::{Order, Server},
    plan::ClientPlan,
    plant::Plant,
    told::Told,
};

/// What the server's sessions and the world share.
#[derive(Debug)]
pub(crate) struct Hall {
    pub(crate) conduct: Told<Conduct>,
    accounts: Mutex<BTreeMap<String, Account>>,
    pub(crate) plant: Plant,
}

/// How the server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conduct {
    pub(crate) refuse: Option<(u16, Option<u64>)>,
    pub(crate) slow_auth: Duration,
    pub(crate) mute_auth: bool,
    pub(crate) frozen: bool,
    pub(crate) close_after_auth: Option<u16>,
}

impl Conduct {
    pub(crate) const fn change(&mut self, server: Server) {
        match server {
            Server::Refuse(refuse) => self.refuse = refuse,
            Server::SlowAuth(slow) => self.slow_auth = slow,
            Server::MuteAuth(mute) => self.mute_auth = mute,
            Server::Frozen(frozen) => self.frozen = frozen,
            Server::CloseAfterAuth(code) => self.close_after_auth = code,
        }
    }
}

/// A client, as the server knows it.
#[derive(Debug)]
pub(crate) struct Account {
    /// The token that is good.
    pub(crate) token: u32,
    /// How many connections there were; the number of the latest one.
    pub(crate) connection: u64,
    /// The way to the session of the latest connection.
    pub(crate) orders: Option<mpsc::Sender<Order>>,
    pub(crate) up: ReliableReceiver<String>,
    pub(crate) down: ReliableSender<String>,
    /// How many posts for the client may be under way.
    pub(crate) window: u64,
    /// The client's posts, in the order in which they were taken.
    pub(crate) taken: Vec<String>,
    /// How many posts were made for the client.
    pub(crate) made: u64,
    /// Messages that nobody acknowledges: on which connection, and which.
    pub(crate) loose: Vec<(u64, u64)>,
    pub(crate) said: Said,
}

/// What the client was told, so that what recovery concludes from it can be judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) codes: BTreeSet<u16>,
    pub(crate) errors: BTreeSet<i64>,
    pub(crate) statuses: BTreeSet<u16>,
    pub(crate) spoilt: bool,
}

impl Account {
    fn new(window: u64) -> Self {
        Self {
            token: 0,
            window,
            connection: 0,
            orders: None,
            up: ReliableReceiver::new(ReliableLimits::default()),
            down: ReliableSender::new(ReliableLimits::default().with_messages(4096)),
            taken: Vec::new(),
            made: 0,
            loose: Vec::new(),
            said: Said::default(),
        }
    }

    /// The next post after `sent`, as far as the window allows.
    pub(crate) fn next_after(&self, sent: u64) -> Option<(u64, String)> {
        let first = self.down.sent() - self.down.len() as u64 + 1;
        let at = usize::try_from((sent + 1).saturating_sub(first)).ok()?;
        let (number, text) = self.down.unacked().nth(at)?;
        (number < first.saturating_add(self.window)).then(|| (number, text.clone()))
    }

    /// A post for the client; none when too many wait already.
    pub(crate) fn make_post(&mut self) -> Option<(u64, String)> {
        let text = format!("d{}", self.made + 1);
        let number = self.down.push(text.clone(), text.len()).ok()?;
        self.made += 1;
        Some((number, text))
    }
}

impl Hall {
    pub(crate) fn new<'a>(clients: impl Iterator<Item = &'a ClientPlan>, plant: Plant) -> Arc<Self> {
        let accounts = clients.map(|client| (client.name.clone(), Account::new(client.window)));
        Arc::new(Self { conduct: Told::default(), accounts: Mutex::new(accounts.collect()), plant })
    }

    /// Works on an account; `None` when there is no such client.
    pub(crate) fn account<R>(&self, name: &str, work: impl FnOnce(&mut Account) -> R) -> Option<R> {
        self.accounts().get_mut(name).map(work)
    }

    /// The token that is good now.
    pub(crate) fn token(&self, name: &str) -> u32 {
        self.account(name, |account| account.token).unwrap_or_default()
    }

    /// Gives an order to a client's session, if there is one that is not busy.
    pub(crate) fn order(&self, name: &str, order: Order) -> bool {
        let orders = self.account(name, |account| account.orders.clone()).flatten();
        orders.is_some_and(|orders| orders.try_send(order).is_ok())
    }

    /// No token is good any more, and who came with one is told.
    pub(crate) fn expire_tokens(&self) {
        let names: Vec<_> = self.accounts().keys().cloned().collect();
        for name in names {
            self.account(&name, |account| account.token += 1);
            self.order(&name, Order::Error(40, 401));
        }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
