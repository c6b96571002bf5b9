//! What the hub and one subscription share.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use super::{BATCH, Item, SLACK, SubscriberPolicy};

/// Wakers and events are never dropped under the lock: what goes with them may be another subscription.
pub(super) struct Channel<E> {
    pub(super) capacity: usize,
    pub(super) policy: SubscriberPolicy,
    /// Whether rejects are wanted.
    pub(super) rejects: AtomicBool,
    /// The subscription is gone.
    pub(super) dropped: AtomicBool,
    inner: Mutex<Inner<E>>,
}

pub(super) struct Inner<E> {
    queue: VecDeque<Item<E>>,
    /// How many items of the queue count against the capacity.
    bulk: usize,
    /// How many say that something was dropped. No two of them are neighbours.
    gaps: usize,
    pub(super) consumer: Option<Waker>,
    /// The driver, if it waits for room.
    producer: Option<Waker>,
    /// The client has ended; what is queued is the last.
    pub(super) ended: bool,
}

/// What came of handing a batch over.
pub(super) struct Given {
    /// How much of the capacity is in use now.
    pub(super) in_use: usize,
    /// Nothing was there before it.
    pub(super) is_first: bool,
    /// Whom to wake.
    pub(super) waker: Option<Waker>,
}

impl<E> Channel<E> {
    pub(super) fn new(capacity: usize, policy: SubscriberPolicy) -> Self {
        Self {
            // With no capacity at all a back-pressure subscriber would be full for ever.
            capacity: capacity.max(1),
            policy,
            rejects: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                bulk: 0,
                gaps: 0,
                consumer: None,
                producer: None,
                ended: false,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<E>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a batch over; what had to go for it is put into `evicted`.
    pub(super) fn hand_over(&self, batch: &mut Vec<Item<E>>, evicted: &mut Vec<Item<E>>) -> Given {
        let mut inner = self.lock();
        if self.dropped.load(Ordering::Relaxed) {
            drop(inner);
            evicted.append(batch);
            return Given { in_use: 0, is_first: true, waker: None };
        }
        let waker = if batch.is_empty() { None } else { inner.consumer.take() };
        inner.bulk += batch.iter().filter(|item| item.is_bulk()).count();
        let is_first = inner.queue.is_empty();
        if is_first {
            // Neither moves an item: one is empty, the other begins at its beginning.
            let emptied = std::mem::replace(&mut inner.queue, std::mem::take(batch).into());
            *batch = emptied.into();
        } else {
            inner.queue.extend(batch.drain(..));
        }
        let most = match self.policy {
            SubscriberPolicy::BackPressure => self.capacity.saturating_add(SLACK),
            SubscriberPolicy::DropOldest => self.capacity,
        };
        while inner.bulk > most {
            inner.evict(true, evicted);
        }
        while inner.queue.len() - inner.bulk - inner.gaps > SLACK {
            inner.evict(false, evicted);
        }
        Given { in_use: inner.bulk, is_first, waker }
    }

    /// Whether there is room. If not, the producer is woken when half of the capacity is free. Displaced
    /// wakers come back.
    pub(super) fn check_room(&self, waker: &Waker) -> (bool, usize, Option<Waker>) {
        let mut inner = self.lock();
        let has_room = inner.bulk < self.capacity || self.dropped.load(Ordering::Relaxed);
        let displaced = match &inner.producer {
            _ if has_room => inner.producer.take(),
            Some(kept) if kept.will_wake(waker) => None,
            _ => inner.producer.replace(waker.clone()),
        };
        (has_room, inner.bulk, displaced)
    }

    /// Says that there will be nothing more.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        let waker = inner.consumer.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody reads any more: frees the producer, and what is queued.
    pub(super) fn abandon(&self) {
        let mut inner = self.lock();
        self.dropped.store(true, Ordering::Relaxed);
        let queue = std::mem::take(&mut inner.queue);
        (inner.bulk, inner.gaps) = (0, 0);
        let wakers = (inner.consumer.take(), inner.producer.take());
        drop(inner);
        drop(queue);
        if let Some(producer) = wakers.1 {
            producer.wake();
        }
    }

    pub(super) fn len(&self) -> usize {
        let inner = self.lock();
        inner.queue.len() - inner.gaps
    }
}

impl<E> Inner<E> {
    /// Moves at most a batch to the subscription. The producer, if it waits and there is room enough again,
    /// is to be woken.
    pub(super) fn take_batch(&mut self, into: &mut VecDeque<Item<E>>, capacity: usize) -> Option<Waker> {
        if into.is_empty() && self.queue.len() <= BATCH {
            std::mem::swap(&mut self.queue, into);
            (self.bulk, self.gaps) = (0, 0);
        } else {
            let count = self.queue.len().min(BATCH);
            let batch = self.queue.drain(..count);
            for item in batch {
                self.bulk -= usize::from(item.is_bulk());
                self.gaps -= usize::from(matches!(item, Item::Gap(_)));
                into.push_back(item);
            }
        }
        // Waking for each single place would have driver and consumer take turns item by item.
        if self.bulk <= capacity / 2 { self.producer.take() } else { None }
    }

    /// Drops the oldest item of a sort, and says so in its place.
    fn evict(&mut self, bulk: bool, evicted: &mut Vec<Item<E>>) {
        let is_of_sort = |item: &Item<E>| !matches!(item, Item::Gap(_)) && item.is_bulk() == bulk;
        let Some(at) = self.queue.iter().position(is_of_sort) else { return };
        let Some(item) = self.queue.get_mut(at).map(|item| std::mem::replace(item, Item::Gap(1))) else {
            return;
        };
        evicted.push(item);
        self.bulk -= usize::from(bulk);
        self.gaps += 1;
        // One gap with those before and behind it.
        self.merge_into_next(at);
        if let Some(before) = at.checked_sub(1) {
            self.merge_into_next(before);
        }
    }

    /// Makes one of a gap and the one behind it.
    fn merge_into_next(&mut self, at: usize) {
        if let (Some(&Item::Gap(first)), Some(Item::Gap(second))) =
            (self.queue.get(at), self.queue.get(at + 1))
        {
            let all = first + second;
            self.queue[at + 1] = Item::Gap(all);
            self.queue.remove(at);
            self.gaps -= 1;
        }
    }
}
