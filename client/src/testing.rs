//! For your own tests: a scripted server side that reads like the story of a test.
//!
//! Behind the feature `testing`. With `#[tokio::test(start_paused = true)]` time is virtual: it jumps to the next
//! deadline whenever everything waits, so a test of a 25 s ping takes a millisecond and is exact.
//!
//! # Three tests a user would write
//! An application that logs in, and answers a refusal with a new token:
//! ```
//! use everwire_client::{Client, Credentials, credentials_fn, testing::{Lines, Server}};
//! use everwire_engine::testing::ScriptedEngine;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let engine = ScriptedEngine::default();
//! let client = Client::builder("ws://chat.test", Lines)
//!     .credentials(credentials_fn(|attempt| async move {
//!         Ok(Credentials::new(if attempt.refused.is_some() { "new" } else { "old" }))
//!     }))
//!     .on_connection_established(|handle| async move {
//!         let token = handle.credentials().expect("there is a provider").secret().to_owned();
//!         handle.send(format!("auth {token}"));
//!         Ok(())
//!     })
//!     .build(engine.clone())
//!     .unwrap();
//!
//! let (outcome, ()) = tokio::join!(client.connect(), async {
//!     let mut server = Server::accept(&engine).await;
//!     assert_eq!(server.text().await, "auth old");
//!     server.say("error 40 401 token expired").await;
//! });
//! assert_eq!(outcome.unwrap_err().source.api_error().unwrap().code, 40);
//!
//! let (outcome, mut server) = tokio::join!(client.connect(), async {
//!     let mut server = Server::accept(&engine).await;
//!     assert_eq!(server.text().await, "auth new");
//!     server.say("hello conn-1").await;
//!     server
//! });
//! assert!(outcome.is_ok());
//! # server.say("bye").await;
//! # }
//! ```
//!
//! What happens when the server falls silent:
//! ```
//! use everwire_client::{Client, testing::{Lines, Server}};
//! use everwire_engine::testing::ScriptedEngine;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let engine = ScriptedEngine::default();
//! let client = Client::builder("ws://chat.test", Lines).build(engine.clone()).unwrap();
//! let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "conn-1"));
//!
//! let connected = tokio::time::Instant::now();
//! assert_eq!(server.close_code().await, Some(4001)); // pings go unanswered
//! assert_eq!(connected.elapsed().as_secs(), 25 + 3);
//! # drop(client);
//! # }
//! ```
//!
//! That nothing is lost in silence:
//! ```
//! use everwire_client::{Client, SendOutcome, testing::{Lines, Server}};
//! use everwire_engine::testing::ScriptedEngine;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let engine = ScriptedEngine::default();
//! let client = Client::builder("ws://chat.test", Lines).build(engine.clone()).unwrap();
//! assert!(matches!(client.send("too early").await, SendOutcome::NotSent(_)));
//!
//! let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "conn-1"));
//! assert_eq!(client.send("hello").await, SendOutcome::Flushed);
//! assert_eq!(server.text().await, "hello");
//! # }
//! ```

use std::time::Duration;

use everwire_engine::{
    CloseCode, Message,
    testing::{DuplexConnection, ScriptedEngine},
};

use crate::{ApiError, DecodeError, DecodeErrorKind, EventDecoder, HealthCheckInfo, WsEvent};

/// The server's end of one connection of a [`ScriptedEngine`].
#[derive(Debug)]
pub struct Server {
    connection: DuplexConnection,
}

impl Server {
    /// Waits for the client's next connection.
    pub async fn accept(engine: &ScriptedEngine) -> Self {
        Self { connection: engine.next_connection().await }
    }

    /// Waits for the client's next connection and sends the first health check in the protocol of [`Lines`].
    pub async fn accept_and_greet(engine: &ScriptedEngine, connection_id: &str) -> Self {
        let mut server = Self::accept(engine).await;
        server.say(format!("hello {connection_id}")).await;
        server
    }

    /// Sends a message. One that the client no longer takes is lost, as on a real network.
    pub async fn say(&mut self, message: impl Into<Message>) {
        let _ = self.connection.send(message).await;
    }

    /// The next text message; control frames before it are passed over.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn text(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Message::Text(text)) => return text.to_string(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a text message was expected, not {other:?}"),
            }
        }
    }

    /// The next message of any kind; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Message> {
        self.connection.recv().await.and_then(Result::ok)
    }

    /// Reads to the end, and says with which code the client closed; `None` when it just went away.
    pub async fn close_code(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(message) = self.next().await {
            if let Message::Close(frame) = message {
                code = frame.map(|frame| frame.code.get());
            }
        }
        code
    }

    /// Closes with a code, and reads to the end.
    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        let _ = self.connection.close(code, reason).await;
    }

    /// The connection itself, for all that has no word here.
    pub fn connection(&mut self) -> &mut DuplexConnection {
        &mut self.connection
    }
}

/// A line protocol for tests: `hello ID` is a health check, `error CODE [STATUS] [WORDS]` an error, `leaving SECONDS`
/// announces that the server will end the connection, `garbage` is rejected, `nothing` is skipped, any other text is itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

/// One line; see [`Lines`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a test shall match all of it")]
pub enum Line {
    /// A health check with this connection id.
    Hello(String),
    /// An error.
    Error(ApiError),
    /// The server will end the connection, in so much time.
    Leaving(Duration),
    /// Anything else.
    Text(String),
}

impl WsEvent for Line {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        match self {
            Self::Hello(id) => Some(HealthCheckInfo::with_connection_id(id)),
            _ => None,
        }
    }

    fn error(&self) -> Option<ApiError> {
        match self {
            Self::Error(error) => Some(error.clone()),
            _ => None,
        }
    }

    fn going_away(&self) -> Option<Duration> {
        match self {
            Self::Leaving(notice) => Some(*notice),
            _ => None,
        }
    }
}

impl EventDecoder for Lines {
    type Event = Line;

    fn decode(&mut self, message: &Message) -> Result<Option<Line>, DecodeError> {
        let text = message.as_text().ok_or(DecodeErrorKind::Unsupported)?;
        Ok(Some(match text.split_once(' ').unwrap_or((text, "")) {
            ("hello", id) => Line::Hello(id.to_owned()),
            ("error", rest) => Line::Error(api_error(rest).ok_or(DecodeErrorKind::Shape)?),
            ("leaving", seconds) => {
                let seconds = seconds.parse().map_err(|_| DecodeErrorKind::Shape)?;
                Line::Leaving(Duration::from_secs(seconds))
            }
            ("garbage", _) => return Err(DecodeErrorKind::Syntax.into()),
            ("nothing", _) => return Ok(None),
            _ => Line::Text(text.to_owned()),
        }))
    }
}

fn api_error(rest: &str) -> Option<ApiError> {
    let mut words = rest.splitn(3, ' ');
    let code = words.next()?.parse().ok()?;
    let status = words.next().and_then(|status| status.parse().ok());
    let error = ApiError::new(code, words.next().unwrap_or_default());
    Some(match status {
        Some(status) => error.with_status(status),
        None => error,
    })
}
