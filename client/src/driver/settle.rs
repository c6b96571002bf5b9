//! Who waits for an attempt to succeed, or for a connection to end.

use tokio::sync::oneshot;

use crate::{
    DisconnectionSource, HealthCheckInfo,
    client::{ConnectError, Disconnection},
};

type Connect = oneshot::Sender<Result<HealthCheckInfo, ConnectError>>;

/// Each waiter is settled exactly once, with the outcome of the attempt it waits for. A waiter that is gone
/// costs nothing.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// With the generation of the attempt; one beyond the current when it is queued behind a close.
    connects: Vec<(u64, Connect)>,
    disconnects: Vec<oneshot::Sender<Disconnection>>,
}

impl Waiting {
    pub(super) fn connect(&mut self, generation: u64, waiter: Connect) {
        // Who has given up is forgotten here, so that impatient callers in a loop grow no list.
        self.connects.retain(|(_, waiter)| !waiter.is_closed());
        self.connects.push((generation, waiter));
    }

    pub(super) fn disconnect(&mut self, waiter: oneshot::Sender<Disconnection>) {
        self.disconnects.retain(|waiter| !waiter.is_closed());
        self.disconnects.push(waiter);
    }

    /// The attempt of this generation led to a connection.
    pub(super) fn connected(&mut self, generation: u64, info: &HealthCheckInfo) {
        for (_, waiter) in self.connects.extract_if(.., |(of, _)| *of <= generation) {
            // The caller may have dropped its future meanwhile.
            let _ = waiter.send(Ok(info.clone()));
        }
        if self.connects.is_empty() {
            self.connects = Vec::new();
        }
    }

    /// The attempts from this generation on will not take place, or those up to it have ended.
    pub(super) fn refuse(
        &mut self,
        generations: impl std::ops::RangeBounds<u64>,
        source: &DisconnectionSource,
    ) {
        for (generation, waiter) in self.connects.extract_if(.., |(of, _)| generations.contains(of)) {
            let _ = waiter.send(Err(ConnectError { generation, source: source.clone() }));
        }
    }

    pub(super) fn disconnected(&mut self, disconnection: &Disconnection) {
        for waiter in self.disconnects.drain(..) {
            let _ = waiter.send(disconnection.clone());
        }
    }
}
