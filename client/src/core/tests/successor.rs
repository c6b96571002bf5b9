//! Make before break: all phases of the hand-over over all inputs, and its rules one by one.

use super::*;

const PHASES: [&str; 4] = ["Dialling", "Authenticating", "Flushing", "Draining"];

fn beside(input: Input) -> Input {
    let generation = 2;
    match input {
        Input::Reached { stage, .. } => Input::Reached { generation, stage },
        Input::Opened { local_addr, peer_addr, .. } => Input::Opened { generation, local_addr, peer_addr },
        Input::OpenFailed { error, .. } => Input::OpenFailed { generation, error },
        Input::Established { .. } => Input::Established { generation },
        Input::AuthenticationFailed { error, .. } => Input::AuthenticationFailed { generation, error },
        Input::HealthCheck { info, .. } => Input::HealthCheck { generation, info },
        Input::ErrorAnnounced { error, .. } => Input::ErrorAnnounced { generation, error },
        Input::Drained { frame, .. } => Input::Drained { generation, frame },
        Input::GoingAway { notice, .. } => Input::GoingAway { generation, notice },
        Input::Flushed { .. } => Input::Flushed { generation },
        Input::Ended { close, error, .. } => Input::Ended { generation, close, error },
        Input::NoPong { frame, .. } => Input::NoPong { generation, frame },
        other => other,
    }
}

fn flushed() -> Input {
    Input::Flushed { generation: 1 }
}

fn at(phase: &str) -> World {
    let mut world = World::new();
    world.core = world.core.replaceable(true);
    let steps = [
        Input::Connect,
        opened(),
        health_check("a"),
        Input::Replace,
        beside(opened()),
        beside(health_check("b")),
        flushed(),
    ];
    let count = 4 + PHASES.iter().position(|known| *known == phase).expect("a phase");
    for step in steps.into_iter().take(count) {
        world.tell(step);
    }
    world.said.clear();
    world
}

/// What was said, by name, without what is only stored.
fn names(world: &World) -> Vec<String> {
    let said = world.said.iter().filter(|output| !matches!(output, Output::Noted(_)));
    said.map(|output| match output {
        Output::Changed(snapshot) => format!("{} {}", snapshot.state.name(), snapshot.generation),
        other => format!("{other:?}").split(['(', ' ']).next().unwrap().to_owned(),
    })
    .collect()
}

/// §2a: the table of the hand-over is complete. Where it names nothing, nothing is done.
#[test]
fn rule_2a_every_phase_and_every_input() {
    const NONE: &[&str] = &[];
    const FAIL: &[&str] = &["DropSuccessor", "ReplacementFailed"];
    const SWITCH: &[&str] = &["Switched", "Connected 2", "Connected"];
    const TO_DIAL: &[&str] = &["Drop", "Disconnected 1", "Closed", "Promoted", "Connecting 2"];
    const TO_AUTH: &[&str] =
        &["Drop", "Disconnected 1", "Closed", "Promoted", "Connecting 2", "Authenticating 2"];
    const USER: &[&str] = &["DropSuccessor", "ReplacementFailed", "Disconnecting 1", "Close"];
    const SYSTEM: &[&str] = &["DropSuccessor", "ReplacementFailed", "Disconnecting 1", "Close", "SendClose"];
    const RESUME_USER: &[&str] =
        &["DropSuccessor", "ReplacementFailed", "ResumeQueue", "Disconnecting 1", "Close"];
    const RESUME_SYSTEM: &[&str] =
        &["DropSuccessor", "ReplacementFailed", "ResumeQueue", "Disconnecting 1", "Close", "SendClose"];
    let table: [(Input, [&[&str]; 4]); 27] = [
        (Input::Connect, [NONE; 4]),
        (Input::Reconnect, [NONE; 4]),
        (Input::Replace, [NONE; 4]),
        (disconnect(), [USER, USER, RESUME_USER, USER]),
        (system(), [SYSTEM, SYSTEM, RESUME_SYSTEM, USER]),
        (abandon(), [TO_DIAL, TO_AUTH, SWITCH, SWITCH]),
        // About the connection.
        (ended(1012), [TO_DIAL, TO_AUTH, SWITCH, SWITCH]),
        (no_pong(), [TO_DIAL, TO_AUTH, SWITCH, SWITCH]),
        (health_check("a"), [&["Pong"]; 4]),
        (flushed(), [NONE, NONE, &["CloseReplaced"], NONE]),
        (announced(4), [NONE; 4]),
        (drained(), [NONE; 4]),
        (going_away(), [NONE; 4]),
        (opened(), [NONE; 4]),
        (open_failed(), [NONE; 4]),
        (refused(), [NONE; 4]),
        (Input::Established { generation: 1 }, [NONE; 4]),
        // About the successor.
        (beside(reached(AttemptStage::Request)), [NONE; 4]),
        (beside(opened()), [&["EstablishSuccessor"], NONE, NONE, NONE]),
        (beside(open_failed()), [FAIL, NONE, NONE, NONE]),
        (beside(refused()), [FAIL, FAIL, NONE, NONE]),
        (beside(health_check("b")), [NONE, &["HoldQueue"], NONE, NONE]),
        (beside(Input::Established { generation: 1 }), [NONE; 4]),
        (beside(announced(4)), [NONE; 4]),
        (beside(ended(1011)), [NONE, FAIL, NONE, NONE]),
        (beside(no_pong()), [NONE; 4]),
        (Input::Timeout, [NONE; 4]),
    ];
    for (input, expected) in table {
        for (phase, expected) in PHASES.into_iter().zip(expected) {
            let mut world = at(phase);
            world.tell(input.clone());
            assert_eq!(names(&world), expected, "{phase} + {input:?}");
        }
    }
}

