//! An engine from a closure: the usual one, with a header of its own on every attempt and a log.
//!
//! `cargo run -p everwire-examples --example closure_engine`
//!
//! A closure is enough for whatever happens around an attempt: a signature, a log, a choice between engines.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;

use everwire_engine::{ConnectRequest, Connection, Engine, Message, TungsteniteEngine, engine_fn};
use everwire_examples::server::{Server, ServerOptions};
use futures_util::{SinkExt as _, StreamExt as _};

/// Any engine, with a signature on every attempt.
fn signed(inner: impl Engine + Clone) -> impl Engine {
    engine_fn(move |request: ConnectRequest| {
        let inner = inner.clone();
        async move {
            let endpoint = request.endpoint().clone();
            let connection = inner.connect(request.header("x-signature", "made for this attempt")?).await;
            match &connection {
                Ok(open) => println!("{endpoint}: open, from {:?}", open.handshake().local_addr),
                Err(error) => println!("{endpoint}: {error}"),
            }
            connection
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = Server::start(ServerOptions::default())?;
    let engine = signed(TungsteniteEngine::builder().build()?);

    let mut connection = engine.connect(ConnectRequest::new(&server.plain_url("/echo"))?).await?;
    connection.send(Message::from("hello")).await?;
    let answer = connection.next().await.ok_or("the server says nothing")??;
    println!("answer: {answer:?}");
    assert_eq!(answer, Message::from("hello"));
    Ok(())
}
