//! The messages that nobody acknowledges: every class, at a pace of their own and in bursts that overflow the queue.

use std::{sync::Arc, time::Duration};

use everwire_client::{Client, Outgoing, Receipt, SendOutcome};
use fastrand::Rng;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use crate::{
    ledger::{Ledger, Loose},
    plant::Plant,
    protocol::{Down, Up},
    told::Told,
};

/// Sends until there is peace, and tells what became of each message once the client is gone.
pub(crate) struct Talker {
    pub(crate) client: Client<Down>,
    pub(crate) ledger: Ledger,
    pub(crate) rng: Rng,
    pub(crate) plant: Plant,
    receipts: Vec<(usize, Receipt)>,
}

impl Talker {
    pub(crate) const fn new(client: Client<Down>, ledger: Ledger, rng: Rng, plant: Plant) -> Self {
        Self { client, ledger, rng, plant, receipts: Vec::new() }
    }

    pub(crate) async fn run(mut self, mut bursts: mpsc::Receiver<usize>, peace: Arc<Told<bool>>) -> Receipts {
        loop {
            let pause = Duration::from_millis(self.rng.u64(20..2000));
            tokio::select! {
                biased;
                () = peace.wait_for(|peace| *peace) => break,
                Some(count) = bursts.recv() => (0..count).for_each(|_| self.try_one()),
                () = tokio::time::sleep(pause) => {}
            }
            let (at, message) = self.next();
            let client = self.client.clone();
            tokio::select! {
                biased;
                () = peace.wait_for(|peace| *peace) => {
                    // Dropped before there was room for it.
                    self.ledger.page().loose[at].outcome = Some(Loose::WITHDRAWN);
                    break;
                }
                receipt = client.queue(message) => self.keep(at, receipt),
            }
        }
        Receipts { receipts: self.receipts, plant: self.plant }
    }

    fn try_one(&mut self) {
        let (at, message) = self.next();
        match self.client.try_send(message) {
            Ok(receipt) => self.keep(at, receipt),
            Err(error) => {
                let outcome = SendOutcome::NotSent(error.reason);
                self.ledger.page().loose[at].outcome = Some(outcome);
            }
        }
    }

    fn next(&mut self) -> (usize, Outgoing) {
        assert!(self.plant != Plant::Panics, "planted");
        let class = self.rng.u8(..3);
        let mut page = self.ledger.page();
        let at = page.loose.len();
        page.loose.push(Loose { idempotent: class == 2, outcome: None });
        drop(page);
        let line = Up::Loose(at as u64, self.rng.usize(..400)).line();
        let ttl = Duration::from_millis(self.rng.u64(100..60_000));
        let message = Outgoing::from(line);
        let message = match class {
            0 => message,
            1 => message.hold(ttl),
            _ => message.idempotent(ttl),
        };
        (at, message)
    }

    fn keep(&mut self, at: usize, receipt: Receipt) {
        if self.plant != Plant::ForgetsReceipt || at != 3 {
            self.receipts.push((at, receipt));
        }
    }
}

/// What became of the messages.
pub(crate) struct Receipts {
    receipts: Vec<(usize, Receipt)>,
    plant: Plant,
}

impl Receipts {
    /// The client is gone: each must have its outcome now.
    pub(crate) fn settle(self, ledger: &Ledger) {
        let mut page = ledger.page();
        for (at, receipt) in self.receipts {
            let outcome = receipt.now_or_never();
            let lie = self.plant == Plant::LiesOfOutcome && outcome.is_some_and(SendOutcome::is_flushed);
            page.loose[at].outcome = if lie { Some(Loose::WITHDRAWN) } else { outcome };
        }
    }
}
