//! The client's side: a whole client, and the task that numbers, acknowledges and counts.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use everwire_client::{
    Client, ClientBuilder, ClientEvent, ConnectRequest, ConnectedOn, Outgoing, PingRequest, Snapshot,
    reliable::{ReliableLimits, ReliableReceiver, ReliableSender},
};
use everwire_engine::TungsteniteEngine;
use everwire_netmon::NetworkMonitor;
use everwire_ping::PingConfig;
use everwire_recovery::ConnectionRecoveryHandler;
use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{Books, Count, Decoder, Frame};

/// How a courier is set up.
pub struct CourierConfig<M> {
    /// Where the server is.
    pub request: ConnectRequest,
    /// What connects.
    pub engine: TungsteniteEngine,
    /// The name of the session: one word, different for each courier.
    pub session: String,
    /// A message so often.
    pub pace: Duration,
    /// When to ping.
    pub ping: PingConfig,
    /// What is known of the network.
    pub monitor: M,
    /// The seed of the delays.
    pub seed: u64,
}

impl<M> fmt::Debug for CourierConfig<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CourierConfig").field("session", &self.session).finish_non_exhaustive()
    }
}

/// What became of all messages.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Report {
    /// From the client to the server, by the server's books.
    pub up: Count,
    /// From the server to the client, by the client's.
    pub down: Count,
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Connects, posts at each pace until `stop` turns true, and goes on until everything is acknowledged both ways.
/// Each state goes to `observe`.
///
/// # Errors
/// When the boxes cannot be assembled, and when the server has forgotten the session.
pub async fn run<M: NetworkMonitor>(
    config: CourierConfig<M>,
    mut stop: watch::Receiver<bool>,
    mut observe: impl FnMut(&Snapshot) + Send,
) -> Result<Report, Problem> {
    let have = Arc::new(AtomicU64::new(0));
    let hello = {
        let (session, have) = (config.session, Arc::clone(&have));
        move || Frame::Hello { session: session.clone(), have: have.load(Ordering::Relaxed) }
    };
    let client = ClientBuilder::with_requests(config.request, Decoder)
        .connected_on(ConnectedOn::HealthCheck)
        .ping(PingRequest::Frame)
        .ping_config(config.ping)
        .on_connection_established(move |handshake| {
            handshake.send(hello());
            async { Ok(()) }
        })
        .build(config.engine)?;
    let mut events = client.subscribe();
    let _recovery = ConnectionRecoveryHandler::builder(client.clone().into_background())
        .monitor(config.monitor)
        .seed(config.seed)
        .spawn()?;
    // Its outcome shows in the states.
    let first = client.clone().into_background();
    tokio::spawn(async move { drop(first.connect().await) });

    let limits = ReliableLimits::default();
    let mut courier = Courier {
        client,
        have,
        in_session: None,
        sender: ReliableSender::new(limits),
        receiver: ReliableReceiver::new(limits),
        books: Books::default(),
        stopping: false,
        total: None,
    };
    let mut pace = interval(config.pace);
    // A process that was stopped does not make up for what it did not say.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let report = loop {
        if let Some(report) = courier.report() {
            break report;
        }
        tokio::select! {
            event = events.next() => match event {
                Some(ClientEvent::State(snapshot)) => {
                    observe(&snapshot);
                    courier.in_session = courier.in_session.filter(|_| snapshot.state.is_connected());
                }
                Some(ClientEvent::Event { generation, event }) => courier.hear(generation, event).await?,
                Some(_) => {}
                None => return Err("the client ended by itself".into()),
            },
            _ = pace.tick(), if !courier.stopping => courier.post().await,
            // The guard is dropped inside, since it must not cross an await; an owner that is gone wants an end too.
            () = async { drop(stop.wait_for(|stop| *stop).await) }, if !courier.stopping => {
                courier.stopping = true;
                courier.finish().await;
            }
        }
    };
    courier.client.disconnect().await;
    Ok(report)
}

struct Courier {
    client: Client<Frame>,
    /// How far the server's messages were handed over, for the next hello.
    have: Arc<AtomicU64>,
    /// The connection on which we have heard the server's welcome, until we hear that it is gone. By then the next
    /// one may be up, whose welcome comes first.
    in_session: Option<u64>,
    sender: ReliableSender<u64>,
    receiver: ReliableReceiver<u64>,
    books: Books,
    stopping: bool,
    /// How many messages the server has sent in all, and its books.
    total: Option<(u64, Count)>,
}

impl Courier {
    /// Should it not arrive, the next welcome makes us say it again.
    async fn say(&self, generation: u64, frame: Frame) {
        drop(self.client.queue(Outgoing::from(frame).on_connection(generation)).await);
    }

    async fn post(&mut self) {
        let text = self.sender.sent() + 1;
        // When too much is open already, this one is not written at all.
        if let Ok(number) = self.sender.push(text, 8)
            && let Some(generation) = self.in_session
        {
            self.say(generation, Frame::Msg { number, text: text.to_string() }).await;
        }
    }

    async fn hear(&mut self, generation: u64, frame: Frame) -> Result<(), Problem> {
        match frame {
            Frame::Welcome { have } => {
                self.sender.resume(have)?;
                let again: Vec<_> = self.sender.unacked().map(|(number, text)| (number, *text)).collect();
                for (number, text) in again {
                    self.say(generation, Frame::Msg { number, text: text.to_string() }).await;
                }
                self.in_session = Some(generation);
                self.finish().await;
            }
            Frame::Msg { number, text } => {
                self.receiver.receive(number, text.parse()?);
                while let Some((_, text)) = self.receiver.pop() {
                    self.books.note(text);
                }
                self.have.store(self.receiver.ack(), Ordering::Relaxed);
                self.say(generation, Frame::Ack { up_to: self.receiver.ack() }).await;
            }
            Frame::Ack { up_to } => {
                self.sender.acked(up_to)?;
                self.finish().await;
            }
            Frame::Total { sent, count } => {
                self.total = Some((sent, Count { sent: self.sender.sent(), ..count }));
            }
            Frame::Hello { .. } | Frame::Finish { .. } => return Err("a server does not say that".into()),
        }
        Ok(())
    }

    /// Asks for the total, when there is nothing more to acknowledge.
    async fn finish(&self) {
        if let Some(generation) = self.in_session
            && self.stopping
            && self.sender.is_empty()
            && self.total.is_none()
        {
            self.say(generation, Frame::Finish { sent: self.sender.sent() }).await;
        }
    }

    fn report(&self) -> Option<Report> {
        let (sent, up) = self.total?;
        (self.receiver.ack() >= sent).then(|| Report { up, down: self.books.close(sent) })
    }
}
