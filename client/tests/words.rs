//! What a user reads when something goes wrong: it says what failed, where, and what to do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use everwire_client::{
    Client, ClientBuilder, credentials_fn, request_fn,
    testing::{Lines, Server},
};
use everwire_engine::testing::{ScriptedEngine, Step};

fn builder() -> ClientBuilder<Lines> {
    Client::builder("ws://server.test/live", Lines)
}

/// The words of an attempt that fails.
async fn failure(builder: ClientBuilder<Lines>, engine: ScriptedEngine) -> String {
    let client = builder.build(engine.clone()).unwrap();
    let server = async {
        // Where it comes to that, a server that accepts and then says nothing.
        let _server = Server::accept(&engine).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = client.connect() => outcome.unwrap_err().to_string(),
        () = server => unreachable!("it never ends"),
    }
}

/// §1: a deadline that passes says what had not ended, and which setter gives it longer.
#[tokio::test(start_paused = true)]
async fn rule_1_an_attempt_that_takes_too_long_says_what_hung_and_names_the_setter() {
    let long = Duration::from_secs(60);
    let credentials = || credentials_fn(|_| std::future::pending());
    let requests = request_fn(|_| std::future::pending());
    for (builder, engine, words) in [
        (
            builder().credentials(credentials()).credential_timeout(long),
            ScriptedEngine::default(),
            "the credential provider had not answered (`open_timeout`)",
        ),
        (
            ClientBuilder::with_requests(requests, Lines),
            ScriptedEngine::default(),
            "the request provider had not answered (`open_timeout`)",
        ),
        (
            builder(),
            ScriptedEngine::new([Step::hang()]),
            "the engine had not opened the socket (`open_timeout`)",
        ),
        (
            builder().on_connection_established(|_| std::future::pending()),
            ScriptedEngine::default(),
            "`on_connection_established` had not ended (`authentication_timeout`)",
        ),
        (
            builder(),
            ScriptedEngine::default(),
            "no health check came (`authentication_timeout`; for servers without health checks: `protocol_pings()`)",
        ),
        // The remedy is no remedy where it is taken already.
        (
            builder().protocol_pings().on_connection_established(|_| std::future::pending()),
            ScriptedEngine::default(),
            "`on_connection_established` had not ended (`authentication_timeout`)",
        ),
    ] {
        let told = failure(builder, engine).await;
        assert_eq!(told, format!("attempt 1 ended with ConnectTimeout: {words}"));
    }
}
