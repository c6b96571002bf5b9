//! One fault: a server, a client that exchanges numbered messages with it, and the fault in between.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    judge::{Books, Bounds, Record, Verdict},
    lab::{self, Lab},
    lag,
    watcher::{Watcher, now},
};

/// Where the server listens.
const ADDRESS: &str = "10.77.9.2:9000";

/// Where the server of acknowledged messages listens.
const ACKED_ADDRESS: &str = "10.77.9.2:9001";

const CLIENT: &[&str] = &["ws://10.77.9.2:9000/", "--json", "--ping", "frame"];

const ACKED_CLIENT: &[&str] = &["ws://10.77.9.2:9001/", "--pace", "50ms"];

/// Of both clients.
const SETTINGS: &[&str] = &["--ping-interval", "2s", "--pong-timeout", "1s", "--seed", "7"];

/// A message each so often.
const PACE: Duration = Duration::from_millis(50);

/// How long the connection is used before the fault, and once it is back.
const STEADY: Duration = Duration::from_millis(1500);

/// How long it may take until everything is acknowledged, once it is back: the second client may have to wait
/// for a rung of its ladder.
const ACKNOWLEDGED: Duration = Duration::from_secs(25);

/// How long the last answers may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// When the fault is repaired.
#[derive(Clone, Copy, Debug)]
pub(super) enum Repair {
    /// There is nothing to repair, or nothing to wait for.
    AtOnce,
    /// One second after it was noticed.
    Noticed,
    After(Duration),
}

/// Steps are those of [`Lab::steps`], and besides `signal client|server NAME` and `start server`. `{port}`
/// stands for the client's port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) steps: &'static [&'static str],
    pub(super) repair: Repair,
    pub(super) repair_steps: &'static [&'static str],
    /// What lacks when the steps fail.
    pub(super) needs: Option<&'static str>,
    pub(super) bounds: Bounds,
}

/// What came of a fault.
#[derive(Debug)]
pub(super) enum Ended {
    Judged(Verdict),
    Skipped(&'static str),
}

struct Trial<'a> {
    lab: &'a Lab,
    programs: &'a Path,
    client: Watcher,
    acked_client: Watcher,
    servers: [Watcher; 2],
    /// Of both clients.
    ports: Vec<String>,
    record: Record,
    origin: Instant,
}

impl Fault {
    /// `programs` is the folder where they are. An error is one of the laboratory.
    pub(super) fn run(&self, programs: &Path) -> Result<Ended, String> {
        let lab = Lab::new()?;
        let servers = start_servers(&lab, programs)?;
        let start = |program: &str, arguments: &[&str]| {
            Watcher::start_fed(&lab, "client", &programs.join(program), &[arguments, SETTINGS].concat())
        };
        let (client, acked_client) = (start("watch", CLIENT)?, start("courier", ACKED_CLIENT)?);
        let mut trial = Trial {
            lab: &lab,
            programs,
            client,
            acked_client,
            servers,
            ports: Vec::new(),
            record: Record { fault: Duration::MAX, repaired: Duration::MAX, ..Record::default() },
            origin: now(),
        };
        trial.watch(Duration::from_secs(10), Record::connected)?;
        if !trial.record.connected() {
            return Err("the client does not connect before any fault".to_owned());
        }
        trial.pump(STEADY, |_| false)?;
        trial.ports = vec![port(&lab, ADDRESS)?, port(&lab, ACKED_ADDRESS)?];

        trial.record.fault = trial.now();
        if let Err(problem) = trial.act(self.steps) {
            return self.needs.map(Ended::Skipped).ok_or(problem);
        }
        match self.repair {
            Repair::AtOnce => {}
            Repair::Noticed => {
                let patience = self.bounds.noticed.unwrap_or_default() + Duration::from_secs(2);
                trial.pump(patience, |record| record.noticed().is_some())?;
                trial.pump(Duration::from_secs(1), |_| false)?;
            }
            Repair::After(time) => trial.pump(time, |_| false)?,
        }
        trial.act(self.repair_steps)?;
        trial.record.repaired = trial.now();
        trial.pump(self.bounds.back + Duration::from_secs(2), |record| record.back().is_some())?;
        trial.pump(STEADY, |_| false)?;
        trial.watch(LAST_WORDS, Record::settled)?;
        trial.record.acked = trial.close_books();
        if let Some(noticed) = trial.record.noticed() {
            let fault = trial.origin + trial.record.fault;
            trial.record.late = lag::between(fault, fault + noticed);
        }
        Ok(Ended::Judged(trial.record.judge(&self.bounds)))
    }
}

