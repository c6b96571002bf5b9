//! The reliable layer against the embedded server, over real sockets that are reset again and again.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use everwire_client::{
    Client, ClientEvent, ConnectionState, Credentials, credentials_fn,
    stream::{AuthenticationRequest, StreamDecoder, UserDetails},
};
use everwire_engine::TungsteniteEngine;
use everwire_examples::{
    proxy::{Mode, Proxy},
    room::Signal,
    server::{Server, ServerOptions},
    video_chat::{SessionConfig, SessionEvent, VideoChatSession},
};
use everwire_netmon::{ManualMonitor, NetworkStatus};
use everwire_ping::PingConfig;
use everwire_recovery::{ConnectionRecoveryHandler, Exponential, RecoveryOptions};
use futures_util::StreamExt as _;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

const DROPS: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(120);

fn session(
    name: &'static str,
    server: &Arc<Server>,
    path: &Proxy,
) -> (VideoChatSession, mpsc::Receiver<Box<SessionEvent>>) {
    let ms = Duration::from_millis;
    let issuer = Arc::clone(server);
    VideoChatSession::start(SessionConfig {
        url: format!("ws://{}/room", path.addr()),
        ca_pem: server.ca_pem().to_owned(),
        room: "garden".to_owned(),
        token: Arc::new(move || issuer.issue_token(name)),
        monitor: ManualMonitor::new(NetworkStatus::online()).monitor(),
        ping: PingConfig::default(),
        // A hundred connections in a second are what the burst limit is against; here they are the test.
        recovery: RecoveryOptions::default()
            .stable_after(ms(1))
            .first_delay(ms(5))
            .burst(10 * DROPS, Duration::from_secs(10)),
        strategy: Exponential::full().base(ms(5)).cap(ms(20)).floor(ms(1)),
        seed: 7,
    })
    .unwrap()
}

/// Reads one side to its end: says 0 when it is in the room, and then the number of each message.
async fn listen(
    mut events: mpsc::Receiver<Box<SessionEvent>>,
    heard: Arc<watch::Sender<Option<u32>>>,
) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(event) = events.recv().await {
        match *event {
            SessionEvent::InRoom { .. } if numbers.is_empty() => {
                heard.send_replace(Some(0));
            }
            SessionEvent::Signal { signal: Signal::Chat { number, .. }, .. } => {
                numbers.push(number);
                heard.send_replace(Some(number));
            }
            _ => {}
        }
    }
    numbers
}

/// §6: both directions, exactly once and in order, across a hundred resets under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_6_a_hundred_forced_drops_lose_nothing_and_double_nothing() {
    let server = Arc::new(Server::start(ServerOptions::default()).unwrap());
    let path = Proxy::start(server.plain_addr()).unwrap();
    let (ann, ann_events) = session("ann", &server, &path);
    let (ben, ben_events) = session("ben", &server, &path);
    let heard = [Arc::new(watch::Sender::new(None)), Arc::new(watch::Sender::new(None))];
    let listeners = [
        tokio::spawn(listen(ann_events, Arc::clone(&heard[0]))),
        tokio::spawn(listen(ben_events, Arc::clone(&heard[1]))),
    ];
    for side in &heard {
        // Who is not in the room yet misses what is said there.
        let mut heard = side.subscribe();
        timeout(PATIENCE, heard.wait_for(Option::is_some)).await.expect("not in the room").unwrap();
    }
    let mut accepted = 0;
    for number in 1..=DROPS {
        let text = format!("message {number}");
        assert!(ann.send(Signal::Chat { number, text: text.clone() }).await);
        assert!(ben.send(Signal::Chat { number, text }).await);
        // Whatever is under way is cut off, at another moment each time.
        tokio::time::sleep(Duration::from_millis(u64::from(number % 7))).await;
        path.set_all(Mode::Reset).unwrap();
        // A new connection of somebody's, so that each reset hits one.
        let back = async {
            while path.accepted() <= accepted || path.open().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            accepted = path.accepted();
        };
        timeout(PATIENCE, back).await.expect("nobody comes back");
    }
    for side in &heard {
        let mut heard = side.subscribe();
        timeout(PATIENCE, heard.wait_for(|number| *number == Some(DROPS)))
            .await
            .expect("a message is missing")
            .unwrap();
    }
    let summaries = [ann.end().await, ben.end().await];
    for listener in listeners {
        assert_eq!(listener.await.unwrap(), (1..=DROPS).collect::<Vec<_>>());
    }
    assert!(path.accepted() >= u64::from(DROPS), "{} connections", path.accepted());
    assert_eq!(summaries.map(|summary| summary.unconfirmed), [0, 0]);
}

/// §7: code 40 asks the provider once more, and the next connection is made with what it says.
#[tokio::test]
async fn rule_7_code_40_renews_the_credentials_once() {
    let server = Arc::new(Server::start(ServerOptions::default()).unwrap());
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (issuer, seen) = (Arc::clone(&server), Arc::clone(&asked));
    let client = Client::builder(&server.plain_url("/connect"), StreamDecoder)
        .credentials(credentials_fn(move |attempt| {
            let code = attempt.refused.and_then(|refused| refused.api_error).map(|error| error.code);
            seen.lock().unwrap().push(code);
            let kept = attempt.credentials.filter(|_| code.is_none());
            let token = kept.unwrap_or_else(|| Credentials::new(issuer.issue_token("ann")));
            async move { Ok(token) }
        }))
        .on_connection_established(|handle| async move {
            let token = handle.credentials().unwrap().secret().to_owned();
            handle.send(AuthenticationRequest::new(token, UserDetails::new("ann")).to_message());
            Ok(())
        })
        .build(TungsteniteEngine::new())
        .unwrap();
    let _recovery = ConnectionRecoveryHandler::builder(client.clone()).seed(1).spawn().unwrap();
    client.connect().await.unwrap();
    let mut events = client.subscribe();
    server.expire_tokens();
    let back = async {
        let mut code = None;
        while let Some(event) = events.next().await {
            let ClientEvent::State(snapshot) = event else { continue };
            match &snapshot.state {
                ConnectionState::Disconnected(source) => code = source.api_error().map(|error| error.code),
                ConnectionState::Connected(_) if snapshot.generation > 1 => return code,
                _ => {}
            }
        }
        None
    };
    assert_eq!(timeout(PATIENCE, back).await.unwrap(), Some(40));
    assert_eq!(*asked.lock().unwrap(), [None, Some(40)]);
    client.disconnect().await;
}
