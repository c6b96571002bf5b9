//! One client's application: numbered posts in both directions, and a user who disconnects, retries and reads
//! slowly.

use std::{sync::Arc, time::Duration};

use everwire_client::{
    Client, ClientEvent, ConnectionState, SubscriberPolicy, Subscription,
    reliable::{ReliableLimits, ReliableReceiver, ReliableSender},
};
use everwire_recovery::{ConnectionRecoveryHandler, Decision};
use fastrand::Rng;
use futures_util::{Stream, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    clock,
    fault::Deed,
    judge,
    ledger::Ledger,
    observer,
    plan::ClientPlan,
    plant::Plant,
    protocol::{Down, Up},
    setup::{self, Place},
    talker::Talker,
};

/// Within so long after the last repair everything is whole again: connected, and every post acknowledged. A dead
/// connection is noticed after at most 34 s, an attempt under way may take 15 s, and the longest wait that a
/// server can ask for here is 60 s.
pub(crate) const BOUND: Duration = Duration::from_secs(120);
/// A user's disconnect is done within 2 s for what is queued, and 5 s for the close handshake.
const FAREWELL: Duration = Duration::from_secs(8);

/// Lives from the first connect until there is peace and everything is whole; then ends, and is judged.
pub(crate) async fn live(plan: ClientPlan, place: Place, ledger: Ledger, mut deeds: mpsc::Receiver<Deed>) {
    let (client, recovery) = match setup::client(&plan, &place, &ledger) {
        Ok(both) => both,
        Err(error) => return ledger.violation(format!("cannot be built: {error}")),
    };
    let plant = place.hall.plant;
    let states = client.subscribe_with(4096, SubscriberPolicy::DropOldest);
    let observer = tokio::spawn(observer::watch(states, plan.name.clone(), ledger.clone(), plant));
    let (bursts, burst) = mpsc::channel(64);
    let talker = Talker::new(client.clone(), ledger.clone(), Rng::with_seed(plan.seed ^ 2), plant);
    let talker = tokio::spawn(talker.run(burst, Arc::clone(&place.peace)));
    let mut participant = Participant {
        events: client.subscribe_with(plan.capacity, plan.policy),
        rng: Rng::with_seed(plan.seed ^ 3),
        client,
        recovery,
        place,
        ledger: ledger.clone(),
        sender: ReliableSender::new(ReliableLimits::default()),
        receiver: ReliableReceiver::new(ReliableLimits::default()),
        joined: None,
        asked: None,
        next_out: 1,
        owes_ack: false,
        slow_until: None,
        off_until: None,
        retry_at: None,
        bursts,
        name: plan.name.clone(),
    };
    participant.connect().await;
    participant.run(&mut deeds).await;
    let Participant { client, recovery, events, .. } = participant;
    let receipts = talker.await;
    drop(events);
    if plan.says_goodbye {
        if timeout(FAREWELL, client.disconnect()).await.is_err() {
            ledger.violation("the last disconnect took too long");
        }
        drop(recovery);
        drop(client);
    } else {
        drop(client);
    }
    let ended = timeout(FAREWELL, observer).await;
    match (ended, receipts) {
        (Ok(Ok(())), Ok(receipts)) => receipts.settle(&ledger),
        (Ok(Ok(())), Err(_)) | (Ok(Err(_)), _) => ledger.violation("a task of the application panicked"),
        (Err(_), _) => ledger.violation("the client did not end after its last handle was dropped"),
    }
    if ledger.sockets().now() > 0 {
        ledger.violation("a socket outlived its client");
    }
}

struct Participant {
    name: String,
    client: Client<Down>,
    recovery: ConnectionRecoveryHandler,
    events: Subscription<Down>,
    place: Place,
    ledger: Ledger,
    rng: Rng,
    sender: ReliableSender<String>,
    receiver: ReliableReceiver<String>,
    /// On which connection the server has said how far it got.
    joined: Option<u64>,
    /// On which connection it was asked to, and when.
    asked: Option<(u64, Instant)>,
    /// The next post to be handed to the present connection.
    next_out: u64,
    owes_ack: bool,
    slow_until: Option<Instant>,
    /// Disconnected by the user until then; in which generation.
    off_until: Option<(Instant, u64)>,
    /// Recovery has stopped, and the user tries again then.
    retry_at: Option<Instant>,
    bursts: mpsc::Sender<usize>,
}

