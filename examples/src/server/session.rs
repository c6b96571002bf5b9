//! One connection of the server: upgrade, authentication, room.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    faults::{Faults, RefuseUpgrades},
    hall::Posted,
    record::Ending,
    shared::{Presence, Shared, lock},
};
use crate::room::{Down, ErrorBody, Me, Signal, Up};

/// How long a peer may take for TLS, for the upgrade, for its authentication, and for one write of ours.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long we wait for the answer to our close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How many deliveries go out in one flush.
const BATCH: usize = 64;

type Problem = Box<dyn std::error::Error + Send + Sync>;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What the server's owner tells a connection to do.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Close(u16, String),
    Expire,
    Say(String),
}

/// Serves one connection to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
) -> Result<(), Problem> {
    stream.set_nodelay(true)?;
    let stream: Box<dyn Io> = match tls {
        Some(tls) => Box::new(timeout(PATIENCE, tls.accept(stream)).await??),
        None => Box::new(stream),
    };
    let mut faults = shared.faults.subscribe();
    if faults.wait_for(|faults| faults.answer_upgrades).await.is_err() {
        return Ok(());
    }
    let refuse = faults.borrow().refuse_upgrades.clone();
    let refusing = refuse.is_some();
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let upgrade = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut path);
        match refuse {
            Some(refuse) => Err(refusal(&refuse)),
            None => Ok(accept(request, response)),
        }
    };
    // Small buffers: the same server also holds ten thousand connections.
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let socket = timeout(PATIENCE, accept_hdr_async_with_config(stream, upgrade, Some(config))).await?;
    if refusing {
        shared.record.send_modify(|record| record.refused_upgrades += 1);
    }
    let (orders, inbox) = mpsc::channel(8);
    let echo = path == "/echo";
    let presence = shared.opened(path, orders);
    let mut session = Session { socket: socket?, presence, faults, inbox, stage: Stage::Stranger };
    if echo {
        session.stage = Stage::Echo;
    }
    session.run().await
}

fn refusal(refuse: &RefuseUpgrades) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(refuse.body.clone()));
    *response.status_mut() = StatusCode::from_u16(refuse.status).expect("checked when it was made");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, refuse.body.len().into());
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(delay) = refuse.retry_after {
        headers.insert(header::RETRY_AFTER, delay.as_secs().into());
    }
    response
}

/// Takes the first subprotocol that is offered.
fn accept(request: &Request, mut response: Response) -> Response {
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    let first = offered.and_then(|value| value.to_str().ok()).and_then(|list| list.split(',').next());
    if let Some(Ok(value)) = first.map(|name| HeaderValue::from_str(name.trim())) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    response
}

struct Session {
    socket: WebSocketStream<Box<dyn Io>>,
    presence: Presence,
    faults: watch::Receiver<Faults>,
    inbox: mpsc::Receiver<Order>,
    stage: Stage,
}

enum Stage {
    Echo,
    Stranger,
    Participant { name: String },
    InRoom { name: String, room: String, cursor: u64 },
}

