//! if-watch, as the source of hints that it is.

use std::{collections::BTreeSet, io, net::IpAddr};

use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use if_watch::{IfEvent, tokio::IfWatcher};
use tokio::time;

use super::{path, reopen::Reopen, snapshot::is_told};

/// Opens if-watch and tells each change of its addresses, for ever.
pub(crate) async fn watch(tell: impl FnMut(Option<BTreeSet<IpAddr>>) + Send) {
    run(|| IfWatcher::new().map(StreamExt::boxed), path::is_ours, tell).await;
}

/// `tell` gets all addresses, or nothing when the watcher broke. `is_ours` checks a Down.
async fn run<S>(
    mut open: impl FnMut() -> io::Result<S> + Send,
    is_ours: impl Fn(IpAddr) -> bool + Send,
    mut tell: impl FnMut(Option<BTreeSet<IpAddr>>) + Send,
) where
    S: Stream<Item = io::Result<IfEvent>> + Send + Unpin,
{
    let mut reopen = Reopen::default();
    loop {
        let error = match open() {
            Ok(watcher) => {
                reopen.handle_opened(now());
                follow(watcher, &is_ours, &mut tell).await
            }
            Err(error) => error,
        };
        tell(None);
        let pause = reopen.handle_error(now());
        tracing::debug!(%error, ?pause, "the interface watcher broke and is opened again");
        time::sleep(pause).await;
    }
}

/// Follows one watcher to its first error.
async fn follow<S>(
    mut watcher: S,
    is_ours: &impl Fn(IpAddr) -> bool,
    tell: &mut impl FnMut(Option<BTreeSet<IpAddr>>),
) -> io::Error
where
    S: Stream<Item = io::Result<IfEvent>> + Unpin,
{
    let mut addresses = BTreeSet::new();
    loop {
        let mut next = watcher.next().await;
        // All that is there already makes one change.
        loop {
            match next {
                Some(Ok(event)) => apply(&mut addresses, event, is_ours),
                Some(Err(error)) => return error,
                None => return io::ErrorKind::UnexpectedEof.into(),
            }
            match watcher.next().now_or_never() {
                Some(more) => next = more,
                None => break,
            }
        }
        tell(Some(addresses.clone()));
    }
}

/// A Down is never final: if-watch reports one when an address merely moves to another interface.
fn apply(addresses: &mut BTreeSet<IpAddr>, event: IfEvent, is_ours: &impl Fn(IpAddr) -> bool) {
    match event {
        IfEvent::Up(net) if is_told(net.addr()) => {
            addresses.insert(net.addr());
        }
        IfEvent::Down(net) if !is_ours(net.addr()) => {
            addresses.remove(&net.addr());
        }
        IfEvent::Up(_) | IfEvent::Down(_) => {}
    }
}

#[expect(clippy::disallowed_methods, reason = "this is a driver")]
fn now() -> std::time::Instant {
    time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures_util::stream;

    use super::*;

    fn up(net: &str) -> IfEvent {
        IfEvent::Up(net.parse().unwrap())
    }

    fn down(net: &str) -> IfEvent {
        IfEvent::Down(net.parse().unwrap())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn all(addresses: &[&str]) -> BTreeSet<IpAddr> {
        addresses.iter().map(|a| ip(a)).collect()
    }

    /// Runs over scripted watchers for a while, and returns how many were opened and what was told.
    async fn run_for(
        duration: Duration,
        watcher: impl Fn() -> Vec<io::Result<IfEvent>> + Send + Sync,
        is_ours: impl Fn(IpAddr) -> bool + Send,
    ) -> (usize, Vec<Option<BTreeSet<IpAddr>>>) {
        let (opened, told) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
        let open = || {
            opened.fetch_add(1, Ordering::Relaxed);
            // The script has one event a second.
            Ok(stream::iter(watcher())
                .then(|event| async {
                    time::sleep(Duration::from_secs(1)).await;
                    event
                })
                .chain(stream::pending())
                .boxed())
        };
        let tell = |addresses| told.lock().unwrap().push(addresses);
        assert!(time::timeout(duration, run(open, is_ours, tell)).await.is_err(), "it watches for ever");
        let told = told.lock().unwrap().clone();
        (opened.into_inner(), told)
    }

    /// §5: a Down is a hint, and the address may live on at another interface.
    #[tokio::test(start_paused = true)]
    async fn rule_5_a_down_counts_only_when_the_address_is_really_gone() {
        let script = || {
            vec![
                Ok(up("10.0.0.1/24")),
                Ok(down("10.0.0.1/24")),
                Ok(up("10.0.0.2/24")),
                Ok(down("10.0.0.2/24")),
            ]
        };
        let (_, told) = run_for(Duration::from_secs(60), script, |ip| ip.to_string() == "10.0.0.1").await;
        let one = Some(all(&["10.0.0.1"]));
        assert_eq!(told, [one.clone(), one.clone(), Some(all(&["10.0.0.1", "10.0.0.2"])), one]);
    }

    #[tokio::test(start_paused = true)]
    async fn loopback_and_link_local_are_ignored() {
        let script =
            || vec![Ok(up("127.0.0.1/8")), Ok(up("::1/128")), Ok(up("fe80::1/64")), Ok(up("169.254.1.1/16"))];
        let (_, told) = run_for(Duration::from_secs(60), script, |_| false).await;
        assert!(told.iter().all(|addresses| *addresses == Some(BTreeSet::new())), "{told:?}");
    }

    /// A broken socket reports its error on every poll; ours must not spin on it.
    #[tokio::test(start_paused = true)]
    async fn a_broken_watcher_is_opened_again_with_a_growing_pause() {
        let broken = || vec![Ok(up("10.0.0.1/24")), Err(io::ErrorKind::BrokenPipe.into())];
        let (opened, told) = run_for(Duration::from_secs(60), broken, |_| false).await;
        assert!((4..=6).contains(&opened), "{opened}");
        assert_eq!(
            told[..3],
            [Some(all(&["10.0.0.1"])), None, Some(all(&["10.0.0.1"]))],
            "what it knew is forgotten"
        );
    }
}
