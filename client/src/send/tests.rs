//! The queue as a whole: each rule of sending by a scripted connection; all of them at random in [`random`].

mod marks;
mod random;

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use everwire_engine::{CloseCode, EngineError, EngineErrorKind, Limit, Message, Stage};
use futures_sink::Sink;
use futures_util::FutureExt;
use tokio::time;

use super::{
    ledger::{Ledger, Marks},
    push::Push,
    *,
};

const HOLD: SendClass = SendClass::Hold { ttl: Duration::from_secs(60) };
const IDEMPOTENT: SendClass = SendClass::Idempotent { ttl: Duration::from_secs(60) };
const TOO_LARGE: EngineErrorKind = EngineErrorKind::TooLarge { what: Limit::Message, size: 4, max: 3 };
const DISCONNECTED: SendOutcome = SendOutcome::NotSent(NotSentReason::Disconnected);

/// A connection that takes what the test lets it take.
#[derive(Debug, Default)]
struct Script {
    /// How many messages it still takes.
    room: usize,
    /// Whether a flush goes through.
    flushes: bool,
    dead: bool,
    /// Messages of more bytes than this, with what.
    refuses: Option<(usize, EngineErrorKind)>,
    fed: Vec<Message>,
    flushed: usize,
    flushes_done: usize,
}

impl Script {
    fn open() -> Self {
        Self { room: usize::MAX, flushes: true, ..Self::default() }
    }

    fn texts(&self) -> Vec<&str> {
        self.fed.iter().filter_map(Message::as_text).collect()
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.dead { Err(EngineError::new(EngineErrorKind::Io, Stage::Open)) } else { Ok(()) }
    }
}

impl Sink<Message> for Script {
    type Error = EngineError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.check()?;
        if self.room > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), EngineError> {
        self.check()?;
        if let Some((_, kind)) = self.refuses.filter(|(max, _)| message.len() > *max) {
            return Err(EngineError::new(kind, Stage::Open));
        }
        self.room -= 1;
        self.fed.push(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.check()?;
        if !self.flushes {
            return Poll::Pending;
        }
        self.flushed = self.fed.len();
        self.flushes_done += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.poll_flush(cx)
    }
}

/// A waker that remembers.
#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Flag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn poll(pump: &mut Pump, sink: &mut Script) -> Result<PumpState, EngineError> {
    pump.poll(&mut Context::from_waker(Waker::noop()), sink)
}

#[expect(clippy::disallowed_methods, reason = "the test stands for the driver")]
fn now() -> std::time::Instant {
    time::Instant::now().into_std()
}

fn outcome(receipt: Receipt) -> Option<SendOutcome> {
    receipt.now_or_never()
}

fn open() -> (Outbox, Pump) {
    let (outbox, mut pump) = Pump::new(SendLimits::default());
    pump.set_open(true);
    (outbox, pump)
}

#[test]
fn rule_6_many_queued_messages_take_one_flush() {
    let (outbox, mut pump) = open();
    let receipts: Vec<_> =
        (0..100).map(|n| outbox.try_push(n.to_string().into(), SendClass::FailFast).unwrap()).collect();
    let mut sink = Script::open();
    assert_eq!(poll(&mut pump, &mut sink).unwrap(), PumpState::Idle);
    assert_eq!((sink.fed.len(), sink.flushes_done), (100, 1));
    assert!(receipts.into_iter().all(|receipt| outcome(receipt) == Some(SendOutcome::Flushed)));
    assert_eq!(outbox.depth(), (0, 0));
    assert!(pump.drained());
}

#[test]
fn rule_6_fail_fast_is_refused_while_not_connected_and_the_message_given_back() {
    let (outbox, mut pump) = Pump::new(SendLimits::default());
    let refused = outbox.try_push("a".into(), SendClass::FailFast).unwrap_err();
    assert_eq!((refused.message, refused.reason), ("a".into(), NotSentReason::NotConnected));
    let receipt = outbox.push("a".into(), SendClass::FailFast).now_or_never().unwrap();
    assert_eq!(outcome(receipt), Some(SendOutcome::NotSent(NotSentReason::NotConnected)));
    // Connected, the replay not done: accepted, and waits for it.
    pump.set_gate(Gate::Held);
    let receipt = outbox.try_push("b".into(), SendClass::FailFast).unwrap();
    let mut sink = Script::open();
    assert_eq!(poll(&mut pump, &mut sink).unwrap(), PumpState::Idle);
    assert_eq!(sink.fed, []);
    pump.set_gate(Gate::Open);
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(outcome(receipt), Some(SendOutcome::Flushed));
}

