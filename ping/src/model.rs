//! An exhaustive check: the controller together with every behaviour of a peer, in whole ticks, over all
//! states that can be reached.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::{PingClient, PingConfig, PingController};

const TICK: Duration = Duration::from_secs(1);
const INTERVAL: u32 = 5;
const TIMEOUT: u32 = 3;
/// A probe waits for so long.
const PROBE: u32 = 2;
/// No pause in reading is longer, which keeps the number of states finite.
const LONGEST_PAUSE: u32 = 3;

/// The peer and the path to it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Peer {
    /// `None` while it lives, then the ticks of reading since its death.
    dead_for: Option<u32>,
    /// The ticks of reading until its pong is read.
    pong_in: Option<u32>,
    /// `None` while we read, then the ticks for which we have not.
    paused_for: Option<u32>,
}

/// What the environment chooses to do in a tick.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Nothing,
    Probe,
    Pause,
    Resume,
    Inbound,
    Die,
    /// The connected state is announced once more.
    Again,
}

const CHOICES: [Choice; 7] = [
    Choice::Nothing,
    Choice::Probe,
    Choice::Pause,
    Choice::Resume,
    Choice::Inbound,
    Choice::Die,
    Choice::Again,
];

#[derive(Default)]
struct Calls {
    pings: u32,
    disconnected: bool,
}

impl PingClient for Calls {
    fn send_ping(&mut self) {
        self.pings += 1;
    }

    fn disconnect_no_pong_received(&mut self) {
        self.disconnected = true;
    }
}

/// Walks all states. Returns how many there are, and in how many of them a dead peer was found.
fn explore(config: PingConfig, latency: u32) -> (usize, usize) {
    #[expect(clippy::disallowed_methods, reason = "an instant to count from; its value plays no part")]
    let start = Instant::now();
    let mut controller = PingController::new(config);
    controller.connection_state_changed(start, true);
    let peer = Peer { dead_for: None, pong_in: None, paused_for: None };

    let mut seen = HashSet::new();
    let mut found = 0;
    let mut open = vec![(controller, peer, start)];
    while let Some((controller, peer, now)) = open.pop() {
        // Two states are one if they differ only in when they happen.
        if !seen.insert((controller.relative_to(now), peer)) {
            continue;
        }
        for choice in CHOICES {
            let (mut controller, mut peer) = (controller.clone(), peer);
            if peer.paused_for == Some(LONGEST_PAUSE) && !matches!(choice, Choice::Resume) {
                continue;
            }
            match choice {
                Choice::Nothing => {}
                Choice::Probe => controller.probe(now, PROBE * TICK),
                Choice::Pause => {
                    peer.paused_for = peer.paused_for.or(Some(0));
                    controller.reading_paused(now);
                }
                Choice::Resume => {
                    peer.paused_for = None;
                    controller.reading_resumed(now);
                }
                Choice::Inbound if peer.paused_for.is_none() && peer.dead_for.is_none() => {
                    controller.inbound_received();
                }
                Choice::Die if peer.dead_for.is_none() => {
                    peer.dead_for = Some(0);
                    peer.pong_in = None;
                }
                Choice::Again => controller.connection_state_changed(now, true),
                Choice::Inbound | Choice::Die => continue,
            }

            // Read first, then handle the timeouts, as the contract says.
            if peer.paused_for.is_none() && peer.pong_in == Some(0) {
                peer.pong_in = None;
                assert!(controller.pong_received(now).is_some(), "an answered ping was awaited");
            }
            let mut calls = Calls::default();
            while controller.next_timeout().is_some_and(|due| due <= now) {
                controller.handle_timeout(now, &mut calls);
            }
            assert!(calls.pings <= 1, "at most one ping is out");
            if calls.pings == 1 && peer.dead_for.is_none() {
                assert_eq!(peer.pong_in, None, "at most one ping is out");
                peer.pong_in = Some(latency);
            }
            if calls.disconnected {
                assert!(peer.dead_for.is_some(), "a live peer was condemned by {choice:?}");
                found += 1;
                continue; // the connection is over
            }
            // A pause that begins in the very tick of the deadline defers the verdict to its end.
            if let Some(ticks) = peer.dead_for.filter(|_| peer.paused_for.is_none()) {
                assert!(ticks < INTERVAL + TIMEOUT, "a dead peer was not found after {ticks} ticks");
            }

            if let Some(ticks) = &mut peer.paused_for {
                *ticks += 1;
            } else {
                peer.pong_in = peer.pong_in.map(|ticks| ticks.saturating_sub(1));
                peer.dead_for = peer.dead_for.map(|ticks| ticks + 1);
            }
            open.push((controller, peer, now + TICK));
        }
    }
    (seen.len(), found)
}

fn config(any_inbound_counts: bool) -> PingConfig {
    PingConfig::builder()
        .interval(INTERVAL * TICK)
        .pong_timeout(TIMEOUT * TICK)
        .any_inbound_counts(any_inbound_counts)
        .build()
        .unwrap()
}

#[test]
fn rule_1_a_dead_peer_is_always_found_in_time_and_a_live_one_never_condemned() {
    for any_inbound_counts in [false, true] {
        // A pong that takes as long as the probe's deadline is read in the very tick of the deadline.
        for latency in 1..=PROBE {
            let (states, found) = explore(config(any_inbound_counts), latency);
            println!("latency {latency}: {states} states, a dead peer found in {found}");
            assert!(states > 500, "only {states} states were reached");
            assert!(found > 0, "no dead peer was found");
        }
    }
}

#[test]
#[should_panic(expected = "a live peer was condemned")]
fn the_model_condemns_a_peer_that_answers_late() {
    explore(config(false), TIMEOUT + 1);
}
