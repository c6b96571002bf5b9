//! Drains the core, waits, tells the core: the only place of the monitor that has clocks and sockets.

use std::{future::pending, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::watch, time};

use super::{
    core::{Core, Observation, Output},
    path::{self, Way},
    snapshot::Snapshot,
    suspend::Reading,
    targets::Targets,
};
use crate::{Hint, NetworkStatus, Reachability};

/// How long the first look waits for a watcher that has just been started, so that the first status knows the
/// addresses. It takes a millisecond; a watcher that cannot be opened never speaks.
const FIRST_KNOWLEDGE: Duration = Duration::from_millis(100);

/// What a monitor is to do. Monitors of equal settings share a driver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Settings {
    pub(crate) target: Option<(String, u16)>,
    pub(crate) interval: Duration,
    pub(crate) debounce: Duration,
}

pub(crate) type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The operating system, so that a test can be one.
pub(crate) trait System: Send {
    fn clocks(&self) -> Reading;
    fn way(&self, target: SocketAddr) -> Way;
    fn look_up(&self, host: &str, port: u16) -> Lookup;
}

/// Runs until its future is dropped. `say` is `None` until the first look.
pub(crate) async fn run(
    settings: Settings,
    system: impl System,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    say: watch::Sender<Option<NetworkStatus>>,
) {
    let _ = time::timeout(FIRST_KNOWLEDGE, snapshots.wait_for(|snapshot| snapshot.is_known())).await;
    let mut targets = Targets::new(settings.target.as_ref().map(|(host, port)| (host.as_str(), *port)));
    let mut core = Core::new(settings.debounce, settings.interval, system.clocks());
    let mut lookup: Option<Lookup> = None;
    let mut is_by_lookup = false;
    loop {
        let now = system.clocks().now;
        while let Some(output) = core.poll_output() {
            match output {
                Output::Look(why) => {
                    let seen = look(&system, &targets, &snapshots.borrow());
                    if seen.path.reachability == Reachability::Offline {
                        targets.want_lookup();
                    }
                    core.handle_observation(now, why, seen);
                }
                Output::Tell(status) => {
                    tracing::debug!(?status, "network");
                    // Another network may know the name by another address. What a lookup brought about is no
                    // reason for the next one.
                    if status.hint != Hint::Started && !is_by_lookup {
                        targets.want_lookup();
                    }
                    say.send_replace(Some(status));
                }
            }
        }
        if let Some((host, port)) = settings.target.as_ref().filter(|_| targets.start_lookup(now)) {
            lookup = Some(system.look_up(host, *port));
        }

        let answer = tokio::select! {
            () = time::sleep_until(core.poll_timeout().into()) => None,
            hint = snapshots.changed() => match hint {
                Ok(()) => {
                    core.handle_notice(system.clocks().now);
                    None
                }
                // The watcher died with the runtime it was started on; the handles of this driver start anew.
                Err(_) => return,
            },
            answer = resolved(&mut lookup) => Some(answer),
        };

        core.handle_timeout(system.clocks());
        is_by_lookup = answer.is_some_and(|answer| targets.handle_lookup(answer));
        if is_by_lookup {
            core.handle_new_targets();
        }
    }
}

fn look(system: &impl System, targets: &Targets, snapshot: &Snapshot) -> Observation {
    let path = targets.judge(targets.addresses().iter().map(|target| system.way(*target)));
    let ips: Vec<_> = targets.addresses().iter().map(SocketAddr::ip).collect();
    Observation {
        addresses: snapshot.addresses(&path.locals),
        ground: snapshot.ground(&path.locals, &ips),
        running: snapshot.running(),
        path,
    }
}

/// The answer of the lookup under way, or never.
async fn resolved(lookup: &mut Option<Lookup>) -> io::Result<Vec<SocketAddr>> {
    let Some(under_way) = lookup else { return pending().await };
    let answer = under_way.await;
    *lookup = None;
    answer
}

/// This machine.
#[derive(Debug)]
pub(crate) struct Machine;

impl System for Machine {
    fn clocks(&self) -> Reading {
        super::clocks::read()
    }

    fn way(&self, target: SocketAddr) -> Way {
        path::probe(target)
    }

    fn look_up(&self, host: &str, port: u16) -> Lookup {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        sync::{Mutex, MutexGuard},
        time::SystemTime,
    };

    use super::*;
    use crate::system::snapshot::{Address, Kernel};

    /// A machine of our own making, on paused time.
    #[derive(Clone)]
    struct Fake(Arc<Mutex<State>>);

    struct State {
        /// Our address, towards everything but loopback.
        local: Option<IpAddr>,
        /// What the name resolves to, and after how long.
        answer: Vec<SocketAddr>,
        delay: Duration,
        lookups: usize,
        start: time::Instant,
    }

    impl Fake {
        fn new(local: Option<&str>) -> Self {
            Self(Arc::new(Mutex::new(State {
                local: local.map(ip),
                answer: Vec::new(),
                delay: Duration::from_millis(30),
                lookups: 0,
                start: now(),
            })))
        }

