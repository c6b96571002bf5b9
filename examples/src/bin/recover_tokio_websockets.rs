//! Recovery for a WebSocket that is not ours: a plain `tokio-websockets` socket.
//!
//! `cargo run -p everwire-examples --bin recover_tokio_websockets`
//!
//! The same shape as `recover_line_protocol`, on another library's socket: a task owns it, snapshots go out,
//! requests come in. What the library reports is put into the words that the decision table reads: a close
//! frame's code, a refused upgrade, a transport error. A server in the same program closes with 1011, then
//! with 1000, after which a retry would be pointless.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, net::SocketAddr, time::Duration};

use everwire_client::{
    CloseCode, CloseFrame, ConnectionState, DisconnectionSource, EngineError, EngineErrorKind,
    HealthCheckInfo, ServerReason, Snapshot, Stage,
};
use everwire_recovery::{ConnectionRecoveryHandler, Decision, RecoverableClient, RecoveryOptions};
use futures_util::{SinkExt, Stream, StreamExt, stream};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_websockets::{ClientBuilder, CloseCode as Code, Message, ServerBuilder};

#[derive(Debug)]
enum Command {
    Connect,
    Reconnect,
    DisconnectSystem,
    Probe(Duration),
}

#[derive(Clone)]
struct Client {
    commands: mpsc::Sender<Command>,
    snapshots: watch::Receiver<Snapshot>,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        let (commands, inbox) = mpsc::channel(16);
        let (shown, snapshots) = watch::channel(Snapshot::initialized());
        tokio::spawn(own(server, inbox, shown));
        Self { commands, snapshots }
    }

    fn tell(&self, command: Command) {
        // A full queue of 16 means that the task is about to read as many commands: one more adds nothing.
        let _ = self.commands.try_send(command);
    }
}

impl RecoverableClient for Client {
    fn snapshots(&self) -> impl Stream<Item = Snapshot> + Send + Unpin + 'static {
        let mut snapshots = self.snapshots.clone();
        snapshots.mark_changed(); // the current one comes first
        Box::pin(stream::unfold(snapshots, async |mut snapshots| {
            snapshots.changed().await.ok()?;
            let snapshot = snapshots.borrow_and_update().clone();
            Some((snapshot, snapshots))
        }))
    }

    fn reconnect(&self) {
        self.tell(Command::Reconnect);
    }

    fn disconnect_system(&self) {
        self.tell(Command::DisconnectSystem);
    }

    fn probe(&self, deadline: Duration) {
        self.tell(Command::Probe(deadline));
    }
}

async fn own(server: SocketAddr, mut inbox: mpsc::Receiver<Command>, shown: watch::Sender<Snapshot>) {
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Connect => shown.send_modify(|snapshot| snapshot.wanted = true),
            Command::Reconnect if shown.borrow().wanted => {}
            _ => continue,
        }
        shown.send_modify(|snapshot| {
            snapshot.generation += 1;
            snapshot.state = ConnectionState::Connecting;
        });
        let source = session(server, &mut inbox, &shown).await;
        shown.send_modify(|snapshot| snapshot.state = ConnectionState::Disconnected(source));
    }
}

async fn session(
    server: SocketAddr,
    inbox: &mut mpsc::Receiver<Command>,
    shown: &watch::Sender<Snapshot>,
) -> DisconnectionSource {
    let dial = async {
        let builder = ClientBuilder::new().uri(&format!("ws://{server}/"))?;
        Result::<_, Box<dyn Error + Send + Sync>>::Ok(builder.connect().await?.0)
    };
    let mut socket = match dial.await {
        Ok(socket) => socket,
        Err(error) => {
            let error = EngineError::new(EngineErrorKind::Connect, Stage::Connect).with_source(error);
            return DisconnectionSource::from(ServerReason::engine_error(error));
        }
    };
    shown.send_modify(|snapshot| snapshot.state = ConnectionState::Connected(HealthCheckInfo::default()));
    let mut pong_due: Option<Instant> = None;
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(message)) if message.is_pong() => pong_due = None,
                Some(Ok(message)) => if let Some((code, reason)) = message.as_close() {
                    let code = CloseCode::received(code.into());
                    let frame = CloseFrame { code, reason: reason.to_owned().into() };
                    return DisconnectionSource::from(ServerReason::closed(Some(frame)));
                },
                Some(Err(error)) => {
                    let error = EngineError::new(EngineErrorKind::Io, Stage::Open).with_source(error);
                    return DisconnectionSource::from(ServerReason::engine_error(error));
                }
                None => return DisconnectionSource::from(ServerReason::closed(None)),
            },
            command = inbox.recv() => match command {
                Some(Command::Probe(deadline)) => {
                    pong_due = pong_due.or_else(|| Some(now() + deadline));
                    // A write that fails shows in the next read.
                    let _ = socket.send(Message::ping("")).await;
                }
                Some(Command::DisconnectSystem) => return DisconnectionSource::SystemInitiated,
                Some(Command::Connect | Command::Reconnect) => {}
                None => return DisconnectionSource::UserInitiated,
            },
            () = sleep_until(pong_due.unwrap_or_else(now)), if pong_due.is_some() => {
                return DisconnectionSource::NoPongReceived;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the task that owns the socket is a driver")]
fn now() -> Instant {
    Instant::now()
}

/// Closes three connections with 1011, and the fourth with 1000.
async fn serve(listener: TcpListener) -> Result<(), tokio_websockets::Error> {
    for visit in 1.. {
        let (stream, _) = listener.accept().await?;
        let (_, mut socket) = ServerBuilder::new().accept(stream).await?;
        let code = if visit < 4 { Code::INTERNAL_SERVER_ERROR } else { Code::NORMAL_CLOSURE };
        println!("server: takes connection {visit} and closes it with {}", u16::from(code));
        socket.send(Message::close(Some(code), "")).await?;
        // The client's answer, so that the socket closes without a reset.
        while let Some(Ok(_)) = socket.next().await {}
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = Client::new(listener.local_addr()?);
    tokio::spawn(serve(listener));

    // Real delays would make a slow example: they are scaled down by configuration.
    let options = RecoveryOptions::default().first_delay(Duration::from_millis(200));
    let recovery = ConnectionRecoveryHandler::builder(client.clone()).options(options).seed(1).spawn()?;
    client.tell(Command::Connect);

    let mut decisions = recovery.decisions();
    let story = async {
        while let Some(decision) = decisions.next().await {
            println!("recovery: {decision:?}");
            if let Decision::Stop { reason, attempts, .. } = decision {
                println!("stopped after {attempts} attempts: {reason}");
                return;
            }
        }
    };
    timeout(Duration::from_secs(20), story).await?;
    Ok(())
}
