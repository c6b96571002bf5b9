//! The clients: pairs that talk in a room of their own, each message numbered.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use everwire_client::ConnectionState;
use everwire_netmon::{ManualMonitor, NetworkStatus};
use everwire_ping::PingConfig;
use everwire_recovery::{Decision, Exponential, RecoveryOptions, StopReason};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::Problem;
use crate::{
    clock,
    room::Signal,
    video_chat::{SessionConfig, SessionEvent, Summary, VideoChatSession},
};

/// All clients.
pub(super) struct Fleet {
    members: Vec<Member>,
    seen: Arc<Seen>,
}

struct Member {
    session: VideoChatSession,
    talker: JoinHandle<u32>,
    listener: JoinHandle<Heard>,
}

/// What all of them have seen until now.
#[derive(Debug, Default)]
struct Seen {
    connected: AtomicU64,
    connections: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    peace: AtomicBool,
}

/// The figures of a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) connected: u64,
    pub(super) connections: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// How many of a pair have entered their room. The server tells nobody what was said before they came.
type Present = watch::Sender<usize>;

/// What one client has heard.
#[derive(Debug, Default)]
struct Heard {
    /// The last number of its partner's.
    last: u32,
    wrong: Vec<String>,
}

impl Fleet {
    pub(super) fn start(clients: usize, url: &str, ca_pem: &str, luck: u64) -> Result<Self, Problem> {
        let seen = Arc::new(Seen::default());
        let mut members = Vec::with_capacity(clients);
        for pair in 0..clients / 2 {
            let present = Arc::new(watch::Sender::new(0));
            for index in [2 * pair, 2 * pair + 1] {
                members.push(Member::start(index, url, ca_pem, luck, &seen, &present)?);
            }
        }
        Ok(Self { members, seen })
    }

    pub(super) fn totals(&self) -> Totals {
        let Seen { connected, connections, sent, received, .. } = &*self.seen;
        Totals {
            connected: connected.load(Relaxed),
            connections: connections.load(Relaxed),
            sent: sent.load(Relaxed),
            received: received.load(Relaxed),
        }
    }

