//! The transitions, over all states and all inputs, and the rules of §2 one by one.

mod successor;

use std::time::{Duration, Instant};

use everwire_engine::{CloseCode, CloseFrame, EngineError, EngineErrorKind, Stage, Text};

use super::*;
use crate::AuthenticationErrorKind;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(15),
    authenticate: Duration::from_secs(10),
    flush: Duration::from_secs(2),
    close: Duration::from_secs(5),
    close_dead: Duration::from_secs(1),
};

const MILLISECOND: Duration = Duration::from_millis(1);

fn frame(code: CloseCode) -> CloseFrame {
    CloseFrame { code, reason: Text::default() }
}

/// A lifecycle on a clock of its own, with everything that it said.
struct World {
    core: Lifecycle,
    now: Instant,
    said: Vec<Output>,
}

impl World {
    fn new() -> Self {
        Self::with(true)
    }

    #[expect(clippy::disallowed_methods, reason = "a starting point; only differences to it matter")]
    fn with(needs_health_check: bool) -> Self {
        Self { core: Lifecycle::new(LIMITS, needs_health_check), now: Instant::now(), said: Vec::new() }
    }

    fn tell(&mut self, input: Input) -> &mut Self {
        self.core.handle(self.now, input);
        while let Some(output) = self.core.poll_output() {
            self.said.push(output);
        }
        self
    }

    fn wait(&mut self, duration: Duration) -> &mut Self {
        self.now += duration;
        self.tell(Input::Timeout)
    }

    fn at(state: &str) -> Self {
        let mut world = Self::new();
        let steps: &[Input] = match state {
            "Initialized" => &[],
            "Connecting" => &[Input::Connect],
            "Authenticating" => &[Input::Connect, opened()],
            "Connected" => &[Input::Connect, opened(), health_check("a")],
            "Disconnecting" => &[Input::Connect, opened(), health_check("a"), no_pong()],
            "Disconnected" => &[Input::Connect, opened(), health_check("a"), ended(1001)],
            _ => unreachable!("no such state"),
        };
        for step in steps {
            world.tell(step.clone());
        }
        assert_eq!(world.core.state().name(), state);
        world.said.clear();
        world
    }

    fn states(&self) -> Vec<&'static str> {
        let changed = self.said.iter().filter_map(|output| match output {
            Output::Changed(snapshot) => Some(snapshot.state.name()),
            _ => None,
        });
        changed.collect()
    }

    fn source(&self) -> &'static str {
        self.core.state().source().expect("closing or closed").name()
    }

    fn dropped(&self) -> bool {
        self.said.iter().any(|output| matches!(output, Output::Drop))
    }
}

fn reached(stage: AttemptStage) -> Input {
    Input::Reached { generation: 1, stage }
}

fn opened() -> Input {
    Input::Opened { generation: 1, local_addr: None, peer_addr: None }
}

fn health_check(id: &str) -> Input {
    Input::HealthCheck { generation: 1, info: HealthCheckInfo::with_connection_id(id) }
}

fn ended(code: u16) -> Input {
    Input::Ended { generation: 1, close: Some(frame(CloseCode::received(code))), error: None }
}

fn no_pong() -> Input {
    Input::NoPong { generation: 1, frame: frame(CloseCode::NO_PONG) }
}

fn disconnect() -> Input {
    Input::Disconnect(frame(CloseCode::NORMAL))
}

fn system() -> Input {
    Input::DisconnectSystem(frame(CloseCode::SYSTEM))
}

fn abandon() -> Input {
    Input::Abandon { generation: 1 }
}

fn announced(code: i64) -> Input {
    Input::ErrorAnnounced { generation: 1, error: ApiError::new(code, "") }
}

fn going_away() -> Input {
    Input::GoingAway { generation: 1, notice: Duration::from_secs(30) }
}

fn drained() -> Input {
    Input::Drained { generation: 1, frame: frame(CloseCode::NORMAL) }
}

fn refused() -> Input {
    let error = AuthenticationError::new(AuthenticationErrorKind::Failed);
    Input::AuthenticationFailed { generation: 1, error }
}

fn open_failed() -> Input {
    Input::OpenFailed { generation: 1, error: EngineError::new(EngineErrorKind::Connect, Stage::Connect) }
}

use crate::AuthenticationError;

const STATES: [&str; 6] =
    ["Initialized", "Connecting", "Authenticating", "Connected", "Disconnecting", "Disconnected"];

