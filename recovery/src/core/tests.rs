//! The rules as sentences, on virtual time.

mod ending;
mod hints;
mod model;
mod random;
mod replacing;

use std::{net::SocketAddr, time::SystemTime};

use everwire_client::{
    ApiError, AttemptStage, AuthenticationError, CloseCode, CloseFrame, DisconnectionSource, EngineError,
    EngineErrorKind, HealthCheckInfo, Refusal, ServerReason, Stage,
};
use everwire_netmon::Hint;

use super::*;
use crate::{DecisionTable, Evidence, Exponential, MaxAttempts, MaxElapsed, Notice, Verdict};

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;
const WALL: SystemTime = SystemTime::UNIX_EPOCH;
const HOME: &str = "10.0.0.2";

/// A client as the core sees it, on virtual time.
struct World {
    core: RecoveryCore,
    now: Instant,
    start: Instant,
    client: Snapshot,
    /// All decisions so far, with their times.
    log: Vec<(Duration, Decision)>,
    notices: Vec<Notice>,
}

impl World {
    fn new() -> Self {
        Self::with(RecoveryOptions::default(), None, 1)
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a virtual clock")]
    fn with(options: RecoveryOptions, policy: Option<Box<dyn ReconnectionPolicy>>, seed: u64) -> Self {
        let policy = match policy {
            Some(policy) => Box::new(crate::default_policy(&options).and(policy)),
            None => crate::default_policy(&options),
        };
        let (decide, strategy) = (Box::new(DecisionTable::default()), Box::new(Exponential::full()));
        let core = RecoveryCore::with(options, decide, strategy, policy, Rng::seeded(seed));
        let now = Instant::now();
        Self { core, now, start: now, client: Snapshot::initialized(), log: Vec::new(), notices: Vec::new() }
    }

    /// A client that was connected for long at its home address.
    fn connected() -> Self {
        let mut world = Self::new();
        world.user_connects();
        world.opens();
        world.passes(S(60));
        world.take();
        world
    }

    /// A client whose connection was just lost, with its retry waiting.
    fn waiting() -> Self {
        let mut world = Self::connected();
        world.closes(lost());
        assert!(matches!(world.core.status(), RecoveryStatus::Waiting { .. }));
        world.take();
        world
    }

    fn tell(&mut self, input: Input) -> Vec<Decision> {
        self.core.handle(self.now, input);
        let mut new = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Decision(decision) => {
                    self.log.push((self.now - self.start, decision));
                    new.push(decision);
                }
                Output::Notice(notice) => self.notices.push(notice),
            }
        }
        new
    }

    fn show(&mut self) -> Vec<Decision> {
        self.tell(Input::Snapshot { snapshot: self.client.clone(), wall: WALL })
    }

    fn state(&mut self, state: ConnectionState) -> Vec<Decision> {
        self.client.state = state;
        self.show()
    }

    fn dials(&mut self) -> Vec<Decision> {
        self.client.generation += 1;
        self.client.local_addr = None;
        self.state(ConnectionState::Connecting)
    }

    fn user_connects(&mut self) -> Vec<Decision> {
        self.client.wanted = true;
        self.dials()
    }

    fn user_disconnects(&mut self) -> Vec<Decision> {
        self.client.wanted = false;
        self.state(ConnectionState::Disconnected(DisconnectionSource::UserInitiated))
    }

    fn opens(&mut self) -> Vec<Decision> {
        self.client.local_addr = Some(SocketAddr::new(HOME.parse().unwrap(), 4242));
        let mut decisions = self.state(ConnectionState::Authenticating);
        decisions.extend(self.state(ConnectionState::Connected(HealthCheckInfo::default())));
        decisions
    }

    fn closes(&mut self, source: DisconnectionSource) -> Vec<Decision> {
        self.client.local_addr = None;
        self.state(ConnectionState::Disconnected(source))
    }

    fn network(&mut self, status: NetworkStatus) -> Vec<Decision> {
        self.tell(Input::Network(status))
    }

    /// Time passes; timers fire on time.
    fn passes(&mut self, time: Duration) -> Vec<Decision> {
        let end = self.now + time;
        let mut decisions = Vec::new();
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            decisions.extend(self.tell(Input::Timeout));
        }
        self.now = end;
        decisions
    }

    /// Time passes until the next connect.
    fn until_connect(&mut self) -> Duration {
        let before = self.now;
        loop {
            let at = self.core.poll_timeout().expect("nothing is planned");
            self.now = self.now.max(at);
            if self.tell(Input::Timeout).iter().any(|d| matches!(d, Decision::Connect { .. })) {
                return self.now - before;
            }
        }
    }

    fn take(&mut self) -> Vec<Decision> {
        self.notices.clear();
        self.log.drain(..).map(|(_, decision)| decision).collect()
    }
}

