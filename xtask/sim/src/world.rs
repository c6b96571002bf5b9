//! The world: a server and some machines on a simulated network, and the plan that is carried out on them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use everwire_netmon::{Hint, Lifecycle, ManualLifecycle, ManualMonitor, NetworkStatus};
use tokio::sync::mpsc;
use turmoil::Sim;

use crate::{
    clock,
    fault::{Act, Deed, Server, Status},
    hall::{Conduct, Hall},
    ledger::Ledger,
    outcome::{self, Outcome},
    participant::{self, BOUND},
    plan::Plan,
    plant::Plant,
    server,
    setup::Place,
    told::Told,
};

/// How far the world moves in one step; also how exact the network's clock is. Within a step each machine's own
/// clock is exact.
const STEP: Duration = Duration::from_millis(10);
/// How long tasks may need to end after their clients.
const LINGER: Duration = Duration::from_secs(15);

/// Carries a plan out, and tells what came of it.
pub(crate) fn run(plan: &Plan, plant: Plant) -> Outcome {
    let mut world = World::new(plan, plant);
    world.run(plan, plant);
    world.outcome(plan)
}

struct World<'a> {
    sim: Sim<'a>,
    hall: Arc<Hall>,
    peace: Arc<Told<bool>>,
    machines: Vec<Machine>,
    ledgers: BTreeMap<String, Ledger>,
    deeds: BTreeMap<String, mpsc::Sender<Deed>>,
    faults: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

struct Machine {
    name: String,
    /// One for each client: several who read the same would be woken in an order that nobody can seed.
    monitors: Vec<(ManualMonitor, ManualLifecycle)>,
}