#[test]
fn rule_6_after_a_reconnect_authentication_resubscription_resends_held_new() {
    let (outbox, mut pump) = open();
    let mut first = Script { flushes: false, ..Script::open() };
    let _a = outbox.try_push("resend 1".into(), IDEMPOTENT).unwrap();
    let lost = outbox.try_push("not again".into(), HOLD).unwrap();
    let _b = outbox.try_push("resend 2".into(), IDEMPOTENT).unwrap();
    assert_eq!(poll(&mut pump, &mut first).unwrap(), PumpState::Blocked);
    assert_eq!(first.fed.len(), 3);
    pump.connection_lost();
    assert_eq!(outcome(lost), Some(SendOutcome::MaybeSent));

    let _c = outbox.try_push("held 1".into(), HOLD).unwrap();
    let _d = outbox.try_push("held 2".into(), IDEMPOTENT).unwrap();
    let mut second = Script::open();
    pump.urgent("authentication".into());
    poll(&mut pump, &mut second).unwrap();
    pump.set_gate(Gate::Held);
    let _e = outbox.try_push("new".into(), SendClass::FailFast).unwrap();
    pump.urgent("resubscription".into());
    poll(&mut pump, &mut second).unwrap();
    pump.set_gate(Gate::Open);
    poll(&mut pump, &mut second).unwrap();
    assert_eq!(
        second.texts(),
        ["authentication", "resubscription", "resend 1", "resend 2", "held 1", "held 2", "new"]
    );
}

#[test]
fn rule_6_a_lost_connection_settles_by_what_was_handed_over() {
    let (outbox, mut pump) = open();
    let mut sink = Script { room: 2, flushes: false, ..Script::default() };
    let handed = outbox.try_push("1".into(), SendClass::FailFast).unwrap();
    let again = outbox.try_push("2".into(), IDEMPOTENT).unwrap();
    let queued = outbox.try_push("3".into(), SendClass::FailFast).unwrap();
    let held = outbox.try_push("4".into(), HOLD).unwrap();
    assert_eq!(poll(&mut pump, &mut sink).unwrap(), PumpState::Blocked);
    sink.dead = true;
    poll(&mut pump, &mut sink).unwrap_err();
    pump.connection_lost();
    assert_eq!(outcome(handed), Some(SendOutcome::MaybeSent));
    assert_eq!(outcome(queued), Some(DISCONNECTED));
    assert_eq!(outbox.depth(), (2, 2));
    // Nobody knows whether the one arrived; the other was never sent.
    pump.close();
    assert_eq!(outcome(again), Some(SendOutcome::MaybeSent));
    assert_eq!(outcome(held), Some(SendOutcome::NotSent(NotSentReason::ClientGone)));
    assert_eq!(outbox.depth(), (0, 0));
}

/// Only what may arrive twice is sent again: what was held is not, once it was handed to a connection.
#[test]
fn rule_6_a_held_message_that_was_handed_over_is_never_replayed() {
    let (outbox, mut pump) = open();
    let mut sink = Script { room: 1, flushes: false, ..Script::default() };
    let held = outbox.try_push("1".into(), HOLD).unwrap();
    assert_eq!(poll(&mut pump, &mut sink).unwrap(), PumpState::Blocked);
    pump.connection_lost();
    assert_eq!(outcome(held), Some(SendOutcome::MaybeSent));
    assert_eq!(outbox.depth(), (0, 0), "nothing is left to be sent on the next connection");
}

