//! The decision: which of the things that happen are worth telling, and when.
//!
//! A watcher's event is a hint and opens a window; when the window closes, the path is probed and compared
//! with what was told last. The same is found quietly by a poll, for systems whose watchers say nothing.
//! So a burst of events becomes one status, and an address that moves between interfaces (gone, then back)
//! becomes none. One thing does not wait for the end of the window: that a link of the path stopped running.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    path::Path,
    snapshot::Ground,
    suspend::{Detector, Reading},
};
use crate::{Hint, NetworkStatus};

/// What the driver sees when it looks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Observation {
    pub(crate) path: Path,
    pub(crate) addresses: Option<Arc<[IpAddr]>>,
    /// `None` while no watcher knows.
    pub(crate) ground: Option<Ground>,
    /// The links that are up, with a carrier; `None` while no watcher knows.
    pub(crate) running: Option<BTreeSet<u32>>,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Look, then call [`Core::handle_observation`] with the same reason.
    Look(Why),
    /// Tell this.
    Tell(NetworkStatus),
}

/// Why we look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    Poll,
    /// A hint came. What may be undone within the window is left to its end.
    Glance,
    /// A window closed.
    Settled,
    /// Something to be told whatever we see.
    Told(Hint),
}

#[derive(Debug)]
pub(crate) struct Core {
    debounce: Duration,
    interval: Duration,
    detector: Detector,
    /// What was told last.
    told: Observation,
    /// Local addresses that were a path once and are still ours: a connection may live on any of them.
    used: BTreeSet<IpAddr>,
    next_poll: Instant,
    window: Option<Window>,
    outputs: VecDeque<Output>,
}

/// The time for the events of a burst to be over.
#[derive(Clone, Copy, Debug)]
struct Window {
    end: Instant,
    /// The loss of a link was told and did not wait for the end.
    is_told: bool,
}

impl Core {
    /// Looks at once, to have something to tell.
    pub(crate) fn new(debounce: Duration, interval: Duration, reading: Reading) -> Self {
        let mut core = Self {
            debounce,
            interval,
            detector: Detector::new(reading),
            told: Observation::default(),
            used: BTreeSet::new(),
            next_poll: reading.now + interval,
            window: None,
            outputs: VecDeque::new(),
        };
        core.look(Why::Told(Hint::Started));
        core
    }

    /// A watcher said something.
    pub(crate) fn handle_notice(&mut self, now: Instant) {
        let window = self.window.get_or_insert(Window { end: now + self.debounce, is_told: false });
        if !window.is_told {
            self.look(Why::Glance);
        }
    }

    /// The targets are known now, or are others: compare at once.
    pub(crate) fn handle_new_targets(&mut self) {
        self.look(Why::Settled);
    }

    /// Time has passed. To be called on every wake of the driver, before anything else: the clocks are
    /// compared here.
    pub(crate) fn handle_timeout(&mut self, reading: Reading) {
        if let Some(hint) = self.detector.handle_reading(reading, self.poll_timeout()) {
            // What was waited for is seen now too, and whatever settles later is found by the next poll.
            self.window = None;
            self.look(Why::Told(hint));
        } else if self.window.is_some_and(|window| window.end <= reading.now) {
            self.window = None;
            self.look(Why::Settled);
        } else if self.next_poll <= reading.now {
            self.look(Why::Poll);
        } else {
            return;
        }
        self.next_poll = reading.now + self.interval;
    }

