//! Both halves, in both directions, over a link that drops on purpose.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn limits(messages: usize) -> ReliableLimits {
    ReliableLimits::default().with_messages(messages)
}

#[test]
fn unacknowledged_messages_are_bounded_by_count_and_by_bytes() {
    let mut sender = ReliableSender::new(limits(2).with_bytes(10));
    assert_eq!(sender.push("large", 100), Ok(1));
    assert_eq!(sender.push("b", 1), Err(Full("b")));
    assert_eq!(sender.acked(1), Ok(1));
    assert_eq!(sender.push("b", 4), Ok(2));
    assert_eq!(sender.push("c", 7), Err(Full("c")));
    assert_eq!(sender.push("c", 6), Ok(3));
    assert_eq!(sender.push("d", 0), Err(Full("d")));
    assert_eq!(sender.unacked().collect::<Vec<_>>(), [(2, &"b"), (3, &"c")]);
}

#[test]
fn a_late_acknowledgement_settles_nothing_and_an_impossible_one_is_refused() {
    let mut sender = ReliableSender::new(limits(8));
    (0..3).for_each(|n| assert!(sender.push(n, 1).is_ok()));
    assert_eq!(sender.acked(2), Ok(2));
    assert_eq!(sender.acked(1), Ok(0));
    assert_eq!(sender.acked(4), Err(ResumeFailed { claimed: 4, sent: 3 }));
    assert_eq!(sender.len(), 1);
}

