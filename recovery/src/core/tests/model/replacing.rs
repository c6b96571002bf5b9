//! Make before break (§2a): the successor of a connection, what can happen to it, and what must hold of both.

use everwire_client::{
    AuthenticationErrorKind, Replacement,
    model::{Effect, Fact},
};
use stateright::Property;

use super::{
    super::*,
    Model,
    bugs::Bug,
    moves::{self, Failure, Move, News},
    rules::STEPS,
    world::{Fault, World},
};

/// The second of two connections, as the client's driver holds it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    dialling: bool,
    socket: bool,
    /// The generation that began beside the connection and has not ended, nor taken its place.
    generation: Option<u64>,
    /// The largest generation that ever began.
    newest: u64,
    /// The socket of a connection that was replaced lives on. Never, but by a bug.
    left_behind: bool,
    /// What the last move of all did.
    pub(super) seen: Outcome,
}

/// For the rules that say what is to be seen sometimes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) enum Outcome {
    #[default]
    None,
    Replaced,
    Promoted,
}

impl Beside {
    pub(super) const fn is_live(&self) -> bool {
        self.dialling || self.socket
    }

    /// The connection of this generation is announced in the place of another: once, and after its hand-over.
    pub(super) fn switches_to(&mut self, generation: u64) -> bool {
        self.generation.take() == Some(generation)
    }

    /// Nothing depends on how large the numbers are.
    pub(super) const fn summary(&self) -> (bool, bool, bool, bool, Outcome) {
        (self.dialling, self.socket, self.generation.is_some(), self.left_behind, self.seen)
    }
}

/// What happens to the successor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Successor {
    Opens,
    Fails(Failure),
    Established(bool),
    SaysHealthCheck,
    SaysError(i64),
    IsRead,
    Closes(Option<u16>),
}

/// Of what is not about a replacement itself, one of each class.
pub(super) const FAILURES: [Failure; 4] =
    [Failure::Unreachable, Failure::Status(401), Failure::Status(404), Failure::NoCredentials];
pub(super) const CODES: [Option<u16>; 3] = [None, Some(1000), Some(1012)];
pub(super) const NEWS: [News; 5] =
    [News::Offline, News::Home, News::MovedHomeStays, News::MovedHomeGone, News::LongSleep];

/// A client that has been connected for long, and can replace its connection.
pub(super) fn connected(needs_health_check: bool, luck: u64, bug: Option<Bug>) -> World {
    let mut world = World::new(needs_health_check, luck, bug).replaceable();
    let established = if needs_health_check { Move::SaysHealthCheck } else { Move::Established(true) };
    for what in [Move::UserConnects, Move::Opens, established, Move::RecoveryLooks, Move::RecoveryTimer] {
        moves::take(&mut world, what);
    }
    world
}

/// The same, with a successor that is ready at its next word.
pub(super) fn under_way(luck: u64, bug: Option<Bug>) -> World {
    let mut world = connected(true, luck, bug);
    for what in [
        Move::Leaves,
        Move::RecoveryLooks,
        Move::RecoveryTimer,
        Move::ClientLooks,
        Move::RecoveryLooks,
        Move::Successor(Successor::Opens),
    ] {
        moves::take(&mut world, what);
    }
    assert!(world.client.successor_is_made(), "{world:?}");
    world
}

/// What can happen now because a connection can be replaced.
pub(super) fn moves(world: &World, moves: &mut Vec<Move>) {
    use Successor as S;

    if world.socket && world.state().is_connected() {
        if world.stored.going_away.is_none() {
            moves.push(Move::Leaves);
        }
        moves.push(Move::UserReplaces);
    }
    if world.beside.dialling {
        moves.push(Move::Successor(S::Opens));
        moves.extend(FAILURES.map(|failure| Move::Successor(S::Fails(failure))));
    }
    // Once it is ready it is read no more.
    if world.beside.socket && world.client.successor_is_made() {
        let says = [
            S::SaysHealthCheck,
            S::SaysError(40),
            S::SaysError(9),
            S::Established(false),
            S::Closes(None),
            S::Closes(Some(1013)),
        ];
        moves.extend(says.map(Move::Successor));
        if !world.needs_health_check {
            moves.push(Move::Successor(S::Established(true)));
        }
        if world.client.successor_awaits_drain() {
            moves.push(Move::Successor(S::IsRead));
        }
    }
}

