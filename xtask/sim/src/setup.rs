//! A client as an application assembles it: our own client, engine and recovery, all of them as they are shipped.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use everwire_client::{Client, CredentialProvider, Credentials, PingRequest, SendLimits, credentials_fn};
use everwire_engine::{Addressed, Endpoint, TungsteniteEngine, connector_fn};
use everwire_netmon::{ManualLifecycle, ManualMonitor};
use everwire_ping::PingConfig;
use everwire_recovery::ConnectionRecoveryHandler;
use fastrand::Rng;
use turmoil::net::TcpStream;

use crate::{
    hall::Hall,
    ledger::Ledger,
    plan::ClientPlan,
    plant::Plant,
    protocol::{Decoder, Down, Up},
    server::PORT,
    told::Told,
    wire::Socket,
};

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Where a client lives.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) hall: Arc<Hall>,
    pub(crate) server: IpAddr,
    pub(crate) monitor: ManualMonitor,
    pub(crate) lifecycle: ManualLifecycle,
    /// Nothing is spoilt any more.
    pub(crate) peace: Arc<Told<bool>>,
}

/// The client and what recovers it.
pub(crate) fn client(
    plan: &ClientPlan,
    place: &Place,
    ledger: &Ledger,
) -> Result<(Client<Down>, ConnectionRecoveryHandler), Problem> {
    let (messages, bytes) = plan.queue;
    let (interval, pong_timeout) = plan.ping;
    let client = Client::builder(&format!("ws://server.sim:{PORT}/{}", plan.name), Decoder)
        .ping(PingRequest::HealthCheck)
        .ping_request_builder(|_| Up::Ping.line())
        .ping_config(PingConfig::builder().interval(interval).pong_timeout(pong_timeout).build()?)
        .send_limits(SendLimits::default().with_messages(messages).with_bytes(bytes))
        .credentials(provider(plan, place))
        .on_connection_established(|handle| async move {
            let token = handle.credentials().and_then(|token| token.secret().parse().ok());
            handle.send(Up::Auth(token.unwrap_or_default()).line());
            Ok(())
        })
        .build(engine(place, ledger)?)?;
    let recovery = ConnectionRecoveryHandler::builder(client.clone())
        .monitor(place.monitor.monitor())
        .lifecycle(place.lifecycle.monitor())
        .seed(plan.seed)
        .spawn()?;
    Ok((client, recovery))
}

/// The engine as it is shipped; only its sockets are those of the simulated network, and are counted.
fn engine(place: &Place, ledger: &Ledger) -> Result<TungsteniteEngine, Problem> {
    let (server, sockets, plant) = (place.server, ledger.sockets().clone(), place.hall.plant);
    let connector = connector_fn(move |_: Endpoint| {
        let sockets = sockets.clone();
        async move {
            let held = sockets.begin();
            let second = (plant == Plant::SecondSocket).then(|| sockets.begin());
            let stream = TcpStream::connect((server, PORT)).await?;
            drop(second);
            let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
            Ok(Addressed::new(Socket::counted(stream, held)).local(local).peer(peer))
        }
    });
    Ok(TungsteniteEngine::builder().connector(connector).build()?)
}

/// Asks for a new token when the old one is refused; takes its time, sometimes too much of it, and fails now and
/// then as long as there is no peace.
fn provider(plan: &ClientPlan, place: &Place) -> impl CredentialProvider + use<> {
    let rng = Arc::new(Mutex::new(Rng::with_seed(plan.seed ^ 1)));
    let (hall, at_peace, name) = (Arc::clone(&place.hall), Arc::clone(&place.peace), plan.name.clone());
    let cached = Arc::new(AtomicU32::new(hall.token(&name)));
    credentials_fn(move |attempt| {
        let (hall, name, cached) = (Arc::clone(&hall), name.clone(), Arc::clone(&cached));
        let (luck, wait) = {
            let mut rng = rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (rng.u8(..40), Duration::from_millis(rng.u64(..800)))
        };
        let luck = if at_peace.get() { u8::MAX } else { luck };
        async move {
            match luck {
                0 => return Err("the token endpoint is down".into()),
                1 => tokio::time::sleep(Duration::from_secs(12)).await,
                _ => tokio::time::sleep(wait).await,
            }
            if attempt.refused.is_some() {
                let fresh = hall.account(&name, |account| {
                    account.token += 1;
                    account.token
                });
                cached.store(fresh.unwrap_or_default(), Ordering::Relaxed);
            }
            Ok(Credentials::new(cached.load(Ordering::Relaxed).to_string()))
        }
    })
}