fn lost() -> DisconnectionSource {
    DisconnectionSource::from(ServerReason::closed(None))
}

fn dial_failed() -> DisconnectionSource {
    let error = EngineError::new(EngineErrorKind::Connect, Stage::Connect);
    DisconnectionSource::from(ServerReason::engine_error(error))
}

fn closed(code: u16) -> DisconnectionSource {
    let frame = CloseFrame { code: CloseCode::received(code), reason: everwire_client::Text::default() };
    DisconnectionSource::from(ServerReason::closed(Some(frame)))
}

fn refused() -> DisconnectionSource {
    DisconnectionSource::from(AuthenticationError::refused(ApiError::new(40, "expired")))
}

fn online(path: &str, all: &[&str]) -> NetworkStatus {
    NetworkStatus::online()
        .with_local_addr(path.parse().unwrap())
        .with_addresses(all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>())
        .with_hint(Hint::NetworkChanged)
}

fn offline() -> NetworkStatus {
    NetworkStatus::offline().with_hint(Hint::NetworkChanged)
}

fn woke_up(seconds: u64) -> NetworkStatus {
    NetworkStatus::online().with_hint(Hint::WokeUp { asleep: S(seconds) })
}

fn delay_of(decisions: &[Decision]) -> Duration {
    match decisions {
        [Decision::ConnectAfter { delay, .. }] => *delay,
        other => panic!("not one planned attempt: {other:?}"),
    }
}

fn connects(decisions: &[Decision], cause: Cause) -> bool {
    matches!(decisions, [Decision::Connect { cause: c, .. }] if *c == cause)
}

// --- §3: reconnect or not -------------------------------------------------------------------------------

#[test]
fn rule_3_a_lost_connection_is_retried_and_the_attempts_are_counted() {
    let mut world = World::connected();
    let decisions = world.closes(lost());
    assert!(matches!(
        decisions[..],
        [Decision::ConnectAfter { cause: Cause::ConnectionLost, attempt: 1, .. }]
    ));
    world.until_connect();
    world.dials();
    let decisions = world.closes(dial_failed());
    assert!(matches!(decisions[..], [Decision::ConnectAfter { cause: Cause::DialFailed, attempt: 2, .. }]));
}

#[test]
fn rule_3_stopping_is_never_silent_and_the_status_keeps_it() {
    let mut world = World::connected();
    let stop = world.closes(closed(1000));
    let reason = StopReason::ServerClosed(CloseCode::NORMAL);
    assert_eq!(stop, [Decision::Stop { reason, attempts: 0, elapsed: S(0) }]);
    assert_eq!(world.core.status(), RecoveryStatus::Stopped { reason, attempts: 0, elapsed: S(0) });
    assert_eq!(world.passes(S(86_400)), []);
    world.network(offline());
    assert_eq!(world.network(online(HOME, &[HOME])), [], "a server's stop is not undone by a network");
}

#[test]
fn rule_3_refused_credentials_are_renewed_at_once_and_once() {
    let mut world = World::connected();
    assert!(connects(&world.closes(refused()), Cause::CredentialsRefused));
    world.dials();
    let decisions = world.closes(refused());
    assert!(matches!(
        decisions[..],
        [Decision::Stop { reason: StopReason::CredentialsRefused, attempts: 1, .. }]
    ));
}

/// §3, §8: authenticate-then-drop servers are not asked again and again because they answered 101.
#[test]
fn rule_3_an_upgrade_between_two_refusals_does_not_end_their_row() {
    let mut world = World::connected();
    assert!(connects(&world.closes(closed(4401)), Cause::CredentialsRefused));
    world.dials();
    world.opens();
    world.passes(S(9));
    assert!(matches!(world.closes(closed(4401))[..], [Decision::Stop { .. }]));
}

#[test]
fn rule_3_a_stable_connection_ends_the_row_of_refusals() {
    let mut world = World::connected();
    for _ in 0..5 {
        assert!(connects(&world.closes(refused()), Cause::CredentialsRefused));
        world.dials();
        world.opens();
        world.passes(S(10));
    }
}

#[test]
fn rule_3_the_first_attempt_ever_is_retried_too() {
    let mut world = World::new();
    world.user_connects();
    assert!(delay_of(&world.closes(dial_failed())) <= S(2));
}

