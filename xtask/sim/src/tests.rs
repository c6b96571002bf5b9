//! The simulation itself: that it holds for some seeds, that the same seed is the same story, and that every check
//! can fail.

use crate::{many, many::Runs, outcome, plan::Plan, plant::Plant, trace, world};

/// A plan that a build without optimisations carries out in a moment.
fn brief(seed: u64) -> Plan {
    Plan::within(seed, 3, 15..40)
}

/// The violations of a few seeds with something planted.
fn planted(plant: Plant) -> String {
    outcome::keep_panics();
    let found = (1..3).flat_map(|seed| world::run(&brief(seed), plant).violations);
    found.collect::<Vec<_>>().join("\n")
}

#[test]
fn some_seeds_hold() {
    outcome::keep_panics();
    for seed in 0..40 {
        let outcome = world::run(&brief(seed), Plant::Nothing);
        assert!(outcome.violations.is_empty(), "seed {seed}\n{:#?}", outcome.violations);
    }
    let (sum, failed) = many::run(&Runs { first: 100, count: Some(2), lasts: None });
    assert!(failed.is_empty(), "cargo xtask sim --seed {}\n{:#?}", failed[0].seed, failed[0].violations);
    assert!(sum.to_string().starts_with("2 seeds in "), "{sum}");
}

#[test]
fn the_same_seed_is_the_same_trace_byte_for_byte() {
    outcome::keep_panics();
    for seed in [3, 6, 161] {
        let plan = Plan::within(seed, 8, 40..60);
        let story = || trace::told(|| world::run(&plan, Plant::Nothing)).1;
        let (first, second) = (story(), story());
        assert!(first.lines().count() > 30, "the story tells something");
        assert_eq!(trace::difference(&first, &second), None);
        // On another thread, too: nothing hangs on where it runs.
        let third = std::thread::scope(|scope| scope.spawn(story).join().unwrap());
        assert_eq!(trace::difference(&first, &third), None);
    }
    assert!(trace::difference("a\nb", "a\nc").unwrap().contains("line 2"));
}

#[test]
fn a_post_that_is_lost_twice_kept_or_not_acknowledged_is_found() {
    assert!(planted(Plant::LosesPost).contains("of the client's posts were taken"));
    assert!(planted(Plant::KeepsTwice).contains("of the client's posts were taken"));
}

#[test]
fn a_message_without_a_true_outcome_is_found() {
    assert!(planted(Plant::ForgetsReceipt).contains("message 3 has no outcome"));
    assert!(planted(Plant::LiesOfOutcome).contains("was heard, and its outcome is: not sent"));
    assert!(planted(Plant::HearsTwice).contains("was heard 2 times"));
}

#[test]
fn a_second_socket_a_second_end_and_a_task_that_is_left_are_found() {
    assert!(planted(Plant::SecondSocket).contains("2 sockets at once"));
    assert!(planted(Plant::EndsTwice).contains("was followed by"));
    assert!(planted(Plant::LeaksTask).contains("1 tasks outlived their clients"));
}

#[test]
fn a_server_that_stays_down_and_a_panic_are_found() {
    assert!(planted(Plant::StaysDown).contains("not whole within"));
    assert!(planted(Plant::Panics).contains("panic"));
}
