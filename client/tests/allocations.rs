//! The hot path allocates nothing: a received message on its way to the inline handler, counted by the allocator.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    alloc::System,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use everwire_client::{Client, EngineError, Message, PingRequest, RawDecoder};
use everwire_engine::{Connection, Handshake, engine_fn};
use futures_core::Stream;
use futures_sink::Sink;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many messages the server still has to say, and who waits for more.
#[derive(Clone, Default)]
struct Flood(Arc<(AtomicU64, Mutex<Option<Waker>>)>);

impl Flood {
    fn say(&self, messages: u64) {
        self.0.0.store(messages, Relaxed);
        if let Some(waker) = self.0.1.lock().unwrap().take() {
            waker.wake();
        }
    }
}

struct FloodConnection {
    flood: Flood,
    message: Message,
    handshake: Handshake,
}

impl Connection for FloodConnection {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }
}

impl Stream for FloodConnection {
    type Item = Result<Message, EngineError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (left, waiting) = &*self.flood.0;
        if left.load(Relaxed) == 0 {
            *waiting.lock().unwrap() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        left.fetch_sub(1, Relaxed);
        Poll::Ready(Some(Ok(self.message.clone())))
    }
}

impl Sink<Message> for FloodConnection {
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

/// The handles of a recorder that counts, so that nothing is spared for want of one.
#[cfg(feature = "metrics")]
fn count_with_metrics() {
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    struct Counting;

    impl Recorder for Counting {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let count = Arc::new(AtomicU64::new(0));
            if key.name() == "everwire_client_messages_received_total" {
                *COUNTED.lock().unwrap() = Some(Arc::clone(&count));
            }
            Counter::from_arc(count)
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(AtomicU64::new(0)))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    metrics::set_global_recorder(Counting).ok().unwrap();
}

#[cfg(feature = "metrics")]
static COUNTED: Mutex<Option<Arc<AtomicU64>>> = Mutex::new(None);

#[tokio::test]
async fn a_received_message_reaches_the_handler_without_an_allocation() {
    #[cfg(feature = "metrics")]
    count_with_metrics();
    let flood = Flood::default();
    let server = flood.clone();
    let engine = engine_fn(move |_| {
        let flood = server.clone();
        async move {
            let message = Message::from("x".repeat(64));
            Ok(FloodConnection { flood, message, handshake: Handshake::default() })
        }
    });
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let client = Client::builder("ws://server.test", RawDecoder)
        .protocol_pings()
        .ping(PingRequest::Off)
        .on_event(move |event| {
            count.fetch_add(event.0.len() as u64 / 64, Relaxed);
        })
        .build(engine)
        .unwrap();
    client.connect().await.unwrap();

    // Whatever is set up once is set up by the first messages. The counter is that of the process, so the harness may be
    // caught once, on a busy machine; what a message cost would be there each time.
    let mut all = 0;
    let mut allocations = usize::MAX;
    for _ in 0..4 {
        let region = Region::new(ALLOCATOR);
        flood.say(10_000);
        all += 10_000;
        while heard.load(Relaxed) < all {
            tokio::task::yield_now().await;
        }
        allocations = allocations.min(region.change().allocations);
    }
    assert_eq!(allocations, 0, "for 10,000 messages");
    assert_eq!(client.health().messages_received, all);
    #[cfg(feature = "metrics")]
    assert_eq!(COUNTED.lock().unwrap().as_ref().map(|count| count.load(Relaxed)), Some(all));
}