impl Session {
    /// Drain, wait, tell; until one of the two says goodbye.
    async fn run(mut self) -> Result<(), Problem> {
        let authenticate_by = tokio::time::sleep(PATIENCE);
        tokio::pin!(authenticate_by);
        loop {
            self.deliver().await?;
            let reading = self.faults.borrow_and_update().read;
            tokio::select! {
                Some(order) = self.inbox.recv() => match order {
                    Order::Close(code, reason) => return self.close(code, reason).await,
                    Order::Expire if matches!(self.stage, Stage::Echo) => {}
                    Order::Expire => return self.refuse(ErrorBody::token_expired()).await,
                    Order::Say(text) => self.send(Message::text(text)).await?,
                },
                () = self.presence.news.notified() => {}
                // A fault was ordered or taken back; the next turn sees it.
                _ = self.faults.changed() => {}
                () = &mut authenticate_by, if matches!(self.stage, Stage::Stranger) => {
                    return self.refuse(ErrorBody::no_authentication()).await;
                }
                message = self.socket.next(), if reading => match message {
                    Some(Ok(Message::Close(frame))) => {
                        let (code, reason) = frame
                            .map_or((1005, String::new()), |f| (f.code.into(), f.reason.as_str().to_owned()));
                        // The answer is queued already; reading on sends it.
                        while let Ok(Some(Ok(_))) = timeout(CLOSE_PATIENCE, self.socket.next()).await {}
                        self.presence.ended(Ending::Client { code, reason });
                        return Ok(());
                    }
                    Some(Ok(message)) => {
                        if let Some(error) = self.hear(message).await? {
                            return self.refuse(error).await;
                        }
                        let close = self.faults.borrow().close_when_authenticated;
                        if let (Some(code), Stage::Participant { .. }) = (close, &self.stage) {
                            return self.close(code, String::new()).await;
                        }
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Handles one message. An error is one that the peer has to be told.
    async fn hear(&mut self, message: Message) -> Result<Option<ErrorBody>, Problem> {
        if matches!(self.stage, Stage::Echo) {
            if message.is_text() || message.is_binary() {
                self.send(message).await?;
            }
            return Ok(None);
        }
        let Message::Text(text) = message else { return Ok(None) };
        if matches!(self.stage, Stage::Stranger) {
            return self.authenticate(&text).await;
        }
        match serde_json::from_str(&text) {
            Ok(up) => self.obey(up).await,
            Err(error) => Ok(Some(ErrorBody::input(error.to_string()))),
        }
    }

    /// The first frame: any object with a token, which is both our form and Stream's.
    async fn authenticate(&mut self, text: &str) -> Result<Option<ErrorBody>, Problem> {
        let frame: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let token = frame.as_ref().and_then(|frame| frame.get("token")).and_then(|token| token.as_str());
        let checked = match token {
            Some(token) => lock(&self.presence.shared.hall).authenticate(token),
            None => Err(ErrorBody::no_authentication()),
        };
        match checked {
            Ok(name) => {
                self.presence.authenticated(&name);
                let connection_id = self.presence.connection_id();
                let me = Me::new(name.clone());
                self.stage = Stage::Participant { name };
                self.say(&Down::ConnectionOk { connection_id, me }).await?;
                Ok(None)
            }
            Err(error) => {
                self.presence.count(|record| record.failed_authentications += 1);
                Ok(Some(error))
            }
        }
    }

    async fn obey(&mut self, up: Up) -> Result<Option<ErrorBody>, Problem> {
        let shared = Arc::clone(&self.presence.shared);
        match (up, &mut self.stage) {
            (Up::HealthCheck { .. }, _) => {
                self.presence.count(|record| record.health_checks += 1);
                if self.faults.borrow().answer_health_checks {
                    let connection_id = self.presence.connection_id();
                    self.say(&Down::HealthCheck { connection_id }).await?;
                }
            }
            (Up::Join { room, seen }, Stage::Participant { name } | Stage::InRoom { name, .. }) => {
                let name = name.clone();
                let joined = lock(&shared.hall).join(&room, &name, seen);
                self.presence.entered(&room, &name);
                shared.wake_others(&room, &name);
                self.stage = Stage::InRoom { name, room, cursor: seen };
                self.say(&joined).await?;
            }
            (Up::Leave, Stage::InRoom { name, room, .. }) => {
                lock(&shared.hall).leave(room, name);
                shared.wake_others(room, name);
                self.presence.left();
                self.stage = Stage::Participant { name: name.clone() };
            }
            (Up::Seen { seq }, Stage::InRoom { name, room, .. }) => lock(&shared.hall).seen(room, name, seq),
            (Up::Post { signal: Signal::Arrived | Signal::Departed, .. }, _) => {
                return Ok(Some(ErrorBody::input("only the server says who comes and goes")));
            }
            (Up::Post { id, signal }, Stage::InRoom { name, room, .. }) => {
                let (posted, accepted) = lock(&shared.hall).post(room, name, id, &signal);
                if posted == Posted::New {
                    shared.wake_others(room, name);
                }
                self.presence.count(|record| match posted {
                    Posted::New => record.posts += 1,
                    Posted::Duplicate => record.duplicates += 1,
                    Posted::Gap => record.gaps += 1,
                });
                self.say(&Down::Accepted { id: accepted }).await?;
            }
            (Up::Auth { .. }, _) => return Ok(Some(ErrorBody::input("this connection is authenticated"))),
            (Up::Leave | Up::Seen { .. } | Up::Post { .. } | Up::Join { .. }, _) => {
                return Ok(Some(ErrorBody::input("join a room first")));
            }
        }
        Ok(None)
    }

    /// Sends what is new in this participant's log.
    async fn deliver(&mut self) -> Result<(), Problem> {
        while let Stage::InRoom { name, room, cursor } = &mut self.stage {
            let (texts, last) = lock(&self.presence.shared.hall).read(room, name, *cursor, BATCH);
            if texts.is_empty() {
                break;
            }
            *cursor = last;
            let write = async {
                for text in texts {
                    self.socket.feed(Message::text(text)).await?;
                }
                self.socket.flush().await
            };
            timeout(PATIENCE, write).await??;
        }
        Ok(())
    }

    async fn say(&mut self, down: &Down) -> Result<(), Problem> {
        let text = serde_json::to_string(down)?;
        self.send(Message::text(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Problem> {
        timeout(PATIENCE, self.socket.send(message)).await??;
        Ok(())
    }

    /// Says what is wrong, then closes with 1000: the frame is the only reason, as with Stream.
    async fn refuse(mut self, error: ErrorBody) -> Result<(), Problem> {
        let connection_id = self.presence.connection_id();
        self.say(&Down::ConnectionError { connection_id, error }).await?;
        self.close(1000, String::new()).await
    }

    async fn close(mut self, code: u16, reason: String) -> Result<(), Problem> {
        self.presence.ended(Ending::Server { code });
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        timeout(CLOSE_PATIENCE, self.socket.close(Some(frame))).await??;
        while let Ok(Some(Ok(_))) = timeout(CLOSE_PATIENCE, self.socket.next()).await {}
        Ok(())
    }
}
