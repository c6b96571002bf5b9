//! A second engine: the `tokio-websockets` library behind the traits `Engine` and `Connection`.
//!
//! `cargo run -p everwire-examples --example second_engine`
//!
//! The contract is executable, so the program proves itself: it runs the conformance suite against a server on
//! this machine. What is left out to stay short: TLS (`ws://` only), proxies, subprotocols, and deadlines per stage.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use everwire_engine::{
    CloseCode, CloseFrame, ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Handshake,
    Message, Stage,
    testing::conformance::{self, LoopbackServer},
};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Error as TheirError, Message as Theirs, WebSocketStream};

struct SecondEngine;

impl Engine for SecondEngine {
    type Connection = Socket;

    async fn connect(&self, request: ConnectRequest) -> Result<Socket, EngineError> {
        let endpoint = request.endpoint();
        if endpoint.is_secure() {
            return Err(EngineError::new(EngineErrorKind::InvalidRequest, Stage::Tls)
                .with_detail("this engine has no TLS; connect to a ws:// URL"));
        }
        let url = format!("ws://{}{}", request.authority(), request.path_and_query());
        let at_upgrade = |error: Box<dyn Error + Send + Sync>| {
            EngineError::new(EngineErrorKind::Upgrade, Stage::Upgrade).with_source(error)
        };
        let mut builder = ClientBuilder::new().uri(&url).map_err(|error| at_upgrade(error.into()))?;
        for (name, value) in request.headers() {
            builder =
                builder.add_header(name.clone(), value.clone()).map_err(|error| at_upgrade(error.into()))?;
        }
        let at_connect =
            |error| EngineError::new(EngineErrorKind::Connect, Stage::Connect).with_source(error);
        let tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(at_connect)?;
        let mut handshake = Handshake::default();
        handshake.local_addr = tcp.local_addr().ok();
        let (inner, answer) = builder.connect_on(tcp).await.map_err(|error| at_upgrade(error.into()))?;
        handshake.headers = answer.headers().clone();
        Ok(Socket { inner, handshake, closing: false, over: false })
    }
}

struct Socket {
    inner: WebSocketStream<TcpStream>,
    handshake: Handshake,
    closing: bool, // a close frame was sent or received: nothing follows it
    over: bool,    // the last item was read
}

impl Connection for Socket {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }
}

impl Stream for Socket {
    type Item = Result<Message, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            // The answer to the server's close frame may still have to go out.
            return self.inner.poll_next_unpin(cx).map(|_| None);
        }
        let item = match ready!(self.inner.poll_next_unpin(cx)) {
            Some(Ok(message)) => Ok(received(message)),
            Some(Err(error)) => Err(failed(error)),
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        };
        self.over = matches!(item, Ok(Message::Close(_)) | Err(_));
        self.closing |= self.over;
        Poll::Ready(Some(item))
    }
}

impl Sink<Message> for Socket {
    type Error = EngineError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        if self.closing {
            return Poll::Ready(Err(EngineError::new(EngineErrorKind::Closed, Stage::Open)));
        }
        self.inner.poll_ready_unpin(cx).map_err(failed)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), EngineError> {
        message.check()?;
        self.closing |= matches!(message, Message::Close(_));
        let theirs = match message {
            Message::Text(text) => Theirs::text(text.as_str().to_owned()),
            Message::Binary(payload) => Theirs::binary(payload),
            Message::Ping(payload) => Theirs::ping(payload),
            Message::Pong(payload) => Theirs::pong(payload),
            Message::Close(None) => Theirs::close(None, ""),
            Message::Close(Some(frame)) => {
                Theirs::close(u16::from(frame.code).try_into().ok(), &frame.reason)
            }
        };
        self.inner.start_send_unpin(theirs).map_err(failed)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.inner.poll_flush_unpin(cx).map_err(failed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.inner.poll_close_unpin(cx).map_err(failed)
    }
}

fn received(message: Theirs) -> Message {
    if let Some(text) = message.as_text() {
        return Message::text(text.to_owned());
    }
    if let Some((code, reason)) = message.as_close() {
        let frame = CloseFrame { code: CloseCode::received(code.into()), reason: reason.to_owned().into() };
        return Message::Close((!message.as_payload().is_empty()).then_some(frame));
    }
    match (message.is_ping(), message.is_pong()) {
        (true, _) => Message::Ping(message.into_payload().into()),
        (_, true) => Message::Pong(message.into_payload().into()),
        _ => Message::Binary(message.into_payload().into()),
    }
}

fn failed(error: TheirError) -> EngineError {
    EngineError::new(EngineErrorKind::Io, Stage::Open).with_source(error)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut server = LoopbackServer::bind().await?;
    conformance::check(&SecondEngine, &mut server).await;
    println!("the second engine keeps the contract");
    Ok(())
}
