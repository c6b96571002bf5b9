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
