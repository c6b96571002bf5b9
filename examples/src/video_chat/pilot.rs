//! The one task of a session.

use everwire_client::{
    Client, ClientEvent, ConnectionState, DisconnectionSource, Snapshot, Subscription,
    reliable::{ReliableLimits, ReliableReceiver, ReliableSender},
};
use everwire_recovery::{ConnectionRecoveryHandler, Decision};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::{SessionEvent, Summary, text};
use crate::room::{Down, RoomEvent, Signal, Up};

pub(super) struct Pilot {
    client: Client<RoomEvent>,
    room: String,
    events: mpsc::Sender<SessionEvent>,
    in_room: bool,
    sender: ReliableSender<Signal>,
    receiver: ReliableReceiver<(String, Signal)>,
    summary: Summary,
}

impl Pilot {
    pub(super) fn new(client: Client<RoomEvent>, room: String, events: mpsc::Sender<SessionEvent>) -> Self {
        let limits = ReliableLimits::default();
        Self {
            client,
            room,
            events,
            in_room: false,
            sender: ReliableSender::new(limits),
            receiver: ReliableReceiver::new(limits),
            summary: Summary::default(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut subscription: Subscription<RoomEvent>,
        recovery: ConnectionRecoveryHandler,
        mut tapped: mpsc::Receiver<SessionEvent>,
        mut posted: mpsc::Receiver<Signal>,
        mut ended: oneshot::Receiver<()>,
    ) -> Summary {
        let mut decisions = recovery.decisions();
        let first = self.client.clone();
        // Its outcome shows in the states.
        tokio::spawn(async move { drop(first.connect().await) });
        loop {
            tokio::select! {
                biased;
                Some(event) = tapped.recv() => self.tell(event).await,
                Some(decision) = decisions.next() => {
                    // What led to a decision comes before it, and what a decision led to after it.
                    if !matches!(decision, Decision::Connect { .. }) {
                        self.hear_all(&mut subscription).await;
                    }
                    self.tell(SessionEvent::Decision(decision)).await;
                }
                Some(event) = subscription.next() => self.hear(event).await,
                Some(signal) = posted.recv() => self.post(signal).await,
                _ = &mut ended => break,
            }
        }
        if self.in_room {
            self.say(&Up::Leave).await;
        }
        let client = self.client.clone();
        let mut leaving = Box::pin(client.disconnect());
        loop {
            tokio::select! {
                biased;
                Some(event) = subscription.next() => self.hear(event).await,
                _ = &mut leaving => break,
            }
        }
        self.hear_all(&mut subscription).await;
        self.summary.unconfirmed = self.sender.len();
        self.summary.confirmed = self.sender.sent() - self.sender.len() as u64;
        self.summary
    }

    /// Handles what has come until now.
    async fn hear_all(&mut self, subscription: &mut Subscription<RoomEvent>) {
        while let Some(Some(event)) = subscription.next().now_or_never() {
            self.hear(event).await;
        }
    }

    async fn tell(&self, event: SessionEvent) {
        // Nobody reads any more: the session goes on for its posts.
        let _ = self.events.send(event).await;
    }

    async fn say(&self, up: &Up) {
        // Should it not arrive, the resumption sends it again.
        drop(self.client.queue(text(up)).await);
    }

    async fn post(&mut self, signal: Signal) {
        let bytes = serde_json::to_vec(&signal).map_or(0, |json| json.len());
        match self.sender.push(signal.clone(), bytes) {
            Ok(id) if self.in_room => self.say(&Up::Post { id, signal }).await,
            Ok(_) => {}
            Err(_) => self.tell(SessionEvent::Error("too many posts wait; one was not taken".into())).await,
        }
    }

    async fn hear(&mut self, event: ClientEvent<RoomEvent>) {
        match event {
            ClientEvent::State(snapshot) => self.state(snapshot).await,
            ClientEvent::Event { event: RoomEvent::Binary(payload), .. } => {
                self.tell(SessionEvent::Binary(payload)).await;
            }
            ClientEvent::Event { event: RoomEvent::Frame(frame), .. } => self.frame(frame).await,
            ClientEvent::Event { event: RoomEvent::Text(text), .. } => {
                self.tell(SessionEvent::Text(text)).await;
            }
            ClientEvent::ViabilityChanged(viable) => self.tell(SessionEvent::ViabilityChanged(viable)).await,
            ClientEvent::ReconnectSuggested => self.tell(SessionEvent::ReconnectSuggested).await,
            _ => {}
        }
    }

    async fn state(&mut self, snapshot: Snapshot) {
        self.tell(SessionEvent::State(snapshot.clone())).await;
        match &snapshot.state {
            ConnectionState::Connected(_) => {
                let seen = self.receiver.ack();
                self.say(&Up::Join { room: self.room.clone(), seen }).await;
            }
            ConnectionState::Disconnected(source) => {
                self.in_room = false;
                let reason = source.server_reason();
                if matches!(source, DisconnectionSource::UserInitiated) {
                    self.tell(SessionEvent::Cancelled).await;
                }
                if let Some(error) = reason.and_then(|reason| reason.engine_error.as_ref()) {
                    self.tell(SessionEvent::Error(error.to_string())).await;
                }
                let code = reason.map(|reason| reason.close_code().get());
                self.tell(SessionEvent::Disconnected { reason: source.to_string(), code }).await;
            }
            _ => self.in_room = false,
        }
    }

    async fn frame(&mut self, frame: Down) {
        match frame {
            Down::Joined { accepted, .. } => {
                // The server forgot us, or we it: nothing of that kind happens in these examples.
                if let Err(error) = self.sender.resume(accepted) {
                    return self.tell(SessionEvent::Error(format!("cannot resume: {error:?}"))).await;
                }
                let again: Vec<_> = self.sender.unacked().map(|(id, signal)| (id, signal.clone())).collect();
                let replayed = again.len();
                for (id, signal) in again {
                    self.say(&Up::Post { id, signal }).await;
                }
                self.in_room = true;
                self.tell(SessionEvent::InRoom { replayed }).await;
            }
            Down::Accepted { id } => {
                if let Err(error) = self.sender.acked(id) {
                    self.tell(SessionEvent::Error(format!("a wrong confirmation: {error:?}"))).await;
                }
            }
            Down::Delivery { seq, from, signal } => {
                let before = self.receiver.ack();
                if seq <= before {
                    self.summary.duplicates += 1;
                }
                let _ = self.receiver.receive(seq, (from, signal));
                while let Some((_, (from, signal))) = self.receiver.pop() {
                    self.tell(SessionEvent::Signal { from, signal }).await;
                }
                if self.receiver.ack() > before {
                    self.say(&Up::Seen { seq: self.receiver.ack() }).await;
                }
            }
            _ => {}
        }
    }
}
