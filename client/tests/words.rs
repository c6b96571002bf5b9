//! What a user reads when something goes wrong: it says what failed, where, and what to do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use everwire_client::{
    Client, ClientBuilder, ConnectRequest, credentials_fn, request_fn,
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

/// §8.2: a request provider that fails is not taken for a server that does not answer.
#[tokio::test(start_paused = true)]
async fn rule_8_2_a_request_provider_that_fails_is_named_with_its_own_words() {
    let failing = request_fn(|_| async { Err("no endpoint\nis left".into()) });
    let told = failure(ClientBuilder::with_requests(failing, Lines), ScriptedEngine::default()).await;
    assert_eq!(
        told,
        "attempt 1 ended with ServerInitiated: there is no request to dial: the request provider (`with_requests`) \
         failed (stage: request): \"no endpoint\\nis left\""
    );
    let panicking = request_fn(|_| async { panic!("as the test wants") });
    let told = failure(ClientBuilder::with_requests(panicking, Lines), ScriptedEngine::default()).await;
    assert_eq!(
        told,
        "attempt 1 ended with ServerInitiated: there is no request to dial: the request provider (`with_requests`) \
         panicked; this is a bug in it (stage: request)"
    );
    // An error of the engine's speaks for itself.
    let bad = request_fn(|_| async { Ok(ConnectRequest::new("http://h/")?) });
    let told = failure(ClientBuilder::with_requests(bad, Lines), ScriptedEngine::default()).await;
    assert!(told.contains("the request is invalid") && told.contains("wss"), "{told}");
}

/// §8.4: what a hook or a credential provider says of its failure is a part of the reason.
#[tokio::test(start_paused = true)]
async fn rule_8_4_a_failed_authentication_is_told_in_the_words_of_the_hook() {
    let hook = |_| async { Err("the challenge was\nno base64".into()) };
    for (builder, words) in [
        (
            builder().on_connection_established(hook),
            r#"`on_connection_established` returned an error: "the challenge was\nno base64""#,
        ),
        (
            builder().credentials(credentials_fn(|_| async { Err("the keychain is locked".into()) })),
            r#"credentials could not be produced or presented: "the keychain is locked""#,
        ),
    ] {
        let told = failure(builder, ScriptedEngine::default()).await;
        assert_eq!(told, format!("attempt 1 ended with AuthenticationFailed: {words}"));
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
