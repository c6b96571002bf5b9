//! `watch` against a server that is not ours: the `websockets` library of the Python world.

#![allow(clippy::unwrap_used, reason = "all of this is test code, also the helpers")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// Answers each text with itself, names its port, and says with which code each connection was closed.
const SERVER: &str = r#"
import asyncio, sys, websockets

async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    finally:
        print("closed", connection.close_code, flush=True)

async def main():
    server = await websockets.serve(echo, "127.0.0.1", 0)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Future()

asyncio.run(main())
"#;

/// Killed with the test, whatever becomes of it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first Python here that has the library.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let check = Command::new(python).args(["-c", "import websockets"]).stderr(Stdio::null()).status();
        check.is_ok_and(|status| status.success())
    })
}

#[test]
fn watch_speaks_with_the_websockets_library_of_python() {
    let Some(python) = python() else {
        eprintln!("skipped: needs python3 with websockets (cargo xtask setup)");
        return;
    };
    let mut server =
        Server(Command::new(python).args(["-c", SERVER]).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let port = said.next().unwrap().unwrap();
    let port = port.strip_prefix("port ").expect("the server names its port");

    let mut watch = Command::new(env!("CARGO_BIN_EXE_watch"))
        .args([
            &format!("ws://127.0.0.1:{port}/"),
            "--json",
            "--ping-interval",
            "1s",
            "--pong-timeout",
            "900ms",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = watch.stdin.take().unwrap();
    stdin.write_all("grüezi\nzwei\n".as_bytes()).unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap());
    let mut seen: Vec<Value> = Vec::new();
    let count = |seen: &[Value], kind: &str| seen.iter().filter(|line| line["kind"] == kind).count();
    while count(&seen, "message") < 2 || count(&seen, "health") < 2 {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "ended early: {seen:?}");
        seen.push(serde_json::from_str(&line).unwrap());
    }
    drop(stdin);
    lines.read_to_string(&mut String::new()).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(0));

    let texts: Vec<_> =
        seen.iter().filter(|line| line["kind"] == "message").map(|line| &line["text"]).collect();
    assert_eq!(texts, ["grüezi", "zwei"]);
    let sent = seen.iter().filter(|line| line["kind"] == "sent");
    assert!(sent.map(|line| &line["outcome"]).all(|outcome| outcome == "flushed"));
    assert_eq!(said.next().unwrap().unwrap(), "closed 1000");
}