impl World<'_> {
    fn new(plan: &Plan, plant: Plant) -> Self {
        clock::set(Duration::ZERO);
        let names: Vec<_> = plan.machines.iter().flatten().map(|client| client.name.clone()).collect();
        let hall = Hall::new(plan.machines.iter().flatten(), plant);
        let mut sim = turmoil::Builder::new()
            .rng_seed(plan.seed)
            .epoch(std::time::UNIX_EPOCH)
            .enable_random_order()
            .tick_duration(STEP)
            .simulation_duration(plan.peace + BOUND + LINGER + Duration::from_secs(60))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(plan.latency)
            .tcp_capacity(256)
            .build();
        let of_server = Arc::clone(&hall);
        sim.host("server", move || server::run(Arc::clone(&of_server)));
        let mut world = Self {
            hall,
            peace: Arc::default(),
            machines: Vec::new(),
            ledgers: names.iter().map(|name| (name.clone(), Ledger::new())).collect(),
            deeds: BTreeMap::new(),
            faults: BTreeMap::new(),
            violations: Vec::new(),
            sim,
        };
        for index in 0..plan.machines.len() {
            world.add_machine(plan, index);
        }
        world
    }

    fn add_machine(&mut self, plan: &Plan, index: usize) {
        let name = format!("m{index}");
        let ours = self.sim.lookup(name.as_str());
        let status = NetworkStatus::online().with_local_addr(ours).with_addresses([ours]);
        let mut machine = Machine { name: name.clone(), monitors: Vec::new() };
        let mut clients = Vec::new();
        for client in &plan.machines[index] {
            let place = Place {
                hall: Arc::clone(&self.hall),
                server: self.sim.lookup("server"),
                monitor: ManualMonitor::new(status.clone()),
                lifecycle: ManualLifecycle::new(Lifecycle::Foreground),
                peace: Arc::clone(&self.peace),
            };
            machine.monitors.push((place.monitor.clone(), place.lifecycle.clone()));
            let (deeds, inbox) = mpsc::channel(64);
            self.deeds.insert(client.name.clone(), deeds);
            let ledger = self.ledgers[&client.name].clone();
            clients.push((client.clone(), place, ledger, inbox));
        }
        self.machines.push(machine);
        let first = self.ledgers[&plan.machines[index][0].name].clone();
        let plant = self.hall.plant;
        self.sim.client(name, async move {
            let lives = clients.into_iter().map(|(plan, place, ledger, deeds)| {
                tokio::spawn(participant::live(plan, place, ledger, deeds))
            });
            if plant == Plant::LeaksTask {
                tokio::spawn(std::future::pending::<()>());
            }
            for life in lives.collect::<Vec<_>>() {
                if life.await.is_err() {
                    first.violation("an application panicked");
                }
            }
            nothing_is_left(&first).await;
            Ok(())
        });
    }

    fn run(&mut self, plan: &Plan, plant: Plant) {
        let mut acts = plan.acts.iter().take_while(|(at, _)| *at < plan.peace).peekable();
        loop {
            let now = self.sim.elapsed();
            clock::set(now);
            while let Some((_, act)) = acts.next_if(|(at, _)| *at <= now) {
                self.act(act);
            }
            if now >= plan.peace && !self.peace.get() {
                self.make_peace(plant);
            }
            match self.sim.step() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => return self.violations.push(format!("the simulation ended: {error}")),
            }
        }
    }

    fn act(&mut self, act: &Act) {
        tracing::info!("{act:?}");
        if let Some(kind) = act.kind() {
            *self.faults.entry(kind).or_default() += 1;
        }
        let machine = |index: &usize| self.machines[*index].name.as_str();
        match act {
            Act::Partition(index) => self.sim.partition(machine(index), "server"),
            Act::HalfPartition(index, true) => self.sim.partition_oneway(machine(index), "server"),
            Act::HalfPartition(index, false) => self.sim.partition_oneway("server", machine(index)),
            Act::Hold(index) => self.sim.hold(machine(index), "server"),
            Act::Release(index) => self.sim.release(machine(index), "server"),
            Act::Repair(index) => self.sim.repair(machine(index), "server"),
            Act::Crash => self.sim.crash("server"),
            Act::PowerLoss => {
                for machine in &self.machines {
                    self.sim.partition(machine.name.as_str(), "server");
                }
                self.sim.crash("server");
                for machine in &self.machines {
                    self.sim.repair(machine.name.as_str(), "server");
                }
            }
            Act::Start => self.start(),
            Act::Bounce => self.sim.bounce("server"),
            Act::Server(server) => self.conduct(*server),
            Act::ExpireTokens => self.hall.expire_tokens(),
            Act::Order(client, order) => drop(self.hall.order(client, order.clone())),
            Act::Monitor(index, status) => self.monitor(*index, *status),
            Act::User(client, deed) => drop(self.deeds[client].try_send(deed.clone())),
        }
    }

    fn start(&mut self) {
        if !self.sim.is_host_running("server") {
            self.sim.bounce("server");
        }
    }

    fn conduct(&self, server: Server) {
        self.hall.conduct.change(|conduct| conduct.change(server));
    }

    fn monitor(&self, index: usize, status: Status) {
        let Machine { name, monitors } = &self.machines[index];
        let ours = self.sim.lookup(name.as_str());
        let online = NetworkStatus::online().with_local_addr(ours).with_addresses([ours]);
        let other = [198, 51, 100, 7].into();
        let (network, place) = match status {
            Status::Online => (online, Lifecycle::Foreground),
            Status::Offline => (NetworkStatus::offline(), Lifecycle::Foreground),
            Status::AddressGone => {
                let moved = NetworkStatus::online().with_local_addr(other).with_addresses([other]);
                (moved, Lifecycle::Foreground)
            }
            Status::WokeUp(asleep) => (online.with_hint(Hint::WokeUp { asleep }), Lifecycle::Foreground),
            Status::ClockStepped => (online.with_hint(Hint::ClockStepped), Lifecycle::Foreground),
            Status::Background => (online, Lifecycle::Background),
        };
        for (monitor, lifecycle) in monitors {
            lifecycle.set(place);
            monitor.set(network.clone());
        }
    }

    /// The last repair.
    fn make_peace(&mut self, plant: Plant) {
        tracing::info!("the last repair: from now on nothing is spoilt");
        for index in 0..self.machines.len() {
            self.sim.release(self.machines[index].name.as_str(), "server");
            self.monitor(index, Status::Online);
        }
        self.start();
        self.hall.conduct.change(|conduct| *conduct = Conduct::default());
        if plant == Plant::StaysDown {
            self.conduct(Server::Refuse(Some((503, None))));
        }
        self.peace.change(|peace| *peace = true);
    }

    fn outcome(mut self, plan: &Plan) -> Outcome {
        let elapsed = self.sim.elapsed();
        drop(self.sim);
        self.violations.extend(outcome::panics());
        let mut outcome = Outcome { seed: plan.seed, elapsed, faults: self.faults, ..Outcome::default() };
        for (name, ledger) in &self.ledgers {
            self.hall.account(name, |account| outcome.add(name, ledger, account));
        }
        outcome.violations.append(&mut self.violations);
        outcome
    }
}

/// Every client of the machine is gone: so must be every task that it began.
async fn nothing_is_left(ledger: &Ledger) {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let until = clock::now() + LINGER;
    while tasks() > 0 && clock::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if tasks() > 0 {
        ledger.violation(format!("{} tasks outlived their clients", tasks()));
    }
}
