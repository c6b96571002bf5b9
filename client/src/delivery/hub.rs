//! The producer's end, and how subscribers come to it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use super::{BATCH, ClientEvent, Item, SubscriberPolicy, Subscription, channel::Channel};

/// The handles' side: adds subscribers. Cheap to clone.
pub(crate) struct Registry<E>(Arc<Shared<E>>);

struct Shared<E> {
    /// Came, not yet seen by the hub. `None`: the client has ended.
    newcomers: Mutex<Option<Vec<Arc<Channel<E>>>>>,
    /// Changes whenever somebody comes or goes, so that the hub looks without a lock.
    changes: AtomicUsize,
    /// How many there are.
    live: AtomicUsize,
}

impl<E> Registry<E> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            newcomers: Mutex::new(Some(Vec::new())),
            changes: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
        }))
    }

    /// A subscription to everything that the hub is given from now on. To a client that has ended, it is at
    /// its end.
    pub(crate) fn subscribe(&self, capacity: usize, policy: SubscriberPolicy) -> Subscription<E> {
        let channel = Arc::new(Channel::new(capacity, policy));
        self.0.live.fetch_add(1, Ordering::Release);
        match &mut *self.newcomers() {
            Some(newcomers) => newcomers.push(Arc::clone(&channel)),
            None => channel.end(),
        }
        self.0.changes.fetch_add(1, Ordering::Release);
        Subscription::new(channel, self.clone())
    }

    /// Whether anybody listens. No lock.
    pub(crate) fn has_subscribers(&self) -> bool {
        self.0.live.load(Ordering::Acquire) > 0
    }

    /// A subscription was dropped.
    pub(super) fn left(&self) {
        self.0.live.fetch_sub(1, Ordering::Release);
        self.0.changes.fetch_add(1, Ordering::Release);
    }

    fn newcomers(&self) -> MutexGuard<'_, Option<Vec<Arc<Channel<E>>>>> {
        self.0.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Clone for Registry<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Registry<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("live", &self.0.live).finish_non_exhaustive()
    }
}

/// The driver's side. Dropping it ends every subscription, after what was pushed.
pub(crate) struct Hub<E> {
    registry: Registry<E>,
    /// The registry's changes that were seen.
    seen: usize,
    subscribers: Vec<Subscriber<E>>,
    /// What had to be dropped, for after the lock; kept for its storage.
    evicted: Vec<Item<E>>,
    /// So many more times the subscribers are taken for slower than their producer.
    ahead: u8,
}

/// For so many batches it is remembered that a subscriber had not taken the one before.
const AHEAD: u8 = 64;

struct Subscriber<E> {
    channel: Arc<Channel<E>>,
    batch: Vec<Item<E>>,
    /// How much of the capacity was in use at the last look; since then it can only have become less.
    in_use: usize,
}

impl<E> Subscriber<E> {
    /// Hands the batch over, and remembers how far `ahead` the producer is.
    fn flush(&mut self, evicted: &mut Vec<Item<E>>, ahead: &mut u8) {
        if self.batch.is_empty() {
            return;
        }
        let given = self.channel.hand_over(&mut self.batch, evicted);
        self.in_use = given.in_use;
        evicted.clear();
        if let Some(waker) = given.waker {
            waker.wake();
        }
        if !given.is_first {
            *ahead = AHEAD;
        }
    }
}

impl<E> Hub<E> {
    pub(crate) fn new(registry: Registry<E>) -> Self {
        Self { registry, seen: 0, subscribers: Vec::new(), evicted: Vec::new(), ahead: 0 }
    }

    /// Whether anybody listens. No lock.
    pub(crate) fn has_subscribers(&self) -> bool {
        self.registry.has_subscribers()
    }

    /// Gives an item to all; follow a series of these with [`flush`](Self::flush).
    #[inline]
    pub(crate) fn push(&mut self, item: impl Into<Item<E>>)
    where
        E: Clone,
    {
        self.look();
        if !self.has_subscribers() {
            return;
        }
        let item = item.into();
        let is_reject =
            matches!(&item, Item::Other(other) if matches!(**other, ClientEvent::Rejected { .. }));
        let mut wanting = self
            .subscribers
            .iter_mut()
            .filter(|subscriber| !is_reject || subscriber.channel.rejects.load(Ordering::Acquire));
        let Some(mut subscriber) = wanting.next() else { return };
        let (evicted, ahead) = (&mut self.evicted, &mut self.ahead);
        let mut give = |subscriber: &mut Subscriber<E>, item| {
            if subscriber.batch.len() >= BATCH {
                subscriber.flush(evicted, ahead);
            }
            subscriber.batch.push(item);
        };
        // All but the last get a clone.
        for next in wanting {
            give(subscriber, item.clone());
            subscriber = next;
        }
        give(subscriber, item);
    }

