//! What happens in a run: everything that is drawn from its seed, before the run begins.

use std::{ops::Range, time::Duration};

use everwire_client::SubscriberPolicy;
use fastrand::Rng;

use crate::fault::{Act, Deed, Order, Server, Status};

/// The most clients of a run.
pub(crate) const MOST_CLIENTS: usize = 20;

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) machines: Vec<Vec<ClientPlan>>,
    /// The longest that a segment is under way.
    pub(crate) latency: Duration,
    /// From here on nothing is spoilt any more.
    pub(crate) peace: Duration,
    /// What happens when, in order.
    pub(crate) acts: Vec<(Duration, Act)>,
}

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// How much its subscription holds, and what happens to the rest.
    pub(crate) capacity: usize,
    pub(crate) policy: SubscriberPolicy,
    /// How many posts the server may have under way to it. A client that drops what it cannot hold asks for little.
    pub(crate) window: u64,
    /// The bounds of its send queue.
    pub(crate) queue: (usize, usize),
    /// How often it pings, and how long a pong may take.
    pub(crate) ping: (Duration, Duration),
    /// Whether it says goodbye in the end; otherwise it is just dropped.
    pub(crate) says_goodbye: bool,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        Self::within(seed, MOST_CLIENTS, 40..200)
    }

    /// At most so many clients, and peace after so many seconds.
    pub(crate) fn within(seed: u64, clients: usize, peace: Range<u64>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..=clients);
        let mut machines = vec![Vec::new(); rng.usize(1..=count.min(5))];
        for index in 0..count {
            let machine = if index < machines.len() { index } else { rng.usize(..machines.len()) };
            machines[machine].push(ClientPlan::draw(&mut rng, index));
        }
        let names: Vec<_> = machines.iter().flatten().map(|client| client.name.clone()).collect();
        let peace = seconds(&mut rng, peace);
        let mut draw = Draw { rng, machines: machines.len(), names, peace, acts: Vec::new() };
        let faults = draw.rng.u64(1..=peace.as_secs() / 4);
        for _ in 0..faults {
            draw.fault();
        }
        let mut acts = draw.acts;
        // Stable: what was drawn first happens first.
        acts.sort_by_key(|(at, _)| *at);
        let latency = Duration::from_millis(draw.rng.u64(20..400));
        Self { seed, machines, latency, peace, acts }
    }

    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.machines.iter().map(Vec::len).sum()
    }
}

impl ClientPlan {
    fn draw(rng: &mut Rng, index: usize) -> Self {
        let interval = if rng.bool() { Duration::from_secs(25) } else { seconds(rng, 5..30) };
        let drops = rng.u8(..3) == 0;
        Self {
            name: format!("c{index:02}"),
            seed: rng.u64(..),
            capacity: if drops { rng.usize(32..64) } else { rng.usize(2..64) },
            policy: if drops { SubscriberPolicy::DropOldest } else { SubscriberPolicy::BackPressure },
            window: if drops { 16 } else { u64::MAX },
            queue: (rng.usize(8..64), rng.usize(1_000..16_000)),
            ping: (interval, seconds(rng, 2..4)),
            says_goodbye: rng.bool(),
        }
    }
}

struct Draw {
    rng: Rng,
    machines: usize,
    names: Vec<String>,
    peace: Duration,
    acts: Vec<(Duration, Act)>,
}