#[test]
fn a_dropped_pump_settles_everything() {
    let (outbox, pump) = open();
    let receipt = outbox.try_push("a".into(), HOLD).unwrap();
    drop(pump);
    assert_eq!(outcome(receipt), Some(SendOutcome::NotSent(NotSentReason::ClientGone)));
    let refused = outbox.try_push("b".into(), HOLD).unwrap_err();
    assert_eq!(refused.reason, NotSentReason::ClientGone);
    let receipt = outbox.push("b".into(), HOLD).now_or_never().unwrap();
    assert_eq!(outcome(receipt), Some(SendOutcome::NotSent(NotSentReason::ClientGone)));
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_held_message_expires_wherever_it_waits() {
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(2));
    let ttl = Duration::from_secs(5);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let later = outbox.try_push("later".into(), HOLD).unwrap();
    pump.poll_closed(&Context::from_waker(&waker));
    let first = outbox.try_push("first".into(), SendClass::Hold { ttl }).unwrap();
    assert!(flag.take(), "an earlier expiry wakes the driver");
    pump.poll_closed(&Context::from_waker(&waker));
    let mut outside = pin!(outbox.push("outside".into(), SendClass::Hold { ttl: ttl * 2 }));
    assert!(outside.as_mut().now_or_never().is_none());
    assert!(!flag.take(), "a later one does not");

    let start = now();
    assert_eq!(pump.next_expiry(), Some(start + ttl));
    pump.expire(start + ttl.saturating_sub(Duration::from_millis(1)));
    assert_eq!(outbox.depth().0, 2);
    pump.set_gate(Gate::Held);
    pump.expire(start + ttl);
    assert_eq!(outcome(first), Some(SendOutcome::NotSent(NotSentReason::Expired)));
    // The one outside was granted its place, and does not use it before it expires.
    assert_eq!(outbox.depth().0, 2);
    assert_eq!(pump.next_expiry(), Some(start + ttl * 2));
    time::advance(ttl * 2).await;
    pump.expire(start + ttl * 2);
    assert_eq!(outcome(outside.await), Some(SendOutcome::NotSent(NotSentReason::Expired)));
    assert_eq!(pump.next_expiry(), Some(start + Duration::from_secs(60)));
    assert_eq!(outbox.depth().0, 1);
    drop(pump);
    assert_eq!(outcome(later), Some(SendOutcome::NotSent(NotSentReason::ClientGone)));
}

#[test]
fn an_idempotent_message_that_was_handed_over_once_never_claims_not_to_be_sent() {
    let (outbox, mut pump) = open();
    let receipt = outbox.try_push("a".into(), SendClass::Idempotent { ttl: Duration::ZERO }).unwrap();
    let mut sink = Script { flushes: false, ..Script::open() };
    poll(&mut pump, &mut sink).unwrap();
    pump.connection_lost();
    pump.expire(now());
    assert_eq!(outcome(receipt), Some(SendOutcome::MaybeSent));
}

#[test]
fn rule_6_the_queue_is_bounded_by_count_and_by_bytes() {
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(2).with_bytes(10));
    pump.set_open(true);
    let push = |len: usize| outbox.try_push(vec![0; len].into(), SendClass::FailFast);
    let mut kept = vec![push(100).unwrap()]; // Larger than the limit: alone only.
    assert_eq!(push(1).unwrap_err().reason, NotSentReason::Full);
    poll(&mut pump, &mut Script::open()).unwrap();
    kept.push(push(4).unwrap());
    assert_eq!(push(7).unwrap_err().reason, NotSentReason::Full);
    kept.push(push(6).unwrap());
    assert_eq!(push(0).unwrap_err().reason, NotSentReason::Full);
    assert_eq!(outbox.depth(), (2, 10));
    // Handed over is not out of the count; flushed is.
    let mut sink = Script { flushes: false, ..Script::open() };
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(push(0).unwrap_err().reason, NotSentReason::Full);
    sink.flushes = true;
    poll(&mut pump, &mut sink).unwrap();
    kept.push(push(0).unwrap());
}

#[test]
fn who_waits_longest_gets_room_first_and_nobody_slips_in() {
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(1));
    pump.set_open(true);
    let mut sink = Script::open();
    let _first = outbox.try_push("0".into(), SendClass::FailFast).unwrap();
    let mut waiting: Vec<_> =
        (1..4).map(|n| Box::pin(outbox.push(n.to_string().into(), SendClass::FailFast))).collect();
    for push in &mut waiting {
        assert!(push.now_or_never().is_none());
    }
    // The second in line gives up: it is not sent, and blocks nobody.
    drop(waiting.remove(1));
    poll(&mut pump, &mut sink).unwrap();
    let slips_in = outbox.try_push("slips in".into(), SendClass::FailFast);
    assert_eq!(slips_in.unwrap_err().reason, NotSentReason::Full);
    assert!((&mut waiting[1]).now_or_never().is_none(), "it is not its turn");
    drop((&mut waiting[0]).now_or_never().expect("has room"));
    poll(&mut pump, &mut sink).unwrap();
    drop((&mut waiting[1]).now_or_never().expect("has room"));
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(sink.texts(), ["0", "1", "3"]);
}