impl Participant {
    async fn run(&mut self, deeds: &mut mpsc::Receiver<Deed>) {
        let mut decisions = self.recovery.decisions();
        let peace = Arc::clone(&self.place.peace);
        let mut since_peace = None;
        let mut next_tick = clock::now();
        loop {
            if since_peace.is_some() && self.is_whole() {
                self.ledger.page().whole_after = since_peace.map(|at: Instant| clock::now() - at);
                return;
            }
            if since_peace.is_some_and(|at| clock::now() - at > BOUND) {
                return self.not_whole();
            }
            tokio::select! {
                biased;
                () = peace.wait_for(|peace| *peace), if since_peace.is_none() => {
                    since_peace = Some(clock::now());
                    self.slow_until = None;
                    self.retry_at = self.retry_at.map(|_| clock::now());
                    self.off_until = self.off_until.map(|(_, generation)| (clock::now(), generation));
                    next_tick = clock::now();
                }
                Some(deed) = deeds.recv() => self.deed(deed).await,
                decision = next(&mut decisions) => self.decided(decision),
                event = self.events.recv(), if self.slow_until.is_none() => match event {
                    Some(event) => self.hear(event),
                    None => return self.ledger.violation("the client ended before its handles were dropped"),
                },
                () = sleep_until(next_tick) => {
                    self.tick(since_peace.is_none()).await;
                    next_tick = clock::now() + Duration::from_millis(self.rng.u64(50..1000));
                }
            }
        }
    }

    /// Connects, and does not always wait for the outcome.
    async fn connect(&mut self) {
        self.retry_at = None;
        self.off_until = None;
        let patience = Duration::from_millis(self.rng.u64(1..200));
        // The attempt goes on without its caller.
        let _ = timeout(patience, self.client.connect()).await;
    }

    async fn deed(&mut self, deed: Deed) {
        tracing::info!(client = self.name, ?deed, "user");
        match deed {
            Deed::Slow(lasts) => self.slow_until = Some(clock::now() + lasts),
            // One burst more or less: the channel is not what is tested.
            Deed::Burst(count) => drop(self.bursts.try_send(count)),
            Deed::RetryNow => self.recovery.retry_now(),
            Deed::Off(lasts) => {
                if timeout(FAREWELL, self.client.disconnect()).await.is_err() {
                    self.ledger.violation("a user's disconnect took too long");
                }
                let snapshot = self.client.state();
                let is_off =
                    matches!(snapshot.state, ConnectionState::Disconnected(_) | ConnectionState::Initialized);
                if !is_off || snapshot.wanted {
                    let state = snapshot.state.name();
                    self.ledger.violation(format!("{state} after a user's disconnect"));
                }
                self.retry_at = None;
                self.off_until = Some((clock::now() + lasts, snapshot.generation));
            }
        }
    }

    fn decided(&mut self, decision: Decision) {
        tracing::info!(client = self.name, "{}", judge::words(&decision));
        let Decision::Stop { reason, .. } = decision else { return };
        let said = self.place.hall.account(&self.name, |account| account.said.clone());
        if let Err(why) = judge::stop(reason, &said.unwrap_or_default()) {
            self.ledger.violation(why);
        }
        if self.off_until.is_none() {
            let patience = if self.place.peace.get() { 1..2 } else { 1000..20_000 };
            self.retry_at = Some(clock::now() + Duration::from_millis(self.rng.u64(patience)));
        }
    }

