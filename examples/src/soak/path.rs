//! The other process: the signalling server, the proxy before it, and the hand that spoils.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::Problem;
use crate::{
    proxy::{Mode, Proxy},
    server::{Server, ServerOptions},
};

/// How often a connection is picked.
const PACE: Duration = Duration::from_millis(100);
/// Each connection is picked once in so many paces, on average: every 60 s.
const ODDS: usize = 600;

/// Spoils until it is told `peace`, and passes everything on until it is told `end`.
pub(super) async fn run(seed: u64) -> Result<(), Problem> {
    let server = Server::start(ServerOptions::default().any_token())?;
    let proxy = Proxy::start(server.plain_addr())?;
    println!("ws://{}/room", proxy.addr());
    println!("{}", server.ca_pem().replace('\n', "|"));
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let mut hand = Hand { rng: Rng::with_seed(seed), faults: BTreeMap::new() };
    let mut pace = tokio::time::interval(PACE);
    let mut at_war = true;
    loop {
        tokio::select! {
            biased;
            order = orders.next_line() => match order?.as_deref() {
                Some("peace") => {
                    at_war = false;
                    proxy.set_all(Mode::Pass)?;
                }
                // Also when the clients' process is gone.
                _ => break,
            },
            _ = pace.tick(), if at_war => hand.spoil(&server, &proxy)?,
        }
    }
    let told: Vec<_> = hand.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!("{}", told.join(", "));
    Ok(())
}

struct Hand {
    rng: Rng,
    faults: BTreeMap<&'static str, u64>,
}

impl Hand {
    fn spoil(&mut self, server: &Server, proxy: &Proxy) -> Result<(), Problem> {
        let open = proxy.open();
        // As many as fit, and the rest by luck.
        let picks = open.len() / ODDS + usize::from(self.rng.usize(..ODDS) < open.len() % ODDS);
        for _ in 0..picks {
            let (name, mode) = self.draw();
            let connection = open[self.rng.usize(..open.len())];
            proxy.set(connection, mode);
            *self.faults.entry(name).or_default() += 1;
        }
        // About once in a minute and a half everybody is hit at once.
        if self.rng.usize(..900) == 0 {
            let name = match self.rng.u8(..3) {
                0 => {
                    proxy.set_all(Mode::Reset)?;
                    "resets of all"
                }
                1 => {
                    server.close_all(1012, "restart");
                    "restarts"
                }
                _ => {
                    server.expire_tokens();
                    "expired tokens of all"
                }
            };
            *self.faults.entry(name).or_default() += 1;
        }
        Ok(())
    }

    fn draw(&mut self) -> (&'static str, Mode) {
        let delay = Duration::from_millis(self.rng.u64(20..400));
        match self.rng.u8(..7) {
            0 | 1 => ("delays", Mode::Delay(delay)),
            2 => ("blackholes", Mode::Blackhole),
            3 => ("half-closes", Mode::HalfClose),
            4 => ("resets", Mode::Reset),
            5 => ("slow writes", Mode::Trickle { piece: self.rng.usize(1..200), pause: delay / 10 }),
            _ => ("repairs", Mode::Pass),
        }
    }
}
