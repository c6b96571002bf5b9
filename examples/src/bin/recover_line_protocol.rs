//! Recovery for a client that is not ours: a line protocol over raw TCP.
//!
//! `cargo run -p everwire-examples --bin recover_line_protocol`
//!
//! Everything that recovery needs of a client is the trait `RecoverableClient`: tell your snapshots, and do as
//! you are asked unless your user wants otherwise. Here one task owns the socket and takes commands; a server
//! in the same program answers `PING` with `PONG`, drops each connection after a moment, and goes silent on
//! the last one, which only a probe can find.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, io, net::SocketAddr, time::Duration};

use everwire_client::{
    ConnectionState, DisconnectionSource, EngineError, EngineErrorKind, HealthCheckInfo, ServerReason,
    Snapshot, Stage,
};
use everwire_netmon::{Hint, NetworkStatus};
use everwire_recovery::{ConnectionRecoveryHandler, Decision, RecoverableClient, RecoveryOptions};
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

/// What the task that owns the socket can be told.
#[derive(Debug)]
enum Command {
    Connect,
    Disconnect,
    Reconnect,
    DisconnectSystem,
    Probe(Duration),
}

/// The handle. Cheap to clone; the task ends with the last one.
#[derive(Clone)]
struct LineClient {
    commands: mpsc::Sender<Command>,
    snapshots: watch::Receiver<Snapshot>,
}

impl LineClient {
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

impl RecoverableClient for LineClient {
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

/// The owner of the wish, the state and the socket.
async fn own(server: SocketAddr, mut inbox: mpsc::Receiver<Command>, shown: watch::Sender<Snapshot>) {
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Connect => shown.send_modify(|snapshot| snapshot.wanted = true),
            // The user's wish decides, and it is known here: a log-out that came first is not undone.
            Command::Reconnect if shown.borrow().wanted => {}
            Command::Disconnect => {
                close(&shown, DisconnectionSource::UserInitiated);
                continue;
            }
            _ => continue,
        }
        shown.send_modify(|snapshot| {
            snapshot.generation += 1;
            snapshot.state = ConnectionState::Connecting;
        });
        let source = session(server, &mut inbox, &shown).await;
        close(&shown, source);
    }
}

fn close(shown: &watch::Sender<Snapshot>, source: DisconnectionSource) {
    shown.send_modify(|snapshot| {
        if matches!(source, DisconnectionSource::UserInitiated) {
            snapshot.wanted = false;
        }
        snapshot.local_addr = None;
        snapshot.state = ConnectionState::Disconnected(source);
    });
}

/// One connection, from the dial to its end.
async fn session(
    server: SocketAddr,
    inbox: &mut mpsc::Receiver<Command>,
    shown: &watch::Sender<Snapshot>,
) -> DisconnectionSource {
    let socket = tokio::select! {
        dialled = TcpStream::connect(server) => match dialled {
            Ok(socket) => socket,
            Err(error) => return lost(EngineError::new(EngineErrorKind::Connect, Stage::Connect).with_source(error)),
        },
        source = asked_to_close(inbox) => return source,
    };
    shown.send_modify(|snapshot| {
        snapshot.local_addr = socket.local_addr().ok();
        snapshot.state = ConnectionState::Connected(HealthCheckInfo::default());
    });
    let (reader, mut writer) = socket.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut pong_due: Option<Instant> = None;
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) if line == "PONG" => pong_due = None,
                Ok(Some(_)) => {} // the application's own lines go here
                Ok(None) => return lost(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Err(error) => return lost(error.into()),
            },
            command = inbox.recv() => match command {
                Some(Command::Probe(deadline)) => {
                    pong_due = pong_due.or_else(|| Some(now() + deadline));
                    if let Err(error) = writer.write_all(b"PING\n").await {
                        return lost(error.into());
                    }
                }
                Some(Command::DisconnectSystem) => return DisconnectionSource::SystemInitiated,
                Some(Command::Disconnect) | None => return DisconnectionSource::UserInitiated,
                Some(Command::Connect | Command::Reconnect) => {}
            },
            () = sleep_until(pong_due.unwrap_or_else(now)), if pong_due.is_some() => {
                return DisconnectionSource::NoPongReceived;
            }
        }
    }
}

async fn asked_to_close(inbox: &mut mpsc::Receiver<Command>) -> DisconnectionSource {
    loop {
        match inbox.recv().await {
            Some(Command::Disconnect) | None => return DisconnectionSource::UserInitiated,
            Some(Command::DisconnectSystem) => return DisconnectionSource::SystemInitiated,
            Some(_) => {}
        }
    }
}

fn lost(error: EngineError) -> DisconnectionSource {
    DisconnectionSource::from(ServerReason::engine_error(error))
}

#[expect(clippy::disallowed_methods, reason = "the task that owns the socket is a driver")]
fn now() -> Instant {
    Instant::now()
}

/// Drops two connections, then goes silent, then behaves.
async fn serve(listener: TcpListener) -> io::Result<()> {
    for visit in 1.. {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (reader, mut writer) = socket.into_split();
            let mut lines = BufReader::new(reader).lines();
            if visit <= 2 {
                println!("server: takes connection {visit} and drops it");
                return Ok(());
            }
            println!(
                "server: takes connection {visit}{}",
                if visit == 3 { " and never answers" } else { "" }
            );
            while let Some(line) = lines.next_line().await? {
                if line == "PING" && visit > 3 {
                    writer.write_all(b"PONG\n").await?;
                }
            }
            io::Result::Ok(())
        });
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = LineClient::new(listener.local_addr()?);
    tokio::spawn(serve(listener));

    // Real delays would make a slow example: they are scaled down by configuration.
    let (network, monitor) = watch::channel(NetworkStatus::unknown());
    let monitor = Box::pin(stream::unfold(monitor, async |mut monitor| {
        monitor.changed().await.ok()?;
        let status = monitor.borrow_and_update().clone();
        Some((status, monitor))
    }));
    let options = RecoveryOptions::default()
        .first_delay(Duration::from_millis(200))
        .probe_deadline(Duration::from_millis(300));
    let recovery = ConnectionRecoveryHandler::builder(client.clone())
        .monitor(monitor)
        .options(options)
        .seed(1)
        .spawn()?;
    let mut decisions = recovery.decisions();
    client.tell(Command::Connect);

    let (mut connects, mut probed) = (0, false);
    let story = async {
        while let Some(decision) = decisions.next().await {
            println!("recovery: {decision:?}");
            match decision {
                Decision::Connect { .. } => connects += 1,
                Decision::Probe { .. } => probed = true,
                Decision::Stop { .. } => break,
                _ => {}
            }
            if connects == 2 && !probed {
                client.snapshots.clone().wait_for(|snapshot| snapshot.state.is_connected()).await?;
                println!("monitor: something changed");
                network.send_replace(NetworkStatus::online().with_hint(Hint::NetworkChanged));
            } else if connects == 3 {
                client.snapshots.clone().wait_for(|snapshot| snapshot.state.is_connected()).await?;
                println!("user: that will do");
                client.tell(Command::Disconnect);
            }
        }
        Result::<(), Box<dyn Error>>::Ok(())
    };
    timeout(Duration::from_secs(20), story).await??;
    Ok(())
}
