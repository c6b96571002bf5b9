//! Stream's chat protocol: connect URL, authentication, events; a token that has expired is renewed once.
//!
//! `cargo run -p everwire-examples --example stream_chat`
//!
//! A small server in the same program refuses the first token with code 40 and takes the second. The provider
//! sees in the attempt that its last token was refused; recovery makes the second attempt.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, time::Duration};

use everwire_client::{
    Client, ClientEvent, Credentials, credentials_fn,
    stream::{AuthType, AuthenticationRequest, StreamDecoder, StreamEvent, UserDetails, connect_url},
};
use everwire_engine::TungsteniteEngine;
use everwire_recovery::{ConnectionRecoveryHandler, RecoveryOptions};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_websockets::{Message, ServerBuilder};

/// Authenticates, says hello, and echoes health checks.
async fn serve(listener: TcpListener) -> Result<(), Box<dyn Error + Send + Sync>> {
    loop {
        let (socket, _) = listener.accept().await?;
        let (_, mut socket) = ServerBuilder::new().accept(socket).await?;
        while let Some(Ok(message)) = socket.next().await {
            let Some(text) = message.as_text() else { continue };
            let request: Value = serde_json::from_str(text)?;
            if request["type"] == "health.check" {
                socket.send(Message::text(text.to_owned())).await?;
            } else if request["token"] == "fresh" {
                println!("server: welcome, {}", request["user_details"]["id"]);
                for event in [
                    json!({"type": "connection.ok", "connection_id": "conn-1"}),
                    json!({"type": "message.new", "message": {"text": "hello"}}),
                ] {
                    socket.send(Message::text(event.to_string())).await?;
                }
            } else {
                println!("server: that token has expired");
                let error = json!({"code": 40, "message": "token expired", "StatusCode": 401});
                let event = json!({"type": "connection.error", "error": error});
                socket.send(Message::text(event.to_string())).await?;
                socket.close().await?;
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("ws://{}", listener.local_addr()?);
    tokio::spawn(serve(listener));

    let url = connect_url(&base, "key", AuthType::Jwt, "everwire-example");
    let client = Client::builder(&url, StreamDecoder)
        .credentials(credentials_fn(|attempt| async move {
            println!("provider: asked, refused before: {}", attempt.refused.is_some());
            Ok(Credentials::new(if attempt.refused.is_some() { "fresh" } else { "stale" }))
        }))
        .on_connection_established(|handle| async move {
            if let Some(token) = handle.credentials() {
                let user = UserDetails::new("ann").name("Ann");
                handle.send(AuthenticationRequest::new(token.secret(), user).to_message());
            }
            Ok(())
        })
        .build(TungsteniteEngine::builder().build()?)?;
    let mut events = client.subscribe();
    let _recovery = ConnectionRecoveryHandler::builder(client.clone())
        .options(RecoveryOptions::default().first_delay(Duration::from_millis(200)))
        .retry_initial(true)
        .seed(1)
        .spawn()?;

    let story = async {
        if let Err(error) = client.connect().await {
            println!("client: {error}");
        }
        let info = client.connected().await.ok_or("the client ended")?;
        println!("client: connected as {:?}", info.connection_id);
        while let Some(event) = events.next().await {
            if let ClientEvent::Event { event, .. } = event
                && let StreamEvent::Other { event_type, raw, .. } = event
            {
                let message: Value = raw.decode()?;
                println!("client: {event_type}: {}", message["message"]["text"]);
                break;
            }
        }
        client.disconnect().await;
        Result::<(), Box<dyn Error + Send + Sync>>::Ok(())
    };
    timeout(Duration::from_secs(20), story).await?
}
