//! The driver: the one task that carries the core's decisions out.
//!
//! The loop is three paragraphs: drain, wait, tell. Every input is followed by a full drain before the next.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use everwire_netmon::{Lifecycle, NetworkStatus};
use futures_core::Stream;
use futures_util::{StreamExt, task::AtomicWaker};
use tokio::{task::coop, time::Sleep};

use crate::{
    Cause, Decision, Input, Notice, Output, RecoverableClient, RecoveryCore, RecoveryStatus, feed::Feed,
};

/// A stream of hints; one that ends says nothing more, so the driver chains it to one that never does.
pub(crate) type Hints<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// What the driver shares with its handles.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) retry_now: Bell,
    pub(crate) decisions: Feed<Decision>,
    pub(crate) notices: Feed<Notice>,
    status: Mutex<RecoveryStatus>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            retry_now: Bell::default(),
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

/// Somebody who has rung is heard once, however often.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    driver: AtomicWaker,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.driver.wake();
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.driver.register(cx.waker());
        if self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        Poll::Pending
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
        let mut timer = Timer::default();
        let (mut after_hint, mut after_network) = (false, false);
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
            // do. Hints are streams of others', which may always have the next one: after one of them the others and
            // the timer come first, and once the scheduler's budget is spent, so do other tasks.
            let input = poll_fn(|cx| {
                let budget = ready!(coop::poll_proceed(cx));
                let poll = (|| {
                    if let Poll::Ready(snapshot) = snapshots.poll_next_unpin(cx) {
                        return Poll::Ready(match snapshot {
                            Some(snapshot) => Input::Snapshot { snapshot, wall: wall() },
                            None => Input::ClientGone,
                        });
                    }
                    if links.retry_now.poll(cx).is_ready() {
                        return Poll::Ready(Input::RetryNow);
                    }
                    if after_hint && timer.poll(cx, timeout).is_ready() {
                        return Poll::Ready(Input::Timeout);
                    }
                    if after_network && let Poll::Ready(Some(place)) = lifecycle.poll_next_unpin(cx) {
                        return Poll::Ready(Input::Lifecycle(place));
                    }
                    if let Poll::Ready(Some(status)) = network.poll_next_unpin(cx) {
                        return Poll::Ready(Input::Network(status));
                    }
                    if let Poll::Ready(Some(place)) = lifecycle.poll_next_unpin(cx) {
                        return Poll::Ready(Input::Lifecycle(place));
                    }
                    timer.poll(cx, timeout).map(|()| Input::Timeout)
                })();
                if poll.is_ready() {
                    budget.made_progress();
                }
                poll
            })
            .await;
            after_network = matches!(input, Input::Network(_));
            after_hint = after_network || matches!(input, Input::Lifecycle(_));

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

/// One timer of the runtime, which is there while there is a deadline.
#[derive(Default)]
struct Timer(Option<(Instant, Pin<Box<Sleep>>)>);

impl Timer {
    /// The runtime's timer is touched only when the deadline is another one.
    fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else {
            self.0 = None;
            return Poll::Pending;
        };
        let (set, sleep) = self.0.get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(at.into()))));
        if *set != at {
            *set = at;
            sleep.as_mut().reset(at.into());
        }
        let poll = sleep.as_mut().poll(cx);
        if poll.is_ready() {
            self.0 = None;
        }
        poll
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
