//! Replays the corpus of `cargo xtask fuzz`: what a fuzzer has once found to be worth keeping, crashes that were
//! repaired among it, holds on every machine and without a fuzzer.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../xtask/fuzz/src/targets/mod.rs"]
mod targets;

use std::{fs, path::Path};

#[test]
fn the_corpus_of_every_target_is_replayed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/fuzz/corpus");
    let mut known = Vec::new();
    for (name, target) in targets::TARGETS {
        let mut replayed = 0;
        for file in
            fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name} has no corpus: {error}"))
        {
            let file = file.unwrap().path();
            let bytes = fs::read(&file).unwrap();
            let run = std::panic::catch_unwind(|| target(&bytes));
            assert!(run.is_ok(), "{name}: {} does not hold", file.display());
            replayed += 1;
        }
        assert!(replayed > 0, "{name} has an empty corpus");
        known.push((*name).to_owned());
    }
    // A folder without a target would be replayed by nobody.
    for folder in fs::read_dir(&corpus).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "there is no target {name}");
    }
}
