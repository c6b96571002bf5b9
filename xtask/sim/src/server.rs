//! The server: real frames over the simulated network, and whatever the plan tells it to do wrong.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, StatusCode, header};
use tokio::{sync::mpsc, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    fault::Order,
    hall::Hall,
    plant::Plant,
    protocol::{Down, Up},
    wire::{Socket, Spoiler},
};

/// Where it listens.
pub(crate) const PORT: u16 = 80;
/// How long it waits for an upgrade, an authentication, one write, and the answer to a close frame.
const PATIENCE: Duration = Duration::from_secs(10);

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Serves until its machine dies.
pub(crate) async fn run(hall: Arc<Hall>) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    tracing::info!("listening");
    loop {
        let (stream, _) = listener.accept().await?;
        let session = serve(Arc::clone(&hall), stream);
        // When the machine dies, local tasks are dropped in their order; those of the runtime are not, and each says
        // goodbye over the network as it goes.
        tokio::task::spawn_local(async move {
            if let Err(error) = session.await {
                tracing::debug!(%error, "session ended");
            }
        });
    }
}

async fn serve(hall: Arc<Hall>, stream: TcpStream) -> Result<(), Problem> {
    thawed(&hall).await;
    let refuse = hall.conduct.get().refuse;
    let spoiler = Spoiler::default();
    let mut name = String::new();
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let upgrade = |request: &Request, response: Response| {
        request.uri().path().trim_start_matches('/').clone_into(&mut name);
        refuse.map_or(Ok(response), |(status, retry_after)| Err(refusal(status, retry_after)))
    };
    let socket = accept_hdr_async(Socket::spoilable(stream, spoiler.clone()), upgrade);
    let socket = timeout(PATIENCE, socket).await?;
    if let Some((status, _)) = refuse {
        hall.account(&name, |account| account.said.statuses.insert(status));
    }
    let (orders, inbox) = mpsc::channel(16);
    let mut session =
        Session { hall, name, socket: socket?, spoiler, inbox, connection: 0, joined: false, sent: 0 };
    if session.authenticate(orders).await? {
        session.run().await?;
    }
    Ok(())
}

fn refusal(status: u16, retry_after: Option<u64>) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = StatusCode::from_u16(status).expect("the plan draws real ones");
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Waits while the server is frozen.
async fn thawed(hall: &Hall) {
    hall.conduct.wait_for(|conduct| !conduct.frozen).await;
}

struct Session {
    hall: Arc<Hall>,
    name: String,
    socket: WebSocketStream<Socket>,
    spoiler: Spoiler,
    inbox: mpsc::Receiver<Order>,
    connection: u64,
    /// The client has said where it stopped.
    joined: bool,
    /// The last post that was sent on this connection.
    sent: u64,
}

impl Session {
    /// Says whether the client may stay.
    async fn authenticate(&mut self, orders: mpsc::Sender<Order>) -> Result<bool, Problem> {
        let token = loop {
            match timeout(PATIENCE, self.socket.next()).await?.ok_or("it left before it said who it is")?? {
                Message::Text(line) => match Up::parse(&line) {
                    Some(Up::Auth(token)) => break token,
                    other => return Err(format!("{other:?} is no authentication").into()),
                },
                Message::Close(_) => return Ok(false),
                _ => {}
            }
        };
        let conduct = self.hall.conduct.get();
        if conduct.mute_auth {
            // Reads on, so that it notices when the client has had enough.
            while self.socket.next().await.is_some_and(|message| message.is_ok()) {}
            return Ok(false);
        }
        tokio::time::sleep(conduct.slow_auth).await;
        if token != self.hall.token(&self.name) {
            self.fail(40, 401).await?;
            return Ok(false);
        }
        let replaced = self.hall.account(&self.name, |account| {
            account.connection += 1;
            self.connection = account.connection;
            account.orders.replace(orders)
        });
        if let Some(replaced) = replaced.ok_or("there is no such client")? {
            // Nobody reads at the other end any more, as far as the client is concerned.
            let _ = replaced.try_send(Order::Replaced);
        }
        self.say(&Down::Hello(self.connection)).await?;
        if let Some(code) = conduct.close_after_auth {
            self.close(code).await?;
            return Ok(false);
        }
        Ok(true)
    }