pub(super) fn take(world: &mut World, what: Successor) {
    let fact = match what {
        Successor::Opens => {
            (world.beside.dialling, world.beside.socket) = (false, true);
            moves::opens(world)
        }
        Successor::Fails(failure) => {
            world.beside.dialling = false;
            moves::fails(failure)
        }
        Successor::Established(true) => Fact::Established,
        Successor::Established(false) => {
            Fact::AuthenticationFailed(AuthenticationError::new(AuthenticationErrorKind::Failed))
        }
        Successor::SaysHealthCheck => Fact::HealthCheck,
        Successor::SaysError(code) => {
            Fact::ErrorAnnounced(ApiError::new(code, "").with_status(if code == 9 { 429 } else { 400 }))
        }
        Successor::IsRead => Fact::Drained,
        Successor::Closes(code) => Fact::Ended(code.map(CloseCode::received), None),
    };
    world.tell_newest(fact);
}

/// A successor that was given up says that all is well, and nobody hears it.
pub(super) fn speaks_late(world: &mut World) {
    if world.beside.newest > world.stored.generation {
        world.tell_newest(Fact::Opened(None));
        world.tell_newest(Fact::Established);
        world.tell_newest(Fact::HealthCheck);
    }
}

/// What a server that answers does for a hand-over.
pub(super) fn helpful(world: &World) -> Move {
    if world.beside.dialling {
        Move::Successor(Successor::Opens)
    } else if world.client.successor_awaits_drain() {
        Move::Successor(Successor::IsRead)
    } else if world.client.successor_is_made() && world.needs_health_check {
        Move::Successor(Successor::SaysHealthCheck)
    } else if world.client.successor_is_made() {
        Move::Successor(Successor::Established(true))
    } else if world.flushing {
        Move::IsFlushed
    } else {
        Move::Closes(Some(4002))
    }
}

impl World {
    fn tell_newest(&mut self, fact: Fact) {
        self.client.handle_newest(self.now, fact);
        self.drain_client();
    }

    /// What the client answers about a successor, done.
    pub(super) fn carry_out_beside(&mut self, effect: Effect) {
        match effect {
            Effect::OpenSuccessor { generation } => {
                if !self.wants {
                    self.fault.get_or_insert(Fault::User);
                }
                if self.beside.is_live() || !self.socket || !self.state().is_connected() {
                    self.fault.get_or_insert(Fault::Second);
                }
                let began = self.beside.newest.max(self.stored.generation);
                if generation <= began || self.beside.generation.replace(generation).is_some() {
                    self.fault.get_or_insert(Fault::Way);
                }
                (self.beside.newest, self.beside.dialling) = (generation, true);
            }
            Effect::EstablishSuccessor => {}
            Effect::DropSuccessor => {
                if !self.has(Bug::SuccessorOutlivesItsEnd) {
                    (self.beside.dialling, self.beside.socket) = (false, false);
                }
            }
            Effect::ReplacementFailed { generation } => {
                if self.beside.generation.take() != Some(generation) {
                    self.fault.get_or_insert(Fault::Way);
                }
                if self.has(Bug::FailedSuccessorEndsTheConnection) {
                    self.client.handle(self.now, Fact::Ended(None, None), 0);
                }
            }
            Effect::HoldQueue => self.flushing = true,
            Effect::ResumeQueue => self.flushing = false,
            Effect::CloseReplaced => {
                self.flushing = false;
                self.ping.connection_state_changed(self.now, false);
            }
            Effect::Switched { old, new } => {
                if self.stored.generation != old || self.beside.generation != Some(new) {
                    self.fault.get_or_insert(Fault::Way);
                }
                self.ping.connection_state_changed(self.now, false);
                self.beside.left_behind |= self.has(Bug::ReplacedSocketStays);
                self.beside.seen = Outcome::Replaced;
                self.take_over();
                // What the old one was given is MaybeSent, what was held is sent on the new one.
                (self.flushing, self.message) = (false, false);
            }
            Effect::Promoted => {
                // The old one's end was told, and the new one's attempt is announced next.
                if self.beside.generation.take().is_none() || self.attempt {
                    self.fault.get_or_insert(Fault::Way);
                }
                self.beside.seen = Outcome::Promoted;
                self.take_over();
            }
            other => unreachable!("{other:?} is about the connection"),
        }
    }

    fn take_over(&mut self) {
        (self.dialling, self.socket) = (self.beside.dialling, self.beside.socket);
        if self.has(Bug::SuccessorDiesWithTheConnection) && self.beside.seen == Outcome::Promoted {
            (self.dialling, self.socket) = (false, false);
        }
        (self.beside.dialling, self.beside.socket) = (false, false);
    }
}

