//! Everything that can happen in the world at a moment: by the user, the server, the network, the host, by the
//! tasks that look at what is on its way to them, and by time.

use everwire_client::{AuthenticationErrorKind, model::Fact};

use super::{
    super::*,
    replacing::{self, Outcome, Successor},
    world::{Wish, World},
};

/// One thing that happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Move {
    UserConnects,
    UserDisconnects,
    UserRetries,
    UserSends,
    UserReplaces,

    Opens,
    Fails(Failure),
    /// `on_connection_established` is done, or failed.
    Established(bool),
    SaysHealthCheck,
    SaysError(i64),
    /// All that had arrived is read.
    IsRead,
    /// What was queued has left.
    IsFlushed,
    /// The peer closes, with a code or without.
    Closes(Option<u16>),
    Breaks,
    /// The server announces that it will end the connection.
    Leaves,
    Successor(Successor),

    Network(News),
    Background,
    Foreground,

    /// Recovery looks at the client's snapshot.
    RecoveryLooks,
    /// The client looks at recovery's oldest wish.
    ClientLooks,
    /// Time passes until the client's earliest deadline.
    ClientTimer,
    /// Time passes until recovery's earliest deadline.
    RecoveryTimer,
}

/// Why a dial fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    Unreachable,
    Slow,
    Certificate,
    Status(u16),
    NoCredentials,
    SameCredentials,
}

/// What the monitor says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum News {
    Unknown,
    Offline,
    Home,
    MovedHomeStays,
    MovedHomeGone,
    ShortSleep,
    LongSleep,
    Stopped,
    ClockSet,
}

const FAILURES: [Failure; 9] = [
    Failure::Unreachable,
    Failure::Slow,
    Failure::Certificate,
    Failure::Status(401),
    Failure::Status(404),
    Failure::Status(429),
    Failure::Status(503),
    Failure::NoCredentials,
    Failure::SameCredentials,
];

/// One code of each class of the table, and the end without a close frame.
const CODES: [Option<u16>; 7] =
    [None, Some(1000), Some(1001), Some(1002), Some(1008), Some(1012), Some(1013)];

const NEWS: [News; 9] = [
    News::Unknown,
    News::Offline,
    News::Home,
    News::MovedHomeStays,
    News::MovedHomeGone,
    News::ShortSleep,
    News::LongSleep,
    News::Stopped,
    News::ClockSet,
];

const AWAY: &str = "10.0.9.9";

/// What can happen now.
pub(super) fn all(world: &World, moves: &mut Vec<Move>) {
    use ConnectionState as S;

    // Where a connection can be replaced, one of each class is enough for what is not about that.
    let replaces = world.stored.can_replace;
    let failures = if replaces { &replacing::FAILURES[..] } else { &FAILURES[..] };
    let codes = if replaces { &replacing::CODES[..] } else { &CODES[..] };
    let news = if replaces { &replacing::NEWS[..] } else { &NEWS[..] };

    moves.extend([Move::UserConnects, Move::UserDisconnects]);
    if replaces {
        replacing::moves(world, moves);
    }
    if world.dialling {
        moves.push(Move::Opens);
        moves.extend(failures.iter().copied().map(Move::Fails));
    }
    if world.socket {
        moves.extend(codes.iter().copied().map(Move::Closes));
        moves.extend([Move::Breaks, Move::SaysHealthCheck]);
        if !world.message && world.state().is_connected() {
            moves.push(Move::UserSends);
        }
        match world.state() {
            S::Authenticating => {
                moves.extend([Move::SaysError(40), Move::SaysError(4), Move::Established(false)]);
                if !world.needs_health_check {
                    moves.push(Move::Established(true));
                }
            }
            S::Connected(_) => moves.extend([Move::SaysError(40), Move::SaysError(9)]),
            _ => {}
        }
        if world.client.awaits_drain() {
            moves.push(Move::IsRead);
        }
        if world.flushing {
            moves.push(Move::IsFlushed);
        }
    }
    tasks(world, moves);
    if world.unseen {
        // Recovery's task looks at the client first, whatever else there is.
        return;
    }
    moves.push(Move::UserRetries);
    moves.extend(news.iter().copied().map(Move::Network));
    moves.push(if world.is_background() { Move::Foreground } else { Move::Background });
}

/// What the tasks do of themselves. Time passes when they have nothing else to do.
pub(super) fn tasks(world: &World, moves: &mut Vec<Move>) {
    if world.unseen {
        moves.push(Move::RecoveryLooks);
    }
    if !world.wishes.is_empty() {
        moves.push(Move::ClientLooks);
    }
    if world.unseen || !world.wishes.is_empty() {
        return;
    }
    let (client, recovery) = (world.client_timer(), world.recovery_timer());
    if client.is_some_and(|at| recovery.is_none_or(|other| at <= other)) {
        moves.push(Move::ClientTimer);
    }
    if recovery.is_some_and(|at| client.is_none_or(|other| at <= other)) {
        moves.push(Move::RecoveryTimer);
    }
}

