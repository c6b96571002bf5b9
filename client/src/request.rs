//! Requests and their answers over a connection that knows only messages.
//!
//! The table of what is pending is pure; [`Requests::request`] adds the waiting and the deadline.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fmt,
    future::poll_fn,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use crate::{
    delivery::ClientEvent,
    send::{NotSentReason, SendOutcome},
    state::ConnectionState,
};

/// Brings answers to their requests. `R` is what an answer carries. Cheap to clone; all clones share.
///
/// A request takes an id from here into its message, and the peer's answer brings it back. The application
/// gives each answer to [`answered`](Self::answered), from its handler or from where it reads its
/// subscription, and each [`ClientEvent`] to [`observe`](Self::observe), so that no request outlives the
/// connection that it was sent on.
///
/// ```
/// use std::time::Duration;
/// use everwire_client::{Requests, SendOutcome};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let requests = Requests::new();
/// let answers = requests.clone();
/// // Yours is `|id| client.send(format!(r#"{{"id":{id},"ask":"time"}}"#))`.
/// let send = |id| async move {
///     answers.answered(id, "noon"); // and this where the answer is received
///     SendOutcome::Flushed
/// };
/// assert_eq!(requests.request(Duration::from_secs(5), send).await?, "noon");
/// # Ok::<(), everwire_client::RequestError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Requests<R>(Arc<Mutex<Table<R>>>);

impl<R> Requests<R> {
    /// None pending; the first id is 1.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Table { last_id: 0, pending: BTreeMap::new(), unmatched: 0 })))
    }

    /// Sends a request and waits for its answer, both within `deadline`. `send` is given the id and says
    /// what became of the message.
    ///
    /// **Cancellation**: dropping the future forgets the request. Its message may be on its way all the same.
    ///
    /// # Errors
    /// [`RequestError`] tells whether the peer may have seen the request.
    pub async fn request<S>(&self, deadline: Duration, send: impl FnOnce(u64) -> S) -> Result<R, RequestError>
    where
        S: Future<Output = SendOutcome>,
    {
        let pending = Pending { id: self.lock().begin(), requests: self };
        let id = pending.id;
        let mut send = pin!(send(id));
        let mut is_sent = false;
        let answer = poll_fn(|cx| {
            if !is_sent && let Poll::Ready(outcome) = send.as_mut().poll(cx) {
                is_sent = true;
                self.lock().sent(id, outcome);
            }
            let (answer, displaced) = self.lock().poll(id, cx.waker());
            drop(displaced);
            answer
        });
        tokio::time::timeout(deadline, answer).await.unwrap_or(Err(RequestError::TimedOut))
    }

    /// An answer came. Returns whether a request was waiting for it; one that was given up, was answered
    /// before, or was never made, was not.
    pub fn answered(&self, id: u64, answer: R) -> bool {
        let settled = self.lock().settle(id, Ok(answer));
        let was_waiting = settled.is_ok();
        if let Ok(Some(waker)) = settled {
            waker.wake();
        }
        was_waiting
    }

    /// The connection is gone: every request that was sent on it ends with [`RequestError::Unanswered`], in the order
    /// in which they were made.
    /// Those not sent yet learn their fate from what becomes of their message.
    pub fn connection_lost(&self) {
        let wakers = self.lock().connection_lost();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Does what an event of the client asks for: a connection that ends is
    /// [`connection_lost`](Self::connection_lost).
    ///
    /// An application that reads its subscription late, when the next connection is up already, may see a
    /// request of the new connection end unanswered.
    pub fn observe<E>(&self, event: &ClientEvent<E>) {
        let ended = match event {
            ClientEvent::State(snapshot) => matches!(snapshot.state, ConnectionState::Disconnected(_)),
            // Its successor is told nothing of what the old connection was asked.
            ClientEvent::Replaced { .. } => true,
            _ => false,
        };
        if ended {
            self.connection_lost();
        }
    }

    /// How many requests are pending.
    pub fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    /// How many answers came that nobody waited for.
    pub fn unmatched(&self) -> u64 {
        self.lock().unmatched
    }

    fn lock(&self) -> MutexGuard<'_, Table<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Clone for Requests<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Default for Requests<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> fmt::Debug for Requests<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// It was not sent. Asking again cannot make the peer do it twice.
    NotSent(NotSentReason),
    /// Its connection ended while it was sent. Whether the peer has it is not known.
    MaybeSent,
    /// It was sent, and its connection ended before the answer came.
    Unanswered,
    /// No answer came in time. The peer may have it, or get it yet.
    TimedOut,
}