    async fn tick(&mut self, at_war: bool) {
        let now = clock::now();
        self.slow_until = self.slow_until.filter(|until| now < *until);
        if let Some((until, generation)) = self.off_until {
            let sockets = self.ledger.sockets().now();
            if self.client.state().generation != generation || sockets > 0 {
                self.ledger.violation("an attempt was made against the user's wish");
            }
            if until <= now {
                self.connect().await;
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            if self.rng.bool() {
                self.recovery.retry_now();
            } else {
                self.connect().await;
            }
        }
        if at_war && self.rng.u8(..3) == 0 {
            let text = format!("u{}", self.sender.sent() + 1);
            if self.sender.push(text.clone(), text.len()).is_ok() {
                self.ledger.page().made += 1;
            }
        }
        self.catch_up(now);
    }

    fn hear(&mut self, event: ClientEvent<Down>) {
        let (generation, event) = match event {
            ClientEvent::Event { generation, event } => (generation, event),
            // Among what was dropped may be all posts that the server sends before it hears of one: nothing that comes
            // later would show the gap.
            ClientEvent::Lagged(_) => {
                (self.joined, self.asked) = (None, None);
                return self.catch_up(clock::now());
            }
            _ => return self.catch_up(clock::now()),
        };
        match event {
            Down::Joined(accepted) if self.asked.is_some_and(|(of, _)| of == generation) => {
                if let Err(error) = self.sender.resume(accepted) {
                    return self.ledger.violation(error.to_string());
                }
                (self.joined, self.next_out) = (Some(generation), accepted + 1);
            }
            Down::Accepted(accepted) => {
                if let Err(error) = self.sender.acked(accepted) {
                    return self.ledger.violation(error.to_string());
                }
            }
            Down::Post(number, text) => {
                let _ = self.receiver.receive(number, text);
                while let Some((_, text)) = self.receiver.pop() {
                    self.ledger.page().taken.push(text);
                }
                // Also for one that came again: the acknowledgement may be what was lost.
                self.owes_ack = true;
            }
            _ => {}
        }
        self.catch_up(clock::now());
    }

    /// Brings the present connection up to date: asks where the server is, acknowledges, sends what it has not.
    fn catch_up(&mut self, now: Instant) {
        let snapshot = self.client.state();
        if !snapshot.state.is_connected() {
            return;
        }
        let generation = snapshot.generation;
        let is_joined = self.joined == Some(generation) && self.receiver.missing().is_none();
        let is_asked =
            self.asked.is_some_and(|(of, at)| of == generation && now - at < Duration::from_secs(5));
        if !is_joined && !is_asked && self.say(&Up::Join(self.receiver.ack())) {
            self.asked = Some((generation, now));
        }
        if self.joined != Some(generation) {
            return;
        }
        if self.owes_ack {
            self.owes_ack = !self.say(&Up::Seen(self.receiver.ack()));
        }
        let due = self.sender.unacked().filter(|(number, _)| *number >= self.next_out);
        let due: Vec<_> = due.map(|(number, text)| Up::Post(number, text.clone())).collect();
        self.next_out += due.iter().take_while(|post| self.say(post)).count() as u64;
    }

    /// Should it not arrive, the connection ends, and the next one begins with what is missing.
    fn say(&self, up: &Up) -> bool {
        self.client.try_send(up.line()).is_ok()
    }

    fn is_whole(&self) -> bool {
        let theirs = self.place.hall.account(&self.name, |account| account.down.is_empty());
        let stays_down = self.place.hall.plant == Plant::StaysDown;
        self.client.state().state.is_connected()
            && self.sender.is_empty()
            && theirs.unwrap_or_default()
            && !stays_down
    }

    fn not_whole(&self) {
        let theirs = self.place.hall.account(&self.name, |account| account.down.len()).unwrap_or_default();
        self.ledger.violation(format!(
            "not whole within {BOUND:?} after the last repair: {}, recovery is {:?}, {} posts of the client and \
             {theirs} of the server are not acknowledged",
            self.client.state().state.name(),
            judge::status(self.recovery.status()),
            self.sender.len(),
        ));
    }
}

async fn next(decisions: &mut (impl Stream<Item = Decision> + Unpin)) -> Decision {
    match decisions.next().await {
        Some(decision) => decision,
        // Recovery has ended, and the client's end is told elsewhere.
        None => std::future::pending().await,
    }
}
