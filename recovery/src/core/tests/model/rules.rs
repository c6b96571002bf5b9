//! What must hold in every world that can be reached.

use std::sync::atomic::Ordering;

use everwire_client::model::Fact;
use stateright::Property;

use super::{
    super::*,
    Model,
    bugs::Bug,
    moves::{self, Move},
    replacing,
    world::{Fault, World},
};

/// A continuation that takes more steps than this does not lead anywhere.
pub(super) const STEPS: u64 = 64;

pub(super) fn all() -> Vec<Property<Model>> {
    let mut rules = vec![
        Property::always(
            "invariant 4: a late event of an old attempt changes nothing and is counted",
            |_, world: &World| late_events_change_nothing(world),
        ),
        Property::always(
            "invariant 5: an attempt goes the one way round, to exactly one Disconnected",
            |_, world: &World| world.fault != Some(Fault::Way) && world.attempt != world.is_idle(),
        ),
        Property::always("invariant 5: an end is judged once", |_, world: &World| {
            an_end_is_judged_once(world)
        }),
        Property::always(
            "invariant 6: the user's word is known, and nothing opens against it",
            |_, world: &World| {
                let known = world.stored.wanted == world.wants;
                known && !matches!(world.fault, Some(Fault::User | Fault::Order))
            },
        ),
        Property::always(
            "invariant 6: a user's disconnect wins, at once and for good",
            |_, world: &World| a_disconnect_wins(world),
        ),
        Property::always("invariant 8: nobody waits unanswered, and no queue grows", |_, world: &World| {
            let queues = world.wishes.len() <= 4 + usize::from(world.stored.can_replace);
            let senders = world.socket || !world.message;
            queues && senders && (!world.is_idle() || (world.connects.is_none() && !world.disconnects))
        }),
        Property::always("one live socket at most, none while idle", |_, world: &World| {
            let none = !world.dialling && !world.socket;
            world.fault != Some(Fault::Second) && !(world.dialling && world.socket) && none == world.is_idle()
        }),
        Property::always("no timer is left behind, and none is due twice", |_, world: &World| timers(world)),
        Property::always("no dead state", |_, world: &World| is_alive(world)),
        Property::always("a stop is never silent", |_, world: &World| !world.is_stopped() || world.told_stop),
        Property::always(
            "invariant 10 and liveness: with a server that answers, and without a word of the network, \
             Connected is reached",
            leads_to_connected,
        ),
        Property::sometimes("connected again after an outage", |_, world: &World| {
            world.stored.generation > 1 && world.state().is_connected()
        }),
        Property::sometimes("connected while the monitor says offline", |_, world: &World| {
            world.recovery().network.is_offline() && world.state().is_connected()
        }),
        Property::sometimes("disconnected for want of a pong", |_, world: &World| {
            matches!(world.state(), ConnectionState::Disconnected(DisconnectionSource::NoPongReceived))
        }),
    ];
    rules.extend(replacing::rules());
    rules
}

fn late_events_change_nothing(world: &World) -> bool {
    if world.stored.generation < 2 {
        return true;
    }
    let age = u64::from(!world.has(Bug::OldSocketIsHeard));
    let before = world.client.summary(world.now);
    let mut client = world.client.clone();
    let late = [
        Fact::Opened(None),
        Fact::OpenFailed(EngineError::new(EngineErrorKind::Connect, Stage::Connect)),
        Fact::AuthenticationFailed(AuthenticationError::refused(ApiError::new(40, ""))),
        Fact::Established,
        Fact::HealthCheck,
        Fact::ErrorAnnounced(ApiError::new(40, "")),
        Fact::Drained,
        Fact::Flushed,
        Fact::Ended(Some(CloseCode::NORMAL), None),
        Fact::NoPong,
    ];
    let count = late.len() as u64;
    for fact in late {
        client.handle(world.now, fact, age);
    }
    client.poll_output().is_none()
        && client.summary(world.now) == before
        && client.stale() == world.client.stale() + count
}