    /// Nothing is spoilt any more and nothing new is said: waits until everything is delivered.
    pub(super) async fn settle(&self, patience: Duration) -> Option<String> {
        self.seen.peace.store(true, Relaxed);
        let until = clock::now() + patience;
        let is_whole =
            |totals: Totals| totals.received == totals.sent && totals.connected == self.members.len() as u64;
        while clock::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let all_said = self.members.iter().all(|member| member.talker.is_finished());
            if all_said && is_whole(self.totals()) {
                return None;
            }
        }
        Some(format!("not whole within {patience:?} after the last fault: {:?}", self.totals()))
    }

    /// Ends all, and tells what is not as promised.
    pub(super) async fn end(self, patience: Duration) -> Vec<String> {
        let ends = self.members.into_iter().enumerate().map(|(index, member)| async move {
            let ended = timeout(patience, member.end()).await;
            let failures = ended.unwrap_or_else(|_| vec!["did not end".to_owned()]);
            failures.into_iter().map(|what| format!("client {index}: {what}")).collect::<Vec<_>>()
        });
        let mut failures = join_all(ends).await.concat();
        let more = failures.len().saturating_sub(10);
        if more > 0 {
            failures.truncate(10);
            failures.push(format!("and {more} more"));
        }
        failures
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

impl Member {
    fn start(
        index: usize,
        url: &str,
        ca_pem: &str,
        luck: u64,
        seen: &Arc<Seen>,
        present: &Arc<Present>,
    ) -> Result<Self, Problem> {
        let mut rng = Rng::with_seed(luck.wrapping_add(index as u64));
        let monitor = ManualMonitor::new(NetworkStatus::online());
        let (session, events) = VideoChatSession::start(SessionConfig {
            url: url.to_owned(),
            // The path is not secured all the same: what is soaked are the clients, and not the arithmetic of TLS.
            ca_pem: ca_pem.to_owned(),
            room: format!("room-{}", index / 2),
            token: {
                // A fresh one each time: credentials that were refused and come again would stop the client.
                let issued = AtomicU64::new(0);
                Arc::new(move || format!("client-{index}#{}", issued.fetch_add(1, Relaxed)))
            },
            monitor: monitor.monitor(),
            ping: PingConfig::builder()
                .interval(Duration::from_secs(10))
                .pong_timeout(Duration::from_secs(5))
                .build()?,
            recovery: RecoveryOptions::default(),
            strategy: Exponential::full(),
            seed: rng.u64(..),
        })?;
        let talker = tokio::spawn(talk(session.sender(), rng, Arc::clone(seen), present.subscribe()));
        let listener = tokio::spawn(listen(events, Arc::clone(seen), monitor, Arc::clone(present)));
        Ok(Self { session, talker, listener })
    }

    async fn end(self) -> Vec<String> {
        let sent = self.talker.await.unwrap_or_default();
        let Summary { confirmed, unconfirmed, .. } = self.session.end().await;
        let heard = self.listener.await.unwrap_or_default();
        let mut failures = heard.wrong;
        if unconfirmed > 0 || confirmed != u64::from(sent) {
            failures.push(format!("sent {sent} messages, {confirmed} are confirmed, {unconfirmed} are not"));
        }
        failures
    }
}

/// Says something every few seconds, from the moment that both are there until there is peace.
async fn talk(
    posts: mpsc::Sender<Signal>,
    mut rng: Rng,
    seen: Arc<Seen>,
    mut present: watch::Receiver<usize>,
) -> u32 {
    let mut number = 0;
    if present.wait_for(|present| *present == 2).await.is_err() {
        return number;
    }
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(1000..5000))).await;
        if seen.peace.load(Relaxed) {
            return number;
        }
        let chat = Signal::Chat { number: number + 1, text: "x".repeat(rng.usize(..1000)) };
        if posts.send(chat).await.is_err() {
            return number;
        }
        number += 1;
        seen.sent.fetch_add(1, Relaxed);
    }
}

/// Reads all that happens; the monitor lives as long.
async fn listen(
    mut events: mpsc::Receiver<Box<SessionEvent>>,
    seen: Arc<Seen>,
    monitor: ManualMonitor,
    present: Arc<Present>,
) -> Heard {
    let mut heard = Heard::default();
    let mut is_connected = false;
    let mut is_present = false;
    let mut ended = 0;
    while let Some(event) = events.recv().await {
        match *event {
            SessionEvent::State(snapshot) => {
                if let ConnectionState::Disconnected(_) = snapshot.state {
                    if snapshot.generation <= ended {
                        heard.wrong.push(format!("attempt {} ended twice", snapshot.generation));
                    }
                    ended = snapshot.generation;
                }
                let was_connected = std::mem::replace(&mut is_connected, snapshot.state.is_connected());
                match (was_connected, is_connected) {
                    (false, true) => {
                        seen.connected.fetch_add(1, Relaxed);
                        seen.connections.fetch_add(1, Relaxed);
                    }
                    (true, false) => drop(seen.connected.fetch_sub(1, Relaxed)),
                    _ => {}
                }
            }
            SessionEvent::Decision(Decision::Stop { reason, attempts, .. })
                if reason != StopReason::UserDisconnected =>
            {
                heard.wrong.push(format!("recovery stopped after {attempts} attempts: {reason}"));
            }
            SessionEvent::InRoom { .. } if !is_present => {
                is_present = true;
                present.send_modify(|present| *present += 1);
            }
            SessionEvent::Signal { signal: Signal::Chat { number, .. }, .. } => {
                if number != heard.last + 1 {
                    heard.wrong.push(format!("message {number} came after {}", heard.last));
                }
                heard.last = number;
                seen.received.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }
    drop(monitor);
    heard
}
