//! Monitors that a host feeds: for those who know better than the operating system's sockets tell.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::watch;

use crate::{Hint, Lifecycle, NetworkStatus};

/// A network monitor that its host sets: on Android and iOS, where the platform's own callbacks know more
/// than a socket does, and in tests.
///
/// A cheap handle: clones set the same status. Any number of streams read it.
///
/// ```
/// use everwire_netmon::{ManualMonitor, NetworkStatus};
/// use futures_util::StreamExt;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let host = ManualMonitor::new(NetworkStatus::unknown());
/// let mut monitor = host.monitor(); // this half goes to the recovery handler
/// assert_eq!(monitor.next().await, Some(NetworkStatus::unknown()));
///
/// host.set(NetworkStatus::offline()); // from the platform's callback
/// assert!(monitor.next().await.unwrap().is_offline());
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct ManualMonitor {
    status: watch::Sender<NetworkStatus>,
}

impl ManualMonitor {
    /// A monitor that says `status` first.
    pub fn new(status: NetworkStatus) -> Self {
        Self { status: watch::Sender::new(status) }
    }

    /// Says `status` to every stream, also when it equals the last one: the host has its reasons.
    ///
    /// A status that carries no hint of its own (that is [`Hint::Started`]) goes out as [`Hint::Host`]. A
    /// stream that is not read meanwhile sees the newest status alone; nothing queues up.
    pub fn set(&self, status: NetworkStatus) {
        let hint = if status.hint == Hint::Started { Hint::Host } else { status.hint };
        self.status.send_replace(status.with_hint(hint));
    }

    /// The status that was set last.
    pub fn status(&self) -> NetworkStatus {
        self.status.borrow().clone()
    }

    /// A stream of what is set: the current status first, with [`Hint::Started`]. It ends when the last
    /// clone of this handle is gone.
    pub fn monitor(&self) -> ManualStream<NetworkStatus> {
        let mut first = true;
        ManualStream::new(self.status.subscribe(), move |status| {
            let status = status.clone();
            if std::mem::take(&mut first) { status.with_hint(Hint::Started) } else { status }
        })
    }
}

impl Default for ManualMonitor {
    fn default() -> Self {
        Self::new(NetworkStatus::unknown())
    }
}

/// The foreground and background of an application, set by its host.
///
/// A cheap handle, as [`ManualMonitor`] is.
///
/// ```
/// use everwire_netmon::{Lifecycle, ManualLifecycle};
/// use futures_util::StreamExt;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let host = ManualLifecycle::default();
/// let mut monitor = host.monitor();
/// assert_eq!(monitor.next().await, Some(Lifecycle::Unknown));
///
/// host.set(Lifecycle::Background);
/// assert_eq!(monitor.next().await, Some(Lifecycle::Background));
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualLifecycle {
    lifecycle: watch::Sender<Lifecycle>,
}

impl ManualLifecycle {
    /// A lifecycle that says `lifecycle` first.
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle: watch::Sender::new(lifecycle) }
    }

    /// Says `lifecycle` to every stream. A stream that is not read meanwhile sees the newest alone.
    pub fn set(&self, lifecycle: Lifecycle) {
        self.lifecycle.send_replace(lifecycle);
    }

    /// The lifecycle that was set last.
    pub fn lifecycle(&self) -> Lifecycle {
        *self.lifecycle.borrow()
    }

    /// A stream of what is set, the current one first. It ends when the last clone of this handle is gone.
    pub fn monitor(&self) -> ManualStream<Lifecycle> {
        ManualStream::new(self.lifecycle.subscribe(), |lifecycle| *lifecycle)
    }
}

/// The stream of a [`ManualMonitor`] or a [`ManualLifecycle`]. Dropping it lets go of it and nothing else.
pub struct ManualStream<T> {
    inner: Pin<Box<dyn Stream<Item = T> + Send>>,
}

impl<T: Send + Sync + 'static> ManualStream<T> {
    fn new(watched: watch::Receiver<T>, read: impl FnMut(&T) -> T + Send + 'static) -> Self {
        Self { inner: Box::pin(crate::watched::newest_first(watched, read)) }
    }
}

impl<T> fmt::Debug for ManualStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualStream").finish_non_exhaustive()
    }
}

impl<T> Stream for ManualStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.inner.as_mut().poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::{LifecycleMonitor, NetworkMonitor};

    fn is_monitor(_: &impl NetworkMonitor) {}
    fn is_lifecycle(_: &impl LifecycleMonitor) {}

    #[tokio::test]
    async fn the_current_status_comes_first_then_what_is_set() {
        let host = ManualMonitor::default();
        host.set(NetworkStatus::online());
        let mut monitor = host.monitor();
        is_monitor(&monitor);
        assert_eq!(monitor.next().await, Some(NetworkStatus::online()));
        assert_eq!(monitor.next().now_or_never(), None, "nothing was set since");

        let asleep = std::time::Duration::from_secs(60);
        host.set(NetworkStatus::online().with_hint(Hint::WokeUp { asleep }));
        assert_eq!(monitor.next().await.unwrap().hint, Hint::WokeUp { asleep }, "a hint of its own is kept");
        host.set(NetworkStatus::online());
        host.set(NetworkStatus::online());
        assert_eq!(monitor.next().await, Some(NetworkStatus::online().with_hint(Hint::Host)));
        assert_eq!(monitor.next().now_or_never(), None, "the newest alone is kept");
    }

    #[tokio::test]
    async fn every_clone_feeds_every_stream_and_the_last_one_ends_them() {
        let host = ManualMonitor::default();
        let other = host.clone();
        let (mut a, mut b) = (host.monitor(), other.monitor());
        a.next().await;
        b.next().await;
        drop(host);
        other.set(NetworkStatus::offline());
        drop(other);
        for stream in [&mut a, &mut b] {
            assert!(stream.next().await.unwrap().is_offline(), "what was set before the end is still read");
            assert_eq!(stream.next().await, None);
        }
    }

    #[tokio::test]
    async fn a_lifecycle_has_the_same_shape() {
        let host = ManualLifecycle::new(Lifecycle::Foreground);
        let mut monitor = host.monitor();
        is_lifecycle(&monitor);
        assert_eq!(monitor.next().await, Some(Lifecycle::Foreground));
        let waiting = monitor.next();
        host.set(Lifecycle::Background);
        assert_eq!(waiting.await, Some(Lifecycle::Background));
        assert_eq!(host.lifecycle(), Lifecycle::Background);
        drop(host);
        assert_eq!(monitor.next().await, None);
    }
}