#[test]
fn a_peer_that_lost_what_it_had_shows_as_a_gap() {
    let mut sender = ReliableSender::new(limits(8));
    (0..5).for_each(|n| assert!(sender.push(n, 1).is_ok()));
    sender.acked(3).unwrap();
    let resumed = sender.resume(1).unwrap();
    assert_eq!(resumed, Resumed { replayed: 2, gap: Some(Gap { from: 2, to: 3 }) });
    assert_eq!(resumed.gap.unwrap().count(), 2);
    assert_eq!(sender.unacked().map(|(number, _)| number).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_failed_resume_gives_the_messages_back_and_begins_anew() {
    let mut sender = ReliableSender::new(limits(8));
    (0..3).for_each(|n| assert!(sender.push(n, 1).is_ok()));
    sender.acked(1).unwrap();
    assert!(sender.resume(9).is_err());
    assert_eq!(sender.restart().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(sender.push(7, 1), Ok(1));
}

#[test]
fn duplicates_are_dropped_order_is_kept_and_holes_are_named() {
    let mut receiver = ReliableReceiver::new(limits(4));
    assert_eq!(receiver.receive(0, 'x'), Received::Duplicate);
    assert_eq!(receiver.receive(3, 'c'), Received::New);
    assert_eq!(receiver.receive(3, 'x'), Received::Duplicate);
    assert_eq!(receiver.missing(), Some(Gap { from: 1, to: 2 }));
    assert_eq!(receiver.pop(), None);
    assert_eq!(receiver.receive(5, 'x'), Received::BeyondWindow);
    assert_eq!(receiver.receive(u64::MAX, 'x'), Received::BeyondWindow);
    assert_eq!(receiver.receive(1, 'a'), Received::New);
    assert_eq!(receiver.pop(), Some((1, 'a')));
    assert_eq!((receiver.pop(), receiver.ack()), (None, 1));
    assert_eq!(receiver.receive(1, 'x'), Received::Duplicate);
    assert_eq!(receiver.receive(2, 'b'), Received::New);
    assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some((2, 'b')), Some((3, 'c')), None));
    assert_eq!((receiver.ack(), receiver.missing()), (3, None));
}

#[test]
fn what_the_peer_has_no_more_is_skipped_and_what_is_there_comes_back() {
    let mut receiver = ReliableReceiver::new(limits(8));
    receiver.receive(2, 'b');
    receiver.receive(5, 'e');
    let skipped = receiver.skip(4);
    assert_eq!((skipped.received, skipped.lost), (vec![(2, 'b')], 3));
    assert_eq!(receiver.pop(), Some((5, 'e')));
    assert_eq!(receiver.skip(1).lost, 0);
    assert_eq!(receiver.skip(u64::MAX).lost, u64::MAX - 5);
    receiver.restart();
    assert_eq!(receiver.ack(), 0);
}

#[test]
fn each_half_tells_how_far_it_is_and_prints_no_message() {
    let mut sender = ReliableSender::new(limits(2));
    assert_eq!((sender.sent(), sender.len(), sender.is_empty()), (0, 0, true));
    sender.push("s3cret", 6).unwrap();
    sender.push("s3cret", 7).unwrap();
    assert_eq!((sender.sent(), sender.len(), sender.is_empty()), (2, 2, false));
    assert_eq!(format!("{sender:?}"), "ReliableSender { sent: 2, unacked: 2, bytes: 13, .. }");
    let full = sender.push("s3cret", 1).unwrap_err();
    assert_eq!(format!("{full}, {full:?}"), "too many messages are not acknowledged yet, Full(..)");
    sender.acked(2).unwrap();
    assert_eq!((sender.sent(), sender.len(), sender.is_empty()), (2, 0, true));
    assert_eq!(format!("{sender:?}"), "ReliableSender { sent: 2, unacked: 0, bytes: 0, .. }");

    let mut receiver = ReliableReceiver::new(limits(2));
    receiver.receive(2, "s3cret");
    assert_eq!(
        format!("{receiver:?}"),
        "ReliableReceiver { taken: 0, missing: Some(Gap { from: 1, to: 1 }), .. }"
    );
}

#[test]
fn a_limit_of_no_messages_lets_one_through_at_a_time() {
    let mut sender = ReliableSender::new(limits(0));
    assert_eq!(sender.push('a', 1), Ok(1));
    assert_eq!(sender.push('b', 1), Err(Full('b')));
    let mut receiver = ReliableReceiver::new(limits(0));
    assert_eq!(receiver.receive(2, 'b'), Received::BeyondWindow);
    assert_eq!(receiver.receive(1, 'a'), Received::New);
}

#[test]
fn a_session_that_cannot_go_on_says_why() {
    let error = ReliableSender::<u8>::new(limits(1)).resume(3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer acknowledges message 3, and only 0 were sent: start a new session"
    );
}

/// One side of a session.
struct Side {
    sender: ReliableSender<u64>,
    receiver: ReliableReceiver<u64>,
    /// How many it still has to say, and what was said last.
    to_say: u64,
    said: u64,
    heard: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Frame {
    Message(u64, u64),
    Ack(u64),
}

impl Side {
    fn new(to_say: u64, window: usize) -> Self {
        let (sender, receiver) = (ReliableSender::new(limits(window)), ReliableReceiver::new(limits(window)));
        Self { sender, receiver, to_say, said: 0, heard: Vec::new() }
    }

    fn say(&mut self, link: &mut VecDeque<Frame>) {
        if self.said < self.to_say
            && let Ok(number) = self.sender.push(self.said, 8)
        {
            link.push_back(Frame::Message(number, self.said));
            self.said += 1;
        }
    }

    fn hear(&mut self, frame: Frame) {
        match frame {
            Frame::Ack(up_to) => {
                self.sender.acked(up_to).expect("an honest peer");
            }
            Frame::Message(number, payload) => {
                self.receiver.receive(number, payload);
                self.heard.extend(std::iter::from_fn(|| self.receiver.pop()).map(|(_, payload)| payload));
            }
        }
    }

    fn resume(&mut self, peer_has: u64, link: &mut VecDeque<Frame>) {
        let resumed = self.sender.resume(peer_has).expect("an honest peer");
        assert_eq!(resumed.gap, None);
        link.extend(self.sender.unacked().map(|(number, payload)| Frame::Message(number, *payload)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Each message exactly once and in order, in both directions, whatever is lost with 100 connections.
    #[test]
    fn exactly_once_and_in_order_across_100_drops_in_both_directions(
        window in 1..64usize,
        steps in proptest::collection::vec(proptest::collection::vec(0..6u8, 0..40), 100),
    ) {
        let mut sides = [Side::new(300, window), Side::new(300, window)];
        // What is on its way to each side.
        let mut links = [VecDeque::new(), VecDeque::new()];
        let drops = steps.len();
        for connection in steps {
            for step in connection {
                let (from, to) = (usize::from(step % 2), usize::from(1 - step % 2));
                match step / 2 {
                    0 => sides[from].say(&mut links[to]),
                    1 => if let Some(frame) = links[to].pop_front() {
                        sides[to].hear(frame);
                    },
                    _ => {
                        let ack = sides[from].receiver.ack();
                        links[to].push_back(Frame::Ack(ack));
                    }
                }
            }
            // The connection drops with all that is on its way, and a new one resumes.
            let acks = [sides[0].receiver.ack(), sides[1].receiver.ack()];
            for side in 0..2 {
                links[1 - side].clear();
                sides[side].resume(acks[1 - side], &mut links[1 - side]);
            }
        }
        prop_assert_eq!(drops, 100);
        // The last connection lives until all is said and acknowledged.
        for _ in 0..100_000 {
            for side in 0..2 {
                let ack = sides[side].receiver.ack();
                links[1 - side].push_back(Frame::Ack(ack));
                sides[side].say(&mut links[1 - side]);
                while let Some(frame) = links[side].pop_front() {
                    sides[side].hear(frame);
                }
            }
            if sides.iter().all(|side| side.said == side.to_say && side.sender.is_empty()) {
                break;
            }
        }
        for side in &sides {
            prop_assert!(side.heard.iter().copied().eq(0..300), "heard {:?}", side.heard);
        }
    }
}
