//! What is read without the lock: every order in which it can be seen, then real threads.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
    thread,
};

use everwire_engine::Message;
use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::{
    super::{
        ledger::{Ledger, Marks},
        *,
    },
    HOLD, IDEMPOTENT, Script, open, outcome, poll,
};

/// What a driver does with the messages that are not settled, oldest first.
#[derive(Clone, Copy, Debug)]
enum Act {
    Accept,
    /// So many of the oldest are flushed; those among them that had an exception stay exceptions.
    Flush(usize),
    Except(usize),
    GiveUp(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Accept),
        2 => (1..6usize).prop_map(Act::Flush),
        1 => (0..6usize).prop_map(Act::Except),
        1 => (0..6usize).prop_map(Act::GiveUp),
    ]
}

proptest! {
    /// A receipt looks at the one mark and then at the other, while the driver writes one at a time. Whatever moments
    /// it catches: if the marks tell that a message was flushed, it was.
    #[test]
    fn rule_6_the_marks_never_lie_whenever_they_are_looked_at(acts in prop::collection::vec(act(), 1..60)) {
        let (mut ledger, marks) = (Ledger::default(), Marks::default());
        let (mut pending, mut given_up) = (VecDeque::new(), HashSet::new());
        let mut outcomes = HashMap::new();
        let mut moments = vec![marks.look()];
        for act in acts {
            match act {
                Act::Accept => pending.push_back(ledger.number()),
                Act::Flush(count) => {
                    let through: Vec<u64> = pending.drain(..count.min(pending.len())).collect();
                    let Some(last) = through.last() else { continue };
                    ledger.flushed_below(last + 1, &marks, &mut Vec::new());
                    outcomes.extend(through.into_iter().map(|number| (number, SendOutcome::Flushed)));
                }
                Act::Except(at) => {
                    let Some(number) = pending.remove(at) else { continue };
                    drop(ledger.except(number, SendOutcome::MaybeSent, &marks));
                    outcomes.insert(number, SendOutcome::MaybeSent);
                }
                Act::GiveUp(at) => {
                    let Some(&number) = pending.get(at) else { continue };
                    drop(ledger.give_up(number));
                    given_up.insert(number);
                }
            }
            moments.push(marks.look());
        }
        let numbers = 0..ledger.number();
        for (at, (settled, _)) in moments.iter().enumerate() {
            for (_, regular) in &moments[at..] {
                for number in numbers.clone().filter(|number| number < settled && number >= regular) {
                    prop_assert_eq!(outcomes.get(&number), Some(&SendOutcome::Flushed), "{}", number);
                }
            }
        }
        for number in numbers.filter(|number| !given_up.contains(number)) {
            let told = outcomes.get(&number).map_or(Poll::Pending, |outcome| Poll::Ready(*outcome));
            prop_assert_eq!(ledger.poll(number, Waker::noop()).0, told, "{}", number);
        }
    }
}

#[test]
fn the_marks_tell_of_a_message_next_to_an_exception() {
    let (mut ledger, marks) = (Ledger::default(), Marks::default());
    let numbers = [0; 3].map(|_| ledger.number());
    assert!(ledger.except(numbers[0], SendOutcome::MaybeSent, &marks).is_none());
    ledger.flushed_below(numbers[2], &marks, &mut Vec::new());
    assert_eq!(numbers.map(|number| marks.tell_flushed(number)), [false, true, false]);
}

/// One that waits for long must not make the ledger remember all that came and went behind it.
#[test]
fn what_is_kept_of_receipts_grows_with_those_that_wait_and_not_with_time() {
    let (mut ledger, marks) = (Ledger::default(), Marks::default());
    let ask = |ledger: &mut Ledger| {
        let number = ledger.number();
        assert!(ledger.poll(number, Waker::noop()).0.is_pending());
        number
    };
    let [first, second, third] = [0; 3].map(|_| ask(&mut ledger));
    drop(ledger.except(first, SendOutcome::MaybeSent, &marks));
    assert_eq!(ledger.kept(), (2, 1), "none is kept in front");
    drop(ledger.except(third, SendOutcome::MaybeSent, &marks));
    assert_eq!(ledger.kept(), (1, 2), "nor behind");
    let mut last = ask(&mut ledger);
    for _ in 0..1000 {
        let next = ask(&mut ledger);
        drop(ledger.except(last, SendOutcome::MaybeSent, &marks));
        assert_eq!(ledger.poll(last, Waker::noop()).0, Poll::Ready(SendOutcome::MaybeSent));
        last = next;
        assert!(ledger.kept().0 <= 4, "{:?}", ledger.kept());
    }
    let mut woken = Vec::new();
    ledger.flushed_below(last + 1, &marks, &mut woken);
    assert_eq!((woken.len(), ledger.kept()), (2, (0, 2)), "{second} and {last} were flushed");
}