/// §2: the table is complete. Where it names no effect, the state stays.
#[test]
fn rule_2_every_state_and_every_input() {
    const STAY: &[&str] = &[];
    const GONE: &[&str] = &["Disconnected"];
    const CLOSE: &[&str] = &["Disconnecting"];
    const BOTH: &[&str] = &["Disconnecting", "Disconnected"];
    const OPEN: &[&str] = &["Connecting"];
    // For each input: the states entered from Initialized, Connecting, Authenticating, Connected,
    // Disconnecting (no pong), Disconnected (1001).
    let table: [(Input, [&[&str]; 6]); 19] = [
        (Input::Connect, [OPEN, STAY, STAY, STAY, STAY, OPEN]),
        (disconnect(), [STAY, BOTH, CLOSE, CLOSE, CLOSE, STAY]),
        (Input::Reconnect, [STAY, STAY, STAY, STAY, STAY, OPEN]),
        (system(), [STAY, BOTH, CLOSE, CLOSE, STAY, STAY]),
        (abandon(), [STAY, BOTH, BOTH, BOTH, STAY, STAY]),
        (Input::Replace, [STAY; 6]),
        (going_away(), [STAY; 6]),
        (reached(AttemptStage::Request), [STAY; 6]),
        (opened(), [STAY, &["Authenticating"], STAY, STAY, STAY, STAY]),
        (open_failed(), [STAY, GONE, STAY, STAY, STAY, STAY]),
        (Input::Established { generation: 1 }, [STAY; 6]),
        (refused(), [STAY, GONE, GONE, STAY, STAY, STAY]),
        (health_check("b"), [STAY, STAY, &["Connected"], STAY, STAY, STAY]),
        (announced(4), [STAY; 6]),
        (drained(), [STAY; 6]),
        (Input::Flushed { generation: 1 }, [STAY; 6]),
        (ended(1011), [STAY, STAY, GONE, GONE, GONE, STAY]),
        (no_pong(), [STAY, STAY, STAY, CLOSE, STAY, STAY]),
        (Input::Timeout, [STAY; 6]),
    ];
    for (input, expected) in table {
        for (state, expected) in STATES.into_iter().zip(expected) {
            let mut world = World::at(state);
            world.tell(input.clone());
            assert_eq!(world.states(), expected, "{state} + {input:?}");
            if expected.is_empty() {
                assert_eq!(world.core.state().name(), state, "{state} + {input:?}");
            }
        }
    }
}

/// Invariant 4: a late event of an old generation changes nothing and is counted.
#[test]
fn invariant_4_late_events_change_nothing_in_any_state() {
    for state in STATES {
        for late in [
            opened(),
            open_failed(),
            refused(),
            health_check("x"),
            announced(1),
            drained(),
            ended(1000),
            no_pong(),
        ] {
            let mut world = World::at(state);
            if state != "Initialized" {
                // One attempt further on.
                world.tell(ended(1001)).wait(Duration::from_secs(20)).tell(Input::Connect);
                assert_eq!(world.core.generation(), 2, "{state}");
            }
            world.said.clear();
            assert_eq!(world.core.stale(), 0);
            let before = world.core.state().name();
            world.tell(late.clone());
            assert!(world.said.is_empty(), "{state} + {late:?}");
            assert_eq!(world.core.state().name(), before);
            assert_eq!(world.core.stale(), 1);
        }
    }
}

/// §2, the order on a good connect.
#[test]
fn rule_2_a_good_connect_goes_its_way_and_runs_each_hook_once() {
    let mut world = World::new();
    world.tell(Input::Connect).tell(opened()).tell(health_check("a")).tell(health_check("a"));
    assert_eq!(world.states(), ["Connecting", "Authenticating", "Connected"]);
    let names: Vec<_> = world.said.iter().map(|output| format!("{output:?}")).collect();
    let names: Vec<_> = names.iter().map(|n| n.split(['(', ' ']).next().unwrap()).collect();
    assert_eq!(names, ["Changed", "Open", "Changed", "Establish", "Changed", "Connected", "Pong"]);
}

#[test]
fn rule_2_without_a_health_check_the_end_of_the_authentication_connects() {
    let mut world = World::with(false);
    world.tell(Input::Connect).tell(opened()).tell(Input::Established { generation: 1 });
    assert_eq!(world.core.state().name(), "Connected");
}