        fn state(&self) -> MutexGuard<'_, State> {
            self.0.lock().unwrap()
        }
    }

    impl System for Fake {
        fn clocks(&self) -> Reading {
            let wall = SystemTime::UNIX_EPOCH + (now() - self.state().start);
            Reading { now: now().into_std(), wall, slept: Some(Duration::ZERO) }
        }

        fn way(&self, target: SocketAddr) -> Way {
            match self.state().local {
                _ if target.ip().is_loopback() => Way::From(target.ip()),
                Some(local) if local.is_ipv4() == target.is_ipv4() => Way::From(local),
                _ => Way::No,
            }
        }

        fn look_up(&self, _: &str, _: u16) -> Lookup {
            let mut state = self.state();
            state.lookups += 1;
            let (delay, answer) = (state.delay, state.answer.clone());
            Box::pin(async move {
                time::sleep(delay).await;
                if answer.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(answer) }
            })
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tests read the paused clock")]
    fn now() -> time::Instant {
        time::Instant::now()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    struct Running {
        system: Fake,
        snapshots: watch::Sender<Arc<Snapshot>>,
        says: watch::Receiver<Option<NetworkStatus>>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Running {
        fn start(target: Option<(&str, u16)>, system: Fake) -> Self {
            let settings = Settings {
                target: target.map(|(host, port)| (host.to_owned(), port)),
                ..Settings::default()
            };
            let (snapshots, hints) = watch::channel(Arc::default());
            let (say, says) = watch::channel(None);
            let task = tokio::spawn(run(settings, system.clone(), hints, say));
            Self { system, snapshots, says, task }
        }

        /// The next status, and how many milliseconds it took.
        async fn next(&mut self) -> (u64, NetworkStatus) {
            let start = now();
            let next = time::timeout(Duration::from_secs(60), self.says.changed()).await;
            next.expect("something is told within a minute").unwrap();
            let status = self.says.borrow_and_update().clone().unwrap();
            ((now() - start).as_millis() as u64, status)
        }

        async fn is_quiet(&mut self) {
            let next = time::timeout(Duration::from_secs(60), self.says.changed()).await;
            assert!(next.is_err(), "{:?}", self.says.borrow());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_is_told_after_the_debounce_and_a_silent_change_after_a_poll_and_the_debounce() {
        let mut running = Running::start(None, Fake::new(Some("10.0.0.1")));
        assert_eq!(running.next().await.1.local_addr, Some(ip("10.0.0.1")));
        running.is_quiet().await;

        running.system.state().local = Some(ip("10.0.0.2"));
        running.snapshots.send_modify(|_| {});
        let (ms, status) = running.next().await;
        assert_eq!((ms, status.local_addr), (250, Some(ip("10.0.0.2"))));

        running.system.state().local = None;
        let (ms, status) = running.next().await;
        assert!(status.is_offline());
        assert!((250..=2250).contains(&ms), "{ms}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_the_watcher_go_with_the_status() {
        let mut running = Running::start(None, Fake::new(Some("10.0.0.1")));
        assert_eq!(running.next().await.1.addresses, None, "unknown yet");
        running.system.state().local = Some(ip("10.0.0.2"));
        running.snapshots.send_modify(|snapshot| {
            let addresses =
                vec![Address { link: 2, ip: ip("10.0.0.2") }, Address { link: 2, ip: ip("fe80::2") }];
            Arc::make_mut(snapshot).kernel = Some(Kernel { addresses, ..Kernel::default() });
        });
        let (_, status) = running.next().await;
        assert_eq!(status.addresses.as_deref(), Some([ip("10.0.0.2")].as_slice()));
        assert!(status.is_gone(ip("10.0.0.1")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_of_this_machine_is_online_as_soon_as_it_resolves() {
        let system = Fake::new(None);
        system.state().answer = vec![SocketAddr::new(ip("::1"), 443)];
        let mut running = Running::start(Some(("localhost", 443)), system);
        assert_eq!(running.next().await.1.reachability, Reachability::Unknown);
        let (ms, status) = running.next().await;
        assert_eq!(status.local_addr, Some(ip("::1")), "no network at all, and yet a path");
        assert!((30..=40).contains(&ms), "{ms}");
        running.is_quiet().await;
        assert_eq!(running.system.state().lookups, 1, "a name that works is left alone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_does_not_resolve_is_asked_for_again_without_haste() {
        let mut running = Running::start(Some(("chat.example", 443)), Fake::new(None));
        assert_eq!(running.next().await.1.reachability, Reachability::Unknown);
        assert!(running.next().await.1.is_offline());
        running.is_quiet().await;
        let lookups = running.system.state().lookups;
        assert!((5..=7).contains(&lookups), "{lookups} in a minute");

        let (v4, v6) = (SocketAddr::new(ip("203.0.113.7"), 443), SocketAddr::new(ip("2001:db8::7"), 443));
        running.system.state().answer = vec![v4, v6];
        running.system.state().local = Some(ip("2001:db8::5"));
        running.snapshots.send_modify(|_| {});
        let (ms, status) = running.next().await;
        assert_eq!((ms, status.local_addr), (250, Some(ip("2001:db8::5"))), "IPv6 alone will do");
    }

    #[tokio::test(start_paused = true)]
    async fn the_driver_ends_when_its_watcher_does() {
        let running = Running::start(None, Fake::new(None));
        drop(running.snapshots);
        running.task.await.unwrap();
    }
}
