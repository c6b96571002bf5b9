//! One participant: a session, who listens to it, and what was seen.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use everwire_client::{ConnectionState, DisconnectionSource};
use everwire_netmon::{ManualMonitor, NetworkStatus};
use everwire_ping::PingConfig;
use everwire_recovery::{Decision, Exponential, RecoveryOptions};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    MESSAGES, PACE, PATIENCE, Problem,
    timeline::{Counts, Timeline},
};
use crate::{
    clock,
    proxy::Proxy,
    room::Signal,
    server::Server,
    video_chat::{SessionConfig, SessionEvent, VideoChatSession},
};

/// What a participant has seen until now.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// How often it was in the room anew.
    pub(super) backs: u32,
    pub(super) back_at: Option<Instant>,
    /// How often its connection was lost.
    pub(super) drops: u32,
    pub(super) dropped_at: Option<Instant>,
    pub(super) last_source: Option<DisconnectionSource>,
    /// How often an attempt or a connection was over.
    pub(super) closed: u32,
    pub(super) viable: Option<bool>,
    pub(super) attempts: u32,
    pub(super) offer: bool,
    pub(super) answer: bool,
    pub(super) candidates: u32,
    /// Chat messages that came in order.
    pub(super) chats: u32,
    /// Chat messages that came twice or out of order.
    pub(super) wrong: u32,
}

pub(super) struct Participant {
    pub(super) name: &'static str,
    pub(super) monitor: ManualMonitor,
    session: VideoChatSession,
    seen: watch::Receiver<Seen>,
    listener: JoinHandle<()>,
}

impl Participant {
    pub(super) fn start(
        name: &'static str,
        server: &Arc<Server>,
        path: &Proxy,
        seed: u64,
        timeline: &Arc<Timeline>,
    ) -> Result<Self, Problem> {
        let ms = Duration::from_millis;
        let monitor = ManualMonitor::new(NetworkStatus::online());
        let issuer = Arc::clone(server);
        let (session, events) = VideoChatSession::start(SessionConfig {
            url: format!("wss://{}/room", path.addr()),
            ca_pem: server.ca_pem().to_owned(),
            room: "garden".to_owned(),
            token: Arc::new(move || issuer.issue_token(name)),
            monitor: monitor.monitor(),
            ping: PingConfig::builder().interval(ms(500)).pong_timeout(ms(350)).build()?,
            recovery: RecoveryOptions::default()
                .stable_after(ms(300))
                .first_delay(ms(300))
                .restart_delay(ms(200)..=ms(600))
                .coalesce(ms(50))
                .probe_deadline(ms(250))
                .offline_poll(Duration::from_secs(5)),
            strategy: Exponential::full().base(ms(150)).cap(ms(800)).floor(ms(20)),
            seed,
        })?;
        let (tell, told) = watch::channel(Seen::default());
        let listener = tokio::spawn(listen(name, events, tell, Arc::clone(timeline)));
        Ok(Self { name, monitor, session, seen: told, listener })
    }

    pub(super) async fn say(&self, signal: Signal) {
        self.session.send(signal).await;
    }

    /// Sends the numbered messages, at their pace.
    pub(super) fn talk(&self) -> JoinHandle<()> {
        let posts = self.session.sender();
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            for number in 1..=MESSAGES {
                pace.tick().await;
                let text = format!("message {number} of {MESSAGES}");
                if posts.send(Signal::Chat { number, text }).await.is_err() {
                    return;
                }
            }
        })
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until something was seen.
    pub(super) async fn until(
        &self,
        what: &str,
        condition: impl FnMut(&Seen) -> bool,
    ) -> Result<Seen, Problem> {
        let mut seen = self.seen.clone();
        match timeout(PATIENCE, seen.wait_for(condition)).await {
            Ok(Ok(seen)) => Ok(seen.clone()),
            Ok(Err(_)) => Err(format!("{}'s session ended before {what}", self.name).into()),
            Err(_) => Err(format!("{} waited {PATIENCE:?} for {what}", self.name).into()),
        }
    }

    /// Leaves, and says what became of the messages.
    pub(super) async fn end(self, timeline: &Timeline) -> Counts {
        let summary = self.session.end().await;
        // The listener ends with the session's events.
        let _ = self.listener.await;
        let seen = self.seen.borrow().clone();
        timeline.expect(
            summary.unconfirmed == 0,
            &format!("every post of {} was confirmed ({} not)", self.name, summary.unconfirmed),
        );
        Counts {
            sent: MESSAGES.into(),
            received: seen.chats,
            lost: MESSAGES - seen.chats.min(MESSAGES),
            wrong: seen.wrong,
            dropped: summary.duplicates,
        }
    }
}

async fn listen(
    name: &'static str,
    mut events: mpsc::Receiver<Box<SessionEvent>>,
    tell: watch::Sender<Seen>,
    timeline: Arc<Timeline>,
) {
    let mut up = false;
    while let Some(event) = events.recv().await {
        match *event {
            SessionEvent::State(snapshot) => {
                let cause = snapshot.state.source().map(ToString::to_string).unwrap_or_default();
                timeline.note(name, snapshot.state.name(), &cause, None);
                if matches!(snapshot.state, ConnectionState::Disconnected(_)) {
                    tell.send_modify(|seen| seen.closed += 1);
                }
                match &snapshot.state {
                    ConnectionState::Connecting => tell.send_modify(|seen| seen.attempts += 1),
                    ConnectionState::Connected(_) => up = true,
                    ConnectionState::Disconnecting(source) | ConnectionState::Disconnected(source) if up => {
                        up = false;
                        tell.send_modify(|seen| {
                            seen.drops += 1;
                            seen.dropped_at = Some(clock::now());
                            seen.last_source = Some(source.clone());
                        });
                    }
                    _ => {}
                }
            }
            SessionEvent::Decision(decision) => {
                let cause = match decision {
                    Decision::Stop { reason, .. } => reason.to_string(),
                    other => other.cause().map(|c| c.to_string().replace('_', " ")).unwrap_or_default(),
                };
                let delay = decision.delay().filter(|delay| !delay.is_zero());
                timeline.note(name, &decision.name().replace('_', " "), &cause, delay);
            }
            SessionEvent::InRoom { replayed } => {
                let again = match replayed {
                    0 => String::new(),
                    1 => "1 post sent again".to_owned(),
                    posts => format!("{posts} posts sent again"),
                };
                timeline.note(name, "in the room", &again, None);
                tell.send_modify(|seen| {
                    seen.backs += 1;
                    seen.back_at = Some(clock::now());
                });
            }
            SessionEvent::ViabilityChanged(viable) => {
                timeline.note(name, if viable { "viable" } else { "not viable" }, "network monitor", None);
                tell.send_modify(|seen| seen.viable = Some(viable));
            }
            SessionEvent::Signal { signal, .. } => tell.send_modify(|seen| match signal {
                Signal::Offer { sdp } => seen.offer = sdp.starts_with("v=0\r\n"),
                Signal::Answer { sdp } => seen.answer = sdp.starts_with("v=0\r\n"),
                Signal::Candidate { .. } => seen.candidates += 1,
                Signal::Chat { number, .. } if number == seen.chats + 1 => seen.chats = number,
                Signal::Chat { .. } => seen.wrong += 1,
                _ => {}
            }),
            SessionEvent::Error(error) => timeline.note(name, "error", &error, None),
            _ => {}
        }
    }
}
