//! A lifecycle in a form that a model checker can compare.

use std::{hash::Hash, time::Instant};

use super::{Closing, Lifecycle};

impl Lifecycle {
    /// The latest generation that was given to an attempt.
    pub(crate) const fn latest(&self) -> u64 {
        self.latest
    }

    /// All that decides what comes next, with instants as distances from `now`. The number of the attempt and
    /// the count of stale inputs are left out: they grow, and nothing depends on how large they are. Whether it was ever
    /// connected is too: nothing here depends on it, and the model of recovery keeps it itself.
    pub(crate) fn summary(&self, now: Instant) -> impl Eq + Hash + use<> {
        let distance = |at: Instant| {
            (at.saturating_duration_since(now).as_millis(), now.saturating_duration_since(at).as_millis())
        };
        let closing = self.closing.map(|closing| match closing {
            Closing::Flushing { until } => (true, distance(until)),
            Closing::AwaitingEnd { until } => (false, distance(until)),
        });
        let state = (self.state.name(), self.state.source().map(|source| format!("{source:?}")));
        let intent = (self.wanted, self.connect_queued);
        let announced = self.announced.as_ref().map(|error| error.code);
        let received = self.received.as_ref().map(|frame| frame.code.get());
        let pending = self.outputs.len();
        let successor = self.successor.as_deref().map(super::Successor::summary);
        let successor =
            successor.map(|(phase, until, announced, stage)| (phase, distance(until), announced, stage));
        let replacing = (successor, self.can_replace, self.failed.is_some(), self.going_away);
        (
            state,
            intent,
            self.deadline.map(|until| (distance(until), self.stage)),
            closing,
            announced,
            received,
            self.addresses,
            pending,
            replacing,
        )
    }
}
