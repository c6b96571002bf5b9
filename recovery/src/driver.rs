//! The driver: the one task that carries the core's decisions out.
//!
//! The loop is three paragraphs: drain, wait, tell. Every input is followed by a full drain before the next.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use everwire_netmon::{Lifecycle, NetworkStatus};
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::sync::Notify;

use crate::{
    Cause, Decision, Input, Notice, Output, RecoverableClient, RecoveryCore, RecoveryStatus, feed::Feed,
};

/// A stream of hints; one that ends says nothing more, so the driver chains it to one that never does.
pub(crate) type Hints<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// What the driver shares with its handles.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) retry_now: Notify,
    pub(crate) decisions: Feed<Decision>,
    pub(crate) notices: Feed<Notice>,
    status: Mutex<RecoveryStatus>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            retry_now: Notify::new(),
            decisions: Feed::new(),
            notices: Feed::new(),
            status: Mutex::default(),
        }
    }

    pub(crate) fn status(&self) -> RecoveryStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_status(&self, status: RecoveryStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// The driver's end of the links: when it is dropped, whoever listens learns that there is nothing more.
pub(crate) struct Told(pub(crate) Arc<Links>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.decisions.end();
        self.0.notices.end();
    }
}

#[expect(clippy::manual_async_fn, reason = "the future of an `async fn` would hold every argument twice")]
pub(crate) fn run<C: RecoverableClient>(
    client: C,
    mut core: RecoveryCore,
    mut network: Hints<NetworkStatus>,
    mut lifecycle: Hints<Lifecycle>,
    told: Told,
) -> impl Future<Output = ()> + Send {
    async move {
        let links = &*told.0;
        let mut snapshots = client.snapshots();
        loop {
            while let Some(output) = core.poll_output() {
                match output {
                    Output::Decision(decision) => {
                        tracing::debug!(?decision, "recovery decided");
                        carry_out(&client, decision);
                        // Nobody listening is fine: the status keeps what matters.
                        links.decisions.tell(decision);
                    }
                    Output::Notice(notice) => {
                        match notice {
                            Notice::ReconnectSuggested(suggested) => client.reconnect_suggested(suggested),
                            Notice::ViabilityChanged(viable) => client.viability_changed(viable),
                            Notice::ReplacementGivenUp(_) => {}
                        }
                        links.notices.tell(notice);
                    }
                }
            }
            links.set_status(core.status());

            let timeout = core.poll_timeout();
            // In this order when several are ready: what the client and its user did comes before what we would
            // do. None of them can starve the timer, since each is as rare as a change of state.
            let input = tokio::select! {
                biased;
                snapshot = snapshots.next() => match snapshot {
                    Some(snapshot) => Input::Snapshot { snapshot, wall: wall() },
                    None => Input::ClientGone,
                },
                () = links.retry_now.notified() => Input::RetryNow,
                Some(status) = network.next() => Input::Network(status),
                Some(place) = lifecycle.next() => Input::Lifecycle(place),
                () = tokio::time::sleep_until(timeout.unwrap_or_else(now).into()), if timeout.is_some() => {
                    Input::Timeout
                }
            };

            let gone = matches!(input, Input::ClientGone);
            core.handle(now(), input);
            if gone {
                while let Some(output) = core.poll_output() {
                    if let Output::Decision(decision) = output {
                        links.decisions.tell(decision);
                    }
                }
                links.set_status(core.status());
                return;
            }
        }
    }
}

/// Does what was decided, as far as it is the client's to do.
pub(crate) fn carry_out<C: RecoverableClient>(client: &C, decision: Decision) {
    match decision {
        Decision::Connect { cause, .. } => client.reconnect_because(cause),
        Decision::Replace { cause, .. } => client.replace_because(cause),
        Decision::Probe { deadline, .. } => client.probe(deadline),
        Decision::Disconnect { generation, cause: Cause::PathChanged | Cause::WokeUp } => {
            client.abandon(generation);
        }
        Decision::Disconnect { .. } => client.disconnect_system(),
        Decision::ConnectAfter { .. }
        | Decision::ReplaceAfter { .. }
        | Decision::Hold { .. }
        | Decision::Stop { .. } => {}
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver is where recovery reads the clock")]
fn now() -> Instant {
    // tokio's, so that tests on paused time work.
    tokio::time::Instant::now().into_std()
}

#[expect(clippy::disallowed_methods, reason = "the driver is where recovery reads the wall clock")]
fn wall() -> SystemTime {
    SystemTime::now()
}