impl Trial<'_> {
    fn now(&self) -> Duration {
        now().saturating_duration_since(self.origin)
    }

    /// Sends a message at each pace and reads what the client says, for `time` or until `done`.
    fn pump(&mut self, time: Duration, done: impl Fn(&Record) -> bool) -> Result<(), String> {
        let end = self.now() + time;
        while self.now() < end && !done(&self.record) {
            // Its time is taken before it is given away, so that no answer can come earlier.
            self.record.sent.push(self.now());
            self.client.say(&self.record.sent.len().to_string())?;
            self.watch(PACE, |_| false)?;
        }
        Ok(())
    }

    /// Reads what the client says, for `time` or until `done`.
    fn watch(&mut self, time: Duration, done: impl Fn(&Record) -> bool) -> Result<(), String> {
        let end = self.now() + time;
        while !done(&self.record) {
            let left = end.saturating_sub(self.now());
            if left.is_zero() {
                break;
            }
            if let Some((at, line)) = self.client.next(left) {
                self.record.take(at.saturating_duration_since(self.origin), &line);
            } else if self.now() < end {
                return Err("the client ended by itself".to_owned());
            }
        }
        Ok(())
    }

    /// Ends the second client, and tells what it says of its messages once all are acknowledged.
    fn close_books(&mut self) -> Option<Books> {
        self.acked_client.hush();
        let end = now() + ACKNOWLEDGED;
        while let Some((_, line)) = self.acked_client.next(end.saturating_duration_since(now())) {
            if let Some(books) = Books::read(&line) {
                return Some(books);
            }
        }
        None
    }

    fn act(&mut self, steps: &[&str]) -> Result<(), String> {
        for step in steps {
            match step.split(' ').collect::<Vec<_>>()[..] {
                ["signal", "client", signal] => {
                    self.client.signal(signal)?;
                    self.acked_client.signal(signal)?;
                }
                ["signal", "server", signal] => self.servers.iter().try_for_each(|s| s.signal(signal))?,
                ["start", "server"] => self.servers = start_servers(self.lab, self.programs)?,
                ["wait", millis] => thread::sleep(Duration::from_millis(millis.parse().unwrap_or_default())),
                _ if step.contains("{port}") => {
                    for port in &self.ports {
                        self.lab.steps(&[&step.replace("{port}", port)])?;
                    }
                }
                _ => self.lab.steps(&[step])?,
            }
        }
        Ok(())
    }
}

/// The server of plain messages, and that of acknowledged ones, which goes on where its journal ends.
fn start_servers(lab: &Lab, programs: &Path) -> Result<[Watcher; 2], String> {
    let journal = lab.file(lab::JOURNAL).display().to_string();
    let servers = [
        Watcher::start(lab, "server", &programs.join("echo_server"), &[ADDRESS])?,
        Watcher::start(
            lab,
            "server",
            &programs.join("courier_server"),
            &[ACKED_ADDRESS, "--journal", &journal, "--pace", "50ms"],
        )?,
    ];
    for server in &servers {
        // Its first line tells that it listens.
        server.next(Duration::from_secs(10)).ok_or("a server does not start")?;
    }
    Ok(servers)
}

/// The port of the client's connection to this server.
fn port(lab: &Lab, server: &str) -> Result<String, String> {
    let listed = lab.ask("client", &format!("ss -tnH state established dst {server}"))?;
    let local = listed.split_whitespace().nth(2).ok_or_else(|| format!("no connection to {server}"))?;
    Ok(local.rsplit(':').next().unwrap_or_default().to_owned())
}
