//! The producer's end, and how subscribers come to it.

use std::{
    collections::VecDeque,
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
}

struct Subscriber<E> {
    channel: Arc<Channel<E>>,
    batch: VecDeque<Item<E>>,
    /// How much of the capacity was in use at the last look; since then it can only have become less.
    in_use: usize,
}

impl<E> Subscriber<E> {
    fn flush(&mut self, evicted: &mut Vec<Item<E>>) {
        if self.batch.is_empty() {
            return;
        }
        let (in_use, waker) = self.channel.hand_over(&mut self.batch, evicted);
        self.in_use = in_use;
        evicted.clear();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<E> Hub<E> {
    pub(crate) fn new(registry: Registry<E>) -> Self {
        Self { registry, seen: 0, subscribers: Vec::new(), evicted: Vec::new() }
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
        let evicted = &mut self.evicted;
        let mut give = |subscriber: &mut Subscriber<E>, item| {
            subscriber.batch.push_back(item);
            if subscriber.batch.len() >= BATCH {
                subscriber.flush(evicted);
            }
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

    /// The same for an event, which are many: it is moved once where one subscriber listens.
    #[inline]
    pub(crate) fn push_event(&mut self, generation: u64, event: E)
    where
        E: Clone,
    {
        self.look();
        if let [subscriber] = &mut self.subscribers[..] {
            subscriber.batch.push_back(Item::Event { generation, event });
            if subscriber.batch.len() >= BATCH {
                subscriber.flush(&mut self.evicted);
            }
        } else {
            self.push(Item::Event { generation, event });
        }
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
            subscriber.flush(&mut self.evicted);
        }
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
            subscriber.flush(&mut self.evicted);
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
            batch: VecDeque::new(),
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