const REPLACED: &str = "a connection is replaced";
const PROMOTED: &str = "the successor of a connection that died is the attempt under way";
const BETTER_PATH: &str = "a better path asks for a replacement";

/// Whether what is to be seen sometimes can be seen only where connections are replaced.
pub(super) fn is_of_replacing(rule: &str) -> bool {
    [REPLACED, PROMOTED, BETTER_PATH].contains(&rule)
}

pub(super) fn rules() -> Vec<Property<Model>> {
    vec![
        Property::always(
            "§2a: a second live socket only for a hand-over, and none is left behind",
            |_, world: &World| {
                let under_way = matches!(world.stored.replacement, Replacement::UnderWay { .. });
                let live = world.beside.is_live();
                let both = !(world.beside.dialling && world.beside.socket);
                live == under_way
                    && live == world.beside.generation.is_some()
                    && both
                    && !world.beside.left_behind
            },
        ),
        Property::always("§2a: a successor that fails leaves the connection alone", |_, world: &World| {
            leaves_the_connection_alone(world)
        }),
        Property::always(
            "§2a: late events of a successor that failed change nothing",
            |_, world: &World| late_events_of_a_successor(world),
        ),
        Property::always("§2a: a hand-over comes to an end by itself", |_, world: &World| ends(world)),
        Property::always(
            "§2a: a replacement that was asked for is under way, or on its way",
            |_, world: &World| {
                let on_its_way = world.unseen || world.wishes.contains(&super::world::Wish::Replace);
                let asked = world.recovery().replacing.is_asked() && world.state().is_connected();
                !asked || on_its_way || world.beside.is_live()
            },
        ),
        Property::always("§2a: what became of a successor is judged once", |_, world: &World| {
            if world.unseen || !world.state().is_connected() {
                return true;
            }
            let mut core = world.recovery().clone();
            core.handle(world.now, Input::Snapshot { snapshot: world.stored.clone(), wall: WALL });
            core.poll_output().is_none()
        }),
        Property::sometimes(REPLACED, |_, world: &World| world.beside.seen == Outcome::Replaced),
        Property::sometimes(PROMOTED, |_, world: &World| world.beside.seen == Outcome::Promoted),
        Property::sometimes(BETTER_PATH, |_, world: &World| {
            world.wishes.contains(&super::world::Wish::Replace) && world.recovery().suggested
        }),
    ]
}

/// Whatever a successor that is not ready fails of, now.
fn leaves_the_connection_alone(world: &World) -> bool {
    if !world.client.successor_is_made() {
        return true;
    }
    let fails: &[Successor] = if world.beside.dialling {
        &[Successor::Fails(Failure::Unreachable), Successor::Fails(Failure::NoCredentials)]
    } else {
        &[Successor::Established(false), Successor::Closes(Some(1000))]
    };
    fails.iter().all(|what| {
        let mut after = world.clone();
        take(&mut after, *what);
        let same = after.state().is_connected() && after.stored.generation == world.stored.generation;
        same && after.socket
            && !after.beside.is_live()
            && after.message == world.message
            && after.fault.is_none()
    })
}

fn late_events_of_a_successor(world: &World) -> bool {
    if world.beside.generation.is_some() || world.beside.newest <= world.stored.generation {
        return true;
    }
    let before = world.client.summary(world.now);
    let mut client = world.client.clone();
    let late = [
        Fact::Opened(None),
        Fact::Established,
        Fact::HealthCheck,
        Fact::ErrorAnnounced(ApiError::new(40, "")),
        Fact::GoingAway(S(1)),
        Fact::Drained,
        Fact::Ended(Some(CloseCode::NORMAL), None),
    ];
    let count = late.len() as u64;
    for fact in late {
        client.handle_newest(world.now, fact);
    }
    client.poll_output().is_none()
        && client.summary(world.now) == before
        && client.stale() == world.client.stale() + count
}

/// Neither socket says anything more, and time passes: nothing waits for ever.
fn ends(world: &World) -> bool {
    let Some(generation) = world.beside.generation else { return true };
    let mut world = world.clone();
    for _ in 0..STEPS {
        if world.beside.generation != Some(generation) {
            return true;
        }
        let mut tasks = Vec::new();
        moves::tasks(&world, &mut tasks);
        let Some(next) = tasks.first() else { return false };
        moves::take(&mut world, *next);
    }
    false
}