/// How each fault is drawn, with its end where it has one: one line here is one chance. A new fault is a variant of
/// [`Act`] and an entry here.
const FAULTS: &[fn(&mut Draw, Chance)] = &[
    |draw, Chance { at, machine, .. }| draw.lasting(at, 1..60, Act::Partition(machine), Act::Repair(machine)),
    |draw, Chance { at, machine, .. }| {
        let up = draw.rng.bool();
        draw.lasting(at, 1..60, Act::HalfPartition(machine, up), Act::Repair(machine));
    },
    |draw, Chance { at, machine, .. }| draw.lasting(at, 1..40, Act::Hold(machine), Act::Release(machine)),
    // What was on its way never arrives, and nobody is told.
    |draw, Chance { at, machine, .. }| draw.lasting(at, 1..40, Act::Hold(machine), Act::Repair(machine)),
    |draw, Chance { at, .. }| draw.lasting(at, 1..40, Act::Crash, Act::Start),
    |draw, Chance { at, .. }| draw.lasting(at, 1..40, Act::PowerLoss, Act::Start),
    |draw, Chance { at, .. }| draw.acts.push((at, Act::Bounce)),
    |draw, Chance { at, .. }| {
        let status = [401, 403, 404, 408, 429, 500, 503][draw.rng.usize(..7)];
        let retry_after = draw.rng.bool().then(|| draw.rng.u64(1..20));
        draw.server(at, 1..30, Server::Refuse(Some((status, retry_after))), Server::Refuse(None));
    },
    |draw, Chance { at, .. }| {
        let slow = Server::SlowAuth(seconds(&mut draw.rng, 1..20));
        draw.server(at, 5..40, slow, Server::SlowAuth(Duration::ZERO));
    },
    |draw, Chance { at, .. }| draw.server(at, 1..30, Server::MuteAuth(true), Server::MuteAuth(false)),
    |draw, Chance { at, .. }| draw.server(at, 1..40, Server::Frozen(true), Server::Frozen(false)),
    |draw, Chance { at, .. }| {
        let code = close_code(&mut draw.rng);
        draw.server(at, 1..20, Server::CloseAfterAuth(Some(code)), Server::CloseAfterAuth(None));
    },
    |draw, Chance { at, .. }| draw.acts.push((at, Act::ExpireTokens)),
    Draw::close,
    Draw::close,
    |draw, Chance { at, client, .. }| {
        let order = [Order::Reset, Order::EndOfStream][draw.rng.usize(..2)].clone();
        draw.acts.push((at, Act::Order(client, order)));
    },
    |draw, Chance { at, client, .. }| {
        let (code, status) =
            [(2, 401), (4, 400), (9, 429), (40, 401), (41, 401), (16, 500)][draw.rng.usize(..6)];
        draw.acts.push((at, Act::Order(client, Order::Error(code, status))));
    },
    Draw::spoil,
    Draw::spoil,
    |draw, Chance { at, client, .. }| {
        let order = Order::Flood(draw.rng.usize(10..600));
        draw.acts.push((at, Act::Order(client, order)));
    },
    Draw::status,
    |draw, Chance { at, machine, .. }| {
        let (offline, online) = (Status::Offline, Status::Online);
        draw.lasting(at, 1..40, Act::Partition(machine), Act::Repair(machine));
        draw.lasting(at, 1..40, Act::Monitor(machine, offline), Act::Monitor(machine, online));
    },
    |draw, Chance { at, client, .. }| {
        let deed = if draw.rng.bool() {
            Deed::Slow(seconds(&mut draw.rng, 1..40))
        } else {
            Deed::Burst(draw.rng.usize(10..200))
        };
        draw.acts.push((at, Act::User(client, deed)));
    },
    |draw, Chance { at, client, .. }| {
        let deed = if draw.rng.bool() { Deed::Off(seconds(&mut draw.rng, 1..30)) } else { Deed::RetryNow };
        draw.acts.push((at, Act::User(client, deed)));
    },
];

/// When a fault happens, and to whom, if it is one that happens to somebody.
struct Chance {
    at: Duration,
    machine: usize,
    client: String,
}

impl Draw {
    fn fault(&mut self) {
        let rng = &mut self.rng;
        let at = Duration::from_millis(rng.u64(..u64::try_from(self.peace.as_millis()).unwrap_or(u64::MAX)));
        let machine = rng.usize(..self.machines);
        let client = self.names[rng.usize(..self.names.len())].clone();
        let which = rng.u8(..u8::try_from(FAULTS.len()).expect("there are fewer than 256"));
        FAULTS[usize::from(which)](self, Chance { at, machine, client });
    }

    fn close(&mut self, Chance { at, client, .. }: Chance) {
        let order = Order::Close(close_code(&mut self.rng));
        self.acts.push((at, Act::Order(client, order)));
    }

    fn spoil(&mut self, Chance { at, client, .. }: Chance) {
        let order = Order::Spoil(self.rng.u64(..));
        self.acts.push((at, Act::Order(client, order)));
    }

    fn status(&mut self, Chance { at, machine, .. }: Chance) {
        let rng = &mut self.rng;
        let status = [
            Status::WokeUp(seconds(rng, 1..300)),
            Status::ClockStepped,
            Status::AddressGone,
            Status::Background,
        ][rng.usize(..4)];
        // A machine that sleeps hears nothing meanwhile.
        if let Status::WokeUp(_) = status {
            let asleep = seconds(rng, 1..20);
            self.acts.push((at.saturating_sub(asleep), Act::Hold(machine)));
            self.acts.push((at, Act::Release(machine)));
        }
        let until = seconds(rng, 1..20);
        self.acts.push((at, Act::Monitor(machine, status)));
        self.acts.push((at + until, Act::Monitor(machine, Status::Online)));
    }

    fn lasting(&mut self, at: Duration, lasts: Range<u64>, begin: Act, end: Act) {
        let until = at + seconds(&mut self.rng, lasts);
        self.acts.push((at, begin));
        self.acts.push((until, end));
    }

    fn server(&mut self, at: Duration, lasts: Range<u64>, begin: Server, end: Server) {
        self.lasting(at, lasts, Act::Server(begin), Act::Server(end));
    }
}

/// One of each class: done, retry, a bug or a limit, credentials, restart and overload, an application's own.
fn close_code(rng: &mut Rng) -> u16 {
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 3456, 4401, 4555];
    codes[rng.usize(..codes.len())]
}

fn seconds(rng: &mut Rng, range: Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range.start * 1000..range.end * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_one_another() {
        let text = |seed| format!("{:?}", Plan::draw(seed));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn every_kind_of_fault_is_drawn_and_every_number_of_clients() {
        let mut kinds = std::collections::BTreeSet::new();
        let mut counts = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let plan = Plan::draw(seed);
            counts.insert(plan.clients());
            kinds.extend(plan.acts.iter().filter_map(|(_, act)| act.kind()));
        }
        assert_eq!(counts.len(), MOST_CLIENTS);
        assert_eq!(kinds, crate::fault::KINDS.iter().copied().collect());
    }
}
