//! The one watcher of a process: if-watch and, on Linux, the kernel's notifications, joined in a [`Snapshot`].

use std::sync::Arc;

use tokio::sync::watch;

use super::{interfaces, shared, snapshot::Snapshot};

pub(crate) type Watcher = Arc<shared::Shared<Arc<Snapshot>>>;

static WATCHER: shared::Registry<(), Arc<Snapshot>> = shared::Registry::new();

/// The watcher, started if none is running. Each change of its channel is a hint, also with an equal snapshot.
pub(crate) fn join() -> Watcher {
    WATCHER.join((), |say| async move {
        tokio::join!(
            interfaces::watch(
                |addresses| say.send_modify(|known| Arc::make_mut(known).interfaces = addresses)
            ),
            watch_kernel(&say),
        );
    })
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unused_async, reason = "elsewhere if-watch is all there is")]
async fn watch_kernel(_say: &watch::Sender<Arc<Snapshot>>) {}

#[cfg(target_os = "linux")]
async fn watch_kernel(say: &watch::Sender<Arc<Snapshot>>) {
    use super::{reopen::Reopen, rtnetlink};

    let mut reopen = Reopen::default();
    loop {
        let Err(error) = async {
            let notifications = rtnetlink::Notifications::open()?;
            reopen.handle_opened(now());
            follow_kernel(&notifications, say).await
        }
        .await;
        say.send_modify(|known| Arc::make_mut(known).kernel = None);
        let pause = reopen.handle_error(now());
        tracing::debug!(%error, ?pause, "the netlink watcher broke and is opened again");
        tokio::time::sleep(pause).await;
    }
}

/// Dumps the tables at first and after each burst of notifications, to the first error.
#[cfg(target_os = "linux")]
async fn follow_kernel(
    notifications: &super::rtnetlink::Notifications,
    say: &watch::Sender<Arc<Snapshot>>,
) -> std::io::Result<std::convert::Infallible> {
    use std::time::Duration;

    use futures_util::FutureExt;

    /// A machine that starts a hundred containers shall not have its tables read a thousand times.
    const PAUSE: Duration = Duration::from_millis(50);

    loop {
        // The first notification of a burst is followed at once, and what comes with it a pause later.
        let kernel = super::rtnetlink::dump().await?;
        say.send_modify(|known| Arc::make_mut(known).kernel = Some(kernel));
        tokio::time::sleep(PAUSE).await;
        notifications.changed().await?;
        while let Some(more) = notifications.changed().now_or_never() {
            more?;
        }
    }
}

#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "this is a driver")]
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
