//! §5: what is no news changes nothing, and the options say how long things take.

use everwire_client::Replacement;

use super::*;

fn moved() -> NetworkStatus {
    online("10.0.9.9", &["10.0.9.9", HOME])
}

/// A monitor that begins or ceases to know the path has not seen it move.
#[test]
fn rule_5_a_path_moves_from_one_known_address_to_another() {
    let unknown = || NetworkStatus::online().with_hint(Hint::NetworkChanged);
    let known = || online(HOME, &[HOME]);
    for (before, after, moves) in [
        (unknown(), known(), false),
        (known(), unknown(), false),
        (known(), known(), false),
        (known(), moved(), true),
    ] {
        let mut world = World::waiting();
        world.network(before.with_hint(Hint::Started));
        let due = world.core.poll_timeout();
        let decisions = world.network(after);
        assert_eq!(!decisions.is_empty(), moves, "{decisions:?}");
        assert_eq!(world.core.poll_timeout() != due, moves);
    }
}

/// §4: an attempt that fails beside a noise of the network failed by itself.
#[test]
fn rule_4_a_noise_while_dialling_excuses_no_failure() {
    let mut world = World::new();
    world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
    world.user_connects();
    assert_eq!(world.network(online(HOME, &[HOME, "172.17.0.1"])), []);
    assert!(matches!(
        world.closes(dial_failed())[..],
        [Decision::ConnectAfter { cause: Cause::DialFailed, .. }]
    ));
}

#[test]
fn rule_5_a_monitor_that_repeats_that_there_is_no_network_probes_once() {
    let mut world = World::connected();
    assert!(matches!(world.network(offline())[..], [Decision::Probe { .. }]));
    world.passes(S(10));
    assert_eq!(world.network(offline()), [], "it lives, and nothing is new");
}

/// While a probe is out there is no other; when its time is over there may be.
#[test]
fn rule_5_probes_follow_each_other_after_their_deadline_at_the_earliest() {
    let options = RecoveryOptions::default().probe_deadline(S(2));
    let mut world = World::with(options, None, 1);
    world.user_connects();
    world.opens();
    let probe = [Decision::Probe { deadline: S(2), cause: Cause::WokeUp }];
    assert_eq!(world.network(woke_up(1)), probe);
    world.passes(MS(1_999));
    assert_eq!(world.network(woke_up(1)), []);
    world.passes(MS(1));
    assert_eq!(world.network(woke_up(1)), probe);
}

/// A connection whose address went while the machine slept is disconnected, and not probed besides.
#[test]
fn rule_5_woke_up_without_the_connections_address() {
    let mut world = World::connected();
    let elsewhere = online("10.0.9.9", &["10.0.9.9"]).with_hint(Hint::WokeUp { asleep: S(1) });
    assert_eq!(world.network(elsewhere), [Decision::Disconnect { generation: 1, cause: Cause::PathChanged }]);
}

/// Whether a connection is viable is a question only while there is one.
#[test]
fn rule_5_nothing_is_said_of_a_connection_that_is_not_there() {
    let mut world = World::waiting();
    world.network(offline());
    assert_eq!(world.notices, []);

    let mut world = World::connected();
    world.user_disconnects();
    world.take();
    world.network(offline());
    assert_eq!(world.notices, []);
}

/// Clients that are not ours may tell an address of a connection that is gone.
#[test]
fn rule_5_an_address_is_compared_only_while_the_connection_is_open() {
    for gone in [false, true] {
        let mut world = World::connected();
        world.client.generation += 1;
        world.state(ConnectionState::Connecting);
        let all: &[&str] = if gone { &["10.0.9.9"] } else { &["10.0.9.9", HOME] };
        assert_eq!(world.network(online("10.0.9.9", all)), [], "gone: {gone}");
        assert_eq!(world.notices, [], "gone: {gone}");
    }
}

#[test]
fn rule_2_a_retry_is_not_for_who_does_not_want_a_connection() {
    let mut world = World::connected();
    world.user_disconnects();
    let stopped = world.core.status();
    assert!(matches!(stopped, RecoveryStatus::Stopped { reason: StopReason::UserDisconnected, .. }));
    assert_eq!(world.tell(Input::RetryNow), []);
    assert_eq!(world.core.status(), stopped);
}

/// §2a: the status says who asked for the replacement.
#[test]
fn rule_2a_a_replacement_has_the_cause_of_whoever_asked_for_it() {
    let replaceable = || {
        let mut world = World::connected();
        world.client.can_replace = true;
        world.show();
        world
    };
    let cause = |world: &World| match world.core.status() {
        RecoveryStatus::Replacing { until: None, cause, attempt } => (cause, attempt),
        other => panic!("{other:?}"),
    };
    let under_way = |world: &mut World| {
        world.client.replacement = Replacement::UnderWay { generation: world.client.generation + 1 };
        assert_eq!(world.show(), []);
    };
    let mut world = replaceable();
    under_way(&mut world);
    assert_eq!(cause(&world), (Cause::UserAsked, 0), "the application");

    let mut world = replaceable();
    world.client.going_away = Some(S(20));
    world.show();
    world.passes(S(10));
    under_way(&mut world);
    assert_eq!(cause(&world), (Cause::ServerLeaving, 1), "we");
}

#[test]
fn the_options_say_how_long_signals_are_gathered() {
    for coalesce in [MS(10), S(2)] {
        let mut world = World::with(RecoveryOptions::default().coalesce(coalesce), None, 1);
        world.network(offline().with_hint(Hint::Started));
        world.user_connects();
        world.closes(dial_failed());
        assert_eq!(delay_of(&world.network(online(HOME, &[HOME]))), coalesce);
        assert!(connects(&world.passes(coalesce), Cause::NetworkUp));
    }
}

#[test]
fn the_options_say_how_long_the_background_is_waited_for() {
    let options = RecoveryOptions::default().background_grace(S(3));
    let mut world = World::with(options, None, 1);
    world.user_connects();
    world.opens();
    world.tell(Input::Lifecycle(Lifecycle::Background));
    assert_eq!(world.passes(MS(2_999)), []);
    assert_eq!(world.passes(MS(1)), [Decision::Disconnect { generation: 1, cause: Cause::Background }]);
}

#[test]
fn rule_2a_the_options_say_how_often_a_path_that_flaps_costs_a_connection() {
    let mut world = World::with(RecoveryOptions::default().replace_interval(S(90)), None, 1);
    world.client.can_replace = true;
    world.user_connects();
    world.opens();
    world.network(moved());
    let asked = world.now + MS(250);
    assert!(matches!(world.passes(S(1))[..], [Decision::Replace { .. }]));
    world.client.generation += 1;
    world.show();
    world.network(online(HOME, &[HOME, "10.0.9.9"]));
    let decisions = world.network(moved());
    let next = decisions.iter().find_map(|decision| match decision {
        Decision::ReplaceAfter { delay, .. } => Some(world.now + *delay),
        _ => None,
    });
    assert_eq!(next, Some(asked + S(90)));
}
