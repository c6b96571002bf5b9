//! The demo as others see it.

use std::{collections::HashMap, process::Command};

use serde_json::Value;

#[test]
fn every_expectation_holds_and_the_tables_say_so() {
    let demo = Command::new(env!("CARGO_BIN_EXE_demo")).args(["--json", "--seed", "3"]).output();
    let demo = demo.expect("the demo starts");
    let text = String::from_utf8(demo.stdout).expect("JSON is UTF-8");
    assert!(demo.status.success(), "{text}");
    let mut kinds = HashMap::<String, Vec<Value>>::new();
    for line in text.lines() {
        let object: Value = serde_json::from_str(line).expect("one JSON object per line");
        let kind = object["kind"].as_str().expect("each has a kind").to_owned();
        kinds.entry(kind).or_default().push(object);
    }
    assert_eq!(kinds["fault"].len(), 6);
    assert!(kinds["fault"].iter().all(|f| f["notice_ms"].is_u64() && f["back_ms"].is_u64()));
    assert_eq!(kinds["participant"].len(), 2);
    for participant in &kinds["participant"] {
        assert_eq!((&participant["sent"], &participant["received"]), (&200.into(), &200.into()));
        assert_eq!((&participant["lost"], &participant["duplicated"]), (&0.into(), &0.into()));
    }
    assert_eq!(kinds["result"][0]["held"], true);
}

/// Whoever reads it finds each word of the timeline in the legend above.
#[test]
fn the_legend_explains_every_word_of_the_timeline() {
    let demo =
        Command::new(env!("CARGO_BIN_EXE_demo")).args(["--seed", "5"]).output().expect("the demo starts");
    let text = String::from_utf8(demo.stdout).expect("text is UTF-8");
    assert!(demo.status.success(), "{text}");
    let is_event = |line: &&str| line.get(..9).is_some_and(|seconds| seconds.trim().parse::<f64>().is_ok());
    let legend: Vec<_> = text.lines().take_while(|line| !is_event(line)).collect();
    let explained = |word: &str| {
        let parts = legend.iter().flat_map(|line| line.split([':', ',', '.', ';', '(']));
        let words = parts.map(|part| part.trim_start_matches("what").trim());
        words.into_iter().any(|known| known == word || known == format!("and {word}"))
    };
    let mut words = std::collections::BTreeSet::new();
    for line in text.lines().filter(is_event) {
        let who = line[13..19].trim();
        assert!(
            legend.iter().any(|line| line.starts_with("who") && line.contains(who)),
            "{who} is not explained"
        );
        words.insert(line[21..].chars().take(16).collect::<String>().trim().to_owned());
    }
    assert!(words.len() > 10, "{words:?}");
    for word in words {
        assert!(explained(&word), "{word:?} is not explained by {legend:#?}");
    }
}
