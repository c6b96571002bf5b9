//! What an idle client holds with its recovery, counted by the allocator. One test, for the counters are those of the
//! whole process.

use std::{
    alloc::System,
    pin::Pin,
    task::{Context, Poll},
};

use everwire_client::{Client, EngineError, Message, RawDecoder};
use everwire_engine::{Connection, Handshake, engine_fn};
use everwire_netmon::{ManualMonitor, NetworkStatus};
use everwire_recovery::ConnectionRecoveryHandler;
use futures_core::Stream;
use futures_sink::Sink;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A connection over which nothing comes, and which holds nothing itself.
struct Silence(Handshake);

impl Connection for Silence {
    fn handshake(&self) -> &Handshake {
        &self.0
    }
}

impl Stream for Silence {
    type Item = Result<Message, EngineError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Message> for Silence {
    type Error = EngineError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), EngineError> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn an_idle_client_with_its_recovery_holds_little() {
    const CLIENTS: isize = 100;
    // 5,000 are held, and 760 more where the client has its `metrics`: growth shall be noticed, and be worth it.
    const LIMIT: isize = 6_000;

    let monitor = ManualMonitor::new(NetworkStatus::online());
    let connected = async || {
        let engine = engine_fn(async |_| Ok(Silence(Handshake::default())));
        let client = Client::builder("ws://server.test", RawDecoder).protocol_pings().build(engine).unwrap();
        let recovery =
            ConnectionRecoveryHandler::builder(client.clone()).monitor(monitor.monitor()).spawn().unwrap();
        client.connect().await.unwrap();
        (client, recovery)
    };
    // Whatever there is once is there.
    let mut kept = vec![connected().await];
    kept.reserve(CLIENTS.unsigned_abs());
    let region = Region::new(ALLOCATOR);
    for _ in 0..CLIENTS {
        kept.push(connected().await);
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let change = region.change();
    let each = (change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed()) / CLIENTS;
    assert!(each < LIMIT, "{each} bytes are held by an idle client");
    drop(kept);
}