#[test]
fn room_that_was_granted_to_a_dropped_future_goes_to_the_next() {
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(1));
    pump.set_open(true);
    let _first = outbox.try_push("0".into(), SendClass::FailFast).unwrap();
    let mut one = Box::pin(outbox.push("1".into(), SendClass::FailFast));
    let mut two = Box::pin(outbox.push("2".into(), SendClass::FailFast));
    assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
    poll(&mut pump, &mut Script::open()).unwrap();
    drop(one);
    drop(two.now_or_never().expect("has room"));
}

#[test]
fn a_lost_connection_sends_fail_fast_waiters_away_and_keeps_the_others() {
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(1));
    pump.set_open(true);
    let _first = outbox.try_push("0".into(), HOLD).unwrap();
    let mut fail_fast = Box::pin(outbox.push("1".into(), SendClass::FailFast));
    let mut hold = Box::pin(outbox.push("2".into(), HOLD));
    assert!((&mut fail_fast).now_or_never().is_none() && (&mut hold).now_or_never().is_none());
    pump.connection_lost();
    assert_eq!(outcome(fail_fast.now_or_never().unwrap()), Some(DISCONNECTED));
    assert!((&mut hold).now_or_never().is_none());
}

#[test]
fn rule_6_what_is_meant_for_a_connection_goes_on_it_or_not_at_all() {
    let on = |generation| SendClass::OnConnection { generation };
    let (outbox, mut pump) = Pump::new(SendLimits::default());
    assert_eq!(outbox.try_push("0".into(), on(0)).unwrap_err().reason, NotSentReason::NotConnected);
    pump.set_connection(1);
    pump.set_open(true);
    let mut sink = Script::open();
    let first = outbox.try_push("1".into(), on(1)).unwrap();
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(outcome(first), Some(SendOutcome::Flushed));
    let late = outbox.try_push("2".into(), on(1)).unwrap();
    pump.connection_lost();
    assert_eq!(outcome(late), Some(DISCONNECTED));
    pump.set_connection(2);
    pump.set_open(true);
    assert_eq!(outbox.try_push("3".into(), on(1)).unwrap_err().reason, NotSentReason::OtherConnection);
    let receipt = outbox.push("3".into(), on(1)).now_or_never().unwrap();
    assert_eq!(outcome(receipt), Some(SendOutcome::NotSent(NotSentReason::OtherConnection)));
    let second = outbox.try_push("4".into(), on(2)).unwrap();
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(outcome(second), Some(SendOutcome::Flushed));
    assert_eq!(sink.texts(), ["1", "4"]);
}

#[test]
fn what_is_meant_for_a_connection_does_not_go_on_the_one_that_takes_its_place() {
    let on_the_old = SendClass::OnConnection { generation: 1 };
    let other = Some(SendOutcome::NotSent(NotSentReason::OtherConnection));
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(2));
    pump.set_connection(1);
    pump.set_open(true);
    let queued = outbox.try_push("queued".into(), on_the_old).unwrap();
    let any = outbox.try_push("any".into(), SendClass::FailFast).unwrap();
    let mut waits = Box::pin(outbox.push("waits".into(), on_the_old));
    let mut waits_too = Box::pin(outbox.push("waits too".into(), HOLD));
    assert!((&mut waits).now_or_never().is_none() && (&mut waits_too).now_or_never().is_none());
    pump.connection_replaced();
    pump.set_connection(2);
    assert_eq!(outcome(queued), other);
    assert_eq!(outcome(waits.now_or_never().expect("refused")), other);
    let held = waits_too.now_or_never().expect("has the room of the first");
    pump.set_open(true);
    let mut sink = Script::open();
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(sink.texts(), ["any", "waits too"]);
    assert_eq!([outcome(any), outcome(held)], [Some(SendOutcome::Flushed); 2]);
}

