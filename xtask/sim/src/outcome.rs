//! What came of a run.

use std::{cell::RefCell, collections::BTreeMap, fmt, panic, sync::Once, time::Duration};

use crate::{hall::Account, ledger::Ledger, many, participant::BOUND};

/// What came of one run, or of several together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// How long it was on the clocks of the machines.
    pub(crate) elapsed: Duration,
    pub(crate) clients: u64,
    pub(crate) connections: u64,
    pub(crate) posts: u64,
    pub(crate) loose: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// The longest time from the last repair until everything of a client was whole.
    pub(crate) whole_after: Duration,
    pub(crate) violations: Vec<String>,
}

impl Outcome {
    /// Adds a client of the run.
    pub(crate) fn add(&mut self, name: &str, ledger: &Ledger, account: &Account) {
        self.violations.extend(ledger.judge(account).into_iter().map(|what| format!("{name}: {what}")));
        let page = ledger.page();
        self.clients += 1;
        self.connections += page.connections;
        self.posts += page.made + account.made;
        self.loose += page.loose.len() as u64;
        self.whole_after = self.whole_after.max(page.whole_after.unwrap_or_default());
    }

    /// Adds another run.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.elapsed += other.elapsed;
        self.clients += other.clients;
        self.connections += other.connections;
        self.posts += other.posts;
        self.loose += other.loose;
        self.whole_after = self.whole_after.max(other.whole_after);
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = self.connections.saturating_sub(self.clients);
        writeln!(
            f,
            "{} clients, {} connections, {again} of them reconnects",
            self.clients, self.connections
        )?;
        writeln!(f, "{} acknowledged posts, {} messages that nobody acknowledges", self.posts, self.loose)?;
        writeln!(f, "{} faults:\n{}", self.faults.values().sum::<u64>(), many::faults(&self.faults))?;
        let (took, bound) = (self.whole_after.as_secs_f64(), BOUND.as_secs());
        write!(f, "whole again at most {took:.1} s after the last repair (bound: {bound} s)")
    }
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Panics of the simulating threads are kept from now on, since tasks swallow them.
pub(crate) fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(hook);
}

fn hook() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if turmoil::in_simulation() {
            PANICS.with_borrow_mut(|panics| panics.push(format!("panic: {panic}")));
        } else {
            before(panic);
        }
    }));
}

/// The panics of this thread since the last call.
pub(crate) fn panics() -> Vec<String> {
    PANICS.take()
}
