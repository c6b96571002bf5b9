//! The whole client: pings, recovery and the network monitor are on.

use std::time::Duration;

use everwire_client::{Client, ClientBuilder, EventDecoder, RawDecoder};
use everwire_engine::TungsteniteEngine;
use everwire_netmon::SystemMonitor;
use everwire_recovery::ConnectionRecoveryHandler;

use super::Outcome;
use crate::task::{Contender, Task};

/// A client and what belongs to it. All ends when it is dropped.
pub(crate) struct Whole<Ev> {
    pub(crate) client: Client<Ev>,
    _recovery: ConnectionRecoveryHandler,
}

/// One for all connections of a process, as its documentation says.
pub(crate) fn engine(task: &Task) -> Outcome<TungsteniteEngine> {
    let builder = TungsteniteEngine::builder().add_root_certificate_pem(&task.server.authority);
    let builder = match task.contender {
        Contender::Firehose => builder.firehose(),
        Contender::ManyIdle => builder.many_idle(),
        _ => builder,
    };
    Ok(builder.build()?)
}

pub(crate) fn url(task: &Task, path: &str, tls: bool) -> String {
    if tls {
        format!("wss://127.0.0.1:{}{path}", task.server.tls)
    } else {
        format!("ws://127.0.0.1:{}{path}", task.server.plain)
    }
}

/// A builder for the server of this run: it speaks no health check, so pings are those of the protocol.
pub(crate) fn builder<D: EventDecoder>(url: &str, decoder: D) -> ClientBuilder<D> {
    Client::builder(url, decoder).protocol_pings()
}

pub(crate) fn raw(task: &Task, path: &str) -> ClientBuilder<RawDecoder> {
    builder(&url(task, path, false), RawDecoder)
}

/// Assembles the whole; it is not connected yet.
pub(crate) fn whole<D: EventDecoder>(
    task: &Task,
    engine: &TungsteniteEngine,
    builder: ClientBuilder<D>,
) -> Outcome<Whole<D::Event>> {
    let client = builder.build(engine.clone())?;
    let monitor = SystemMonitor::towards("127.0.0.1", task.server.plain)?;
    let recovery = ConnectionRecoveryHandler::builder(client.clone()).monitor(monitor).spawn()?;
    Ok(Whole { client, _recovery: recovery })
}

/// Lets what was started beside the connection come to rest.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
