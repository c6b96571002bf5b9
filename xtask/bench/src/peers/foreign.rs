//! Clients of other languages: programs that measure themselves and print one line of JSON, as our own children do.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::task::{Addresses, Contender, Work};

/// The command that measures, where the contender is installed and knows such work.
pub(crate) fn command(contender: Contender, work: &Work, server: &Addresses, home: &Path) -> Option<Command> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let mut command = match contender {
        Contender::NodeWs => {
            let mut command = Command::new("node");
            command.arg(scripts.join("ws.cjs")).env("NODE_PATH", home.join("node/node_modules"));
            command
        }
        Contender::PythonWebsockets => {
            let mut command = Command::new(python(home));
            command.arg(scripts.join("websockets_peer.py"));
            command
        }
        _ => return None,
    };
    let url = |path: &str| format!("ws://127.0.0.1:{}{path}", server.plain);
    match work {
        Work::Receive { size, count, rate, .. } => {
            command
                .arg("receive")
                .arg(url(&crate::server::path(*size, *count, *rate)))
                .arg(count.to_string());
        }
        Work::Send { size, count } => {
            command.arg("send").arg(url("/listen")).args([count.to_string(), size.to_string()]);
        }
        _ => return None,
    }
    Some(command)
}

/// Installs what is missing, into a folder of our own. Says what cannot be had.
pub(crate) fn install(home: &Path) -> Vec<(Contender, String)> {
    let mut missing = Vec::new();
    let works = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let node = home.join("node");
    let has_ws = || {
        works(Command::new("node").args(["-e", "require('ws')"]).env("NODE_PATH", node.join("node_modules")))
    };
    if !has_ws() {
        works(
            Command::new("npm").args(["install", "--silent", "--no-save", "--prefix"]).arg(&node).arg("ws@8"),
        );
        if !has_ws() {
            missing.push((Contender::NodeWs, "needs node and npm (package ws)".to_owned()));
        }
    }
    let has_websockets = || works(Command::new(python(home)).args(["-c", "import websockets"]));
    if !has_websockets() {
        let venv = home.join("venv");
        works(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        works(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "websockets"]));
        if !has_websockets() {
            let words = "needs python3 with venv (package websockets)".to_owned();
            missing.push((Contender::PythonWebsockets, words));
        }
    }
    missing
}

fn python(home: &Path) -> PathBuf {
    let own = home.join("venv/bin/python");
    if own.exists() { own } else { "python3".into() }
}
