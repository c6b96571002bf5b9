//! What was seen of one client, and whether it is as promised.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use everwire_client::{NotSentReason, SendOutcome};

use crate::{hall::Account, wire::Sockets};

/// Everything that is known of a client; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Mutex<Page>>, Sockets);

#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Messages that nobody acknowledges, by their ids from 0.
    pub(crate) loose: Vec<Loose>,
    /// How many posts the client made.
    pub(crate) made: u64,
    /// The server's posts, in the order in which they were taken.
    pub(crate) taken: Vec<String>,
    /// How often a connection was fully established.
    pub(crate) connections: u64,
    /// When everything was whole again, after the last repair.
    pub(crate) whole_after: Option<Duration>,
    violations: Vec<String>,
}

/// A message that nobody acknowledges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loose {
    /// Whether it may be sent again.
    pub(crate) idempotent: bool,
    pub(crate) outcome: Option<SendOutcome>,
}

impl Loose {
    /// One that was never given to the client.
    pub(crate) const WITHDRAWN: SendOutcome = SendOutcome::NotSent(NotSentReason::Full);
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(Arc::default(), Sockets::default())
    }

    pub(crate) fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn sockets(&self) -> &Sockets {
        &self.1
    }

    /// Something is not as promised.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::error!(violation = what);
        self.page().violations.push(what);
    }

    /// Everything that is not as promised, now that client and server are done.
    pub(crate) fn judge(&self, account: &Account) -> Vec<String> {
        let page = self.page();
        let mut found = page.violations.clone();
        if self.1.most() > 1 {
            found.push(format!("{} sockets at once", self.1.most()));
        }
        found.extend(in_order("the client's posts", 'u', page.made, &account.taken));
        found.extend(in_order("the server's posts", 'd', account.made, &page.taken));
        found.extend(judge_loose(&page.loose, &account.loose));
        found
    }
}

/// Each once, and in order: `u1`, `u2` and so on.
fn in_order(whose: &str, letter: char, made: u64, taken: &[String]) -> Option<String> {
    if taken.len() as u64 != made {
        return Some(format!("{} of {whose} were taken, and {made} were made", taken.len()));
    }
    let right = (1..).map(|number| format!("{letter}{number}"));
    let wrong = taken.iter().zip(right).find(|(taken, right)| *taken != right);
    wrong.map(|(taken, right)| format!("{whose}: {taken} was taken instead of {right}"))
}

/// Each message has one outcome, and it is true; on each connection they came in order.
fn judge_loose(sent: &[Loose], heard: &[(u64, u64)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut times = vec![0_u32; sent.len()];
    let mut last = None;
    for &(connection, id) in heard {
        match usize::try_from(id).ok().and_then(|at| times.get_mut(at)) {
            Some(times) => *times += 1,
            None => found.push(format!("message {id} was heard and never sent")),
        }
        if last.is_some_and(|(of, before)| of == connection && before >= id) {
            found.push(format!("message {id} came after a later one on connection {connection}"));
        }
        last = Some((connection, id));
    }
    for (id, (loose, times)) in sent.iter().zip(times).enumerate() {
        match loose.outcome {
            None => found.push(format!("message {id} has no outcome")),
            Some(SendOutcome::NotSent(why)) if times > 0 => {
                found.push(format!("message {id} was heard, and its outcome is: not sent, {why}"));
            }
            _ if times > 1 && !loose.idempotent => {
                found.push(format!("message {id} was heard {times} times"));
            }
            Some(_) => {}
        }
    }
    found
}