/// §3: with `retry_initial` off the first attempt ever stops aloud, and a client that was connected once is retried.
#[test]
fn rule_3_with_retry_initial_off_the_first_attempt_ever_stops_aloud() {
    let mut world = World::new();
    let table = Box::new(DecisionTable::default().retry_initial(false));
    let options = RecoveryOptions::default();
    let policy = crate::default_policy(&options);
    world.core = RecoveryCore::with(options, table, Box::new(Exponential::full()), policy, Rng::seeded(1));
    let reason = StopReason::InitialAttemptFailed;
    for _ in 0..2 {
        world.user_connects();
        assert_eq!(world.closes(dial_failed()), [Decision::Stop { reason, attempts: 0, elapsed: S(0) }]);
        assert_eq!(world.passes(S(86_400)), []);
    }
    world.network(offline());
    assert_eq!(world.network(online(HOME, &[HOME])), [], "it is no limit, so the network is no news to it");

    world.user_connects();
    world.opens();
    assert!(delay_of(&world.closes(lost())) <= S(2), "once connected, it is like any other");
    world.until_connect();
    world.dials();
    assert!(delay_of(&world.closes(dial_failed())) <= S(2));
}

// --- §2: the user wins ----------------------------------------------------------------------------------

/// §2: from Disconnected, a user's disconnect cancels any pending retry.
#[test]
fn rule_2_a_users_disconnect_during_back_off_cancels_the_retry() {
    let mut world = World::waiting();
    let decisions = world.user_disconnects();
    assert!(matches!(decisions[..], [Decision::Stop { reason: StopReason::UserDisconnected, .. }]));
    assert_eq!(world.core.poll_timeout(), None);
    assert_eq!(world.passes(S(86_400)), []);
    assert_eq!(world.network(online("10.0.9.9", &["10.0.9.9"])), []);
    assert_eq!(world.network(woke_up(900)), []);
    assert_eq!(world.tell(Input::RetryNow), []);
    assert_eq!(world.show(), [], "and it is said once");
}

#[test]
fn rule_2_a_users_connect_after_a_stop_starts_afresh() {
    let mut world = World::connected();
    world.closes(closed(1000));
    world.user_connects();
    assert_eq!(world.core.status(), RecoveryStatus::Idle);
    assert!(matches!(world.closes(dial_failed())[..], [Decision::ConnectAfter { attempt: 1, .. }]));
}

#[test]
fn rule_2_a_user_who_connects_by_hand_takes_the_place_of_the_planned_retry() {
    let mut world = World::waiting();
    assert_eq!(world.dials(), []);
    assert_eq!(world.core.poll_timeout(), None, "one attempt at a time");
}

#[test]
fn rule_2_disconnect_and_connect_in_one_breath_is_no_stop() {
    let mut world = World::connected();
    // The snapshot between, with `wanted` false, was skipped.
    assert_eq!(world.closes(DisconnectionSource::UserInitiated), []);
    assert_eq!(world.dials(), []);
}

// --- §4: back-off ---------------------------------------------------------------------------------------

#[test]
fn rule_4_an_early_drop_continues_the_ladder_and_a_stable_connection_resets_it() {
    let first_delay = |lasted| {
        let mut longest = S(0);
        for seed in 0..40 {
            let mut world = World::with(RecoveryOptions::default(), None, seed);
            world.user_connects();
            world.closes(dial_failed());
            for _ in 0..7 {
                world.until_connect();
                world.dials();
                world.closes(dial_failed());
            }
            world.until_connect();
            world.dials();
            world.opens();
            world.passes(lasted);
            longest = longest.max(delay_of(&world.closes(lost())));
        }
        longest
    };
    assert!(first_delay(MS(9_999)) > S(20), "still on the ladder");
    assert!(first_delay(S(10)) <= S(2), "back at its foot");
}

#[test]
fn rule_4_a_slow_close_handshake_makes_no_connection_stable() {
    let mut world = World::connected();
    world.closes(lost());
    world.until_connect();
    world.dials();
    world.opens();
    world.passes(S(6));
    world.state(ConnectionState::Disconnecting(lost()));
    world.passes(S(5));
    let decisions = world.closes(lost());
    assert!(matches!(decisions[..], [Decision::ConnectAfter { attempt: 2, .. }]), "{decisions:?}");
}

#[test]
fn rule_4_network_up_and_foreground_become_one_attempt() {
    let mut world = World::connected();
    world.network(offline());
    world.closes(DisconnectionSource::NoPongReceived);
    world.dials();
    world.closes(dial_failed());
    world.tell(Input::Lifecycle(Lifecycle::Background));
    world.passes(S(5));
    world.take();

    world.network(online(HOME, &[HOME]));
    world.passes(MS(200));
    world.tell(Input::Lifecycle(Lifecycle::Foreground));
    world.passes(MS(50));
    let causes: Vec<_> = world.take().into_iter().filter(|d| matches!(d, Decision::Connect { .. })).collect();
    assert_eq!(causes, [Decision::Connect { cause: Cause::NetworkUp, attempt: 1 }]);
    world.dials();
    assert_eq!(world.passes(S(5)), [], "nothing is left of the second signal");
}

#[test]
fn rule_4_after_a_local_cause_the_fast_ladder_follows() {
    let mut world = World::waiting();
    assert!(connects(&world.tell(Input::RetryNow), Cause::UserAsked));
    let mut delays = Vec::new();
    for _ in 0..3 {
        world.dials();
        delays.push(delay_of(&world.closes(dial_failed())));
        world.until_connect();
    }
    assert_eq!(delays, [MS(250), MS(500), MS(1_000)]);
}

