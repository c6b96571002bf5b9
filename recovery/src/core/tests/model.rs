//! An exhaustive check: the client's lifecycle, the ping controller and the core of recovery together, against
//! everything that a user, a server, a network and a host can do, in every order, up to a depth.
//!
//! `EVERWIRE_MODEL_DEPTH` sets the depth; `cargo xtask model --depth N` does so in release.

mod bugs;
mod moves;
mod replacing;
mod rules;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use stateright::{Checker, Model as _, Property};

use self::{bugs::Bug, moves::Move, world::World};
use crate::Rng;

/// How deep an ordinary run of the tests goes: a few seconds, without optimisation.
const DEPTH: usize = 7;
/// The same where connections are replaced: those worlds are more, and begin where it matters.
const REPLACING_DEPTH: usize = 6;

/// What is checked, and what it cost.
#[derive(Default)]
struct Model {
    bug: Option<Bug>,
    /// Whether a connection may be replaced by one that is made beside it.
    replaces: bool,
    /// The longest helpful way to `Connected`, in steps and in milliseconds.
    most_steps: AtomicU64,
    longest_wait: AtomicU64,
}

impl stateright::Model for Model {
    type State = World;
    type Action = Move;

    /// With draws that are always short, and always long: a client that was never connected, with health checks
    /// and without; and one that has been connected for long, so that the depth is not spent on getting there.
    fn init_states(&self) -> Vec<World> {
        let mut worlds = Vec::new();
        if self.replaces {
            for luck in [luck(..=40), luck(960..)] {
                worlds.extend([true, false].map(|needs| replacing::connected(needs, luck, self.bug)));
                worlds.push(replacing::under_way(luck, self.bug));
            }
            return worlds;
        }
        for luck in [luck(..=40), luck(960..)] {
            worlds.extend([true, false].map(|needs| World::new(needs, luck, self.bug)));
            let mut world = World::new(true, luck, self.bug);
            for what in [
                Move::UserConnects,
                Move::Opens,
                Move::SaysHealthCheck,
                Move::RecoveryLooks,
                Move::RecoveryTimer, // stable
            ] {
                moves::take(&mut world, what);
            }
            worlds.push(world);
        }
        worlds
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        if world.fault.is_none() {
            moves::all(world, moves);
        }
    }

    fn next_state(&self, world: &World, what: Move) -> Option<World> {
        let mut world = world.clone();
        moves::take(&mut world, what);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        rules::all()
    }
}

/// A seed whose first draws all lie in a part of the range, in thousandths.
fn luck(range: impl std::ops::RangeBounds<u64>) -> u64 {
    let lies = |seed: &u64| {
        let mut rng = Rng::seeded(*seed);
        (0..3).all(|_| range.contains(&rng.below(1_000)))
    };
    (0..1_000_000).find(lies).expect("there are many seeds")
}

/// Walks all worlds up to the depth. Returns the names of the rules that do not hold.
fn explore(bug: Option<Bug>, replaces: bool, depth: usize) -> Vec<&'static str> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Model { bug, replaces, ..Model::default() }
        .checker()
        .threads(threads)
        .target_max_depth(depth)
        .finish_when(stateright::HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let model = checker.model();
    println!(
        "{} worlds, {} of them distinct, to a depth of {}; Connected within {} steps and {:?} at most",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        model.most_steps.load(Ordering::Relaxed),
        Duration::from_millis(model.longest_wait.load(Ordering::Relaxed)),
    );
    let broken = rules::all().into_iter().filter(|rule| {
        let Some(path) = checker.discovery(rule.name) else {
            // What is to be seen sometimes has to be seen, unless the walk was cut short.
            let of_here = replaces || !replacing::is_of_replacing(rule.name);
            let unseen = matches!(rule.expectation, stateright::Expectation::Sometimes) && of_here;
            if unseen && bug.is_none() {
                println!("is never seen: {}", rule.name);
            }
            return unseen && bug.is_none() && depth >= if replaces { REPLACING_DEPTH } else { DEPTH };
        };
        let failed = checker.discovery_classification(rule.name).to_string() == "counterexample";
        if failed {
            println!("does not hold: {}", rule.name);
            for (world, what) in path.into_vec() {
                println!("  {world:?}\n    {what:?}");
            }
        }
        failed
    });
    broken.map(|rule| rule.name).collect()
}

/// The depth that was asked for, or an ordinary one.
fn depth(ordinary: usize) -> usize {
    let asked = std::env::var("EVERWIRE_MODEL_DEPTH").ok().and_then(|depth| depth.parse().ok());
    // Relative to the ordinary one of the larger model, whose worlds are fewer.
    asked.map_or(ordinary, |asked: usize| (asked + ordinary).saturating_sub(DEPTH).max(2))
}

#[test]
fn invariants_4_5_6_8_10_hold_and_connected_is_reached_from_everywhere() {
    assert_eq!(explore(None, false, depth(DEPTH)), [] as [&str; 0]);
}

/// §2a: the same, where a connection is replaced by one that is made beside it.
#[test]
fn rule_2a_one_end_each_two_sockets_at_most_and_the_same_invariants() {
    assert_eq!(explore(None, true, depth(REPLACING_DEPTH)), [] as [&str; 0]);
}

/// The model can condemn: each bug of a driver is found by a rule that names it.
#[test]
fn the_model_finds_bugs_that_were_put_in() {
    for (bug, word) in [
        (Bug::RetryRevivesAWithdrawnWish, "invariant 6"),
        (Bug::EndIsNotTold, "no dead state"),
        (Bug::OldSocketIsHeard, "invariant 4"),
        (Bug::PingOutlivesTheConnection, "no timer"),
        (Bug::MessageDroppedInSilence, "invariant 8"),
        (Bug::HintIsALock, "no dead state"),
        (Bug::StopIsSilent, "a stop is never silent"),
        (Bug::ReplacedSocketStays, "a second live socket"),
        (Bug::FailedSuccessorEndsTheConnection, "leaves the connection alone"),
        (Bug::SuccessorOutlivesItsEnd, "a second live socket"),
        (Bug::SuccessorDiesWithTheConnection, "one live socket"),
        (Bug::FailedSuccessorIsNotTold, "under way, or on its way"),
    ] {
        let replaces = bug.is_of_replacing();
        let broken = explore(Some(bug), replaces, if replaces { REPLACING_DEPTH } else { DEPTH });
        assert!(broken.iter().any(|rule| rule.contains(word)), "{bug:?}: {broken:?}");
    }
}