    async fn run(&mut self) -> Result<(), Problem> {
        loop {
            thawed(&self.hall).await;
            tokio::select! {
                biased;
                order = self.inbox.recv() => match order.ok_or("the account is gone")? {
                    Order::Close(code) => return self.close(code).await,
                    Order::Error(code, status) => return self.fail(code, status).await,
                    Order::Reset | Order::Replaced => return Ok(()),
                    Order::EndOfStream => {
                        tokio::io::AsyncWriteExt::shutdown(self.socket.get_mut()).await?;
                        return Ok(());
                    }
                    Order::Spoil(how) => {
                        self.hall.account(&self.name, |account| account.said.spoilt = true);
                        self.spoiler.order(how);
                    }
                    Order::Flood(count) => {
                        self.hall.account(&self.name, |account| {
                            (0..count).try_for_each(|_| account.make_post().map(drop))
                        });
                        self.deliver().await?;
                    }
                },
                message = self.socket.next() => match message.ok_or("end of stream")?? {
                    Message::Text(line) => {
                        let up = Up::parse(&line).ok_or("the client speaks gibberish")?;
                        self.hear(up).await?;
                    }
                    Message::Close(frame) => {
                        tracing::debug!(name = self.name, ?frame, "the client closes");
                        // The answer is queued already; reading on sends it.
                        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.socket.next()).await {}
                        return Ok(());
                    }
                    _ => {}
                },
                () = self.hall.conduct.wait_for(|conduct| conduct.frozen) => {}
            }
        }
    }

    async fn hear(&mut self, up: Up) -> Result<(), Problem> {
        match up {
            Up::Auth(_) => {}
            Up::Ping => self.say(&Down::Pong).await?,
            Up::Join(seen) => {
                let resumed = self.hall.account(&self.name, |account| {
                    let resumed = account.down.resume(seen);
                    resumed.map(|_| account.up.ack())
                });
                let accepted = resumed.ok_or("there is no such client")??;
                (self.joined, self.sent) = (true, seen);
                self.say(&Down::Joined(accepted)).await?;
                self.deliver().await?;
            }
            Up::Seen(seen) => {
                self.hall.account(&self.name, |account| account.down.acked(seen).map(drop)).transpose()?;
                self.deliver().await?;
            }
            Up::Post(number, text) => {
                let plant = self.hall.plant;
                let accepted = self.hall.account(&self.name, |account| {
                    let _ = account.up.receive(number, text);
                    while let Some((number, text)) = account.up.pop() {
                        if plant == Plant::KeepsTwice && number == 2 {
                            account.taken.push(text.clone());
                        }
                        if plant != Plant::LosesPost || number != 2 {
                            account.taken.push(text);
                        }
                        // Every post of the client is answered with one of the server.
                        account.make_post();
                    }
                    account.up.ack()
                });
                self.say(&Down::Accepted(accepted.unwrap_or_default())).await?;
                self.deliver().await?;
            }
            Up::Loose(id, _) => {
                let (plant, connection) = (self.hall.plant, self.connection);
                self.hall.account(&self.name, |account| {
                    account.loose.push((connection, id));
                    if plant == Plant::HearsTwice {
                        account.loose.push((connection, id));
                    }
                });
            }
        }
        Ok(())
    }

    /// Sends the posts that this connection has not seen yet.
    async fn deliver(&mut self) -> Result<(), Problem> {
        while self.joined {
            let next = self.hall.account(&self.name, |account| account.next_after(self.sent));
            let Some((number, text)) = next.flatten() else { break };
            self.say(&Down::Post(number, text)).await?;
            self.sent = number;
        }
        Ok(())
    }

    async fn say(&mut self, down: &Down) -> Result<(), Problem> {
        timeout(PATIENCE, self.socket.send(Message::text(down.line()))).await??;
        Ok(())
    }

    async fn fail(&mut self, code: i64, status: u16) -> Result<(), Problem> {
        self.hall.account(&self.name, |account| account.said.errors.insert(code));
        self.say(&Down::Error(code, status)).await?;
        self.close(1000).await
    }

    async fn close(&mut self, code: u16) -> Result<(), Problem> {
        self.hall.account(&self.name, |account| account.said.codes.insert(code));
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        timeout(PATIENCE, self.socket.close(Some(frame))).await??;
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.socket.next()).await {}
        Ok(())
    }
}