#[test]
fn a_stopped_intake_refuses_and_what_is_queued_still_goes() {
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(1));
    pump.set_open(true);
    let queued = outbox.try_push("0".into(), SendClass::FailFast).unwrap();
    let mut waits = Box::pin(outbox.push("1".into(), HOLD));
    assert!((&mut waits).now_or_never().is_none());
    pump.stop_intake();
    assert_eq!(outcome(waits.now_or_never().unwrap()), Some(DISCONNECTED));
    assert_eq!(outbox.try_push("2".into(), HOLD).unwrap_err().reason, NotSentReason::Disconnected);
    assert!(!pump.drained());
    poll(&mut pump, &mut Script::open()).unwrap();
    assert!(pump.drained());
    assert_eq!(outcome(queued), Some(SendOutcome::Flushed));
    pump.connection_lost();
    drop(outbox.try_push("3".into(), HOLD).expect("accepted again"));
}

#[test]
fn the_drivers_own_frames_pass_a_closed_gate_and_go_with_their_connection() {
    let (_outbox, mut pump) = Pump::new(SendLimits::default());
    let mut sink = Script { room: 1, flushes: false, ..Script::default() };
    pump.urgent("1".into());
    pump.urgent("2".into());
    assert_eq!(poll(&mut pump, &mut sink).unwrap(), PumpState::Blocked);
    assert!(!pump.drained());
    pump.connection_lost();
    assert!(pump.drained(), "they belonged to that connection");
}

#[test]
fn one_poll_does_a_bounded_share_and_asks_for_the_next() {
    let (outbox, mut pump) = open();
    for _ in 0..300 {
        drop(outbox.try_push("x".into(), SendClass::FailFast).unwrap());
    }
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut sink = Script::open();
    let mut polls = 0;
    loop {
        polls += 1;
        pump.poll(&mut Context::from_waker(&waker), &mut sink).unwrap();
        if !flag.take() {
            break;
        }
    }
    assert_eq!((polls, sink.fed.len(), sink.flushes_done), (3, 300, 3));
    // And now a push wakes it, once.
    drop(outbox.try_push("x".into(), SendClass::FailFast).unwrap());
    assert!(flag.take());
    drop(outbox.try_push("x".into(), SendClass::FailFast).unwrap());
    assert!(!flag.take());
}

#[test]
fn movement_shows_in_the_progress() {
    let (outbox, mut pump) = open();
    drop(outbox.try_push("x".into(), SendClass::FailFast).unwrap());
    let mut sink = Script { flushes: false, ..Script::open() };
    let still = pump.progress();
    poll(&mut pump, &mut sink).unwrap();
    let stuck = pump.progress();
    assert!(stuck > still, "a message was handed over");
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(pump.progress(), stuck);
    sink.flushes = true;
    poll(&mut pump, &mut sink).unwrap();
    assert!(pump.progress() > stuck, "it only grows: one that came back to what it was would look stuck");
}

#[test]
fn what_was_flushed_is_counted_once_the_drivers_own_frames_too() {
    let (outbox, mut pump) = open();
    pump.urgent("one".into());
    pump.urgent("two".into());
    assert_eq!(pump.urgent_len(), 2);
    drop(outbox.try_push("four".into(), SendClass::FailFast).unwrap());
    drop(outbox.try_push("fifth".into(), SendClass::FailFast).unwrap());
    let mut sink = Script { flushes: false, ..Script::open() };
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!((sink.fed.len(), pump.urgent_len()), (2, 0), "they go first, and are flushed first");
    assert_eq!(pump.take_sent(), (0, 0), "what is handed over is not flushed yet");
    sink.flushes = true;
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!((sink.fed.len(), pump.take_sent(), pump.take_sent()), (4, (4, 15), (0, 0)));
    // What a connection takes with it was not flushed, and does not count for the next one.
    pump.urgent("lost".into());
    sink.flushes = false;
    poll(&mut pump, &mut sink).unwrap();
    pump.connection_lost();
    pump.urgent("new".into());
    sink.flushes = true;
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(pump.take_sent(), (1, 3));
}