impl RequestError {
    /// Whether the peer may have acted on the request.
    pub const fn may_have_been_received(self) -> bool {
        !matches!(self, Self::NotSent(_))
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(reason) => write!(f, "the request was not sent: {reason}"),
            Self::MaybeSent => f.write_str("the connection ended while the request was sent"),
            Self::Unanswered => f.write_str("the connection ended before the answer came"),
            Self::TimedOut => f.write_str("no answer came within the deadline"),
        }
    }
}

impl StdError for RequestError {}

/// Forgets a request when its future goes, however it does.
struct Pending<'a, R> {
    id: u64,
    requests: &'a Requests<R>,
}

impl<R> Drop for Pending<'_, R> {
    fn drop(&mut self) {
        let forgotten = self.requests.lock().pending.remove(&self.id);
        drop(forgotten);
    }
}

/// What is pending.
struct Table<R> {
    last_id: u64,
    /// By id, so that what happens to all of them happens in the order in which they were made.
    pending: BTreeMap<u64, Stage<R>>,
    unmatched: u64,
}

enum Stage<R> {
    Sending(Option<Waker>),
    Sent(Option<Waker>),
    Settled(Result<R, RequestError>),
    /// The result was taken; the request is about to be forgotten.
    Taken,
}

impl<R> Stage<R> {
    const fn waker(&mut self) -> Option<&mut Option<Waker>> {
        match self {
            Self::Sending(waker) | Self::Sent(waker) => Some(waker),
            Self::Settled(_) | Self::Taken => None,
        }
    }
}

impl<R> Table<R> {
    fn begin(&mut self) -> u64 {
        self.last_id += 1;
        self.pending.insert(self.last_id, Stage::Sending(None));
        self.last_id
    }

    /// Settles a request that is not settled yet; its waker, if any, is to be woken. Otherwise gives the
    /// result back, to be dropped after the lock is released.
    fn settle(
        &mut self,
        id: u64,
        result: Result<R, RequestError>,
    ) -> Result<Option<Waker>, Result<R, RequestError>> {
        if let Some(stage) = self.pending.get_mut(&id)
            && let Some(waker) = stage.waker().map(Option::take)
        {
            *stage = Stage::Settled(result);
            return Ok(waker);
        }
        self.unmatched += u64::from(result.is_ok());
        Err(result)
    }

    /// Called by the request's own future, which looks for the result right after.
    fn sent(&mut self, id: u64, outcome: SendOutcome) {
        let Some(stage @ Stage::Sending(_)) = self.pending.get_mut(&id) else { return };
        *stage = match outcome {
            SendOutcome::Flushed => Stage::Sent(stage.waker().and_then(Option::take)),
            SendOutcome::NotSent(reason) => Stage::Settled(Err(RequestError::NotSent(reason))),
            SendOutcome::MaybeSent => Stage::Settled(Err(RequestError::MaybeSent)),
        };
    }

    fn connection_lost(&mut self) -> Vec<Waker> {
        let sent = self.pending.values_mut().filter(|stage| matches!(stage, Stage::Sent(_)));
        sent.filter_map(|stage| match mem::replace(stage, Stage::Settled(Err(RequestError::Unanswered))) {
            Stage::Sent(waker) => waker,
            _ => None,
        })
        .collect()
    }

