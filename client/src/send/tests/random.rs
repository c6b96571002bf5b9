//! All rules of sending at once: steps drawn at random, against a world that knows what must be true.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    TryPush(SendClass, usize),
    Push(SendClass, usize),
    PollPushes,
    DropPush(usize),
    DropReceipt(usize),
    Ask(usize),
    Urgent,
    Room(usize),
    Flushes(bool),
    Poll,
    Die,
    Replace,
    Gate(Gate),
    StopIntake,
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![
        Just(SendClass::FailFast),
        (1..4u64).prop_map(|generation| SendClass::OnConnection { generation }),
        (0..30u64).prop_map(|secs| SendClass::Hold { ttl: Duration::from_secs(secs) }),
        (0..30u64).prop_map(|secs| SendClass::Idempotent { ttl: Duration::from_secs(secs) }),
    ];
    prop_oneof![
        4 => (class.clone(), 1..12usize).prop_map(|(class, size)| Step::TryPush(class, size)),
        4 => (class, 1..12usize).prop_map(|(class, size)| Step::Push(class, size)),
        3 => Just(Step::PollPushes),
        1 => (0..8usize).prop_map(Step::DropPush),
        1 => (0..8usize).prop_map(Step::DropReceipt),
        3 => (0..8usize).prop_map(Step::Ask),
        1 => Just(Step::Urgent),
        2 => (0..6usize).prop_map(Step::Room),
        2 => any::<bool>().prop_map(Step::Flushes),
        6 => Just(Step::Poll),
        1 => Just(Step::Die),
        1 => Just(Step::Replace),
        3 => prop_oneof![Just(Gate::Closed), Just(Gate::Held), Just(Gate::Open)].prop_map(Step::Gate),
        1 => Just(Step::StopIntake),
        2 => (0..10u64).prop_map(Step::Advance),
    ]
}

/// Everything that is known of one message of the random test.
struct Sent {
    class: SendClass,
    /// Since how many losses the connections were unbroken on which it was accepted.
    accepted_in: Option<usize>,
    /// The how many-th it was to be accepted.
    turn: usize,
    receipt: Option<Receipt>,
    /// Woken when the outcome is there, once somebody has asked for it.
    asked: Option<Arc<Flag>>,
    dropped: bool,
    outcome: Option<SendOutcome>,
}

/// Runs the queue through a random story, and checks each message's fate in the end.
struct World {
    /// Leaked, so that what borrows it can stand beside it.
    outbox: &'static Outbox,
    pump: Pump,
    connections: Vec<Script>,
    /// For each connection how many were lost before it; one that is replaced is not lost.
    lost_before: Vec<usize>,
    losses: usize,
    connected: bool,
    sent: Vec<Sent>,
    turns: usize,
    pushes: Vec<(usize, Pin<Box<Push<'static>>>, Arc<Flag>)>,
}

const LIMITS: SendLimits = SendLimits { messages: 5, bytes: 30 };

impl World {
    fn new() -> Self {
        let (outbox, pump) = Pump::new(LIMITS);
        Self {
            outbox: Box::leak(Box::new(outbox)),
            pump,
            connections: Vec::new(),
            lost_before: Vec::new(),
            losses: 0,
            connected: false,
            sent: Vec::new(),
            turns: 0,
            pushes: Vec::new(),
        }
    }

    fn message(&mut self, class: SendClass, size: usize) -> Message {
        let id = self.sent.len();
        self.sent.push(Sent {
            class,
            accepted_in: None,
            turn: 0,
            receipt: None,
            asked: None,
            dropped: false,
            outcome: None,
        });
        format!("{id:.<size$}").into()
    }

    fn accept(&mut self, id: usize, receipt: Receipt) {
        self.turns += 1;
        self.sent[id].turn = self.turns;
        self.sent[id].accepted_in = self.connected.then_some(self.losses);
        self.sent[id].receipt = Some(receipt);
    }