#[test]
fn what_a_successor_has_handed_over_is_flushed_and_counted_after_it_took_its_place() {
    let (_outbox, mut pump) = open();
    let (_none, mut successor) = Pump::new(SendLimits::default());
    let mut sink = Script { flushes: false, ..Script::open() };
    successor.urgent("hello".into());
    assert_eq!(poll(&mut successor, &mut sink).unwrap(), PumpState::Blocked);
    pump.connection_replaced();
    pump.adopt(successor);
    assert!(!pump.drained());
    sink.flushes = true;
    poll(&mut pump, &mut sink).unwrap();
    assert!(pump.drained());
    assert_eq!((sink.flushed, pump.take_sent()), (1, (1, 5)));
}

/// A flood of large messages must not keep the driver from reading.
#[test]
fn rule_6_a_turn_ends_after_so_many_bytes_and_asks_for_another() {
    let (outbox, mut pump) = open();
    let large = || Message::binary(vec![0; 200 << 10]);
    (0..3).for_each(|_| drop(outbox.try_push(large(), SendClass::FailFast).unwrap()));
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut sink = Script::open();
    pump.poll(&mut Context::from_waker(&waker), &mut sink).unwrap();
    assert_eq!((sink.fed.len(), flag.take()), (2, true));
    pump.poll(&mut Context::from_waker(&waker), &mut sink).unwrap();
    assert_eq!((sink.fed.len(), flag.take()), (3, false));
}