/// §2a: each phase has its deadline; the whole hand-over takes no longer than a close.
#[test]
fn rule_2a_every_phase_has_a_deadline() {
    for (phase, limit, then) in [
        ("Dialling", LIMITS.connect, &["DropSuccessor", "ReplacementFailed"][..]),
        ("Authenticating", LIMITS.authenticate, &["DropSuccessor", "ReplacementFailed"]),
        ("Flushing", LIMITS.flush, &["CloseReplaced"]),
        ("Draining", LIMITS.close, &["Switched", "Connected 2", "Connected"]),
    ] {
        let mut world = at(phase);
        world.wait(limit.saturating_sub(MILLISECOND));
        assert_eq!(names(&world), [] as [&str; 0], "{phase}");
        world.wait(MILLISECOND);
        assert_eq!(names(&world), then, "{phase}");
    }
    let mut world = at("Flushing");
    world.wait(LIMITS.flush).wait(LIMITS.close.saturating_sub(LIMITS.flush));
    assert_eq!(world.core.generation(), 2, "flushing and draining together take a close at most");
}

/// §2a: off unless it is asked for, and only for a live connection.
#[test]
fn rule_2a_only_a_live_connection_of_a_client_that_can_is_replaced() {
    for state in STATES {
        let mut world = World::at(state);
        world.tell(Input::Replace);
        assert!(world.said.is_empty(), "{state}, without the option");
        world.core = world.core.replaceable(true);
        world.tell(Input::Replace);
        let dials = world.said.iter().any(|output| matches!(output, Output::OpenSuccessor { generation: 2 }));
        assert_eq!(dials, state == "Connected", "{state}");
    }
}

/// §2a: a failed successor is told, the connection stays, and another try is another generation.
#[test]
fn rule_2a_a_failed_successor_leaves_the_connection_alone_and_is_told() {
    let mut world = at("Authenticating");
    world.tell(beside(announced(40))).tell(beside(drained()));
    assert_eq!(names(&world), ["DropSuccessor", "ReplacementFailed"]);
    let snapshot = world.core.snapshot();
    assert!(snapshot.state.is_connected() && snapshot.generation == 1);
    let crate::Replacement::Failed { generation: 2, source } = snapshot.replacement else {
        panic!("{:?}", snapshot.replacement)
    };
    assert_eq!(source.api_error().map(|error| error.code), Some(40));
    assert_eq!(world.core.poll_timeout(), None);

    world.said.clear();
    world.tell(beside(health_check("b"))).tell(beside(ended(1000)));
    assert!(world.said.is_empty(), "late: {:?}", world.said);
    assert_eq!(world.core.stale(), 2);
    world.tell(Input::Replace);
    assert!(world.said.iter().any(|output| matches!(output, Output::OpenSuccessor { generation: 3 })));
}

/// §2a: an error that the server announced on the successor ends it, whatever it says after that: the connection that
/// works does not make room for one that is about to be closed.
#[test]
fn rule_2a_a_successor_with_an_announced_error_takes_no_place() {
    for last in [beside(drained()), beside(ended(1000))] {
        let mut world = at("Authenticating");
        world.tell(beside(announced(9))).tell(beside(health_check("b")));
        assert!(world.core.successor_is_made() && world.said.is_empty(), "{:?}", world.said);
        world.tell(last);
        assert_eq!(names(&world), ["DropSuccessor", "ReplacementFailed"]);
        assert!(world.core.state().is_connected() && world.core.snapshot().generation == 1);
    }
}

/// §2a: the generation that was replaced is history.
#[test]
fn rule_2a_late_events_of_the_replaced_connection_change_nothing() {
    let mut world = at("Draining");
    world.tell(ended(4002));
    world.said.clear();
    let of_the_peer = [ended(1000), health_check("a"), announced(1), drained(), refused(), flushed()];
    for late in of_the_peer.into_iter().chain([no_pong(), abandon()]) {
        world.tell(late.clone());
        assert!(world.said.is_empty(), "{late:?}");
    }
    assert_eq!(world.core.stale(), 8);
    assert_eq!(world.core.snapshot().generation, 2);
}

