//! Random commands against random servers, thousands of seeds on virtual time: the invariants hold whatever
//! happens. A failure names its seed; `EVERWIRE_SEED=n cargo test --test invariants` runs that one alone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::HashMap;

use everwire_client::SendOutcome;
use world::{Choices, judge_messages, judge_states};

const SEEDS: u64 = 2_000;

#[test]
fn invariants_4_to_9_hold_for_thousands_of_seeds() {
    let seeds = match std::env::var("EVERWIRE_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let (mut replaced, all) = (0, seeds.end - seeds.start == SEEDS);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| world::run(Choices::seeded(seed)));
        let Ok(count) = run else { panic!("the invariants do not hold: EVERWIRE_SEED={seed} replays it") };
        replaced += count;
    }
    assert!(!all || replaced > 100, "{replaced} replacements prove nothing");
}

/// The judges can condemn.
#[test]
#[should_panic(expected = "arrived")]
fn a_refused_message_that_arrives_is_condemned() {
    let refused = SendOutcome::NotSent(everwire_client::NotSentReason::Expired);
    judge_messages(&[vec!["7".into()]], &HashMap::from([("7".into(), (0, refused))]));
}

#[test]
#[should_panic(expected = "Disconnected")]
fn an_attempt_without_an_end_is_condemned() {
    judge_states(&[(1, "Connecting"), (1, "Authenticating")], 1);
}