#[test]
fn rule_6_a_push_wakes_the_driver_only_where_something_flows_or_expires_sooner() {
    let (outbox, mut pump) = open();
    pump.set_gate(Gate::Held);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut sink = Script::open();
    let fail_fast = || drop(outbox.try_push("x".into(), SendClass::FailFast).unwrap());
    pump.poll(&mut Context::from_waker(&waker), &mut sink).unwrap();
    fail_fast();
    assert!(!flag.take(), "the gate is closed");
    pump.set_gate(Gate::Open);
    pump.poll(&mut Context::from_waker(&waker), &mut sink).unwrap();
    assert_eq!(sink.fed.len(), 1);
    fail_fast();
    assert!(flag.take(), "it is open");
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_push_that_expires_at_the_same_moment_wakes_nobody() {
    let (outbox, mut pump) = Pump::new(SendLimits::default());
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    pump.poll_closed(&Context::from_waker(&waker));
    drop(outbox.try_push("a".into(), HOLD).unwrap());
    assert!(flag.take());
    pump.poll_closed(&Context::from_waker(&waker));
    drop(outbox.try_push("b".into(), HOLD).unwrap());
    assert!(!flag.take());
}

#[test]
fn rule_6_what_waits_for_room_when_the_client_goes_is_told_so() {
    let (outbox, mut pump) = Pump::new(SendLimits::default().with_messages(1));
    pump.set_open(true);
    let _kept = outbox.try_push("kept".into(), SendClass::FailFast).unwrap();
    let mut outside = pin!(outbox.push("outside".into(), HOLD));
    assert!(outside.as_mut().now_or_never().is_none());
    drop(pump);
    let receipt = outside.now_or_never().unwrap();
    assert_eq!(outcome(receipt), Some(SendOutcome::NotSent(NotSentReason::ClientGone)));
}

#[test]
fn rule_6_what_is_pushed_at_once_neither_exceeds_the_queue_nor_overtakes_who_waits() {
    let at_once =
        |outbox: &Outbox, message: &'static str| outbox.push(message.into(), HOLD).now_or_never().is_some();
    let (outbox, _pump) = Pump::new(SendLimits::default().with_messages(1));
    assert!(at_once(&outbox, "first"));
    assert!(!at_once(&outbox, "second"), "there is no room");

    let (outbox, _pump) = Pump::new(SendLimits::default().with_bytes(10));
    assert!(at_once(&outbox, "eight..."));
    let mut waits = pin!(outbox.push("also eight".into(), HOLD));
    assert!(waits.as_mut().now_or_never().is_none());
    assert!(!at_once(&outbox, "x"), "there is room for it, and another waits longer");
    assert_eq!(outbox.depth(), (1, 8), "who waits no more has left nothing");
}

#[test]
fn a_receipt_wakes_whoever_asked_last_and_keeps_one_waker() {
    let (mut ledger, marks) = (Ledger::default(), Marks::default());
    let number = ledger.number();
    let flags: Vec<_> = (0..2).map(|_| Arc::new(Flag::default())).collect();
    let wakers: Vec<_> = flags.iter().cloned().map(Waker::from).collect();
    assert!(ledger.poll(number, &wakers[0]).1.is_none());
    assert!(ledger.poll(number, &wakers[0]).1.is_none(), "the same is kept, and none displaced");
    assert!(ledger.poll(number, &wakers[1]).1.is_some_and(|displaced| displaced.will_wake(&wakers[0])));
    let mut woken = Vec::new();
    ledger.flushed_below(number + 1, &marks, &mut woken);
    assert!(woken.len() == 1 && woken[0].will_wake(&wakers[1]));
    assert_eq!(ledger.poll(number, &wakers[1]).0, Poll::Ready(SendOutcome::Flushed));
}

#[test]
fn only_what_was_flushed_is_flushed() {
    assert!(SendOutcome::Flushed.is_flushed());
    assert!(!SendOutcome::MaybeSent.is_flushed() && !DISCONNECTED.is_flushed());
}

#[test]
fn what_nobody_may_send_is_refused_when_it_is_given_and_given_back() {
    let invalid = Message::Ping(vec![0; 126].into());
    let close = |code| Message::close(code, "mine");
    let bad = [
        (invalid, NotSentReason::Invalid),
        (close(CloseCode::ABNORMAL), NotSentReason::CloseFrame),
        (close(CloseCode::NORMAL), NotSentReason::CloseFrame),
    ];
    for gate in [Gate::Closed, Gate::Open] {
        for (message, reason) in &bad {
            let (outbox, mut pump) = Pump::new(SendLimits::default());
            pump.set_gate(gate);
            for class in [SendClass::FailFast, IDEMPOTENT] {
                let refused = outbox.try_push(message.clone(), class).unwrap_err();
                assert_eq!((&refused.message, refused.reason), (message, *reason));
                let pushed = outbox.push(message.clone(), class).now_or_never();
                assert_eq!(pushed.and_then(outcome), Some(SendOutcome::NotSent(*reason)));
            }
            assert_eq!(outbox.depth(), (0, 0));
        }
        let (outbox, mut pump) = open();
        pump.set_gate(gate);
        let ping = Message::Ping(vec![0; 125].into());
        assert!(outbox.try_push(ping, HOLD).is_ok(), "what may be sent is not refused");
    }
}

#[test]
fn a_message_that_the_connection_refuses_is_not_sent_again_and_the_connection_stays() {
    for (kind, reason) in
        [(TOO_LARGE, NotSentReason::TooLarge), (EngineErrorKind::InvalidRequest, NotSentReason::Invalid)]
    {
        let (outbox, mut pump) = open();
        let refused = outbox.try_push("refused".into(), IDEMPOTENT).unwrap();
        let mut sink = Script { refuses: Some((3, kind)), ..Script::open() };
        assert_eq!(poll(&mut pump, &mut sink).unwrap(), PumpState::Idle);
        assert_eq!(outcome(refused), Some(SendOutcome::NotSent(reason)));
        assert_eq!(outbox.depth(), (0, 0));
        assert!(pump.drained() && sink.fed.is_empty());
    }
}

#[test]
fn an_error_that_is_not_for_one_message_ends_the_connection() {
    let (outbox, mut pump) = open();
    let receipt = outbox.try_push("half".into(), SendClass::FailFast).unwrap();
    let mut sink = Script { refuses: Some((3, EngineErrorKind::Io)), ..Script::open() };
    assert_eq!(poll(&mut pump, &mut sink).unwrap_err().kind(), EngineErrorKind::Io);
    pump.connection_lost();
    assert_eq!(outcome(receipt), Some(SendOutcome::MaybeSent));
    // What is the client's own is not left out: the connection is nothing without it.
    pump.set_open(true);
    pump.urgent("auth".into());
    let mut sink = Script { refuses: Some((3, TOO_LARGE)), ..Script::open() };
    assert_eq!(poll(&mut pump, &mut sink).unwrap_err().kind(), TOO_LARGE);
}

#[test]
fn a_message_that_an_earlier_connection_had_may_have_arrived_though_this_one_refuses_it() {
    let (outbox, mut pump) = open();
    let receipt = outbox.try_push("large".into(), IDEMPOTENT).unwrap();
    poll(&mut pump, &mut Script { flushes: false, ..Script::open() }).unwrap();
    pump.connection_lost();
    pump.set_open(true);
    poll(&mut pump, &mut Script { refuses: Some((3, TOO_LARGE)), ..Script::open() }).unwrap();
    assert_eq!(outcome(receipt), Some(SendOutcome::MaybeSent));
}

#[test]
fn a_message_that_was_refused_is_not_flushed_with_those_around_it() {
    let (outbox, mut pump) = open();
    let [before, refused, behind] =
        ["x", "too large", "y"].map(|text| outbox.try_push(text.into(), SendClass::FailFast).unwrap());
    let mut sink = Script { refuses: Some((3, TOO_LARGE)), ..Script::open() };
    poll(&mut pump, &mut sink).unwrap();
    assert_eq!(sink.texts(), ["x", "y"]);
    assert_eq!([before, behind].map(outcome), [Some(SendOutcome::Flushed); 2]);
    assert_eq!(outcome(refused), Some(SendOutcome::NotSent(NotSentReason::TooLarge)));
}

#[test]
fn nothing_is_kept_of_receipts_once_their_messages_are_flushed() {
    let (outbox, mut pump) = open();
    let mut sink = Script::open();
    for _ in 0..1000 {
        let mut asked = outbox.try_push("x".into(), SendClass::FailFast).unwrap();
        assert!(asked.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
        let kept = outbox.try_push("y".into(), SendClass::FailFast).unwrap();
        drop(outbox.try_push("z".into(), SendClass::FailFast).unwrap());
        poll(&mut pump, &mut sink).unwrap();
        assert_eq!(outbox.lock().ledger.kept(), (0, 0));
        assert_eq!([asked, kept].map(outcome), [Some(SendOutcome::Flushed); 2]);
    }
}

#[test]
fn a_receipt_may_be_dropped_with_its_task_by_the_very_wake_that_settles_it() {
    // The waker of the first receipt holds the second; settled, displaced or dropped, it must not be dropped
    // under the lock, which the second receipt's drop takes.
    struct Holder(#[expect(dead_code, reason = "held for its drop")] std::sync::Mutex<Option<Receipt>>);
    impl Wake for Holder {
        fn wake(self: Arc<Self>) {}
    }
    let (outbox, mut pump) = open();
    let held = |outbox: &Outbox| {
        let receipt = outbox.try_push("held".into(), SendClass::FailFast).unwrap();
        Waker::from(Arc::new(Holder(std::sync::Mutex::new(Some(receipt)))))
    };
    let mut first = outbox.try_push("x".into(), SendClass::FailFast).unwrap();
    for _ in 0..2 {
        let waker = held(&outbox);
        assert!(first.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    }
    poll(&mut pump, &mut Script::open()).unwrap();
    let mut second = outbox.try_push("x".into(), SendClass::FailFast).unwrap();
    let waker = held(&outbox);
    assert!(second.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    drop(second);
    assert_eq!(outcome(first), Some(SendOutcome::Flushed));
}

#[test]
fn refused_messages_print_no_payload() {
    let error = TrySendError::new("s3cret".into(), NotSentReason::Full);
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

/// What is in flight cannot expire. When it comes back, it can again, though others have expired meanwhile.
#[tokio::test(start_paused = true)]
async fn rule_6_what_comes_back_from_a_lost_or_replaced_connection_still_expires() {
    for lose in [Pump::connection_lost, Pump::connection_replaced] {
        let (outbox, mut pump) = open();
        let (start, ttl) = (now(), Duration::from_secs(5));
        let mut again = outbox.try_push("a".into(), SendClass::Idempotent { ttl }).unwrap();
        let hold = SendClass::Hold { ttl: Duration::from_secs(1) };
        let other = outbox.try_push("b".into(), hold).unwrap();
        poll(&mut pump, &mut Script { room: 1, ..Script::default() }).unwrap();
        pump.expire(start + Duration::from_secs(1));
        assert_eq!(outcome(other), Some(SendOutcome::NotSent(NotSentReason::Expired)));
        assert_eq!(pump.next_expiry(), None, "no timer is set for what is in flight");
        lose(&mut pump);
        assert_eq!(pump.next_expiry(), Some(start + ttl));
        pump.expire(start + ttl);
        assert_eq!((&mut again).now_or_never(), Some(SendOutcome::MaybeSent));
        assert_eq!(outbox.depth(), (0, 0));
    }
}