    /// What [`Output::Look`] found.
    pub(crate) fn handle_observation(&mut self, now: Instant, why: Why, seen: Observation) {
        match why {
            // An address that went may be back in a moment, on another interface. A carrier that went is a
            // fact, and costs a live connection no more than a question.
            Why::Glance if self.has_lost_a_link(&seen) => {
                self.window = self.window.map(|window| Window { is_told: true, ..window });
                self.tell(seen, Hint::NetworkChanged);
            }
            Why::Glance => {}
            Why::Told(hint) => self.tell(seen, hint),
            Why::Settled if self.is_news(&seen) => self.tell(seen, Hint::NetworkChanged),
            Why::Poll if self.is_news(&seen) => self.handle_notice(now),
            // That a watcher knows at last is no change of the network.
            Why::Settled | Why::Poll => self.told.ground = seen.ground.or_else(|| self.told.ground.take()),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Core::handle_timeout`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.window.map_or(self.next_poll, |window| window.end.min(self.next_poll))
    }

    fn look(&mut self, why: Why) {
        self.outputs.push_back(Output::Look(why));
    }

    fn is_news(&self, seen: &Observation) -> bool {
        let paths = |path: &Path| path.locals.iter().copied().collect::<BTreeSet<_>>();
        seen.path.reachability != self.told.path.reachability
            || paths(&seen.path) != paths(&self.told.path)
            || is_other(seen.ground.as_ref(), self.told.ground.as_ref())
            || self.used.iter().any(|local| is_gone(seen.addresses.as_deref(), *local))
    }

    /// Whether a link that what was told stands on runs no more.
    fn has_lost_a_link(&self, seen: &Observation) -> bool {
        let Some((told, running)) = self.told.ground.as_ref().zip(seen.running.as_ref()) else {
            return false;
        };
        told.links.iter().any(|link| link.running && !running.contains(&link.index))
    }

    fn tell(&mut self, seen: Observation, hint: Hint) {
        self.used.extend(seen.path.locals.iter().copied());
        self.used.retain(|local| !is_gone(seen.addresses.as_deref(), *local));
        self.outputs.push_back(Output::Tell(NetworkStatus {
            reachability: seen.path.reachability,
            local_addr: seen.path.locals.first().copied(),
            addresses: seen.addresses.clone(),
            hint,
        }));
        self.told = seen;
    }
}

fn is_other(seen: Option<&Ground>, told: Option<&Ground>) -> bool {
    seen.zip(told).is_some_and(|(seen, told)| seen != told)
}

fn is_gone(addresses: Option<&[IpAddr]>, local: IpAddr) -> bool {
    !local.is_loopback() && addresses.is_some_and(|addresses| !addresses.contains(&local))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins at some instant, whichever")]
mod tests {
    use std::time::SystemTime;

    use super::{super::snapshot::Link, *};
    use crate::Reachability;

    const DEBOUNCE: Duration = Duration::from_millis(250);
    const INTERVAL: Duration = Duration::from_secs(2);

    /// A machine that is looked at whenever the core asks, and the story of what was told.
    struct World {
        core: Core,
        reading: Reading,
        t0: Instant,
        machine: Observation,
        told: Vec<(u64, NetworkStatus)>,
    }

    impl World {
        fn new(machine: Observation) -> Self {
            let t0 = Instant::now();
            let reading = Reading {
                now: t0,
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
                slept: Some(Duration::ZERO),
            };
            let core = Core::new(DEBOUNCE, INTERVAL, reading);
            let mut world = Self { core, reading, t0, machine, told: Vec::new() };
            world.drain();
            world
        }

        fn drain(&mut self) {
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Look(why) => {
                        self.core.handle_observation(self.reading.now, why, self.machine.clone());
                    }
                    Output::Tell(status) => {
                        let ms = (self.reading.now - self.t0).as_millis() as u64;
                        self.told.push((ms, status));
                    }
                }
            }
        }

        fn wake(&mut self, at: Instant) {
            let passed = at.saturating_duration_since(self.reading.now);
            self.reading.now += passed;
            self.reading.wall += passed;
            self.core.handle_timeout(self.reading);
            self.drain();
        }

        /// Lets time pass, with every timer on its time.
        fn pass(&mut self, duration: Duration) {
            let end = self.reading.now + duration;
            while self.core.poll_timeout() <= end {
                self.wake(self.core.poll_timeout());
            }
            self.wake(end);
        }

        fn change(&mut self, machine: Observation) {
            self.machine = machine;
            self.core.handle_notice(self.reading.now);
            self.drain();
        }

        fn take(&mut self) -> Vec<(u64, NetworkStatus)> {
            std::mem::take(&mut self.told)
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Online from `local`, on a machine with these addresses.
    fn via(local: &str, addresses: &[&str]) -> Observation {
        Observation {
            path: Path { reachability: Reachability::Online, locals: vec![ip(local)] },
            addresses: Some(addresses.iter().map(|a| ip(a)).collect()),
            ground: Some(Ground::default()),
            running: Some([1].into()),
        }
    }

    fn nowhere() -> Observation {
        let path = Path { reachability: Reachability::Offline, locals: vec![] };
        Observation { path, addresses: Some([].into()), ..via("10.0.0.1", &[]) }
    }

    /// Online over a link, whose carrier came or went so often.
    fn over_link(carrier_changes: u32) -> Observation {
        let running = carrier_changes.is_multiple_of(2);
        let ground = Ground { links: vec![Link { index: 2, running, carrier_changes }], routes: vec![] };
        let running = if running { [1, 2].into() } else { [1].into() };
        Observation { ground: Some(ground), running: Some(running), ..via("10.0.0.1", &["10.0.0.1"]) }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_begins_with_what_is_seen_and_is_quiet_while_that_stays() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.pass(60 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, 0);
        assert_eq!(told[0].1.hint, Hint::Started);
        assert_eq!(told[0].1.local_addr, Some(ip("10.0.0.1")));
    }

    /// §5: a change is told when its burst is over, once.
    #[test]
    fn rule_5_a_burst_of_events_becomes_one_status() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.take();
        world.pass(100 * MS);
        world.change(nowhere());
        for _ in 0..5 {
            world.pass(20 * MS);
            world.change(via("10.0.0.2", &["10.0.0.2"]));
        }
        world.pass(60 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, 350, "the window opens with the first event, and later ones do not prolong it");
        assert_eq!(told[0].1.local_addr, Some(ip("10.0.0.2")));
        assert_eq!(told[0].1.hint, Hint::NetworkChanged);
    }

    /// §5: the same address on another interface is a false Down of the watcher.
    #[test]
    fn rule_5_an_address_that_moves_between_interfaces_is_quiet() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.take();
        world.change(nowhere());
        world.pass(10 * MS);
        world.change(via("10.0.0.1", &["10.0.0.1"]));
        world.pass(60 * INTERVAL);
        assert_eq!(world.take(), []);
    }

    /// §5: a carrier that went is told by the first hint, and what follows within the window is one status more.
    #[test]
    fn rule_5_a_lost_carrier_is_told_at_once_and_a_flapping_one_once_in_a_window() {
        let mut world = World::new(over_link(0));
        world.take();
        world.pass(100 * MS);
        world.change(over_link(1));
        world.pass(60 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].1.hint), (100, Hint::NetworkChanged));

        world.change(over_link(2));
        assert_eq!(
            world.take(),
            [],
            "the return of a carrier can wait until its address and routes are back"
        );
        world.pass(INTERVAL);
        assert_eq!(world.take().len(), 1);

        for changes in 3..=21 {
            world.change(over_link(changes));
            world.pass(10 * MS);
        }
        world.pass(60 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1].0 - told[0].0, 250);
    }

    /// §5: within a window one loss is told at once; what else goes meanwhile is told at its end.
    #[test]
    fn rule_5_a_second_carrier_that_is_lost_waits_for_the_end_of_the_window() {
        let over = |running: &[u32]| {
            let link = |index| {
                let running = running.contains(&index);
                Link { index, running, carrier_changes: u32::from(!running) }
            };
            let ground = Ground { links: vec![link(2), link(3)], routes: vec![] };
            let running = Some(running.iter().copied().collect());
            Observation { ground: Some(ground), running, ..via("10.0.0.1", &["10.0.0.1"]) }
        };
        let mut world = World::new(over(&[2, 3]));
        world.take();
        world.pass(100 * MS);
        world.change(over(&[3]));
        world.pass(20 * MS);
        world.change(over(&[]));
        world.pass(60 * INTERVAL);
        let times: Vec<_> = world.take().into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, [100, 350]);
    }

    #[test]
    fn a_poll_that_finds_nothing_new_opens_no_window() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.pass(INTERVAL);
        assert_eq!(world.core.poll_timeout(), world.reading.now + INTERVAL);
    }

    /// A link that a program takes away with all that stood on it, though another path is there.
    #[test]
    fn a_link_that_vanished_is_told_at_once_with_the_path_that_is_left() {
        let mut world = World::new(over_link(0));
        world.take();
        // A hint before the loss, in the same window, does not delay it.
        world.change(over_link(0));
        world.pass(10 * MS);
        world.change(via("10.1.0.1", &["10.1.0.1"]));
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].1.local_addr), (10, Some(ip("10.1.0.1"))));
        world.pass(60 * INTERVAL);
        assert_eq!(world.take(), []);
    }

    #[test]
    fn being_continued_to_a_hint_is_told_once() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.take();
        world.reading.now = world.core.poll_timeout() + Duration::from_secs(30);
        world.core.handle_notice(world.reading.now);
        world.core.handle_timeout(world.reading);
        world.core.handle_new_targets();
        world.drain();
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(matches!(told[0].1.hint, Hint::Continued { .. }), "{told:?}");
    }

    /// §5: an unrelated bridge is noise of the watcher, and renewing a lease changes nothing.
    #[test]
    fn rule_5_an_unrelated_bridge_and_a_renewed_lease_are_quiet() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.take();
        for machine in [
            via("10.0.0.1", &["10.0.0.1", "172.17.0.1"]),
            via("10.0.0.1", &["10.0.0.1", "172.17.0.1"]),
            via("10.0.0.1", &["10.0.0.1"]),
        ] {
            world.change(machine);
            world.pass(INTERVAL);
        }
        assert_eq!(world.take(), []);
    }

    /// §5: where no watcher speaks, the poll finds the moved route.
    #[test]
    fn rule_5_a_silent_change_is_found_by_the_poll() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1", "10.1.0.1"]));
        world.take();
        world.pass(500 * MS);
        world.machine = via("10.1.0.1", &["10.0.0.1", "10.1.0.1"]);
        world.pass(60 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, 2250);
        assert!(!told[0].1.is_gone(ip("10.0.0.1")), "the old address is still there");
    }

    #[test]
    fn the_loss_of_an_address_that_was_a_path_is_told_even_though_the_path_stays() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1", "10.1.0.1", "172.17.0.1"]));
        world.change(via("10.1.0.1", &["10.0.0.1", "10.1.0.1", "172.17.0.1"]));
        world.pass(INTERVAL);
        world.take();
        world.change(via("10.1.0.1", &["10.0.0.1", "10.1.0.1"]));
        world.pass(INTERVAL);
        assert_eq!(world.take(), [], "the bridge never was a path");
        world.change(via("10.1.0.1", &["10.1.0.1"]));
        world.pass(60 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.is_gone(ip("10.0.0.1")));
    }

    #[test]
    fn offline_is_told_and_so_is_the_return() {
        let mut world = World::new(nowhere());
        assert_eq!(world.take()[0].1.reachability, Reachability::Offline, "no network at all at the start");
        world.change(via("2001:db8::5", &["2001:db8::5"]));
        world.pass(INTERVAL);
        assert_eq!(world.take()[0].1.reachability, Reachability::Online, "IPv6 alone will do");
        world.change(nowhere());
        world.pass(INTERVAL);
        assert_eq!(world.take()[0].1.reachability, Reachability::Offline);
    }

    /// §5: waking up is told at once, and whatever the path.
    #[test]
    fn rule_5_waking_up_and_a_stepped_clock_are_told_at_once() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.take();
        let hour = Duration::from_secs(3600);
        world.reading.wall += hour;
        world.reading.slept = Some(hour);
        world.pass(2 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            told[0],
            (2000, NetworkStatus { hint: Hint::WokeUp { asleep: hour }, ..told[0].1.clone() })
        );

        world.reading.wall -= hour;
        world.pass(2 * INTERVAL);
        let told = world.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].1.hint, Hint::ClockStepped);
    }

    #[test]
    fn a_process_that_was_stopped_and_continued_is_told_so() {
        let mut world = World::new(via("10.0.0.1", &["10.0.0.1"]));
        world.take();
        let stopped = Duration::from_secs(30);
        world.wake(world.core.poll_timeout() + stopped);
        assert_eq!(world.take()[0].1.hint, Hint::Continued { stopped });
        world.pass(60 * INTERVAL);
        assert_eq!(world.take(), []);
    }

    #[test]
    fn a_watcher_that_knows_late_or_forgets_is_no_change() {
        let known = via("10.0.0.1", &["10.0.0.1"]);
        let unknown = Observation { addresses: None, ground: None, running: None, ..known.clone() };
        let mut world = World::new(unknown.clone());
        world.take();
        for machine in [known.clone(), unknown, known] {
            world.change(machine);
            world.pass(INTERVAL);
        }
        assert_eq!(world.take(), []);
    }

    #[test]
    fn new_targets_are_compared_at_once() {
        let mut world = World::new(nowhere());
        world.take();
        world.machine = via("127.0.0.1", &[]);
        world.core.handle_new_targets();
        world.drain();
        let told = world.take();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0, told[0].1.local_addr), (0, Some(ip("127.0.0.1"))));
        world.pass(60 * INTERVAL);
        assert_eq!(world.take(), [], "loopback is in no list of addresses, and is not gone for it");
    }
}