/// A late health check must not revive a closing connection.
#[test]
fn rule_2_a_health_check_in_any_closing_or_closed_state_changes_nothing() {
    for state in ["Disconnecting", "Disconnected"] {
        let mut world = World::at(state);
        world.tell(health_check("a"));
        assert!(world.said.is_empty(), "{state}: {:?}", world.said);
    }
}

/// A failed dial must end in Disconnected.
#[test]
fn rule_2_a_failed_dial_ends_in_disconnected_and_a_timeout_names_its_stage() {
    let mut world = World::at("Connecting");
    world.tell(open_failed());
    assert_eq!(world.source(), "ServerInitiated");

    let mut world = World::at("Connecting");
    let error = EngineError::timeout(Stage::Tls, Duration::from_secs(5));
    world.tell(Input::OpenFailed { generation: 1, error });
    let stage = AttemptStage::Engine(Stage::Tls);
    assert!(
        matches!(world.core.state().source(), Some(DisconnectionSource::ConnectTimeout { stage: s }) if *s == stage)
    );
}

/// §1: the deadlines of an attempt hold, and none of them earlier than said.
#[test]
fn rule_1_an_attempt_that_exceeds_a_deadline_is_a_connect_timeout() {
    for (state, limit) in [("Connecting", LIMITS.connect), ("Authenticating", LIMITS.authenticate)] {
        let mut world = World::at(state);
        world.wait(limit.saturating_sub(MILLISECOND));
        assert_eq!(world.core.state().name(), state);
        world.wait(Duration::from_millis(1));
        assert_eq!(world.source(), "ConnectTimeout");
        assert!(world.dropped());
        assert_eq!(world.core.poll_timeout(), None);
    }
}

/// §1: whichever deadline strikes, it names what the attempt was waiting for then.
#[test]
fn rule_1_a_connect_timeout_names_what_was_waited_for() {
    let established = Input::Established { generation: 1 };
    for (steps, expected) in [
        (vec![], AttemptStage::Dial),
        (vec![reached(AttemptStage::Credentials)], AttemptStage::Credentials),
        (vec![reached(AttemptStage::Credentials), reached(AttemptStage::Request)], AttemptStage::Request),
        (vec![reached(AttemptStage::Request), reached(AttemptStage::Dial)], AttemptStage::Dial),
        (vec![reached(AttemptStage::Request), opened()], AttemptStage::Authentication),
        // Late news of the dial is none.
        (vec![opened(), reached(AttemptStage::Dial)], AttemptStage::Authentication),
        (vec![opened(), established], AttemptStage::HealthCheck),
    ] {
        let mut world = World::at("Connecting");
        for step in steps {
            world.tell(step);
        }
        world.wait(LIMITS.connect);
        let source = world.core.state().source();
        assert!(
            matches!(source, Some(DisconnectionSource::ConnectTimeout { stage }) if *stage == expected),
            "{source:?} for {expected:?}"
        );
        // The next attempt begins anew.
        world.tell(Input::Connect).wait(LIMITS.connect);
        let source = world.core.state().source();
        assert!(
            matches!(source, Some(DisconnectionSource::ConnectTimeout { stage: AttemptStage::Dial })),
            "{source:?}"
        );
    }
}

/// §1: the close handshake takes 5 s at most, and 1 s with a peer that is believed dead.
#[test]
fn rule_1_the_socket_is_dropped_when_the_close_deadline_passes() {
    for (input, limit) in [(no_pong(), LIMITS.close_dead), (system(), LIMITS.close_dead)] {
        let mut world = World::at("Connected");
        world.tell(input).wait(limit.saturating_sub(MILLISECOND));
        assert_eq!(world.core.state().name(), "Disconnecting");
        world.wait(Duration::from_millis(1));
        assert_eq!(world.core.state().name(), "Disconnected");
        assert!(world.dropped());
    }
    let mut world = World::at("Connected");
    world.tell(announced(4)).tell(drained()).wait(LIMITS.close.saturating_sub(MILLISECOND));
    assert_eq!(world.core.state().name(), "Disconnecting");
    assert_eq!(world.wait(Duration::from_millis(1)).source(), "ServerInitiated");
}

