//! The consumer's end.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tokio::task::coop;

use super::{ClientEvent, Item, channel::Channel, hub::Registry};

/// What happens to a client, for one subscriber: a stream of [`ClientEvent`]s.
///
/// - **Order**: state changes and events come in the order in which they happened.
/// - **Bounds**: its capacity, and beyond it a few notices and one batch; see
///   [`SubscriberPolicy`](super::SubscriberPolicy).
/// - **End**: when the client ends, what was queued is still read, then `None`.
/// - **Cancellation**: reading is cancel-safe. Dropping it frees whoever waits for it.
///
/// It may be read from any task and moved between tasks, also into another thread.
pub struct Subscription<E> {
    channel: Arc<Channel<E>>,
    registry: Registry<E>,
    /// Taken from the channel, not yet read.
    batch: VecDeque<Item<E>>,
    /// So many more items are covered by the last step of the budget.
    paid: u8,
}

/// So many items that are already here count as one step of the scheduler's budget: yielding costs as much as some
/// dozens of them.
const STRIDE: u8 = 8;

impl<E> Subscription<E> {
    pub(super) const fn new(channel: Arc<Channel<E>>, registry: Registry<E>) -> Self {
        Self { channel, registry, batch: VecDeque::new(), paid: 0 }
    }

    /// Also tells of messages that do not decode, as [`ClientEvent::Rejected`], from now on.
    #[must_use]
    pub fn with_rejects(self) -> Self {
        self.channel.rejects.store(true, Ordering::Release);
        self
    }

    /// The next item, `None` after the client has ended. The same as the stream's `next`.
    // No `async fn`, whose future would move each event once more.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Option<ClientEvent<E>>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Appends what there is, at least one and at most `max` items, and waits if there is nothing. Returns how
    /// many; 0 after the client has ended, or if `max` is 0.
    pub async fn recv_many(&mut self, into: &mut Vec<ClientEvent<E>>, max: usize) -> usize {
        if max == 0 {
            return 0;
        }
        poll_fn(|cx| {
            let Some(first) = ready!(self.poll_recv(cx)) else { return Poll::Ready(0) };
            into.push(first);
            let more = self.batch.len().min(max - 1);
            into.extend(self.batch.drain(..more).map(ClientEvent::from));
            Poll::Ready(1 + more)
        })
        .await
    }

    /// Large events are moved here, so it is inlined, and does nothing between taking one out and giving it away.
    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<ClientEvent<E>>> {
        // Otherwise a consumer that is never ahead of a flood would starve its neighbours.
        let budget = if self.paid == 0 { Some(ready!(coop::poll_proceed(cx))) } else { None };
        if self.batch.is_empty() && !ready!(self.poll_batch(cx)) {
            return Poll::Ready(None);
        }
        match budget {
            Some(budget) => {
                budget.made_progress();
                self.paid = STRIDE - 1;
            }
            None => self.paid -= 1,
        }
        match self.batch.pop_front() {
            Some(Item::Event { generation, event }) => {
                Poll::Ready(Some(ClientEvent::Event { generation, event }))
            }
            Some(item) => Poll::Ready(Some(item.into())),
            None => Poll::Pending,
        }
    }

    /// Takes the next batch, of one item at least. `false` after the client has ended.
    #[inline(never)]
    fn poll_batch(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let mut inner = self.channel.lock();
        let producer = inner.take_batch(&mut self.batch, self.channel.capacity);
        let mut displaced = None;
        if self.batch.is_empty() {
            if inner.ended {
                return Poll::Ready(false);
            }
            if !inner.consumer.as_ref().is_some_and(|kept| kept.will_wake(cx.waker())) {
                displaced = inner.consumer.replace(cx.waker().clone());
            }
        }
        drop(inner);
        drop(displaced);
        if let Some(producer) = producer {
            producer.wake();
        }
        if self.batch.is_empty() { Poll::Pending } else { Poll::Ready(true) }
    }
}

impl<E> Stream for Subscription<E> {
    type Item = ClientEvent<E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent<E>>> {
        self.get_mut().poll_recv(cx)
    }
}

// Nothing in it is pinned.
impl<E> Unpin for Subscription<E> {}

impl<E> Drop for Subscription<E> {
    fn drop(&mut self) {
        self.channel.abandon();
        self.registry.left();
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("capacity", &self.channel.capacity)
            .field("policy", &self.channel.policy)
            .field("waiting", &(self.batch.len() + self.channel.len()))
            .finish_non_exhaustive()
    }
}