/// What a thread that sends knows of its messages in the end.
type Known = Vec<(String, SendOutcome)>;

/// Sends until it is told to stop; asks some receipts early, drops some, and keeps the rest for later.
fn sender(name: usize, outbox: &Outbox, done: &AtomicBool) -> (Known, VecDeque<(String, Receipt)>) {
    let mut random = fastrand::Rng::with_seed(name as u64);
    let (mut known, mut kept) = (Vec::new(), VecDeque::new());
    let classes = [SendClass::FailFast, HOLD, IDEMPOTENT];
    for n in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{name}:{n}");
        let class = *random.choice(&classes).expect("there are some");
        match outbox.try_push(text.clone().into(), class) {
            Ok(receipt) if random.u8(..) < 16 => drop(receipt),
            Ok(receipt) => kept.push_back((text, receipt)),
            Err(_) => thread::yield_now(),
        }
        let at = if random.bool() { 0 } else { random.usize(..=kept.len()) };
        if let Some((text, mut receipt)) = kept.remove(at) {
            match receipt.poll_unpin(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => known.push((text, outcome)),
                Poll::Pending => kept.insert(at, (text, receipt)),
            }
        }
    }
    (known, kept)
}

#[test]
fn rule_6_threads_that_send_and_ask_while_connections_die_hear_the_truth() {
    let (outbox, mut pump) = open();
    let done = AtomicBool::new(false);
    let mut random = fastrand::Rng::with_seed(7);
    let mut sinks = vec![Script::open()];
    let known: Known = thread::scope(|scope| {
        let threads = [1, 2, 3].map(|name| {
            let (outbox, done) = (&outbox, &done);
            scope.spawn(move || sender(name, outbox, done))
        });
        let (mut fed, mut unconfirmed) = (0, 0);
        // However the threads are scheduled: so many messages flow, and so many connections die with some on their way.
        while fed < 20_000 || unconfirmed < 50 {
            let sink = sinks.last_mut().expect("there is one");
            sink.flushes = random.u8(..) < 200;
            sink.dead = random.u8(..) < 4;
            if poll(&mut pump, sink).is_err() {
                fed += sink.flushed;
                unconfirmed += usize::from(sink.flushed < sink.fed.len());
                pump.connection_lost();
                sinks.push(Script::open());
                pump.set_open(true);
            }
        }
        done.store(true, Ordering::Relaxed);
        pump.close();
        let told = threads.map(|thread| thread.join().expect("no thread panics"));
        told.into_iter()
            .flat_map(|(known, kept)| {
                let rest =
                    kept.into_iter().map(|(text, receipt)| (text, outcome(receipt).expect("all is over")));
                known.into_iter().chain(rest)
            })
            .collect()
    });
    let mut seen: HashMap<&str, bool> = HashMap::new();
    for sink in &sinks {
        for (at, text) in sink.fed.iter().filter_map(Message::as_text).enumerate() {
            *seen.entry(text).or_default() |= at < sink.flushed;
        }
    }
    for (text, outcome) in &known {
        let expected = match outcome {
            SendOutcome::Flushed => Some(&true),
            SendOutcome::MaybeSent => Some(&false),
            SendOutcome::NotSent(_) => None,
        };
        assert_eq!(seen.get(text.as_str()), expected, "{text} was {outcome}");
    }
    for outcome in [SendOutcome::Flushed, SendOutcome::MaybeSent] {
        assert!(known.iter().any(|(_, known)| *known == outcome), "some were {outcome}");
    }
    assert_eq!(outbox.lock().ledger.kept(), (0, 0));
    assert_eq!(outbox.depth(), (0, 0));
}