/// §8.7 and the graceful end: what is queued leaves first, within its budget; then the close frame.
#[test]
fn rule_6_a_users_disconnect_flushes_then_closes_then_reads_to_the_end() {
    let mut world = World::at("Connected");
    world.tell(disconnect());
    let closing = |world: &World| world.said.iter().any(|output| matches!(output, Output::SendClose));
    assert!(!closing(&world));
    world.tell(Input::Flushed { generation: 1 });
    assert!(closing(&world));
    world.tell(ended(1000));
    assert_eq!(world.states(), ["Disconnecting", "Disconnected"]);
    assert_eq!(world.source(), "UserInitiated");
    let closed = world.said.iter().find_map(|output| match output {
        Output::Closed(closed) => Some(closed.clone()),
        _ => None,
    });
    assert_eq!(closed.unwrap().received, Some(frame(CloseCode::NORMAL)));

    let mut world = World::at("Connected");
    world.tell(disconnect()).wait(LIMITS.flush.saturating_sub(MILLISECOND));
    assert!(!closing(&world), "what is queued has its time");
    world.wait(MILLISECOND);
    assert!(closing(&world), "the flush budget is a limit");
    world.tell(Input::Flushed { generation: 1 });
    assert_eq!(world.said.iter().filter(|output| matches!(output, Output::SendClose)).count(), 1);
}

/// Invariant 6: a user's disconnect wins over everything.
#[test]
fn invariant_6_a_users_disconnect_wins_in_every_state() {
    for state in STATES {
        let mut world = World::at(state);
        world.tell(disconnect());
        assert!(!world.core.snapshot().wanted, "{state}");
        // Whatever recovery wants, and whatever comes later, nothing opens again.
        for input in [Input::Reconnect, system(), abandon(), opened(), health_check("a"), ended(1006)] {
            world.tell(input);
        }
        world.wait(Duration::from_secs(60)).tell(Input::Reconnect);
        assert!(!world.said.iter().any(|output| matches!(output, Output::Open { .. })), "{state}");
        assert!(!world.core.snapshot().wanted, "{state}");
        if !matches!(state, "Initialized" | "Disconnected") {
            assert_eq!(world.source(), "UserInitiated", "{state}");
        }
    }
}

/// A user's disconnect during a back-off must cancel the retry.
#[test]
fn rule_2_a_disconnect_while_disconnected_withdraws_the_wish_and_is_no_second_disconnected() {
    let mut world = World::at("Disconnected");
    world.tell(disconnect()).tell(disconnect());
    assert_eq!(world.states(), [] as [&str; 0]);
    let intents = world.said.iter().filter(|output| matches!(output, Output::Noted(s) if !s.wanted));
    assert_eq!(intents.count(), 1);
    world.tell(Input::Reconnect);
    assert_eq!(world.core.state().name(), "Disconnected");
}

#[test]
fn rule_2_connect_while_closing_is_queued_behind_the_close_and_a_disconnect_takes_it_back() {
    let mut world = World::at("Disconnecting");
    world.tell(Input::Connect).tell(ended(1000));
    assert_eq!(world.states(), ["Disconnected", "Connecting"]);
    assert_eq!(world.core.generation(), 2);

    let mut world = World::at("Disconnecting");
    world.tell(Input::Connect).tell(disconnect()).tell(ended(1000));
    assert_eq!(world.core.state().name(), "Disconnected");
    assert!(world.said.iter().any(|output| matches!(output, Output::Refused(_))));
}

/// A wish that is taken back while the old connection closes is known at once, not only when it has closed.
#[test]
fn rule_2_a_wish_that_is_taken_back_during_a_users_close_is_told() {
    let mut world = World::at("Connected");
    world.tell(disconnect()).tell(Input::Connect).tell(disconnect());
    let told = world.said.iter().rev().find_map(|output| match output {
        Output::Changed(snapshot) | Output::Noted(snapshot) => Some(snapshot.wanted),
        _ => None,
    });
    assert_eq!(told, Some(false));
}

/// Who closes for another reason reads on for the peer's close frame alone: a driver that is told to wait for
/// the drain of a socket that is dry would spin.
#[test]
fn rule_2_a_close_for_another_reason_does_not_await_the_drain_of_an_announced_error() {
    for input in [disconnect(), system(), no_pong()] {
        let mut world = World::at("Connected");
        world.tell(announced(40));
        assert!(world.core.awaits_drain());
        world.tell(input.clone());
        assert_eq!(world.core.state().name(), "Disconnecting");
        assert!(!world.core.awaits_drain(), "{input:?}");
    }
}

