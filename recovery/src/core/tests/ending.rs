//! §3: what the end of an attempt counts for, and what of it is remembered.

use std::sync::Arc;

use everwire_client::Replacement;

use super::*;

/// §4: clients whose snapshots skip "Authenticating" are held to the burst too, by what the end tells.
#[test]
fn rule_4_the_end_tells_whether_the_server_had_accepted_the_connection() {
    let error = |stage| {
        let error = EngineError::new(EngineErrorKind::Closed, stage);
        DisconnectionSource::from(ServerReason::engine_error(error))
    };
    let timeout = |stage| DisconnectionSource::ConnectTimeout { stage };
    let announced = DisconnectionSource::from(ServerReason::api_error(ApiError::new(1, "busy")));
    let mut both = ServerReason::closed(Some(CloseFrame::new(1011, "").unwrap()));
    both.engine_error = Some(EngineError::new(EngineErrorKind::Closed, Stage::Upgrade));
    for (source, accepted) in [
        (DisconnectionSource::NoPongReceived, true),
        (timeout(AttemptStage::Authentication), true),
        (timeout(AttemptStage::HealthCheck), true),
        (timeout(AttemptStage::Credentials), false),
        (timeout(AttemptStage::Dial), false),
        (timeout(AttemptStage::Engine(Stage::Upgrade)), false),
        (closed(1011), true),
        (both.into(), true),
        (error(Stage::Open), true),
        (error(Stage::Upgrade), false),
        (announced, true),
        (lost(), false),
        (refused(), false),
    ] {
        let mut world = World::new();
        world.user_connects();
        world.closes(source.clone());
        assert_eq!(world.core.attempt.opened, accepted, "{source}");
    }
}

/// §4: the burst counts an accepted connection once, however much of it the snapshots showed.
#[test]
fn rule_4_an_accepted_connection_counts_once_for_the_burst() {
    for shown in [false, true] {
        let options = RecoveryOptions::default().burst(2, S(3600));
        let mut world = World::with(options, None, 3);
        world.user_connects();
        let mut waits = Vec::new();
        for _ in 0..2 {
            if shown {
                world.opens();
            }
            waits.push(delay_of(&world.closes(closed(1011))));
            world.until_connect();
            world.dials();
        }
        assert!(waits[0] < S(10), "the first one does not use up a burst of two: {waits:?}, shown: {shown}");
        assert!(waits[1] > S(3000), "the second one does: {waits:?}, shown: {shown}");
    }
}

/// §2a: a successor that takes its place does not begin an outage; being left with nothing does.
#[test]
fn rule_2a_an_outage_begins_when_the_connection_is_lost_and_not_when_it_is_replaced() {
    let replaced = || {
        let mut world = World::with(RecoveryOptions::default(), Some(Box::new(MaxElapsed::new(S(3)))), 1);
        world.client.can_replace = true;
        world.user_connects();
        world.opens();
        world.passes(S(60));
        world.network(online("10.0.9.9", &["10.0.9.9", HOME]));
        assert!(matches!(world.passes(S(1))[..], [Decision::Replace { .. }]));
        world.client.replacement = Replacement::UnderWay { generation: world.client.generation + 1 };
        world.show();
        world.client.generation += 1;
        world.client.replacement = Replacement::None;
        world
    };
    let mut world = replaced();
    world.show();
    world.passes(S(5));
    assert!(matches!(world.closes(lost())[..], [Decision::ConnectAfter { .. }]), "the outage begins now");

    let mut world = replaced();
    world.state(ConnectionState::Connecting);
    world.passes(S(5));
    assert!(matches!(
        world.closes(dial_failed())[..],
        [Decision::Stop { reason: StopReason::TimeExhausted, elapsed, .. }] if elapsed == S(5)
    ));
}

/// §2a: of a connection that ends while its successor is made, the successor is the next attempt.
#[test]
fn rule_2a_a_successor_under_way_is_the_attempt_that_follows() {
    let mut world = World::connected();
    world.client.can_replace = true;
    world.client.replacement = Replacement::UnderWay { generation: world.client.generation + 1 };
    assert_eq!(world.closes(lost()), [], "nothing is planned beside it");
    assert_eq!(world.core.status(), RecoveryStatus::Connecting { attempt: 1 });
}

/// §2a: a successor that ended as we wanted it is no failure, and one that failed is of no matter where none is made.
#[test]
fn rule_2a_a_successor_that_was_not_to_be_is_not_judged() {
    let failed = |world: &mut World, source: DisconnectionSource| {
        world.client.replacement = Replacement::Failed { generation: 2, source: Arc::new(source) };
        world.show()
    };
    for source in [DisconnectionSource::UserInitiated, DisconnectionSource::SystemInitiated] {
        let mut world = World::connected();
        world.client.can_replace = true;
        assert_eq!(failed(&mut world, source), []);
        assert_eq!((world.core.status(), &world.notices[..]), (RecoveryStatus::Idle, &[][..]));
    }
    let mut world = World::connected();
    assert_eq!(failed(&mut world, dial_failed()), []);
    assert_eq!(world.core.status(), RecoveryStatus::Idle);
}

/// §3: a source that no table knows is a loss, and an error that says nothing of the matter is worth a retry.
#[test]
fn rule_3_staying_away_for_ever_is_the_worse_mistake() {
    let bare = DisconnectionSource::from(ServerReason::api_error(ApiError::new(1234, "odd")));
    for (source, cause) in [(DisconnectionSource::Replaced, Cause::ConnectionLost), (bare, Cause::ApiError)] {
        assert_eq!(DecisionTable::default().decide(&Evidence::new(&source)), Verdict::retry(cause));
    }
}

/// §2a: a policy that changes its mind when the time has come ends the matter aloud; the connection lives on.
#[test]
fn rule_2a_a_policy_may_stop_a_replacement_at_the_last_moment() {
    struct NotNow;
    impl ReconnectionPolicy for NotNow {
        fn rule(&self, situation: &Situation<'_>) -> Ruling {
            match situation.moment {
                Moment::Firing => Ruling::Stop(StopReason::Policy("not now")),
                Moment::Planning => Ruling::Allow,
            }
        }
    }
    let mut world = World::with(RecoveryOptions::default(), Some(Box::new(NotNow)), 1);
    world.client.can_replace = true;
    world.user_connects();
    world.opens();
    world.client.going_away = Some(S(20));
    assert!(matches!(world.show()[..], [Decision::ReplaceAfter { .. }]));
    assert_eq!(world.passes(S(60)), []);
    assert_eq!(world.notices.last(), Some(&Notice::ReplacementGivenUp(StopReason::Policy("not now"))));
    assert_eq!(world.core.status(), RecoveryStatus::Idle);
}

#[test]
fn what_a_core_prints_tells_its_client_its_slot_and_its_ladder() {
    let world = World::waiting();
    let shown = format!("{:?}", world.core);
    for part in
        ["RecoveryCore { client: ", "Waiting { at: ", "attempts: 0", "Ladder { taken: 1, previous: None"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}
