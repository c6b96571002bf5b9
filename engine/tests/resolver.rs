//! A resolver of one's own under the tungstenite engine.
#![cfg(feature = "tungstenite")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests measure deadlines, and may unwrap"
)]

mod common;

use std::time::Duration;

use common::{echo, listen, serve};
use everwire_engine::{
    ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Proxy, Stage, TungsteniteEngine,
    TungsteniteEngineBuilder, resolver_fn,
};

async fn refused(builder: TungsteniteEngineBuilder) -> EngineError {
    let engine = builder.build().unwrap();
    engine.connect(ConnectRequest::new("ws://name.invalid:7/").unwrap()).await.unwrap_err()
}

#[tokio::test]
async fn the_addresses_of_a_resolver_are_used_in_its_order() {
    let (closed, absent) = listen().await;
    drop(closed);
    let server = serve(echo).await;
    let engine = TungsteniteEngine::builder()
        .resolver(resolver_fn(move |host: String, port| async move {
            assert_eq!((host.as_str(), port), ("name.invalid", 7));
            Ok(vec![absent, server])
        }))
        .build()
        .unwrap();
    let connection = engine.connect(ConnectRequest::new("ws://name.invalid:7/").unwrap()).await.unwrap();
    assert_eq!(connection.handshake().peer_addr, Some(server));
}

#[tokio::test]
async fn a_resolver_is_asked_for_the_proxy_where_there_is_one() {
    let failing = resolver_fn(|host: String, port| async move {
        assert_eq!((host.as_str(), port), ("proxy.invalid", 3128));
        Ok(Vec::new())
    });
    let proxy = Proxy::http("http://proxy.invalid:3128").unwrap();
    let error = refused(TungsteniteEngine::builder().proxy(proxy).resolver(failing)).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Resolve, Stage::Resolve));
    assert!(error.to_string().contains("proxy.invalid:3128"), "{error}");
}

/// behaviour §1: the resolution of a name is bounded by itself.
#[tokio::test(start_paused = true)]
async fn rule_1_a_resolver_that_hangs_or_knows_nothing_fails_as_the_stage_resolve() {
    let hanging = resolver_fn(|_, _| std::future::pending());
    let began = tokio::time::Instant::now();
    let error = refused(TungsteniteEngine::builder().resolver(hanging)).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, Stage::Resolve));
    assert_eq!(began.elapsed().as_secs(), Duration::from_secs(5).as_secs());
    let empty = resolver_fn(|_, _| async { Ok(Vec::new()) });
    let error = refused(TungsteniteEngine::builder().resolver(empty)).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Resolve, Stage::Resolve));
    assert!(error.to_string().contains("no address"), "{error}");
}
