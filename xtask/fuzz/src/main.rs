//! One program for all targets, so that everything is built and linked once: `EVERWIRE_FUZZ_TARGET` names the one.
#![no_main]

mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("EVERWIRE_FUZZ_TARGET").expect("EVERWIRE_FUZZ_TARGET names the target");
        let target = targets::TARGETS.iter().find(|(known, _)| *known == name);
        target.unwrap_or_else(|| panic!("there is no target {name}")).1
    });
    target(data);
});
