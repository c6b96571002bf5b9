//! Connect, upgrade and close, many at a time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use everwire_client::RawDecoder;
use everwire_engine::{ConnectRequest, Engine, Message};
use futures_util::{SinkExt, StreamExt};
use tokio::task::JoinSet;

use super::cannot;
use crate::{
    measure::Mark,
    peers::{
        Outcome, bare,
        everwire::{self, whole},
    },
    task::{Contender, Measures, Task},
};

/// So many are under way at once.
const AT_ONCE: u64 = 64;

/// Tells how many connections a second came and went, what each cost, and which share resumed a session of TLS.
pub(super) async fn churn(task: &Task, connections: u64, tls: bool) -> Outcome<Measures> {
    if !matches!(
        task.contender,
        Contender::Bare | Contender::Control | Contender::Engine | Contender::Everwire
    ) {
        return cannot(task);
    }
    let shared = Arc::new(Shared {
        task: task.clone(),
        tls: tls.then(|| bare::tls(task)).transpose()?,
        engine: everwire::engine(task)?,
        left: AtomicU64::new(connections),
        resumed: AtomicU64::new(0),
    });
    // The first connection of all has no session to resume, and tables to set up; then the tickets are there.
    for _ in 0..AT_ONCE {
        shared.once().await?;
    }
    shared.resumed.store(0, Relaxed);
    let start = Mark::now();
    let mut loops = JoinSet::new();
    let at_once = if tls { 1 } else { AT_ONCE };
    for _ in 0..at_once {
        let shared = Arc::clone(&shared);
        loops.spawn(async move {
            while shared.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                shared.once().await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    let mut measures = start.since(connections);
    measures.insert("resumed".to_owned(), shared.resumed.load(Relaxed) as f64 / connections as f64);
    Ok(measures)
}

struct Shared {
    task: Task,
    tls: Option<tokio_rustls::TlsConnector>,
    engine: everwire_engine::TungsteniteEngine,
    left: AtomicU64,
    resumed: AtomicU64,
}

impl Shared {
    /// One connection, from the dial to the end of the close handshake.
    async fn once(&self) -> Outcome<()> {
        let url = everwire::url(&self.task, "/listen", self.tls.is_some());
        let resumed = match (self.task.contender, &self.tls) {
            (Contender::Everwire, _) => {
                let whole = whole(&self.task, &self.engine, everwire::builder(&url, RawDecoder))?;
                whole.client.connect().await?;
                whole.client.disconnect().await;
                false
            }
            (Contender::Engine, _) => {
                let mut connection = self.engine.connect(ConnectRequest::new(&url)?).await?;
                let resumed = everwire_engine::Connection::handshake(&connection).tls_resumed;
                connection.send(Message::Close(None)).await?;
                while connection.next().await.is_some() {}
                resumed == Some(true)
            }
            (_, Some(tls)) => {
                let (mut socket, resumed) = bare::connect_tls(&self.task, tls, "/listen").await?;
                socket.close(None).await?;
                while socket.next().await.is_some() {}
                resumed
            }
            (_, None) => {
                let mut socket = bare::connect(&self.task, "/listen").await?;
                socket.close(None).await?;
                while socket.next().await.is_some() {}
                false
            }
        };
        self.resumed.fetch_add(u64::from(resumed), Relaxed);
        Ok(())
    }
}