    /// The same for what is made only where somebody listens.
    pub(crate) fn push_with(&mut self, make: impl FnOnce() -> ClientEvent<E>)
    where
        E: Clone,
    {
        self.look();
        if self.has_subscribers() {
            self.push(make());
        }
    }

    /// Whether there is one subscriber and no more, who can be given what is [made in place](Self::push_made).
    #[inline]
    pub(crate) fn has_one(&mut self) -> bool {
        self.look();
        self.subscribers.len() == 1
    }

    /// Gives the one subscriber what is made, where it is made: events may be large, and each move of one costs. It may
    /// be [taken back](Self::pop).
    #[inline]
    pub(crate) fn push_made(&mut self, make: impl FnMut() -> Item<E>) -> Option<&Item<E>> {
        let [subscriber] = &mut self.subscribers[..] else { return None };
        if subscriber.batch.len() >= BATCH {
            subscriber.flush(&mut self.evicted, &mut self.ahead);
        }
        // Room comes first, then the item. By `push` it would be the other way round, and moved once more.
        subscriber.batch.resize_with(subscriber.batch.len() + 1, make);
        subscriber.batch.last()
    }

    /// What was [made](Self::push_made) last.
    pub(crate) fn pop(&mut self) -> Option<Item<E>> {
        self.subscribers.first_mut()?.batch.pop()
    }

    /// How many items have room with every back-pressure subscriber. To be asked after [`poll_room`](Self::poll_room).
    pub(crate) fn room(&self) -> usize {
        let limited =
            |subscriber: &&Subscriber<E>| subscriber.channel.policy == SubscriberPolicy::BackPressure;
        let room = |subscriber: &Subscriber<E>| {
            subscriber.channel.capacity.saturating_sub(subscriber.in_use + subscriber.batch.len())
        };
        self.subscribers.iter().filter(limited).map(room).min().unwrap_or(usize::MAX).max(1)
    }

    /// Hands over what was pushed, and wakes who waits for it.
    pub(crate) fn flush(&mut self) {
        for subscriber in &mut self.subscribers {
            subscriber.flush(&mut self.evicted, &mut self.ahead);
        }
    }

    /// Whether a subscriber has lately not taken a batch until the next one. To be asked once for each.
    pub(crate) const fn is_ahead(&mut self) -> bool {
        let is_ahead = self.ahead > 0;
        self.ahead = self.ahead.saturating_sub(1);
        is_ahead
    }

    /// Ready unless a back-pressure subscriber is full: until then nothing more shall be read. Also hands
    /// over what that subscriber was given. No lock as long as there is room.
    pub(crate) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.look();
        let mut room = Poll::Ready(());
        for subscriber in &mut self.subscribers {
            let channel = &subscriber.channel;
            let may_wait = channel.policy == SubscriberPolicy::BackPressure;
            if !may_wait || subscriber.in_use + subscriber.batch.len() < channel.capacity {
                continue;
            }
            subscriber.flush(&mut self.evicted, &mut self.ahead);
            let (has_room, in_use, displaced) = subscriber.channel.check_room(cx.waker());
            drop(displaced);
            subscriber.in_use = in_use;
            if !has_room {
                room = Poll::Pending;
            }
        }
        room
    }

    /// How many items wait for the slowest subscriber.
    pub(crate) fn depth(&self) -> usize {
        let waiting = |subscriber: &Subscriber<E>| subscriber.batch.len() + subscriber.channel.len();
        self.subscribers.iter().map(waiting).max().unwrap_or(0)
    }

    /// Looks who came and who went, if anybody did.
    #[inline]
    fn look(&mut self) {
        let changes = self.registry.0.changes.load(Ordering::Acquire);
        if changes != self.seen {
            self.look_again(changes);
        }
    }

    #[cold]
    fn look_again(&mut self, changes: usize) {
        self.seen = changes;
        self.subscribers.retain(|subscriber| !subscriber.channel.dropped.load(Ordering::Relaxed));
        let newcomers = self.registry.newcomers().as_mut().map(std::mem::take).unwrap_or_default();
        self.subscribers.extend(newcomers.into_iter().map(|channel| Subscriber {
            channel,
            batch: Vec::new(),
            in_use: 0,
        }));
    }
}

impl<E> Drop for Hub<E> {
    fn drop(&mut self) {
        self.flush();
        let newcomers = self.registry.newcomers().take().unwrap_or_default();
        let seen = self.subscribers.iter().map(|subscriber| &subscriber.channel);
        seen.chain(&newcomers).for_each(|channel| channel.end());
    }
}

impl<E> fmt::Debug for Hub<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("subscribers", &self.subscribers.len()).finish_non_exhaustive()
    }
}
