//! §2a and §4: make before break, as recovery decides it.

use everwire_client::Replacement;

use super::*;

/// A client that was connected for long and can replace its connection.
fn replaceable() -> World {
    let mut world = World::connected();
    world.client.can_replace = true;
    world.show();
    world
}

fn leaving(world: &mut World, notice: Duration) -> Vec<Decision> {
    world.client.going_away = Some(notice);
    world.show()
}

fn under_way(world: &mut World, generation: u64) -> Vec<Decision> {
    world.client.replacement = Replacement::UnderWay { generation };
    world.show()
}

fn fails(world: &mut World, generation: u64, source: DisconnectionSource) -> Vec<Decision> {
    world.client.replacement = Replacement::Failed { generation, source: source.into() };
    world.show()
}

/// The successor takes the place of the connection.
fn switches(world: &mut World, generation: u64) -> Vec<Decision> {
    world.client.generation = generation;
    world.client.replacement = Replacement::None;
    world.client.going_away = None;
    world.show()
}

fn replaces(decisions: &[Decision], cause: Cause) -> bool {
    matches!(decisions, [Decision::Replace { cause: c, .. }] if *c == cause)
}

fn moved() -> NetworkStatus {
    online("10.0.9.9", &["10.0.9.9", HOME])
}

fn planned(decisions: &[Decision]) -> Option<(Duration, Cause)> {
    decisions.iter().find_map(|decision| match decision {
        Decision::ReplaceAfter { delay, cause, .. } => Some((*delay, *cause)),
        _ => None,
    })
}

/// §2a: only a client that can, only when the options allow it; otherwise all is as ever.
#[test]
fn rule_2a_nothing_is_replaced_unless_both_sides_allow_it() {
    let mut world = World::connected();
    assert_eq!(leaving(&mut world, S(30)), []);
    assert!(planned(&world.network(moved())).is_none());

    let mut world = World::with(RecoveryOptions::default().make_before_break(false), None, 1);
    world.client.can_replace = true;
    world.user_connects();
    world.opens();
    assert_eq!(leaving(&mut world, S(30)), []);
    assert!(planned(&world.network(moved())).is_none());
    assert!(world.notices.contains(&Notice::ReconnectSuggested(true)));
}

/// §2a: a server that leaves tells its whole fleet at once, so the fleet spreads over half of the notice.
#[test]
fn rule_2a_an_announcement_is_acted_on_within_half_of_the_notice() {
    for (notice, window) in [(S(0), S(2)), (S(20), S(10)), (S(3600), S(30))] {
        let mut delays = Vec::new();
        for seed in 0..200 {
            let mut world = World::with(RecoveryOptions::default(), None, seed);
            world.client.can_replace = true;
            world.user_connects();
            world.opens();
            let (delay, cause) = planned(&leaving(&mut world, notice)).unwrap();
            assert_eq!(cause, Cause::ServerLeaving);
            assert_eq!(leaving(&mut world, notice), [], "once");
            let until = Some(world.now + delay);
            let status = RecoveryStatus::Replacing { until, cause: Cause::ServerLeaving, attempt: 1 };
            assert_eq!(world.core.status(), status);
            assert!(replaces(&world.passes(delay), Cause::ServerLeaving));
            assert!(matches!(world.core.status(), RecoveryStatus::Replacing { until: None, attempt: 1, .. }));
            delays.push(delay);
        }
        let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(*most <= window && *most > window * 9 / 10 && *least < window / 10, "{least:?} {most:?}");
    }
}

/// §2a and §5: a better path leads to a replacement; a path that flaps does not lead to one each time.
#[test]
fn rule_2a_a_better_path_is_taken_but_not_again_and_again() {
    let mut world = replaceable();
    assert_eq!(planned(&world.network(moved())), Some((MS(250), Cause::PathChanged)));
    assert!(world.passes(MS(250)).contains(&Decision::Replace { cause: Cause::PathChanged, attempt: 1 }));
    under_way(&mut world, 2);
    assert_eq!(planned(&world.network(moved())), None, "one at a time");
    assert_eq!(switches(&mut world, 2), []);
    world.passes(S(5));
    // The successor is at the old address still: the next one waits for its time.
    let (delay, _) = planned(&world.network(moved())).unwrap();
    assert_eq!(delay, S(25));
    // And the path goes back before.
    world.network(online(HOME, &[HOME]));
    assert_eq!(world.core.status(), RecoveryStatus::Idle);
    assert!(!world.passes(S(60)).iter().any(|d| matches!(d, Decision::Replace { .. })));
}

/// §2a: failures climb the ladder, and are judged by the table like every other.
#[test]
fn rule_2a_a_failed_replacement_is_tried_again_by_the_ladder() {
    let mut world = replaceable();
    leaving(&mut world, S(0));
    world.passes(S(2));
    let mut longest = S(0);
    for generation in 2..12 {
        under_way(&mut world, generation);
        let (delay, cause) = planned(&fails(&mut world, generation, dial_failed())).unwrap();
        assert_eq!(cause, Cause::DialFailed);
        assert_eq!(world.show(), [], "judged once");
        longest = longest.max(delay);
        assert!(replaces(&world.passes(delay), Cause::DialFailed));
    }
    assert!(longest > S(8), "{longest:?}");
    assert!(world.log.iter().all(|(_, d)| !matches!(d, Decision::Connect { .. } | Decision::Stop { .. })));
}