    /// Polls only what was woken: a lost wake-up leaves somebody waiting for ever.
    fn poll_pushes(&mut self) {
        for (id, mut push, flag) in std::mem::take(&mut self.pushes) {
            let waker = Waker::from(Arc::clone(&flag));
            if !flag.take() {
                self.pushes.push((id, push, flag));
                continue;
            }
            match push.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(receipt) => self.accept(id, receipt),
                Poll::Pending => self.pushes.push((id, push, flag)),
            }
        }
    }

    /// Whoever has asked is woken as soon as the outcome is there, and not before.
    fn ask(&mut self) {
        for (id, sent) in self.sent.iter_mut().enumerate() {
            let (Some(receipt), Some(flag)) = (&mut sent.receipt, &sent.asked) else { continue };
            let (waker, woken) = (Waker::from(Arc::clone(flag)), flag.take());
            let poll = receipt.poll_unpin(&mut Context::from_waker(&waker));
            assert_eq!(poll.is_ready(), woken, "{id}");
            if let Poll::Ready(outcome) = poll {
                sent.receipt = None;
                assert!(sent.outcome.replace(outcome).is_none(), "one outcome each");
            }
        }
    }

    fn lose(&mut self) {
        self.pump.connection_lost();
        self.connected = false;
        self.losses += 1;
    }

