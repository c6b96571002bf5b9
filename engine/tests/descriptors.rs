//! Dropping an attempt at any stage leaves no descriptor open. A test of its own process: it counts them all.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::time::Duration;

use common::{Authority, echo, listen, serve};
use everwire_engine::{ConnectRequest, Engine, TungsteniteEngine};
use tokio::time::timeout;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_dropped_attempt_leaves_no_descriptor_at_any_stage() {
    // Accepted by the system's backlog, and answered by nobody: the stages TLS and upgrade hang.
    let (_listener, silent) = listen().await;
    let answering = serve(echo).await;
    let engine = TungsteniteEngine::builder()
        .add_root_certificate_pem(Authority::new().pem())
        .only_added_root_certificates()
        .build()
        .unwrap();
    let before = descriptors();
    for scheme in ["ws", "wss"] {
        for _ in 0..10 {
            let request = ConnectRequest::new(&format!("{scheme}://{silent}/")).unwrap();
            let attempt = Box::pin(engine.connect(request));
            assert!(timeout(Duration::from_millis(10), attempt).await.is_err(), "the server is silent");
        }
    }
    assert_eq!(descriptors(), before);
    let request = ConnectRequest::new(&format!("ws://{answering}/")).unwrap();
    let connection = engine.connect(request).await.unwrap();
    assert!(descriptors() > before, "the count sees an open connection");
    drop(connection);
}