/// §2a: no second dial when the connection dies while its successor is made; its deadline runs on.
#[test]
fn rule_2a_the_successor_of_a_dead_connection_is_the_attempt_under_way() {
    let mut world = at("Dialling");
    world.wait(Duration::from_secs(10)).tell(ended(1006)).tell(Input::Reconnect);
    assert!(!world.said.iter().any(|output| matches!(output, Output::Open { .. })));
    world.wait(Duration::from_secs(5));
    assert_eq!(world.source(), "ConnectTimeout");

    let mut world = at("Authenticating");
    world.tell(ended(1012)).tell(beside(health_check("b")));
    assert_eq!(world.core.snapshot().generation, 2);
    assert!(world.core.state().is_connected());

    // An error that the server announced on the old one ends that one alone.
    let mut world = at("Authenticating");
    world.tell(announced(9)).tell(drained());
    assert_eq!(world.states(), ["Disconnected", "Connecting", "Authenticating"]);
}

/// §2a: when the peer has announced an error before the successor is ready, nothing waits for its drain.
#[test]
fn rule_2a_a_drain_that_is_awaited_ends_with_the_hand_over() {
    let mut world = at("Authenticating");
    world.tell(announced(9)).tell(beside(health_check("b")));
    assert!(!world.core.awaits_drain());
    assert!(!world.core.successor_awaits_drain());
}

/// §2a, §1: a successor that takes too long says what it was waiting for, also when it is the attempt under way.
#[test]
fn rule_2a_a_late_successor_names_what_was_waited_for() {
    let steps = [
        (reached(AttemptStage::Request), AttemptStage::Request),
        (opened(), AttemptStage::Authentication),
        (Input::Established { generation: 1 }, AttemptStage::HealthCheck),
    ];
    for count in 0..=steps.len() {
        for promoted in [false, true] {
            let mut world = at("Dialling");
            for (step, _) in &steps[..count] {
                world.tell(beside(step.clone()));
            }
            if promoted {
                world.tell(ended(1006));
            }
            world.wait(LIMITS.connect);
            let source = if promoted {
                world.core.state().source().cloned()
            } else {
                world.said.into_iter().find_map(|output| match output {
                    Output::ReplacementFailed { source, .. } => Some(source),
                    _ => None,
                })
            };
            let expected = count.checked_sub(1).map_or(AttemptStage::Dial, |last| steps[last].1);
            assert!(
                matches!(source, Some(DisconnectionSource::ConnectTimeout { stage }) if stage == expected),
                "{source:?} for {expected:?}, promoted {promoted}"
            );
        }
    }
}

/// Invariant 6: a user's disconnect ends both, and nothing comes back.
#[test]
fn invariant_6_a_users_disconnect_ends_the_connection_and_its_successor() {
    for phase in PHASES {
        let mut world = at(phase);
        world.tell(disconnect());
        for input in [beside(opened()), beside(health_check("b")), Input::Replace, Input::Reconnect] {
            world.tell(input);
        }
        world.tell(flushed()).tell(ended(1000)).tell(Input::Reconnect);
        assert_eq!(world.core.state().name(), "Disconnected", "{phase}");
        assert_eq!(world.source(), "UserInitiated", "{phase}");
        assert_eq!(world.core.snapshot().generation, 1, "{phase}");
        let again = |output: &Output| matches!(output, Output::Open { .. } | Output::OpenSuccessor { .. });
        assert!(!world.said.iter().any(again), "{phase}");
    }
}

/// §2a: where connections need no health check, neither does a successor.
#[test]
fn rule_2a_a_successor_that_needs_no_health_check_is_ready_when_it_is_established() {
    let mut world = World::with(false);
    world.core = world.core.replaceable(true);
    for step in
        [Input::Connect, opened(), Input::Established { generation: 1 }, Input::Replace, beside(opened())]
    {
        world.tell(step);
    }
    world.said.clear();
    world.tell(beside(Input::Established { generation: 1 }));
    assert_eq!(names(&world), ["HoldQueue"]);
}

/// §2a: a connection whose successor is ready ends anyway, so what it announces meanwhile is of no matter.
#[test]
fn rule_2a_an_error_announced_on_a_connection_that_is_handed_over_changes_nothing() {
    for phase in ["Flushing", "Draining"] {
        let mut world = at(phase);
        world.tell(announced(4)).tell(drained());
        assert_eq!(names(&world), [] as [&str; 0], "{phase}");
    }
}

#[test]
fn rule_2a_the_replaced_connection_is_read_to_its_end_while_it_is_drained() {
    for phase in PHASES {
        assert_eq!(at(phase).core.drains_replaced(), phase == "Draining", "{phase}");
    }
    assert!(!World::new().core.drains_replaced());
}

#[test]
fn rule_2a_whether_a_client_may_replace_is_what_it_was_told() {
    for may in [false, true] {
        assert_eq!(World::new().core.replaceable(may).can_replace(), may);
    }
}
