//! The default monitor: what this machine's own operating system tells, and what it does not tell but shows.

mod clocks;
mod config;
mod core;
mod driver;
mod interfaces;
#[cfg(target_os = "linux")]
pub(crate) mod netlink;
mod path;
mod reopen;
#[cfg(target_os = "linux")]
pub(crate) mod rtnetlink;
mod shared;
pub(crate) mod snapshot;
mod suspend;
mod targets;
mod watcher;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::stream;
use tokio::sync::watch;

pub use self::config::{ConfigError, SystemMonitorBuilder};
use self::driver::{Machine, Settings};
use crate::NetworkStatus;

static DRIVERS: shared::Registry<Arc<Settings>, Option<NetworkStatus>> = shared::Registry::new();

/// The network as this machine sees it, towards one server.
///
/// It joins three sources: the **path probe** (which of our addresses would be used to reach the server; no
/// packet is sent), the watchers of interfaces (if-watch, and on Linux also link and route notifications), and
/// the **suspend detector**. The watchers give hints and the path gives facts, so an unrelated bridge is quiet
/// and a moved default route is not.
///
/// ```no_run
/// use everwire_netmon::SystemMonitor;
/// use futures_util::StreamExt;
///
/// # async fn example() -> Result<(), everwire_netmon::ConfigError> {
/// let mut monitor = SystemMonitor::towards("chat.example.com", 443)?;
/// while let Some(status) = monitor.next().await {
///     println!("{:?} by {:?}, because of {:?}", status.reachability, status.local_addr, status.hint);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Contract
/// - The first item says what is seen now, at once. Towards a *name* that was not looked up yet, on a machine
///   with no way out, that is "unknown": the server may be on this very machine.
/// - Then an item for each change of the path, of its link or gateway, and for the loss of an address that was
///   the path before; each after the debounce, and none when all is as it was. A link that lost its carrier or
///   was switched off comes at once; so do [`Hint::WokeUp`], [`Hint::Continued`] and [`Hint::ClockStepped`], whatever the
///   path.
/// - A stream that is not read meanwhile sees the newest status alone.
/// - Work begins at the first poll. All monitors of a process share one watcher, and those with equal settings
///   one prober; both end when the last monitor that uses them is dropped.
/// - It never ends, unless its runtime does.
///
/// # Panics
/// When polled outside a Tokio runtime, or in one without I/O and time.
///
/// [`Hint::Continued`]: crate::Hint::Continued
/// [`Hint::WokeUp`]: crate::Hint::WokeUp
/// [`Hint::ClockStepped`]: crate::Hint::ClockStepped
pub struct SystemMonitor {
    /// One for all monitors that are alike, while one of them runs.
    settings: Arc<Settings>,
    statuses: Pin<Box<dyn Stream<Item = NetworkStatus> + Send>>,
}

impl SystemMonitor {
    /// Towards the server `host`, with all defaults: see [`SystemMonitorBuilder::towards`].
    ///
    /// # Errors
    /// When `host` is empty, or a URL.
    pub fn towards(host: impl Into<String>, port: u16) -> Result<Self, ConfigError> {
        Self::builder().towards(host, port).build()
    }

    /// To choose more than the target.
    pub fn builder() -> SystemMonitorBuilder {
        SystemMonitorBuilder::default()
    }

    fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let settings = DRIVERS.key(&settings).unwrap_or(settings);
        let statuses = Box::pin(follow(Arc::clone(&settings)));
        Self { settings, statuses }
    }
}

