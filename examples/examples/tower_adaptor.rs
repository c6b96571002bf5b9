//! A `tower::Service` as an engine, so that tower's layers apply to connecting.
//!
//! `cargo run -p everwire-examples --example tower_adaptor`
//!
//! A service is used by one caller at a time and an engine by many: each attempt gets a clone. Layers that
//! retry do not belong here, because recovery decides that; limits, logs and metrics do.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use everwire_engine::{
    ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Message, Stage, TungsteniteEngine,
};
use everwire_examples::server::{Server, ServerOptions};
use futures_util::{SinkExt as _, StreamExt as _, future::poll_fn};
use tower::{Service, service_fn};

/// Any cloneable service from requests to connections, as an engine.
struct TowerEngine<S>(S);

impl<S, C> Engine for TowerEngine<S>
where
    S: Service<ConnectRequest, Response = C> + Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    C: Connection,
{
    type Connection = C;

    async fn connect(&self, request: ConnectRequest) -> Result<C, EngineError> {
        let mut service = self.0.clone();
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(engine_error)?;
        service.call(request).await.map_err(engine_error)
    }
}

/// An engine's error comes back as it was, a layer's own as a failed connect.
fn engine_error(error: impl Into<Box<dyn Error + Send + Sync>>) -> EngineError {
    match error.into().downcast::<EngineError>() {
        Ok(error) => *error,
        Err(other) => EngineError::new(EngineErrorKind::Connect, Stage::Connect).with_source(other),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = Server::start(ServerOptions::default())?;
    let inner = Arc::new(TungsteniteEngine::builder().build()?);
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let engine = TowerEngine(service_fn(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::clone(&inner);
        async move { inner.connect(request).await }
    }));

    let mut connection = engine.connect(ConnectRequest::new(&server.plain_url("/echo"))?).await?;
    connection.send(Message::from("through tower")).await?;
    let answer = connection.next().await.ok_or("the server says nothing")??;
    println!("answer: {answer:?}, attempts: {}", attempts.load(Ordering::Relaxed));
    assert_eq!(answer, Message::from("through tower"));
    Ok(())
}