#[test]
fn rule_4_our_ping_that_died_after_a_path_change_is_no_fault_of_the_server() {
    let mut world = World::connected();
    world.network(online(HOME, &[HOME]));
    let probe = world.network(online("10.0.9.9", &["10.0.9.9", HOME]));
    assert_eq!(probe, [], "one probe at a time");
    world.passes(S(3));
    assert!(connects(&world.closes(DisconnectionSource::NoPongReceived), Cause::PathChanged));

    let mut world = World::connected();
    assert!(matches!(
        world.closes(DisconnectionSource::NoPongReceived)[..],
        [Decision::ConnectAfter { cause: Cause::NoPongReceived, .. }]
    ));
}

#[test]
fn rule_4_policies_are_checked_when_the_timer_fires_too() {
    let mut world = World::waiting();
    world.tell(Input::Lifecycle(Lifecycle::Background));
    let decisions = world.passes(S(60));
    assert_eq!(decisions, [Decision::Hold { cause: Cause::ConnectionLost }]);
    let decisions = world.tell(Input::Lifecycle(Lifecycle::Foreground));
    assert_eq!(delay_of(&decisions), MS(250));
    assert!(connects(&world.passes(MS(250)), Cause::Foreground));
}

#[test]
fn rule_4_limits_count_from_the_first_failure_and_a_local_cause_arms_them_again() {
    let limit = MaxElapsed::new(S(60)).and(MaxAttempts::new(100));
    let mut world = World::with(RecoveryOptions::default(), Some(Box::new(limit)), 3);
    world.user_connects();
    world.opens();
    world.passes(S(86_400));
    world.closes(lost());
    let stopped = loop {
        world.until_connect();
        world.dials();
        let decisions = world.closes(dial_failed());
        let decisions = if decisions.iter().any(|d| matches!(d, Decision::Stop { .. })) {
            decisions
        } else if world.core.poll_timeout().unwrap() > world.start + S(86_400 + 60) {
            world.passes(S(60))
        } else {
            continue;
        };
        break decisions;
    };
    let [Decision::Stop { reason, attempts, elapsed }] = stopped[..] else { panic!("{stopped:?}") };
    assert_eq!(reason, StopReason::TimeExhausted);
    assert!(attempts > 3 && elapsed > S(60) && elapsed < S(100), "{attempts} attempts in {elapsed:?}");

    world.network(offline());
    assert_eq!(delay_of(&world.network(online(HOME, &[HOME]))), MS(250), "the network is news");
    assert!(connects(&world.passes(MS(250)), Cause::NetworkUp));
}

#[test]
fn rule_4_a_stable_connection_ends_the_outage_whose_time_is_limited() {
    let limit = Box::new(MaxElapsed::new(S(60)));
    let mut world = World::with(RecoveryOptions::default(), Some(limit), 3);
    world.user_connects();
    world.opens();
    for _ in 0..2 {
        world.passes(S(3_600));
        let decisions = world.closes(lost());
        assert!(matches!(decisions[..], [Decision::ConnectAfter { attempt: 1, .. }]), "{decisions:?}");
        world.until_connect();
        world.dials();
        world.opens();
    }
}

#[test]
fn rule_4_the_number_of_attempts_is_limited_exactly() {
    let mut world = World::with(RecoveryOptions::default(), Some(Box::new(MaxAttempts::new(3))), 4);
    world.user_connects();
    let mut decisions = world.closes(dial_failed());
    let mut attempts = 0;
    while !matches!(decisions[..], [Decision::Stop { .. }]) {
        world.until_connect();
        attempts += 1;
        world.dials();
        decisions = world.closes(dial_failed());
    }
    assert_eq!(attempts, 3);
    assert!(matches!(
        decisions[..],
        [Decision::Stop { reason: StopReason::AttemptsExhausted, attempts: 3, .. }]
    ));
}