pub(super) fn take(world: &mut World, what: Move) {
    world.beside.seen = Outcome::None;
    match what {
        Move::UserConnects => {
            world.wants = true;
            world.tell(Fact::Connect);
            // As the driver does: behind a close it is the next attempt that is waited for.
            world.connects = match world.state() {
                ConnectionState::Connected(_) => None,
                ConnectionState::Disconnecting(_) => Some(world.stored.generation + 1),
                _ => Some(world.stored.generation),
            };
        }
        Move::UserDisconnects => {
            world.wants = false;
            world.disconnects = true;
            world.tell(Fact::Disconnect);
        }
        Move::UserRetries => world.advise(Input::RetryNow),
        Move::UserSends => world.message = true,
        Move::UserReplaces => world.wish(Wish::Replace),

        Move::Opens => {
            (world.dialling, world.socket) = (false, true);
            let fact = opens(world);
            world.tell(fact);
        }
        Move::Fails(failure) => {
            world.dialling = false;
            world.tell(fails(failure));
        }
        Move::Leaves => world.tell(Fact::GoingAway(S(20))),
        Move::Successor(what) => replacing::take(world, what),
        Move::Established(true) => world.tell(Fact::Established),
        Move::Established(false) => {
            let error = AuthenticationError::new(AuthenticationErrorKind::Failed);
            world.tell(Fact::AuthenticationFailed(error));
        }
        Move::SaysHealthCheck => world.tell(Fact::HealthCheck),
        Move::SaysError(code) => {
            let error = ApiError::new(code, "").with_status(if code == 9 { 429 } else { 400 });
            world.tell(Fact::ErrorAnnounced(error));
        }
        Move::IsRead => world.tell(Fact::Drained),
        Move::IsFlushed => {
            world.message = false;
            world.tell(Fact::Flushed);
        }
        Move::Closes(code) => world.tell(Fact::Ended(code.map(CloseCode::received), None)),
        Move::Breaks => {
            let error = EngineError::new(EngineErrorKind::Connect, Stage::Open);
            world.tell(Fact::Ended(None, Some(error)));
        }

        Move::Network(news) => world.advise(Input::Network(status(news))),
        Move::Background => world.advise(Input::Lifecycle(Lifecycle::Background)),
        Move::Foreground => world.advise(Input::Lifecycle(Lifecycle::Foreground)),

        Move::RecoveryLooks => {
            world.unseen = false;
            let snapshot = world.stored.clone();
            world.advise(Input::Snapshot { snapshot, wall: WALL });
        }
        Move::ClientLooks => world.grant(),
        Move::ClientTimer => world.fire_client(),
        Move::RecoveryTimer => world.fire_recovery(),
    }
}

/// By the path of the moment.
pub(super) fn opens(world: &World) -> Fact {
    let path = world.recovery().network.local_addr.unwrap_or_else(|| HOME.parse().unwrap());
    Fact::Opened(Some(SocketAddr::new(path, 4242)))
}

pub(super) fn fails(failure: Failure) -> Fact {
    let failed = |kind| Fact::AuthenticationFailed(AuthenticationError::new(kind));
    Fact::OpenFailed(match failure {
        Failure::Unreachable => EngineError::new(EngineErrorKind::Connect, Stage::Connect),
        Failure::Slow => EngineError::timeout(Stage::Tls, S(5)),
        Failure::Certificate => {
            let problem = everwire_client::CertificateProblem::Expired;
            EngineError::new(EngineErrorKind::Certificate(problem), Stage::Tls)
        }
        Failure::Status(code) => {
            let mut headers = http::HeaderMap::new();
            if code == 429 {
                headers.insert("retry-after", http::HeaderValue::from_static("7"));
            }
            let status = http::StatusCode::from_u16(code).unwrap();
            EngineError::refused(Refusal::new(status, headers, bytes::Bytes::new()))
        }
        Failure::NoCredentials => return failed(AuthenticationErrorKind::Failed),
        Failure::SameCredentials => return failed(AuthenticationErrorKind::RefusedTwice),
    })
}

fn status(news: News) -> NetworkStatus {
    match news {
        News::Unknown => NetworkStatus::unknown().with_hint(Hint::NetworkChanged),
        News::Offline => offline(),
        News::Home => online(HOME, &[HOME]),
        News::MovedHomeStays => online(AWAY, &[AWAY, HOME]),
        News::MovedHomeGone => online(AWAY, &[AWAY]),
        News::ShortSleep => woke_up(10),
        News::LongSleep => woke_up(1_000),
        News::Stopped => NetworkStatus::online().with_hint(Hint::Continued { stopped: S(1_000) }),
        News::ClockSet => NetworkStatus::online().with_hint(Hint::ClockStepped),
    }
}
