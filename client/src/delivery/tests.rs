//! Subscribers that read, that do not, that come and that go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures_util::{FutureExt, StreamExt};
use proptest::prelude::*;

use super::*;
use crate::{
    decode::{DecodeErrorKind, Reject},
    state::ConnectionState,
};

type Item = ClientEvent<u64>;

const DROP_OLDEST: SubscriberPolicy = SubscriberPolicy::DropOldest;
const BACK_PRESSURE: SubscriberPolicy = SubscriberPolicy::BackPressure;

fn hub() -> (Registry<u64>, Hub<u64>) {
    let registry = Registry::new();
    (registry.clone(), Hub::new(registry))
}

const fn event(event: u64) -> Item {
    ClientEvent::Event { generation: 1, event }
}

fn state(generation: u64) -> Item {
    ClientEvent::State(Box::new(Snapshot::new(ConnectionState::Connecting, generation, true)))
}

fn rejected() -> Item {
    let reject = Reject::new(&"x".into(), DecodeErrorKind::Shape.into());
    ClientEvent::Rejected { generation: 1, reject }
}

/// Shows an item in two characters or so.
fn show(item: &Item) -> String {
    match item {
        ClientEvent::Event { event, .. } => event.to_string(),
        ClientEvent::State(snapshot) => format!("s{}", snapshot.generation),
        ClientEvent::Lagged(n) => format!("lagged {n}"),
        ClientEvent::Rejected { .. } => "rejected".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Reads all there is, and tells whether it was the end.
fn read(subscription: &mut Subscription<u64>) -> (Vec<String>, bool) {
    let mut items = Vec::new();
    loop {
        match subscription.next().now_or_never() {
            Some(Some(item)) => items.push(show(&item)),
            Some(None) => return (items, true),
            None => return (items, false),
        }
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn has_room(hub: &mut Hub<u64>) -> bool {
    hub.poll_room(&Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn all_subscribers_see_states_and_events_in_one_order() {
    let (registry, mut hub) = hub();
    assert!(!hub.has_subscribers());
    let mut one = registry.subscribe(8, DROP_OLDEST);
    let mut two = registry.subscribe(8, BACK_PRESSURE);
    assert!(hub.has_subscribers());
    for item in [state(1), event(1), event(2), state(2), event(3)] {
        hub.push(item);
    }
    assert_eq!(read(&mut one).0.len(), 0, "nothing before the flush");
    hub.flush();
    let expected = ["s1", "1", "2", "s2", "3"].map(str::to_owned).to_vec();
    assert_eq!(read(&mut one), (expected.clone(), false));
    assert_eq!(read(&mut two), (expected, false));
}

#[test]
fn a_subscription_begins_before_subscribe_returns_and_sees_nothing_earlier() {
    let (registry, mut hub) = hub();
    hub.push(event(1));
    let mut subscription = registry.subscribe(8, BACK_PRESSURE);
    hub.push(event(2));
    hub.flush();
    assert_eq!(read(&mut subscription).0, ["2"]);
}

#[test]
fn rejects_go_only_to_who_asked_for_them() {
    let (registry, mut hub) = hub();
    let mut deaf = registry.subscribe(8, BACK_PRESSURE);
    let mut asked = registry.subscribe(8, BACK_PRESSURE).with_rejects();
    let mut deaf_too = registry.subscribe(8, BACK_PRESSURE);
    hub.push(rejected());
    hub.push(event(1));
    hub.flush();
    assert_eq!(read(&mut deaf).0, ["1"]);
    assert_eq!(read(&mut asked).0, ["rejected", "1"]);
    assert_eq!(read(&mut deaf_too).0, ["1"]);
}

#[test]
fn rule_6_a_lossy_subscriber_is_told_how_much_it_lost_and_loses_no_state() {
    let (registry, mut hub) = hub();
    let mut subscription = registry.subscribe(3, DROP_OLDEST);
    hub.push(state(1));
    for n in 1..=10 {
        hub.push(event(n));
    }
    hub.push(state(2));
    hub.flush();
    assert!(has_room(&mut hub), "it never stops the others");
    assert_eq!(
        read(&mut subscription).0,
        ["s1", "lagged 7", "8", "9", "10", "s2"],
        "in the place of the gap"
    );
    hub.push(event(11));
    hub.flush();
    assert_eq!(read(&mut subscription).0, ["11"], "said once");
}

#[test]
fn rule_6_each_gap_is_told_in_its_place_and_neighbours_are_one() {
    let (registry, mut hub) = hub();
    let mut subscription = registry.subscribe(2, DROP_OLDEST);
    for item in [event(1), event(2), state(1), event(3), event(4), state(2), event(5)] {
        hub.push(item);
    }
    hub.flush();
    // Handed over in pieces, it is told the same.
    for item in [event(6), state(3), event(7)] {
        hub.push(item);
        hub.flush();
    }
    let expected = ["lagged 2", "s1", "lagged 2", "s2", "lagged 1", "6", "s3", "7"];
    assert_eq!(read(&mut subscription).0, expected);
}

#[test]
fn rule_6_reading_pauses_while_a_back_pressure_subscriber_is_full() {
    let (registry, mut hub) = hub();
    let mut subscription = registry.subscribe(4, BACK_PRESSURE);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    for n in 1..=4 {
        assert!(has_room(&mut hub), "{n}");
        hub.push(event(n)); // Not flushed: what is in the hub counts too.
    }
    assert!(hub.poll_room(&Context::from_waker(&waker)).is_pending());
    // The state gets through all the same, and what was received before the pause.
    hub.push(event(5));
    hub.push(state(1));
    hub.flush();
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    assert_eq!(hub.depth(), 6);
    assert_eq!(read(&mut subscription).0, ["1", "2", "3", "4", "5", "s1"]);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(has_room(&mut hub));
}

#[test]
fn a_subscription_that_is_never_read_is_bounded() {
    let (registry, mut hub) = hub();
    let mut never = registry.subscribe(4, BACK_PRESSURE);
    for n in 0..10_000 {
        hub.push(event(n));
        hub.push(state(n));
    }
    hub.flush();
    assert_eq!(hub.depth(), 4 + 2 * SLACK);
    let (items, _) = read(&mut never);
    let lagged = items.iter().filter_map(|item| item.strip_prefix("lagged ")?.parse::<usize>().ok());
    assert_eq!(lagged.sum::<usize>(), 20_000 - 4 - 2 * SLACK);
    assert!(
        items[0].starts_with("lagged ") && items.len() < 2 * (4 + 2 * SLACK) + 2,
        "{} items",
        items.len()
    );
    assert_eq!(items.last().unwrap(), "s9999");
}

#[test]
fn dropping_a_full_subscription_frees_the_producer_at_once() {
    let (registry, mut hub) = hub();
    let subscription = registry.subscribe(1, BACK_PRESSURE);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    hub.push(event(1));
    assert!(hub.poll_room(&Context::from_waker(&waker)).is_pending());
    drop(subscription);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(hub.poll_room(&Context::from_waker(&waker)).is_ready());
    assert!(!hub.has_subscribers());
    hub.push(event(2));
    assert_eq!(hub.depth(), 0);
}

#[test]
fn the_end_of_the_client_ends_each_subscription_after_the_rest() {
    let (registry, mut hub) = hub();
    let mut seen = registry.subscribe(4, BACK_PRESSURE);
    hub.push(event(1));
    let mut unseen = registry.subscribe(4, BACK_PRESSURE);
    drop(hub);
    assert_eq!(read(&mut seen), (vec!["1".to_owned()], true));
    assert_eq!(read(&mut unseen), (vec![], true));
    assert_eq!(read(&mut registry.subscribe(4, BACK_PRESSURE)), (vec![], true));
}

#[tokio::test]
async fn consumers_that_batch_get_batches() {
    let (registry, mut hub) = hub();
    let mut subscription = registry.subscribe(200, BACK_PRESSURE);
    (0..100).for_each(|n| hub.push(event(n)));
    hub.flush();
    let mut items = Vec::new();
    assert_eq!(subscription.recv_many(&mut items, 0).await, 0);
    assert_eq!(subscription.recv_many(&mut items, 10).await, 10);
    assert_eq!(subscription.recv_many(&mut items, 1000).await, 54, "the rest of the first 64");
    assert_eq!(subscription.recv_many(&mut items, 1000).await, 36);
    assert!(items.iter().map(show).eq((0..100u64).map(|n| n.to_string())));
    assert!(subscription.recv_many(&mut items, 1).now_or_never().is_none());
    drop(hub);
    assert_eq!(subscription.recv_many(&mut items, 1).await, 0);
    assert!(subscription.recv().await.is_none());
}

#[tokio::test]
async fn a_consumer_that_is_behind_leaves_its_neighbours_their_turns() {
    const COUNT: usize = 10_000;
    let (registry, mut hub) = hub();
    let mut subscription = registry.subscribe(COUNT, BACK_PRESSURE);
    (0..COUNT as u64).for_each(|n| hub.push(event(n)));
    hub.flush();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let neighbour = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for n in 0..COUNT {
        assert_eq!(show(&subscription.recv().await.unwrap()), n.to_string());
    }
    let turns = turns.load(Ordering::Relaxed);
    assert!(turns >= 5, "the neighbour had {turns} turns beside {COUNT} events");
    neighbour.abort();
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_from_another_thread_and_misses_nothing() {
    let (registry, mut hub) = hub();
    let mut subscription = registry.subscribe(16, BACK_PRESSURE);
    let producer = std::thread::spawn(move || {
        let mut n = 0;
        while n < 20_000 {
            if has_room(&mut hub) {
                hub.push(event(n));
                n += 1;
            } else {
                std::thread::yield_now();
            }
            if n % 3 == 0 {
                hub.flush();
            }
        }
    });
    let mut next = 0;
    while let Some(item) = subscription.recv().await {
        assert_eq!(show(&item), next.to_string());
        next += 1;
    }
    producer.join().unwrap();
    assert_eq!(next, 20_000);
}

proptest! {
    /// However pushes, flushes and reads interleave: no item twice, none out of order, and what is missing is
    /// counted; a back-pressure subscriber whose producer respects the pause misses nothing.
    #[test]
    fn what_is_read_and_what_lagged_is_what_was_pushed(
        capacity in 1..100usize,
        lossy in any::<bool>(),
        steps in proptest::collection::vec((0..4u8, 1..80usize), 0..60),
    ) {
        let (registry, mut hub) = hub();
        let policy = if lossy { DROP_OLDEST } else { BACK_PRESSURE };
        let mut subscription = registry.subscribe(capacity, policy);
        let (mut pushed, mut lagged, mut next) = (0u64, 0u64, 0u64);
        let mut take = |item: Item| match item {
            ClientEvent::Event { event, .. } => {
                assert_eq!(event, next, "what is missing before it was told right there");
                next += 1;
            }
            ClientEvent::Lagged(n) => {
                assert!(n > 0);
                lagged += n;
                next += n;
            }
            _ => unreachable!(),
        };
        for (what, count) in steps {
            match what {
                0 | 1 => for _ in 0..count {
                    if has_room(&mut hub) {
                        hub.push(event(pushed));
                        pushed += 1;
                    }
                },
                2 => hub.flush(),
                _ => for _ in 0..count {
                    if let Some(Some(item)) = subscription.next().now_or_never() {
                        take(item);
                    }
                },
            }
            prop_assert!(hub.depth() <= capacity + BATCH);
        }
        drop(hub);
        while let Some(Some(item)) = subscription.next().now_or_never() {
            take(item);
        }
        prop_assert_eq!(next, pushed);
        prop_assert!(lossy || lagged == 0);
    }
}