/// Anywhere: online means that there is any way out of this machine. A server on this very machine is
/// reachable without one, so name your server where you can.
impl Default for SystemMonitor {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl fmt::Debug for SystemMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemMonitor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Stream for SystemMonitor {
    type Item = NetworkStatus;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NetworkStatus>> {
        self.statuses.as_mut().poll_next(cx)
    }
}

/// The driver that a stream listens to.
struct Joined {
    _driver: Arc<shared::Shared<Option<NetworkStatus>>>,
    says: watch::Receiver<Option<NetworkStatus>>,
    heard: bool,
}

/// A stream and what it has said. Every client has one, so what is held across a wait is little, and held once.
struct Following {
    settings: Arc<Settings>,
    joined: Option<Joined>,
    first: bool,
}

/// What the driver of these settings says, the current status first.
fn follow(settings: Arc<Settings>) -> impl Stream<Item = NetworkStatus> + Send {
    let first = Following { settings, joined: None, first: true };
    stream::unfold(first, |mut following| async move {
        loop {
            let joined = following.joined.get_or_insert_with(|| join(&following.settings));
            let unheard = if joined.heard { None } else { joined.says.borrow_and_update().clone() };
            if let Some(status) = unheard {
                joined.heard = true;
                let first = std::mem::take(&mut following.first);
                let status = if first { status.with_hint(crate::Hint::Started) } else { status };
                return Some((status, following));
            }
            if joined.says.changed().await.is_ok() {
                joined.heard = false;
                continue;
            }
            // The driver died with the runtime that it was started on. A new one lives on ours, unless that is
            // on its way out too, which shows in a driver that never spoke.
            if !joined.heard && joined.says.borrow().is_none() {
                return None;
            }
            following.joined = None;
        }
    })
}

fn join(settings: &Arc<Settings>) -> Joined {
    let driver = DRIVERS.join(Arc::clone(settings), |say| {
        let settings = Settings::clone(settings);
        async move {
            let watcher = watcher::join();
            driver::run(settings, Machine, watcher.subscribe(), say).await;
        }
    });
    let says = driver.subscribe();
    Joined { _driver: driver, says, heard: false }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;

    use super::*;
    use crate::{Hint, NetworkMonitor, Reachability};

    fn is_monitor(_: &impl NetworkMonitor) {}

    #[tokio::test]
    async fn a_server_on_this_machine_is_reachable_on_every_machine() {
        for host in ["127.0.0.1", "localhost"] {
            let mut monitor = SystemMonitor::towards(host, 9).unwrap();
            is_monitor(&monitor);
            let online = async {
                loop {
                    let status = monitor.next().await.unwrap();
                    if status.reachability == Reachability::Online
                        && status.local_addr.is_some_and(|local| local.is_loopback())
                    {
                        break status;
                    }
                }
            };
            let status = tokio::time::timeout(Duration::from_secs(10), online).await.unwrap();
            assert!(!status.is_gone(status.local_addr.unwrap()), "{host}");
        }
    }

    #[tokio::test]
    async fn monitors_of_equal_settings_share_a_driver_and_each_begins_with_the_current_status() {
        let monitor = || SystemMonitor::builder().towards("127.0.0.1", 10).build().unwrap();
        let (mut a, mut b) = (monitor(), monitor());
        let (first, second) = (a.next().await.unwrap(), b.next().await.unwrap());
        assert_eq!((first.hint, second.hint), (Hint::Started, Hint::Started));
        let key = a.settings.clone();
        let driver = DRIVERS.join(key.clone(), |_| async { unreachable!("one is running") });
        drop((a, b));
        drop(driver);
        let mut anew = SystemMonitor::new(Settings::clone(&key));
        assert_eq!(
            anew.next().await.unwrap().hint,
            Hint::Started,
            "the last one ended it, and it begins anew"
        );
    }

    #[test]
    fn a_monitor_survives_the_runtime_of_another() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let monitor = || SystemMonitor::builder().towards("127.0.0.1", 11).build().unwrap();
        let (first, second) = (runtime(), runtime());
        let (mut a, mut b) = (monitor(), monitor());
        assert!(first.block_on(a.next()).is_some());
        assert!(second.block_on(b.next()).is_some());
        drop(first);
        assert!(second.block_on(b.next()).is_some(), "its driver is started again, here");
    }
}