/// §2 and §7: the error frame is the reason; what the server sent before it closed is read, its close frame too.
#[test]
fn rule_2_an_announced_error_waits_for_what_has_arrived() {
    let mut world = World::at("Connected");
    world.tell(announced(40)).tell(announced(4));
    assert_eq!(world.core.state().name(), "Connected");
    world.tell(ended(1000));
    let source = world.core.state().source().unwrap();
    assert_eq!(source.api_error().map(|error| error.code), Some(40));
    assert_eq!(source.server_reason().unwrap().close_code(), CloseCode::NORMAL);

    let mut world = World::at("Authenticating");
    world.tell(announced(40)).tell(drained());
    assert_eq!(world.core.state().name(), "Disconnecting");
    assert_eq!(world.core.state().source().unwrap().api_error().unwrap().code, 40);
}

/// Invariant 5, over random inputs: every attempt has exactly one end (Disconnected, or replaced, or a replacement
/// that failed), and only the ways of the diagram are gone.
#[test]
fn invariant_5_every_attempt_has_exactly_one_end() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::with(random.bool());
        world.core = world.core.replaceable(random.bool());
        let mut last = "Initialized";
        let mut opened = 0;
        let mut ended = std::collections::BTreeSet::new();
        for _ in 0..random.usize(1..60) {
            let newest = world.core.latest.saturating_sub(u64::from(random.u8(0..8) == 0));
            let generation = if random.bool() { newest } else { world.core.generation() };
            let input = match random.u8(0..20) {
                0 | 1 => Input::Connect,
                2 => disconnect(),
                3 => Input::Reconnect,
                4 => system(),
                5 => Input::Abandon { generation },
                6 | 7 => Input::Opened { generation, local_addr: None, peer_addr: None },
                8 => Input::OpenFailed {
                    generation,
                    error: EngineError::new(EngineErrorKind::Resolve, Stage::Resolve),
                },
                9 => Input::Established { generation },
                10 | 11 => Input::HealthCheck { generation, info: HealthCheckInfo::default() },
                12 => Input::ErrorAnnounced { generation, error: ApiError::new(9, "") },
                13 => Input::Drained { generation, frame: frame(CloseCode::NORMAL) },
                14 => Input::Ended { generation, close: None, error: None },
                15 | 16 => Input::Replace,
                17 => Input::Flushed { generation },
                18 => Input::GoingAway { generation, notice: Duration::ZERO },
                _ => Input::NoPong { generation, frame: frame(CloseCode::NO_PONG) },
            };
            world.said.clear();
            world.tell(input);
            if random.bool() {
                world.wait(Duration::from_millis(random.u64(0..6000)));
            }
            let mut drops = 0;
            for output in &world.said {
                match output {
                    Output::Changed(snapshot) => {
                        let state = snapshot.state.name();
                        let legal = match last {
                            "Initialized" | "Disconnected" => state == "Connecting",
                            "Connecting" => {
                                matches!(state, "Authenticating" | "Disconnecting" | "Disconnected")
                            }
                            "Authenticating" => {
                                matches!(state, "Connected" | "Disconnecting" | "Disconnected")
                            }
                            // Another connection has taken its place.
                            "Connected" if state == "Connected" => ended.contains(&(snapshot.generation - 1)),
                            "Connected" => matches!(state, "Disconnecting" | "Disconnected"),
                            _ => matches!(state, "Disconnecting" | "Disconnected"),
                        };
                        assert!(legal, "seed {seed}: {last} -> {state}");
                        if state == "Disconnected" {
                            assert!(ended.insert(snapshot.generation), "seed {seed}: ended twice");
                        }
                        last = state;
                    }
                    Output::Open { generation } | Output::OpenSuccessor { generation } => {
                        opened += 1;
                        assert_eq!(*generation, opened, "seed {seed}: generations go up one by one");
                    }
                    Output::ReplacementFailed { generation: ended_now, .. }
                    | Output::Switched { old: ended_now, .. } => {
                        assert!(ended.insert(*ended_now), "seed {seed}: ended twice");
                    }
                    Output::DropSuccessor => drops += 1,
                    _ => {}
                }
            }
            assert!(drops <= 1);
            let alive = usize::from(!matches!(last, "Initialized" | "Disconnected"))
                + usize::from(world.core.successor.is_some());
            assert_eq!(opened as usize, ended.len() + alive, "seed {seed}: an attempt without its one end");
            assert!(world.core.successor.is_none() || last == "Connected", "seed {seed}: {last}");
            // No dead state: whatever is not the user's turn has a deadline, or the server's silence is found
            // by the ping controller.
            if matches!(last, "Connecting" | "Authenticating" | "Disconnecting") || alive == 2 {
                assert!(world.core.poll_timeout().is_some(), "seed {seed}: {last} has no deadline");
            }
        }
    }
}