/// §2a and §3: what would stop an outage stops replacing, aloud; the connection goes on.
#[test]
fn rule_2a_what_cannot_succeed_is_given_up_aloud() {
    let mut world = replaceable();
    leaving(&mut world, S(0));
    world.passes(S(2));
    assert!(planned(&fails(&mut world, 2, refused())).is_none());
    assert!(
        matches!(
            world.log.last(),
            Some((_, Decision::Replace { cause: Cause::CredentialsRefused, attempt: 2 }))
        ),
        "the provider is asked once, at once: {:?}",
        world.log.last()
    );
    assert_eq!(fails(&mut world, 3, refused()), []);
    assert_eq!(world.notices.last(), Some(&Notice::ReplacementGivenUp(StopReason::CredentialsRefused)));
    assert!(planned(&world.network(moved())).is_none());
    assert_eq!(world.core.status(), RecoveryStatus::Idle);
    // The next connection begins afresh.
    assert!(connects(&world.closes(lost()), Cause::PathChanged));
    world.dials();
    world.client.replacement = Replacement::None;
    world.client.going_away = None;
    world.opens();
    world.passes(S(60));
    assert!(planned(&leaving(&mut world, S(10))).is_some());
}

/// §2a and §4: limits hold for replacements, counted apart from those of an outage, and a local cause arms them again.
#[test]
fn rule_2a_policies_apply_to_replacements_too() {
    let mut world = World::with(RecoveryOptions::default(), Some(Box::new(MaxAttempts::new(1))), 3);
    world.client.can_replace = true;
    world.user_connects();
    world.opens();
    world.passes(S(60));
    leaving(&mut world, S(0));
    world.passes(S(2));
    assert_eq!(fails(&mut world, 2, dial_failed()), []);
    assert_eq!(world.notices.last(), Some(&Notice::ReplacementGivenUp(StopReason::AttemptsExhausted)));
    assert!(planned(&world.network(moved())).is_some(), "armed again");

    // An outage has its own count.
    let mut world = World::with(RecoveryOptions::default(), Some(Box::new(MaxAttempts::new(1))), 3);
    world.client.can_replace = true;
    world.user_connects();
    world.opens();
    world.passes(S(60));
    leaving(&mut world, S(0));
    world.passes(S(2));
    fails(&mut world, 2, dial_failed());
    assert!(matches!(world.closes(lost())[..], [Decision::ConnectAfter { attempt: 1, .. }]));
}

/// §2a: a connection that dies while its successor is made is not dialled a second time.
#[test]
fn rule_2a_the_successor_of_a_dead_connection_is_the_attempt_that_follows() {
    for skipped in [false, true] {
        let mut world = replaceable();
        leaving(&mut world, S(0));
        world.passes(S(2));
        under_way(&mut world, 2);
        if !skipped {
            assert_eq!(world.closes(closed(1012)), []);
            assert!(matches!(world.core.status(), RecoveryStatus::Connecting { attempt: 1 }));
        }
        world.client.replacement = Replacement::None;
        world.client.going_away = None;
        world.dials();
        assert_eq!(world.passes(S(14)), []);
        let decisions = world.closes(dial_failed());
        assert!(
            matches!(decisions[..], [Decision::ConnectAfter { cause: Cause::DialFailed, .. }]),
            "{decisions:?}"
        );
    }
}

/// §3: without a successor in time, the close that was announced is judged by the table.
#[test]
fn rule_2a_a_close_with_notice_that_comes_first_is_judged_by_the_table() {
    let mut world = replaceable();
    leaving(&mut world, S(60));
    let decisions = world.closes(closed(1012));
    assert!(matches!(decisions[..], [Decision::ConnectAfter { cause: Cause::ServerRestarting, .. }]));
    assert!(!world.passes(S(40)).iter().any(|decision| matches!(decision, Decision::Replace { .. })));
}

/// §4: the ladder is reset by a connection that was stable, also when it came as a replacement.
#[test]
fn rule_2a_a_successor_that_does_not_last_continues_the_ladder() {
    let mut world = replaceable();
    leaving(&mut world, S(0));
    world.passes(S(2));
    for generation in 2..9 {
        let (delay, _) = planned(&fails(&mut world, generation, dial_failed())).unwrap();
        world.passes(delay);
    }
    switches(&mut world, 9);
    world.client.can_replace = false;
    let mut longest = S(0);
    for _ in 0..6 {
        longest = longest.max(delay_of(&world.closes(lost())));
        world.until_connect();
        world.dials();
        world.opens();
    }
    assert!(longest > S(4), "{longest:?}");
}