/// The same end told again leads to no second decision.
fn an_end_is_judged_once(world: &World) -> bool {
    if world.unseen || !matches!(world.state(), ConnectionState::Disconnected(_)) {
        return true;
    }
    let mut core = world.recovery().clone();
    core.handle(world.now, Input::Snapshot { snapshot: world.stored.clone(), wall: WALL });
    core.poll_output().is_none()
}

fn timers(world: &World) -> bool {
    let client = !world.is_idle() || world.client_timer().is_none();
    let pinged = world.state().is_connected() && !world.client.drains_replaced();
    let ping = pinged == world.ping.next_timeout().is_some();
    let recovery = world.wants || world.unseen || world.recovery().poll_timeout().is_none();
    client && ping && recovery && world.fault != Some(Fault::Spin)
}

/// As long as the user wants a connection and recovery has not stopped, something is bound to happen.
fn is_alive(world: &World) -> bool {
    let mut moves = Vec::new();
    moves::tasks(world, &mut moves);
    !moves.is_empty() || !world.wants || world.is_stopped() || world.is_background()
}

/// The user disconnects now. Whatever a server does that says yes to everything, the client ends, stays
/// ended, and nothing is left.
fn a_disconnect_wins(world: &World) -> bool {
    let mut world = world.clone();
    world.fault = None;
    let dialling = matches!(world.state(), ConnectionState::Connecting);
    moves::take(&mut world, Move::UserDisconnects);
    if dialling && !world.is_idle() {
        return false;
    }
    let opened = world.stored.generation;
    for _ in 0..STEPS {
        if !world.is_idle() && !matches!(world.state().source(), Some(DisconnectionSource::UserInitiated)) {
            return false;
        }
        if world.wants || world.fault.is_some() || world.stored.generation != opened || world.beside.is_live()
        {
            return false;
        }
        let mut tasks = Vec::new();
        moves::tasks(&world, &mut tasks);
        let Some(next) = tasks.first() else { break };
        // An old socket that says that all is well changes nothing.
        if world.socket {
            moves::take(&mut world, Move::SaysHealthCheck);
        }
        replacing::speaks_late(&mut world);
        moves::take(&mut world, *next);
    }
    let asked = !world.wishes.is_empty() || world.unseen;
    world.is_idle() && !asked && world.client_timer().is_none() && world.recovery_timer().is_none()
}

/// From here on the server opens and answers, time passes, and the tasks do their work; the monitor stays with
/// what it said last. A host that had put the application into the background takes it out again.
fn leads_to_connected(model: &Model, world: &World) -> bool {
    if !world.wants {
        return true;
    }
    let mut world = world.clone();
    let start = world.now;
    for step in 0..STEPS {
        if world.state().is_connected() && !world.client.awaits_drain() && !world.beside.is_live() {
            model.most_steps.fetch_max(step, Ordering::Relaxed);
            let waited = world.now.duration_since(start).as_millis() as u64;
            model.longest_wait.fetch_max(waited, Ordering::Relaxed);
            return true;
        }
        if world.is_stopped() && !world.unseen && world.wishes.is_empty() {
            return world.told_stop;
        }
        let Some(next) = helpful(&world) else { return false };
        moves::take(&mut world, next);
    }
    false
}

fn helpful(world: &World) -> Option<Move> {
    let mut tasks = Vec::new();
    moves::tasks(world, &mut tasks);
    match world.state() {
        _ if world.unseen || !world.wishes.is_empty() => tasks.pop(),
        _ if world.is_background() => Some(Move::Foreground),
        _ if world.dialling => Some(Move::Opens),
        _ if world.client.awaits_drain() => Some(Move::IsRead),
        ConnectionState::Connected(_) if world.beside.is_live() => Some(replacing::helpful(world)),
        ConnectionState::Authenticating if world.needs_health_check => Some(Move::SaysHealthCheck),
        ConnectionState::Authenticating => Some(Move::Established(true)),
        ConnectionState::Disconnecting(_) if world.flushing => Some(Move::IsFlushed),
        ConnectionState::Disconnecting(_) => Some(Move::Closes(Some(1000))),
        _ => tasks.pop(),
    }
}
