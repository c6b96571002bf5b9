//! What becomes of messages when their connection goes: by death, since a newer one takes its place, or with the client.

use super::{Gate, Intake, NotSentReason, Pump, SendOutcome};

impl Pump {
    /// The connection is gone. What was handed to it is [`MaybeSent`](SendOutcome::MaybeSent) or, if
    /// idempotent, goes back to the front; what was not, fails or stays by its class. Ends
    /// [`stop_intake`](Self::stop_intake) and closes the gate.
    pub(crate) fn connection_lost(&mut self) {
        self.set_gate(Gate::Closed);
        self.collect();
        self.urgent.clear();
        self.retain_taken(|ticket| ticket.class.fails_fast().then_some(NotSentReason::Disconnected));
        self.return_in_flight();
        self.settle(None);
        let mut shared = self.outbox.lock();
        if shared.intake == Intake::Stopped {
            shared.intake = Intake::Open;
        }
    }

    /// Another connection takes the place of this one. What was handed over and not flushed is as with
    /// [`connection_lost`](Self::connection_lost); all that still waits, waits for the other one.
    pub(crate) fn connection_replaced(&mut self) {
        self.set_gate(Gate::Held);
        self.urgent.clear();
        self.return_in_flight();
        self.settle(None);
    }

    /// Takes over the driver's own frames from the pump of a connection that was made beside this one. They are
    /// first: they belong to its authentication.
    pub(crate) fn adopt(&mut self, mut other: Self) {
        self.urgent.extend(other.urgent.drain(..));
        self.in_flight.adopt(&other.in_flight);
        self.progress += other.progress;
    }

    /// The client ends: everything left is settled, and nothing is accepted any more. Dropping does it too.
    pub(crate) fn close(&mut self) {
        self.outbox.lock().intake = Intake::Ended;
        self.stop_intake();
        self.gate = Gate::Closed;
        self.collect();
        self.urgent.clear();
        self.return_in_flight();
        self.retain_taken(|_| Some(NotSentReason::ClientGone));
        self.settle(None);
        let driver = self.outbox.lock().driver.take();
        drop(driver);
    }

    /// What may be sent again is the first to be, in its order.
    fn return_in_flight(&mut self) {
        let (messages, bytes) = self.in_flight.sum();
        let again = self.in_flight.lose(|number| self.settled.push((number, SendOutcome::MaybeSent)));
        self.freed.0 += messages - again.len();
        self.freed.1 += bytes;
        // In flight it did not count among what may expire. The `settle` that follows has the timer set for it.
        let first = again.iter().filter_map(|entry| entry.ticket.expires_at).min();
        self.outbox.lock().note_expiry(first);
        for mut entry in again.into_iter().rev() {
            self.freed.1 -= entry.message.len();
            entry.ticket.attempted = true;
            self.taken.push_front(entry);
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.close();
    }
}