    fn open(&mut self) {
        self.connections.push(Script { room: 3, flushes: true, ..Script::default() });
        self.lost_before.push(self.losses);
        self.connected = true;
        self.pump.set_connection(self.connections.len() as u64);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::TryPush(class, size) => {
                let message = self.message(class, size);
                let id = self.sent.len() - 1;
                match self.outbox.try_push(message.clone(), class) {
                    Ok(receipt) => self.accept(id, receipt),
                    Err(error) => {
                        assert_eq!(error.message, message);
                        self.sent[id].outcome = Some(SendOutcome::NotSent(error.reason));
                    }
                }
            }
            Step::Push(class, size) => {
                let message = self.message(class, size);
                let push = Box::pin(self.outbox.push(message, class));
                let flag = Arc::new(Flag(AtomicBool::new(true)));
                self.pushes.push((self.sent.len() - 1, push, flag));
                self.poll_pushes();
            }
            Step::PollPushes => self.poll_pushes(),
            Step::DropPush(n) if n < self.pushes.len() => {
                let (id, ..) = self.pushes.remove(n);
                self.sent[id].outcome = Some(SendOutcome::NotSent(NotSentReason::Full));
            }
            Step::DropReceipt(n) => {
                if let Some(sent) = self.sent.iter_mut().filter(|sent| sent.receipt.is_some()).nth(n) {
                    (sent.receipt, sent.dropped) = (None, true);
                }
            }
            Step::Ask(n) => {
                if let Some(sent) = self.sent.iter_mut().filter(|sent| sent.receipt.is_some()).nth(n) {
                    let receipt = sent.receipt.as_mut().expect("filtered");
                    let flag = sent.asked.get_or_insert_default();
                    let waker = Waker::from(Arc::clone(flag));
                    if let Poll::Ready(outcome) = receipt.poll_unpin(&mut Context::from_waker(&waker)) {
                        sent.receipt = None;
                        assert!(sent.outcome.replace(outcome).is_none(), "one outcome each");
                    }
                }
            }
            Step::Urgent if self.connected => self.pump.urgent("urgent".into()),
            Step::Room(room) => self.connections.last_mut().into_iter().for_each(|sink| sink.room = room),
            Step::Flushes(yes) => self.connections.last_mut().into_iter().for_each(|sink| sink.flushes = yes),
            Step::Poll if self.connected => {
                let sink = self.connections.last_mut().expect("connected");
                if poll(&mut self.pump, sink).is_err() {
                    self.lose();
                }
            }
            Step::Die if self.connected => self.connections.last_mut().expect("connected").dead = true,
            Step::Replace if self.connected => {
                self.pump.connection_replaced();
                self.open();
            }
            Step::Gate(gate) => {
                if gate != Gate::Closed && !self.connected {
                    self.open();
                }
                self.pump.set_gate(gate);
            }
            Step::StopIntake => self.pump.stop_intake(),
            _ => {}
        }
        let (messages, bytes) = self.outbox.depth();
        assert!(messages <= LIMITS.messages && (bytes <= LIMITS.bytes || messages == 1));
        let shared = self.outbox.lock();
        let first = self.pump.first_expiry(&shared);
        let in_time = first.is_none_or(|first| shared.earliest.is_some_and(|earliest| earliest <= first));
        assert!(in_time, "the timer is set for {:?}, and {first:?} waits", shared.earliest);
    }

    async fn run(mut self, steps: Vec<Step>) {
        for step in steps {
            if let Step::Advance(secs) = step {
                time::advance(Duration::from_secs(secs)).await;
                // The waker is not looked at in this test, so the driver asks for the time to wake anew.
                self.pump.poll_closed(&Context::from_waker(Waker::noop()));
                self.pump.expire(now());
                let first = self.pump.first_expiry(&self.outbox.lock());
                assert!(first.is_none_or(|at| at > now()), "what has expired still waits");
            }
            self.step(step);
            self.ask();
        }
        self.pump.close();
        self.poll_pushes();
        self.ask();
        assert!(self.pushes.is_empty(), "who waits is woken by the end");
        for sent in &mut self.sent {
            if let Some(receipt) = sent.receipt.take() {
                let outcome = outcome(receipt).expect("settled by the end");
                assert!(sent.outcome.replace(outcome).is_none(), "one outcome each");
            }
        }
        assert_eq!(self.outbox.depth(), (0, 0));
        assert_eq!(self.outbox.lock().ledger.kept(), (0, 0));
        self.check();
    }

    fn check(&self) {
        // Who saw which message: (connection, flushed).
        let mut seen: HashMap<usize, Vec<(usize, bool)>> = HashMap::new();
        for (n, connection) in self.connections.iter().enumerate() {
            let mut last = 0;
            for (at, text) in connection.texts().into_iter().enumerate() {
                if text == "urgent" {
                    continue;
                }
                let id: usize = text.trim_end_matches('.').parse().unwrap();
                seen.entry(id).or_default().push((n + 1, at < connection.flushed));
                assert!(self.sent[id].turn > last, "{id} is out of order on connection {n}");
                last = self.sent[id].turn;
            }
        }
        for (id, sent) in self.sent.iter().enumerate() {
            let seen = seen.get(&id).map_or(&[][..], Vec::as_slice);
            let idempotent = matches!(sent.class, SendClass::Idempotent { .. });
            assert!(idempotent || seen.len() <= 1, "{id} was sent twice");
            let flushed = seen.iter().filter(|(_, flushed)| *flushed).count();
            assert!(flushed <= 1, "{id} was sent again though it was flushed");
            match sent.outcome {
                Some(SendOutcome::Flushed) => assert_eq!(flushed, 1, "{id}"),
                Some(SendOutcome::NotSent(_)) => assert!(seen.is_empty(), "{id} was sent all the same"),
                Some(SendOutcome::MaybeSent) => assert!(!seen.is_empty() && flushed == 0, "{id}"),
                None => assert!(sent.dropped, "{id} has no outcome"),
            }
            if sent.class == SendClass::FailFast {
                let unbroken = |n: usize| sent.accepted_in == Some(self.lost_before[n - 1]);
                assert!(seen.iter().all(|(n, _)| unbroken(*n)), "{id} outlived its connection");
            }
            if let SendClass::OnConnection { generation } = sent.class {
                assert!(seen.iter().all(|(n, _)| *n as u64 == generation), "{id} is on another connection");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// §6: every message has exactly one outcome, and it is true.
    #[test]
    fn rule_6_every_message_has_exactly_one_outcome_and_it_is_true(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(World::new().run(steps));
    }
}
