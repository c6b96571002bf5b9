//! The promises of the core under random inputs, in any order.

use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use everwire_client::Replacement;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Passes(u64),
    ClientMoves(u8),
    UserConnects,
    UserDisconnects,
    Network(u8),
    Lifecycle(u8),
    RetryNow,
    Announces(u64),
    Successor(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..40_000).prop_map(Step::Passes),
        6 => any::<u8>().prop_map(Step::ClientMoves),
        1 => Just(Step::UserConnects),
        1 => Just(Step::UserDisconnects),
        3 => any::<u8>().prop_map(Step::Network),
        1 => any::<u8>().prop_map(Step::Lifecycle),
        1 => Just(Step::RetryNow),
        1 => (0_u64..60_000).prop_map(Step::Announces),
        3 => any::<u8>().prop_map(Step::Successor),
    ]
}

/// What a client does next of its own accord: a legal way round.
fn client_moves(world: &mut World, choice: u8) -> Vec<Decision> {
    let source = match choice % 11 {
        0 => lost(),
        1 => dial_failed(),
        2 => closed(1000),
        3 => closed(1012),
        4 => closed(1013),
        5 => refused(),
        6 => DisconnectionSource::NoPongReceived,
        7 => DisconnectionSource::SystemInitiated,
        8 => closed(4401),
        _ => {
            return match world.client.state {
                ConnectionState::Connecting => world.opens(),
                _ => world.show(),
            };
        }
    };
    match world.client.state {
        ConnectionState::Connecting | ConnectionState::Connected(_) if choice > 127 => {
            world.state(ConnectionState::Disconnecting(source))
        }
        ConnectionState::Connecting | ConnectionState::Connected(_) | ConnectionState::Disconnecting(_) => {
            world.closes(source)
        }
        _ => world.show(),
    }
}

/// What becomes of a successor, if there is one.
fn successor_moves(world: &mut World, choice: u8) -> Vec<Decision> {
    let Replacement::UnderWay { generation } = world.client.replacement else { return world.show() };
    let source = match choice % 5 {
        0 => dial_failed(),
        1 => refused(),
        2 => closed(1000),
        _ => {
            world.client.generation = generation;
            world.client.replacement = Replacement::None;
            world.client.going_away = None;
            return world.show();
        }
    };
    world.client.replacement = Replacement::Failed { generation, source: source.into() };
    world.show()
}

fn take_step(world: &mut World, step: &Step) -> Vec<Decision> {
    match *step {
        Step::Passes(ms) => world.passes(MS(ms)),
        Step::ClientMoves(choice) => client_moves(world, choice),
        Step::Announces(ms) if world.client.state.is_connected() => {
            world.client.going_away = Some(MS(ms));
            world.show()
        }
        Step::UserConnects if !world.client.wanted => world.user_connects(),
        Step::UserDisconnects if world.client.wanted => world.user_disconnects(),
        Step::UserConnects | Step::UserDisconnects | Step::Announces(_) => world.show(),
        Step::Network(choice) => world.network(match choice % 8 {
            0 => offline(),
            1 => NetworkStatus::unknown(),
            2 => online(HOME, &[HOME]),
            3 => online("10.0.9.9", &["10.0.9.9"]),
            4 => online("10.0.9.9", &["10.0.9.9", HOME]),
            5 => woke_up(10),
            6 => woke_up(1_000),
            _ => NetworkStatus::online().with_hint(Hint::ClockStepped),
        }),
        Step::Lifecycle(choice) => world.tell(Input::Lifecycle(match choice % 3 {
            0 => Lifecycle::Unknown,
            1 => Lifecycle::Foreground,
            _ => Lifecycle::Background,
        })),
        Step::RetryNow => world.tell(Input::RetryNow),
        Step::Successor(choice) => successor_moves(world, choice),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// §2, §3, §4: whatever happens, in any order.
    #[test]
    fn the_promises_hold_under_random_inputs(steps in prop::collection::vec(step(), 1..80), seed in any::<u64>()) {
        let mut world = World::with(RecoveryOptions::default(), None, seed);
        world.client.can_replace = seed % 2 == 0;
        let mut latest = 0;
        let mut told_stop = true;
        for step in &steps {
            let wanted = world.client.wanted;
            let decisions = take_step(&mut world, step);
            if world.client.wanted && !wanted {
                told_stop = false;
            }
            let (mut asked, mut replaces) = (0, 0);
            for decision in &decisions {
                match decision {
                    Decision::Connect { .. } => {
                        asked += 1;
                        prop_assert!(world.client.wanted, "connects although the user does not want it");
                        prop_assert!(
                            matches!(world.client.state, ConnectionState::Disconnected(_)),
                            "connects while {}", world.client.state.name()
                        );
                    }
                    Decision::Replace { .. } => {
                        replaces += 1;
                        prop_assert!(world.client.wanted && world.client.can_replace);
                        prop_assert!(world.client.state.is_connected());
                        let under_way = matches!(world.client.replacement, Replacement::UnderWay { .. });
                        prop_assert!(!under_way, "one at a time");
                    }
                    Decision::ReplaceAfter { .. } => prop_assert!(world.client.state.is_connected()),
                    Decision::ConnectAfter { .. } | Decision::Hold { .. } | Decision::Probe { .. }
                    | Decision::Disconnect { .. } => prop_assert!(world.client.wanted, "{decision:?}"),
                    Decision::Stop { reason, .. } => {
                        let by_user = *reason == StopReason::UserDisconnected;
                        prop_assert_eq!(by_user, !world.client.wanted);
                        prop_assert!(!(by_user && told_stop), "the user's stop is said once");
                        told_stop |= by_user;
                    }
                }
            }
            prop_assert!(asked + replaces <= 1, "more than one attempt at once");
            prop_assert!(world.client.wanted || told_stop, "a silent stop");
            if !world.client.wanted {
                prop_assert_eq!(world.core.poll_timeout(), None);
            }
            // Wanted and disconnected: something is planned, asked for, held, or stopped aloud. Never nothing.
            if world.client.wanted && matches!(world.client.state, ConnectionState::Disconnected(_)) {
                prop_assert!(world.core.status() != RecoveryStatus::Idle, "forgot a client that is wanted");
            }
            if !world.client.state.is_connected() {
                world.client.going_away = None;
                world.client.replacement = Replacement::None;
            }
            if replaces == 1 {
                latest = latest.max(world.client.generation) + 1;
                world.client.replacement = Replacement::UnderWay { generation: latest };
                world.show();
            }
            // The client does as it is asked.
            if asked == 1 {
                let connecting = matches!(world.core.status(), RecoveryStatus::Connecting { .. });
                prop_assert!(connecting);
                world.dials();
            }
        }
    }
}
