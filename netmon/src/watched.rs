//! A watch channel as a stream.

use futures_core::Stream;
use futures_util::stream;
use tokio::sync::watch;

/// What `read` makes of the current value, then of each newer one; ends with the last sender.
pub(crate) fn newest_first<T, U>(
    watched: watch::Receiver<T>,
    read: impl FnMut(&T) -> U + Send,
) -> impl Stream<Item = U> + Send
where
    T: Send + Sync,
    U: Send,
{
    stream::unfold((watched, read, true), |(mut watched, mut read, first)| async move {
        if !first {
            watched.changed().await.ok()?;
        }
        let item = read(&watched.borrow_and_update());
        Some((item, (watched, read, false)))
    })
}
