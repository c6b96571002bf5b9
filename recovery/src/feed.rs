//! What recovery tells to whoever listens: nothing is held before anything was told or somebody listens, and then no more
//! than an outage needs.
//!
//! A channel of the runtime keeps its room from the start, in every client; most clients never tell anything for hours.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

/// How many items a slow reader may be behind before it misses the oldest.
const BACKLOG: usize = 32;

/// Where it is told.
pub(crate) struct Feed<T>(OnceLock<Shared<T>>);

struct Shared<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    /// The latest that were told, at most [`BACKLOG`].
    kept: VecDeque<T>,
    /// How many were told in all.
    told: u64,
    /// Nobody has subscribed yet; whoever is first gets what is kept.
    untouched: bool,
    ended: bool,
    /// The next reader's number.
    next_reader: u64,
    /// Who waits for the next item.
    waiting: Vec<(u64, Waker)>,
}

impl<T> State<T> {
    /// The place of the oldest that is kept.
    fn oldest(&self) -> u64 {
        self.told - self.kept.len() as u64
    }
}

impl<T> Feed<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn shared(&self) -> &Shared<T> {
        self.0.get_or_init(|| {
            Shared(Arc::new(Mutex::new(State {
                kept: VecDeque::new(),
                told: 0,
                untouched: true,
                ended: false,
                next_reader: 0,
                waiting: Vec::new(),
            })))
        })
    }

    pub(crate) fn tell(&self, item: T) {
        let mut state = self.shared().lock();
        let dropped = if state.kept.len() == BACKLOG { state.kept.pop_front() } else { None };
        state.kept.push_back(item);
        state.told += 1;
        let waiting = std::mem::take(&mut state.waiting);
        // Wakers run code that is not ours.
        drop(state);
        drop(dropped);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// There will be nothing more; what is kept is still read.
    pub(crate) fn end(&self) {
        let mut state = self.shared().lock();
        state.ended = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Everything from now on; the first call begins with what is kept.
    pub(crate) fn subscribe(&self) -> Reader<T> {
        let shared = self.shared();
        let mut state = shared.lock();
        let next = if std::mem::take(&mut state.untouched) { state.oldest() } else { state.told };
        let number = state.next_reader;
        state.next_reader += 1;
        drop(state);
        Reader { feed: shared.clone(), number, next }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing here can panic half way; a poisoned lock still guards a sound state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.0.get().map_or(0, |shared| shared.lock().told);
        f.debug_struct("Feed").field("told", &told).finish_non_exhaustive()
    }
}

/// One who listens.
pub(crate) struct Reader<T> {
    feed: Shared<T>,
    number: u64,
    /// The place of the next item to read.
    next: u64,
}

impl<T: Clone> Stream for Reader<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let feed = self.feed.clone();
        let mut state = feed.lock();
        let missed = state.oldest().saturating_sub(self.next);
        self.next += missed;
        let at = usize::try_from(self.next - state.oldest()).unwrap_or(usize::MAX);
        let item = state.kept.get(at).cloned();
        let displaced = if item.is_some() || state.ended {
            None
        } else if let Some((_, known)) = state.waiting.iter_mut().find(|(number, _)| *number == self.number) {
            Some(std::mem::replace(known, cx.waker().clone()))
        } else {
            state.waiting.push((self.number, cx.waker().clone()));
            None
        };
        let ended = state.ended;
        drop(state);
        drop(displaced);
        if missed > 0 {
            tracing::warn!(missed, "a reader of recovery's decisions fell behind");
        }
        match item {
            Some(item) => {
                self.next += 1;
                Poll::Ready(Some(item))
            }
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let mut state = self.feed.lock();
        let at = state.waiting.iter().position(|(number, _)| *number == self.number);
        let waker = at.map(|at| state.waiting.swap_remove(at));
        drop(state);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll::{Pending, Ready};

    use futures_util::{StreamExt as _, task::noop_waker};

    use super::*;

    fn now<T: Clone>(reader: &mut Reader<T>) -> Poll<Option<T>> {
        reader.poll_next_unpin(&mut Context::from_waker(&noop_waker()))
    }

    #[test]
    fn the_first_reader_gets_what_was_told_before_and_others_do_not() {
        let feed = Feed::new();
        (1..=3).for_each(|item| feed.tell(item));
        let (mut first, mut second) = (feed.subscribe(), feed.subscribe());
        feed.tell(4);
        for item in 1..=4 {
            assert_eq!(now(&mut first), Ready(Some(item)));
        }
        assert_eq!(now(&mut second), Ready(Some(4)));
        assert_eq!((now(&mut first), now(&mut second)), (Pending, Pending));
    }

    #[test]
    fn a_slow_reader_misses_the_oldest_and_the_end_comes_last() {
        let feed = Feed::new();
        let mut reader = feed.subscribe();
        (1..=40).for_each(|item| feed.tell(item));
        feed.end();
        for item in 9..=40 {
            assert_eq!(now(&mut reader), Ready(Some(item)));
        }
        assert_eq!(now(&mut reader), Ready(None));
        assert_eq!(now(&mut feed.subscribe()), Ready(None));
    }

    #[test]
    fn who_waits_is_woken_and_leaves_nothing_behind() {
        let feed = Feed::new();
        let woken = |reader: &mut Reader<u8>| {
            let (waker, count) = counting_waker();
            assert!(reader.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
            count
        };
        let mut reader = feed.subscribe();
        let (old, latest) = (woken(&mut reader), woken(&mut reader));
        feed.tell(1);
        assert_eq!((Arc::strong_count(&old), Arc::strong_count(&latest)), (1, 1), "both wakers are gone");
        assert_eq!((old.woken(), latest.woken()), (0, 1), "whoever polled last is woken");
        assert_eq!(now(&mut reader), Ready(Some(1)));
        assert_eq!(now(&mut reader), Pending);
        drop(reader);
        assert!(feed.shared().lock().waiting.is_empty());
    }

    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicUsize);

    impl Count {
        fn woken(&self) -> usize {
            self.0.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn counting_waker() -> (Waker, Arc<Count>) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count).into(), count)
    }
}