    fn poll(&mut self, id: u64, waker: &Waker) -> (Poll<Result<R, RequestError>>, Option<Waker>) {
        let Some(stage) = self.pending.get_mut(&id) else { return (Poll::Pending, None) };
        if let Some(kept) = stage.waker() {
            let is_same = kept.as_ref().is_some_and(|kept| kept.will_wake(waker));
            return (Poll::Pending, if is_same { None } else { kept.replace(waker.clone()) });
        }
        match mem::replace(stage, Stage::Taken) {
            Stage::Settled(result) => (Poll::Ready(result), None),
            _ => (Poll::Pending, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;
    use crate::{DisconnectionSource, Snapshot};

    const DEADLINE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn each_answer_finds_its_request_whatever_the_order() {
        let requests = Requests::new();
        let mut one = pin!(requests.request(DEADLINE, |_| ready(SendOutcome::Flushed)));
        let mut two = pin!(requests.request(DEADLINE, |_| ready(SendOutcome::Flushed)));
        assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
        assert!(requests.answered(2, "two"));
        assert!(requests.answered(1, "one"));
        assert_eq!((one.await, two.await), (Ok("one"), Ok("two")));
        assert_eq!(requests.pending(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_come_before_the_flush_is_known() {
        let requests = Requests::new();
        let mut request = pin!(requests.request(DEADLINE, |_| pending()));
        assert!(request.as_mut().now_or_never().is_none());
        assert!(requests.answered(1, 'x'));
        assert_eq!(request.await, Ok('x'));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_sent_fails_at_once_and_says_so() {
        let requests = Requests::<()>::new();
        let not_sent = SendOutcome::NotSent(NotSentReason::NotConnected);
        let error = requests.request(DEADLINE, |_| ready(not_sent)).now_or_never().unwrap().unwrap_err();
        assert_eq!(error, RequestError::NotSent(NotSentReason::NotConnected));
        assert!(!error.may_have_been_received());
        let error = requests.request(DEADLINE, |_| ready(SendOutcome::MaybeSent)).await.unwrap_err();
        assert!(error == RequestError::MaybeSent && error.may_have_been_received());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drop_resolves_every_request_that_was_sent_and_no_other() {
        let requests = Requests::<()>::new();
        let mut sent = pin!(requests.request(DEADLINE, |_| ready(SendOutcome::Flushed)));
        let mut held = pin!(requests.request(DEADLINE, |_| pending()));
        assert!(sent.as_mut().now_or_never().is_none() && held.as_mut().now_or_never().is_none());
        let state = |state| ClientEvent::<()>::State(Box::new(Snapshot::new(state, 1, true)));
        requests.observe(&state(ConnectionState::Disconnecting(DisconnectionSource::NoPongReceived)));
        assert!(sent.as_mut().now_or_never().is_none(), "the answer may be among what is still read");
        requests.observe(&state(ConnectionState::Disconnected(DisconnectionSource::NoPongReceived)));
        assert_eq!(sent.now_or_never(), Some(Err(RequestError::Unanswered)));
        assert!(held.as_mut().now_or_never().is_none());
        assert_eq!(held.await, Err(RequestError::TimedOut), "each has its deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drop_wakes_the_requests_in_the_order_in_which_they_were_made() {
        struct Note(u64, Arc<Mutex<Vec<u64>>>);
        impl std::task::Wake for Note {
            fn wake(self: Arc<Self>) {
                self.1.lock().unwrap().push(self.0);
            }
        }
        let (requests, woken) = (Requests::<()>::new(), Arc::default());
        let mut waiting: Vec<_> =
            (1..=50).map(|_| Box::pin(requests.request(DEADLINE, |_| ready(SendOutcome::Flushed)))).collect();
        for (request, id) in waiting.iter_mut().zip(1..) {
            let waker = Waker::from(Arc::new(Note(id, Arc::clone(&woken))));
            assert!(request.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
        requests.connection_lost();
        assert_eq!(*woken.lock().unwrap(), (1..=50).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_ends_with_its_deadline() {
        let requests = Requests::<()>::new();
        let early = tokio::time::sleep(DEADLINE.saturating_sub(Duration::from_millis(2)));
        let mut answer = pin!(requests.request(DEADLINE, |_| ready(SendOutcome::Flushed)));
        tokio::select! {
            biased;
            _ = &mut answer => panic!("too early"),
            () = early => {}
        }
        assert_eq!(answer.await, Err(RequestError::TimedOut));
        assert!(!requests.answered(1, ()));
        assert_eq!((requests.pending(), requests.unmatched()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_request_is_forgotten_and_a_second_answer_goes_nowhere() {
        let requests = Requests::new();
        let mut dropped = Box::pin(requests.request(DEADLINE, |_| pending()));
        assert!(dropped.as_mut().now_or_never().is_none());
        drop(dropped);
        assert_eq!(requests.pending(), 0);
        let mut twice = pin!(requests.request(DEADLINE, |_| ready(SendOutcome::Flushed)));
        assert!(twice.as_mut().now_or_never().is_none());
        assert!(requests.answered(2, 1));
        assert!(!requests.answered(2, 2));
        assert_eq!(twice.await, Ok(1));
    }

    #[tokio::test]
    async fn a_waiting_request_is_woken_by_its_answer() {
        let requests = Requests::new();
        let waits = {
            let requests = requests.clone();
            tokio::spawn(async move { requests.request(DEADLINE, |_| ready(SendOutcome::Flushed)).await })
        };
        while requests.pending() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(requests.answered(1, 7));
        assert_eq!(waits.await.unwrap(), Ok(7));
    }
}