/// A local event, and what it does to a world.
type Event = (&'static str, fn(&mut World));

/// §4: every local cause counts the attempts anew, whether the limit has stopped already or not.
#[test]
fn rule_4_a_local_cause_arms_the_limit_of_attempts_again() {
    let limited = || {
        let mut world = World::with(RecoveryOptions::default(), Some(Box::new(MaxAttempts::new(2))), 5);
        world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
        world.user_connects();
        world.closes(dial_failed());
        world
    };
    let runs_out = |world: &mut World| {
        let mut attempts = 0;
        while !matches!(world.core.status(), RecoveryStatus::Stopped { .. }) {
            world.until_connect();
            attempts += 1;
            world.dials();
            world.closes(dial_failed());
        }
        attempts
    };
    let causes: [Event; 5] = [
        ("the path moved", |world| drop(world.network(online("10.0.9.9", &["10.0.9.9"])))),
        ("the network came up", |world| {
            world.network(offline());
            world.network(online(HOME, &[HOME]));
        }),
        ("the machine woke up", |world| drop(world.network(woke_up(10)))),
        ("the foreground", |world| {
            world.tell(Input::Lifecycle(Lifecycle::Background));
            world.tell(Input::Lifecycle(Lifecycle::Foreground));
        }),
        ("the user asked", |world| {
            world.tell(Input::RetryNow);
            world.dials();
            world.closes(dial_failed());
        }),
    ];
    for (name, happens) in causes {
        let mut world = limited();
        assert_eq!(runs_out(&mut world), 2);
        happens(&mut world);
        let asked = u32::from(name == "the user asked");
        assert_eq!(asked + runs_out(&mut world), 2, "after a stop: {name}");

        let mut world = limited();
        world.until_connect();
        world.dials();
        world.closes(dial_failed());
        happens(&mut world);
        assert_eq!(asked + runs_out(&mut world), 2, "after one of two: {name}");
    }
}

/// §4: a budget that many clients of a process share paces them all, and gives none of them up.
#[test]
fn rule_4_a_budget_for_the_process_paces_all_its_clients() {
    let budget = crate::RetryBudget::new(2, S(1));
    let mut worlds: Vec<_> = (0..20)
        .map(|seed| {
            let mut world = World::with(RecoveryOptions::default(), Some(Box::new(budget.clone())), seed);
            world.user_connects();
            world.opens();
            world
        })
        .collect();
    let start = worlds[0].now;
    for world in &mut worlds {
        (world.now, world.start) = (start, start);
        world.closes(lost());
        world.take();
    }
    let mut dialled = Vec::new();
    for tick in 0..600_u32 {
        let now = start + MS(50) * tick;
        for world in &mut worlds {
            world.now = now;
            while world.core.poll_timeout().is_some_and(|at| at <= now) {
                let decisions = world.tell(Input::Timeout);
                dialled
                    .extend(decisions.iter().filter(|d| matches!(d, Decision::Connect { .. })).map(|_| now));
            }
        }
    }
    assert_eq!(dialled.len(), 20, "everyone gets a turn, once");
    for three in dialled.windows(4) {
        assert!(three[3] - three[0] >= S(1), "four within a second of a budget of 2 and one a second");
    }
}

#[test]
fn rule_4_a_server_that_said_when_is_not_asked_sooner_except_by_the_user() {
    let mut world = World::connected();
    let told = delay_of(&world.closes(closed(1013)));
    assert!(told >= S(30));
    world.network(offline());
    let decisions = world.network(online(HOME, &[HOME]));
    assert_eq!(delay_of(&decisions), S(30));
    assert!(connects(&world.tell(Input::RetryNow), Cause::UserAsked));
}

#[test]
fn rule_4_a_retry_after_is_kept_whatever_the_network_says() {
    let mut world = World::connected();
    world.closes(lost());
    world.until_connect();
    world.dials();
    let mut headers = http::HeaderMap::new();
    headers.insert("retry-after", http::HeaderValue::from_static("60"));
    let refusal = Refusal::new(http::StatusCode::SERVICE_UNAVAILABLE, headers, bytes::Bytes::new());
    let reason = ServerReason::engine_error(EngineError::refused(refusal));
    let told = delay_of(&world.closes(reason.into()));
    assert!(told >= S(60));
    world.network(offline());
    assert_eq!(delay_of(&world.network(online(HOME, &[HOME]))), S(60));
}

#[test]
fn rule_4_a_connection_is_stable_by_itself_after_ten_seconds() {
    let mut world = World::new();
    world.user_connects();
    world.opens();
    assert_eq!(world.core.poll_timeout(), Some(world.now + S(10)));
    world.passes(S(10));
    assert_eq!(world.core.poll_timeout(), None);
}

#[test]
fn the_status_names_the_attempt_that_is_due() {
    let mut world = World::waiting();
    for attempt in 1..=3 {
        let status = world.core.status();
        assert!(
            matches!(status, RecoveryStatus::Waiting { attempt: due, .. } if due == attempt),
            "{status:?}"
        );
        world.until_connect();
        let status = world.core.status();
        assert!(
            matches!(status, RecoveryStatus::Connecting { attempt: made } if made == attempt),
            "{status:?}"
        );
        world.dials();
        world.closes(dial_failed());
    }
}

#[test]
fn rule_4_accept_then_close_gets_at_most_four_connections_in_ten_seconds() {
    for seed in 0..200 {
        let mut world = World::with(RecoveryOptions::default(), None, seed);
        world.user_connects();
        let mut accepted = vec![world.now];
        while world.now < world.start + S(60) {
            world.opens();
            world.closes(lost());
            world.until_connect();
            world.dials();
            accepted.push(world.now);
        }
        for five in accepted.windows(5) {
            assert!(five[4] - five[0] >= S(10), "seed {seed}: five within {:?}", five[4] - five[0]);
        }
    }
}

#[test]
fn rule_4_same_seed_same_decisions() {
    let story = |seed| {
        let mut world = World::with(RecoveryOptions::default(), None, seed);
        world.user_connects();
        for _ in 0..12 {
            world.closes(dial_failed());
            world.until_connect();
            world.dials();
        }
        world.log
    };
    assert_eq!(story(5), story(5));
    assert_ne!(story(5), story(6));
}

// --- §5: network, sleep, lifecycle ----------------------------------------------------------------------

#[test]
fn rule_5_the_connections_own_address_is_gone_so_it_reconnects_at_once() {
    let mut world = World::connected();
    let decisions = world.network(online("10.0.9.9", &["10.0.9.9"]));
    assert_eq!(decisions, [Decision::Disconnect { generation: 1, cause: Cause::PathChanged }]);
    assert_eq!(world.network(online("10.0.9.9", &["10.0.9.9"])), [], "asked once");
    assert!(connects(&world.closes(DisconnectionSource::SystemInitiated), Cause::PathChanged));
    assert_eq!(world.notices, [Notice::ViabilityChanged(false)]);
    world.dials();
    world.opens();
    assert_eq!(world.notices, [Notice::ViabilityChanged(false), Notice::ViabilityChanged(true)]);
}

#[test]
fn rule_5_a_better_path_leaves_a_living_connection_alone_and_says_so() {
    let mut world = World::connected();
    world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
    let decisions = world.network(online("10.0.9.9", &[HOME, "10.0.9.9"]));
    assert_eq!(decisions, [Decision::Probe { deadline: S(3), cause: Cause::PathChanged }]);
    assert_eq!(world.notices, [Notice::ReconnectSuggested(true)]);
    world.passes(S(3));
    world.network(online(HOME, &[HOME]));
    assert_eq!(world.notices, [Notice::ReconnectSuggested(true), Notice::ReconnectSuggested(false)]);
}

#[test]
fn rule_5_same_path_is_probed_and_nothing_dials_sooner_for_a_noise() {
    let mut world = World::connected();
    world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
    let noise = online(HOME, &[HOME, "172.17.0.1"]);
    assert!(matches!(world.network(noise.clone())[..], [Decision::Probe { .. }]));

    let mut world = World::waiting();
    world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
    let due = world.core.poll_timeout();
    assert_eq!(world.network(noise), []);
    assert_eq!(world.core.poll_timeout(), due);
}

#[test]
fn rule_5_what_the_monitor_says_at_its_start_disturbs_nobody() {
    let mut world = World::connected();
    assert_eq!(world.network(NetworkStatus::unknown()), []);
    assert_eq!(world.network(online(HOME, &[HOME]).with_hint(Hint::Started)), []);
}

#[test]
fn rule_5_offline_probes_the_connection_and_slows_the_retry_to_a_poll() {
    let mut world = World::connected();
    let probe = Decision::Probe { deadline: S(3), cause: Cause::PathChanged };
    assert_eq!(world.network(offline()), [probe], "a path that went explains the silence that may follow");
    assert_eq!(world.notices, [Notice::ViabilityChanged(false)]);
    world.passes(S(3));
    assert!(connects(&world.closes(DisconnectionSource::NoPongReceived), Cause::PathChanged));
    for _ in 0..5 {
        world.dials();
        world.closes(dial_failed());
        assert_eq!(world.until_connect(), S(30), "a hint, never a lock");
    }
}

#[test]
fn rule_5_unknown_network_does_not_block_a_retry() {
    let mut world = World::new();
    world.network(NetworkStatus::unknown());
    world.user_connects();
    assert!(delay_of(&world.closes(dial_failed())) <= S(2));
    assert!(world.until_connect() <= S(2));
}

#[test]
fn rule_5_woke_up_after_long_reconnects_and_after_short_probes() {
    let mut world = World::connected();
    assert_eq!(world.network(woke_up(61)), [Decision::Disconnect { generation: 1, cause: Cause::WokeUp }]);
    assert_eq!(world.network(woke_up(10)), [], "nobody probes what is given up");
    assert!(connects(&world.closes(DisconnectionSource::SystemInitiated), Cause::WokeUp));

    let mut world = World::connected();
    assert_eq!(world.network(woke_up(60)), [Decision::Probe { deadline: S(3), cause: Cause::WokeUp }]);
    assert!(connects(&world.closes(DisconnectionSource::NoPongReceived), Cause::WokeUp));

    let mut world = World::waiting();
    world.network(woke_up(10));
    assert!(connects(&world.passes(MS(250)), Cause::WokeUp));
}

/// §5: a process that was stopped and continued must not condemn a healthy connection before it has read what
/// arrived, however long it was stopped: the system kept the connection.
#[test]
fn rule_5_a_process_that_was_stopped_for_long_and_continued_only_probes() {
    let continued = || NetworkStatus::online().with_hint(Hint::Continued { stopped: S(3_600) });
    let mut world = World::connected();
    assert_eq!(world.network(continued()), [Decision::Probe { deadline: S(3), cause: Cause::WokeUp }]);
    assert_eq!(world.passes(S(60)), [], "a peer that answers is kept");

    let mut world = World::connected();
    world.network(continued());
    assert!(connects(&world.closes(DisconnectionSource::NoPongReceived), Cause::WokeUp));

    let mut world = World::waiting();
    world.network(continued());
    assert!(connects(&world.passes(MS(250)), Cause::WokeUp), "what was due meanwhile is due now");
}

#[test]
fn rule_5_a_stepped_clock_only_probes() {
    let stepped = || NetworkStatus::online().with_hint(Hint::ClockStepped);
    let mut world = World::connected();
    assert_eq!(world.network(stepped()), [Decision::Probe { deadline: S(3), cause: Cause::Doubt }]);
    let ends = world.closes(DisconnectionSource::NoPongReceived);
    assert!(
        matches!(ends[..], [Decision::ConnectAfter { cause: Cause::NoPongReceived, .. }]),
        "a clock explains no silence: {ends:?}"
    );
    let mut world = World::waiting();
    assert_eq!(world.network(stepped()), []);
}

#[test]
fn rule_5_background_disconnects_after_a_grace_and_foreground_connects_once() {
    let mut world = World::connected();
    assert_eq!(world.tell(Input::Lifecycle(Lifecycle::Background)), []);
    assert_eq!(world.passes(MS(9_999)), []);
    assert_eq!(world.passes(MS(1)), [Decision::Disconnect { generation: 1, cause: Cause::Background }]);
    let hold = world.closes(DisconnectionSource::SystemInitiated);
    assert_eq!(hold, [Decision::Hold { cause: Cause::Background }]);
    assert_eq!(world.passes(S(86_400)), []);
    world.tell(Input::Lifecycle(Lifecycle::Foreground));
    assert!(connects(&world.passes(MS(250)), Cause::Foreground));
}

#[test]
fn rule_5_foreground_within_the_grace_keeps_the_connection_and_probes_it() {
    let mut world = World::connected();
    world.tell(Input::Lifecycle(Lifecycle::Background));
    world.passes(S(5));
    let decisions = world.tell(Input::Lifecycle(Lifecycle::Foreground));
    assert_eq!(decisions, [Decision::Probe { deadline: S(3), cause: Cause::Foreground }]);
    assert_eq!(world.passes(S(60)), []);
}

#[test]
fn rule_5_keep_alive_in_background_keeps_everything_going() {
    let options = RecoveryOptions::default().keep_alive_in_background(true);
    let mut world = World::with(options, None, 1);
    world.user_connects();
    world.opens();
    world.tell(Input::Lifecycle(Lifecycle::Background));
    assert_eq!(world.passes(S(60)), []);
    world.closes(lost());
    assert!(world.until_connect() <= S(2));
}

#[test]
fn rule_5_a_path_that_changes_while_dialling_leaves_a_doubt_and_a_fast_retry() {
    let mut world = World::new();
    world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
    world.user_connects();
    assert_eq!(world.network(online("10.0.9.9", &["10.0.9.9"])), []);
    assert!(connects(&world.closes(dial_failed()), Cause::PathChanged));

    let mut world = World::new();
    world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
    world.user_connects();
    world.network(online("10.0.9.9", &["10.0.9.9"]));
    assert!(matches!(world.opens()[..], [Decision::Probe { .. }]));
}

/// §4, §5: an attempt that was begun before the local event may hang until its deadline; however long that takes,
/// the event explains its failure, and the ladder starts again.
#[test]
fn rule_4_an_attempt_begun_before_the_network_came_up_is_no_fault_of_the_server_however_long_it_hung() {
    let hung = |after| DisconnectionSource::ConnectTimeout { stage: after };
    for stage in [AttemptStage::Engine(Stage::Connect), AttemptStage::Authentication] {
        for (cause, news) in [(Cause::NetworkUp, online(HOME, &[HOME])), (Cause::WokeUp, woke_up(10))] {
            let mut world = World::new();
            if cause == Cause::NetworkUp {
                world.network(offline());
            }
            world.user_connects();
            world.passes(S(1));
            assert_eq!(world.network(news), [], "the attempt under way is left to its deadlines");
            if stage == AttemptStage::Authentication {
                world.state(ConnectionState::Authenticating);
            }
            world.passes(S(14));
            assert!(connects(&world.closes(hung(stage)), cause), "{cause} at {stage}");
        }
    }
}

/// §5: what was suggested for a connection is withdrawn with it.
#[test]
fn rule_5_a_suggestion_ends_with_its_connection() {
    let mut world = World::connected();
    world.network(online(HOME, &[HOME]).with_hint(Hint::Started));
    world.network(online("10.0.9.9", &[HOME, "10.0.9.9"]));
    assert_eq!(world.notices, [Notice::ReconnectSuggested(true)]);
    world.closes(lost());
    world.dials();
    assert_eq!(world.notices, [Notice::ReconnectSuggested(true), Notice::ReconnectSuggested(false)]);
}

#[test]
fn rule_5_a_repeated_background_does_not_begin_the_grace_again() {
    let mut world = World::connected();
    world.tell(Input::Lifecycle(Lifecycle::Background));
    world.passes(S(6));
    world.tell(Input::Lifecycle(Lifecycle::Background));
    assert_eq!(world.passes(S(4)), [Decision::Disconnect { generation: 1, cause: Cause::Background }]);
}

#[test]
fn rule_5_foreground_while_the_background_still_closes_connects_at_once() {
    let mut world = World::connected();
    world.tell(Input::Lifecycle(Lifecycle::Background));
    world.passes(S(10));
    world.state(ConnectionState::Disconnecting(DisconnectionSource::SystemInitiated));
    assert_eq!(world.tell(Input::Lifecycle(Lifecycle::Foreground)), []);
    assert!(connects(&world.closes(DisconnectionSource::SystemInitiated), Cause::Foreground));
}

#[test]
fn rule_4_a_path_change_long_ago_explains_no_death() {
    let mut world = World::connected();
    world.network(online("10.0.9.9", &["10.0.9.9", HOME]));
    world.passes(MS(6_001));
    assert!(matches!(
        world.closes(DisconnectionSource::NoPongReceived)[..],
        [Decision::ConnectAfter { cause: Cause::NoPongReceived, .. }]
    ));
}

#[test]
fn an_early_timeout_changes_nothing() {
    let mut world = World::waiting();
    let (due, status) = (world.core.poll_timeout(), world.core.status());
    assert_eq!(world.tell(Input::Timeout), []);
    assert_eq!((world.core.poll_timeout(), world.core.status()), (due, status));
}

#[test]
fn a_table_of_the_users_own_that_always_renews_does_not_hammer() {
    let (options, policy) = (RecoveryOptions::default(), Box::new(crate::UserWants::new()));
    let always = |_: &Evidence<'_>| Verdict::RenewCredentials;
    let mut world = World::new();
    world.core =
        RecoveryCore::with(options, Box::new(always), Box::new(Exponential::full()), policy, Rng::seeded(1));
    world.user_connects();
    assert!(connects(&world.closes(refused()), Cause::CredentialsRefused));
    world.dials();
    assert!(delay_of(&world.closes(refused())) >= MS(100), "the second climbs the ladder");
}

#[test]
fn a_policy_that_says_soon_shortens_no_delay_and_does_not_spin() {
    struct Soon;

    impl ReconnectionPolicy for Soon {
        fn rule(&self, _: &Situation<'_>) -> Ruling {
            Ruling::Wait(Some(MS(1)))
        }
    }

    let mut world = World::with(RecoveryOptions::default(), Some(Box::new(Soon)), 1);
    world.user_connects();
    world.opens();
    assert!(delay_of(&world.closes(closed(1013))) >= S(30));
    let again = world.passes(S(61));
    assert!(matches!(again[0], Decision::ConnectAfter { delay, .. } if delay == MS(100)));
}

#[test]
fn retry_now_after_refused_credentials_asks_the_provider_again() {
    let mut world = World::connected();
    world.closes(refused());
    world.dials();
    assert!(matches!(world.closes(refused())[..], [Decision::Stop { .. }]));
    assert!(connects(&world.tell(Input::RetryNow), Cause::UserAsked));
    world.dials();
    assert!(connects(&world.closes(refused()), Cause::CredentialsRefused));
}

#[test]
fn retry_now_is_heard_after_every_stop_but_the_users_own() {
    let mut world = World::connected();
    world.closes(closed(1009));
    assert!(connects(&world.tell(Input::RetryNow), Cause::UserAsked));

    let mut world = World::connected();
    assert_eq!(world.tell(Input::RetryNow), [], "it is connected");
    world.user_disconnects();
    assert_eq!(world.tell(Input::RetryNow), []);
}

#[test]
fn a_client_that_is_gone_is_a_stop() {
    let mut world = World::waiting();
    assert!(matches!(
        world.tell(Input::ClientGone)[..],
        [Decision::Stop { reason: StopReason::ClientGone, .. }]
    ));
    assert_eq!(world.core.poll_timeout(), None);
}
