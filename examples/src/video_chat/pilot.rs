//! The one task of a session.

use std::{pin::pin, time::Duration};

use everwire_client::{
    Client, ClientEvent, ConnectionState, DisconnectionSource, Outgoing, Snapshot, Subscription,
    reliable::{ReliableLimits, ReliableReceiver, ReliableSender},
};
use everwire_recovery::{ConnectionRecoveryHandler, Decision};
use futures_util::{FutureExt as _, StreamExt as _, future::OptionFuture};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{SessionEvent, Summary, text};
use crate::room::{Down, RoomEvent, Signal, Up};

/// How long a session that ends waits for the confirmations of its last posts.
const LAST_WORDS: Duration = Duration::from_secs(5);

pub(super) struct Pilot {
    client: Client<RoomEvent>,
    room: String,
    events: mpsc::Sender<Box<SessionEvent>>,
    /// The connection on which we were heard to have joined, until it is heard to be gone. What is heard lags behind
    /// what is: by now another one may be up, on which nothing of this may be said.
    in_room: Option<u64>,
    sender: ReliableSender<Signal>,
    receiver: ReliableReceiver<(String, Signal)>,
    summary: Summary,
}

impl Pilot {
    pub(super) fn new(
        client: Client<RoomEvent>,
        room: String,
        events: mpsc::Sender<Box<SessionEvent>>,
    ) -> Self {
        let limits = ReliableLimits::default();
        Self {
            client,
            room,
            events,
            in_room: None,
            sender: ReliableSender::new(limits),
            receiver: ReliableReceiver::new(limits),
            summary: Summary::default(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut subscription: Subscription<RoomEvent>,
        recovery: ConnectionRecoveryHandler,
        mut tapped: mpsc::Receiver<Box<SessionEvent>>,
        mut posted: mpsc::Receiver<Signal>,
        mut ended: oneshot::Receiver<()>,
    ) -> Summary {
        let mut decisions = recovery.decisions();
        let first = self.client.clone();
        // Its outcome shows in the states.
        tokio::spawn(async move { drop(first.connect().await) });
        // Set by the end of the session: until then the last posts may still be confirmed.
        let mut patience = pin!(OptionFuture::default());
        let mut ending = false;
        while !ending || !self.sender.is_empty() {
            tokio::select! {
                biased;
                Some(event) = tapped.recv() => self.tell(*event).await,
                Some(decision) = decisions.next() => {
                    // What led to a decision comes before it, and what a decision led to after it.
                    if !matches!(decision, Decision::Connect { .. }) {
                        self.hear_all(&mut subscription).await;
                    }
                    self.tell(SessionEvent::Decision(decision)).await;
                }
                Some(event) = subscription.next() => self.hear(event).await,
                Some(signal) = posted.recv() => self.post(signal).await,
                _ = &mut ended, if !ending => {
                    ending = true;
                    patience.set(Some(sleep(LAST_WORDS)).into());
                }
                Some(()) = &mut patience, if ending => break,
            }
        }
        if let Some(generation) = self.in_room {
            self.say(generation, &Up::Leave).await;
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
        let _ = self.events.send(Box::new(event)).await;
    }

    async fn say(&self, generation: u64, up: &Up) {
        // Should it not arrive, the resumption sends it again.
        drop(self.client.queue(Outgoing::from(text(up)).on_connection(generation)).await);
    }

    async fn post(&mut self, signal: Signal) {
        let bytes = serde_json::to_vec(&signal).map_or(0, |json| json.len());
        match self.sender.push(signal.clone(), bytes) {
            Ok(id) => {
                if let Some(generation) = self.in_room {
                    self.say(generation, &Up::Post { id, signal }).await;
                }
            }
            Err(_) => self.tell(SessionEvent::Error("too many posts wait; one was not taken".into())).await,
        }
    }

    async fn hear(&mut self, event: ClientEvent<RoomEvent>) {
        match event {
            ClientEvent::State(snapshot) => self.state(*snapshot).await,
            ClientEvent::Event { event: RoomEvent::Binary(payload), .. } => {
                self.tell(SessionEvent::Binary(payload)).await;
            }
            ClientEvent::Event { generation, event: RoomEvent::Frame(frame) } => {
                self.frame(generation, frame).await;
            }
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
                self.say(snapshot.generation, &Up::Join { room: self.room.clone(), seen }).await;
            }
            ConnectionState::Disconnected(source) => {
                self.in_room = None;
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
            _ => self.in_room = None,
        }
    }

    async fn frame(&mut self, generation: u64, frame: Down) {
        match frame {
            Down::Joined { accepted, .. } => {
                // The server forgot us, or we it: nothing of that kind happens in these examples.
                if let Err(error) = self.sender.resume(accepted) {
                    return self.tell(SessionEvent::Error(format!("cannot resume: {error:?}"))).await;
                }
                let again: Vec<_> = self.sender.unacked().map(|(id, signal)| (id, signal.clone())).collect();
                let replayed = again.len();
                for (id, signal) in again {
                    self.say(generation, &Up::Post { id, signal }).await;
                }
                self.in_room = Some(generation);
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
                    self.say(generation, &Up::Seen { seq: self.receiver.ack() }).await;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use everwire_client::{ClientBuilder, ConnectRequest, Message, testing::Server};
    use everwire_engine::testing::ScriptedEngine;

    use super::*;
    use crate::room::{Me, RoomDecoder};

    async fn greet(engine: &ScriptedEngine, connection_id: &str) -> Server {
        let mut server = Server::accept(engine).await;
        let connection_id = connection_id.to_owned();
        let hello = Down::ConnectionOk { connection_id, me: Me::new("ann".to_owned()) };
        server.say(Message::text(serde_json::to_string(&hello).unwrap())).await;
        server
    }

    fn joined() -> Down {
        Down::Joined { room: "garden".to_owned(), participants: vec!["ann".to_owned()], accepted: 0 }
    }

    /// A session that lags behind its client hears that it has joined when another connection is up already, where
    /// it has joined nothing: what it answers there ends that connection for good.
    #[tokio::test(start_paused = true)]
    async fn what_was_heard_on_one_connection_is_not_answered_on_the_next() {
        let engine = ScriptedEngine::default();
        let requests = ConnectRequest::new("ws://chat.test").unwrap();
        let client = ClientBuilder::with_requests(requests, RoomDecoder).build(engine.clone()).unwrap();
        let (_, first) = tokio::join!(client.connect(), greet(&engine, "conn-1"));
        let (events, _told) = mpsc::channel(64);
        let mut pilot = Pilot::new(client.clone(), "garden".to_owned(), events);
        pilot.post(Signal::Chat { number: 1, text: "hello".to_owned() }).await;
        let mut subscription = client.subscribe();
        drop(first);
        while client.state().state.is_connected() {
            subscription.next().await;
        }
        let (_, mut second) = tokio::join!(client.connect(), greet(&engine, "conn-2"));
        assert_eq!(client.state().generation, 2);

        let event = RoomEvent::Frame(joined());
        pilot.hear(ClientEvent::Event { generation: 1, event }).await;
        pilot.post(Signal::Chat { number: 2, text: "again".to_owned() }).await;
        pilot.hear(ClientEvent::State(Box::new(client.state()))).await;
        assert!(second.text().await.contains("join"), "whoever comes to a connection joins first");
        pilot.hear(ClientEvent::Event { generation: 2, event: RoomEvent::Frame(joined()) }).await;
        for number in 1..=2 {
            let text = second.text().await;
            assert!(text.contains(&format!("\"number\":{number}")), "{text}");
        }
    }
}
