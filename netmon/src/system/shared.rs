//! One task for all who want the same, that ends with the last of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::{sync::watch, task::AbortHandle};

/// A task, and what it says. Dropping the last handle ends the task.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    says: watch::Receiver<T>,
    task: AbortHandle,
}

impl<T> Shared<T> {
    pub(crate) fn subscribe(&self) -> watch::Receiver<T> {
        self.says.clone()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The tasks that run, by what they are for.
#[derive(Debug)]
pub(crate) struct Registry<K, T>(Mutex<Vec<(K, Weak<Shared<T>>)>>);

impl<K: PartialEq, T: Default + Send + Sync + 'static> Registry<K, T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The task for `key`: the one that runs, or a new one on the current runtime. A task dies with the
    /// runtime that it was started on; whoever sees its channel closed joins again.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) fn join<F>(&self, key: K, run: impl FnOnce(watch::Sender<T>) -> F) -> Arc<Shared<T>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut all = self.lock();
        all.retain(|(_, shared)| shared.strong_count() > 0);
        let running = all.iter().find(|(other, _)| *other == key).and_then(|(_, shared)| shared.upgrade());
        // The channel and not the task is asked, for it closes first.
        if let Some(shared) = running.filter(|shared| shared.says.has_changed().is_ok()) {
            return shared;
        }
        let (say, says) = watch::channel(T::default());
        let task = tokio::spawn(run(say)).abort_handle();
        let shared = Arc::new(Shared { says, task });
        all.retain(|(other, _)| *other != key);
        all.push((key, Arc::downgrade(&shared)));
        shared
    }

    /// The key of a running task that is equal to this one.
    pub(crate) fn key(&self, key: &K) -> Option<K>
    where
        K: Clone,
    {
        let all = self.lock();
        let running = all.iter().find(|(other, shared)| other == key && shared.strong_count() > 0);
        running.map(|(other, _)| other.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(K, Weak<Shared<T>>)>> {
        // A panic of another thread leaves a list that is still a list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Counter(Arc<AtomicUsize>);

    /// Counts itself while it runs.
    struct Running(Counter);

    impl Running {
        fn new(counter: &Counter) -> Self {
            counter.0.fetch_add(1, Ordering::SeqCst);
            Self(counter.clone())
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn settle() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_serves_all_and_ends_with_the_last() {
        let (registry, counter) = (Registry::<u8, u32>::new(), Counter::default());
        let join = |key| {
            registry.join(key, |say| {
                let running = Running::new(&counter);
                async move {
                    say.send_replace(7);
                    std::future::pending::<()>().await;
                    drop((running, say));
                }
            })
        };
        let (a, b) = (join(1), join(1));
        settle().await;
        assert_eq!(*b.subscribe().borrow(), 7);
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert_eq!((registry.key(&1), registry.key(&2)), (Some(1), None));
        let other = join(2);
        assert_eq!(counter.0.load(Ordering::SeqCst), 2);
        drop((a, other));
        settle().await;
        assert_eq!(counter.0.load(Ordering::SeqCst), 1, "b holds it");
        drop(b);
        settle().await;
        assert_eq!(counter.0.load(Ordering::SeqCst), 0, "no task outlives its handle");
    }

    #[test]
    fn a_task_that_died_with_its_runtime_is_started_again() {
        let (registry, counter) = (Registry::<u8, u32>::new(), Counter::default());
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let run = |say: watch::Sender<u32>| {
            let running = Running::new(&counter);
            async move {
                std::future::pending::<()>().await;
                drop((running, say));
            }
        };
        let first = runtime();
        let held = first.block_on(async { registry.join(1, run) });
        drop(first);
        assert!(held.subscribe().has_changed().is_err());
        let second = runtime();
        let again = second.block_on(async { registry.join(1, run) });
        assert!(!Arc::ptr_eq(&held, &again));
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    }
}
