//! How each library waits: ours by its real code, the others by their formula, compared with the file that is named (as
//! it stood in November 2026).

#![expect(clippy::unnecessary_wraps, reason = "every formula has the type of those that give up")]

use std::time::{Duration, Instant, SystemTime};

use everwire_client::{
    CloseCode, CloseFrame, ConnectionState, EngineError, EngineErrorKind, HealthCheckInfo, ServerReason,
    Snapshot, Stage, Text,
};
use everwire_recovery::{Decision, Input, Output, RecoveryCore, Rng};

/// One client's reconnecting half. Answers how long it waits before the next dial; `None`: it gave up.
pub(crate) trait Formula {
    /// The open connection was closed with this code.
    fn lost(&mut self, now: Instant, code: u16) -> Option<Duration>;
    /// The dial was refused.
    fn failed(&mut self, now: Instant) -> Option<Duration>;
    /// The dial was accepted, and the session is established.
    fn opened(&mut self, now: Instant);
}

/// A library, and how to make one client of it.
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) client: fn(seed: u64) -> Box<dyn Formula>,
}

/// Ours first.
pub(crate) const LIBRARIES: [Library; 10] = [
    Library { name: "everwire", client: |seed| Box::new(Everwire::new(seed)) },
    Library { name: "ezsockets", client: |seed| Counted::boxed(seed, ezsockets) },
    Library { name: "async-nats", client: |seed| Counted::boxed(seed, async_nats) },
    Library { name: "twilight", client: |seed| Counted::boxed(seed, twilight) },
    Library { name: "nautilus", client: |seed| Box::new(Steady::new(seed, nautilus)) },
    Library { name: "socket.io", client: |seed| Counted::boxed(seed, socket_io) },
    Library { name: "SignalR", client: |seed| Counted::boxed(seed, signalr) },
    Library { name: "gRPC", client: |seed| Counted::boxed(seed, grpc) },
    Library { name: "centrifuge", client: |seed| Counted::boxed(seed, centrifuge) },
    Library { name: "Stream", client: |seed| Counted::boxed(seed, stream) },
];

/// The real core, told what a client would tell it.
struct Everwire {
    core: RecoveryCore,
    generation: u64,
}

impl Everwire {
    fn new(seed: u64) -> Self {
        Self { core: RecoveryCore::new(Rng::seeded(seed)), generation: 1 }
    }

    fn tell(&mut self, now: Instant, state: ConnectionState) -> Option<Duration> {
        let snapshot = Snapshot::new(state, self.generation, true);
        self.core.handle(now, Input::Snapshot { snapshot, wall: SystemTime::UNIX_EPOCH });
        let mut waited = Duration::ZERO;
        loop {
            match self.core.poll_output() {
                Some(Output::Decision(Decision::Connect { .. })) => {
                    self.generation += 1;
                    return Some(waited);
                }
                Some(Output::Decision(Decision::ConnectAfter { delay, .. })) => {
                    waited += delay;
                    self.core.handle(now + waited, Input::Timeout);
                }
                Some(_) => {}
                None => return None,
            }
        }
    }
}

impl Formula for Everwire {
    fn lost(&mut self, now: Instant, code: u16) -> Option<Duration> {
        let frame = CloseFrame { code: CloseCode::received(code), reason: Text::default() };
        let reason = ServerReason::closed((code != 1006).then_some(frame));
        self.tell(now, ConnectionState::Disconnected(reason.into()))
    }

    fn failed(&mut self, now: Instant) -> Option<Duration> {
        let error = EngineError::new(EngineErrorKind::Connect, Stage::Connect);
        let reason = ServerReason::engine_error(error);
        self.tell(now, ConnectionState::Disconnected(reason.into()))
    }

    fn opened(&mut self, now: Instant) {
        self.tell(now, ConnectionState::Connecting);
        self.tell(now, ConnectionState::Connected(HealthCheckInfo::default()));
    }
}

/// A formula of the number of attempts since the connection was last open: 0 before the first dial.
struct Counted {
    attempt: u32,
    rng: Rng,
    formula: fn(attempt: u32, rng: &mut Rng) -> Option<Duration>,
}

impl Counted {
    fn boxed(seed: u64, formula: fn(u32, &mut Rng) -> Option<Duration>) -> Box<dyn Formula> {
        Box::new(Self { attempt: 0, rng: Rng::seeded(seed), formula })
    }

    fn next(&mut self) -> Option<Duration> {
        let delay = (self.formula)(self.attempt, &mut self.rng);
        self.attempt += 1;
        delay
    }
}

impl Formula for Counted {
    fn lost(&mut self, _now: Instant, _code: u16) -> Option<Duration> {
        self.next()
    }

    fn failed(&mut self, _now: Instant) -> Option<Duration> {
        self.next()
    }

    fn opened(&mut self, _now: Instant) {
        self.attempt = 0;
    }
}

/// As [`Counted`], but an open connection counts only once it has lasted.
struct Steady {
    counted: Counted,
    opened: Option<Instant>,
}

impl Steady {
    const LASTS: Duration = Duration::from_secs(10);

    fn new(seed: u64, formula: fn(u32, &mut Rng) -> Option<Duration>) -> Self {
        Self { counted: Counted { attempt: 0, rng: Rng::seeded(seed), formula }, opened: None }
    }
}

impl Formula for Steady {
    fn lost(&mut self, now: Instant, _code: u16) -> Option<Duration> {
        if self.opened.take().is_some_and(|opened| now.duration_since(opened) >= Self::LASTS) {
            self.counted.attempt = 0;
        }
        self.counted.next()
    }

    fn failed(&mut self, _now: Instant) -> Option<Duration> {
        self.counted.next()
    }

    fn opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

/// `ClientConfig::reconnect_interval`: at once, then every 5 s. (gbaranski/ezsockets, `src/client.rs`,
/// `DEFAULT_RECONNECT_INTERVAL` and `client_connect`.)
fn ezsockets(attempt: u32, _: &mut Rng) -> Option<Duration> {
    Some(if attempt == 0 { S(0) } else { S(5) })
}

/// `reconnect_delay_callback_default`: 0, then 2^n ms, at most 4 s. (nats-io/nats.rs, `async-nats/src/connector.rs`.)
fn async_nats(attempt: u32, _: &mut Rng) -> Option<Duration> {
    Some(if attempt == 0 { S(0) } else { MS(2_u64.saturating_pow(attempt)).min(S(4)) })
}

/// The shard's `reconnect_attempts`: 0, then 2^n s, at most 128 s. (twilight-rs/twilight, `twilight-gateway`,
/// `ReconnectDelayFuture`.)
fn twilight(attempt: u32, _: &mut Rng) -> Option<Duration> {
    Some(if attempt == 0 { S(0) } else { S(2_u64.saturating_pow(attempt)).min(S(128)) })
}

/// `ExponentialBackoff` of its socket clients: 0, then 2 s × 1.5^n and up to 100 ms, at most 30 s; reset by a connection
/// that has lasted 10 s. (`nautechsystems/nautilus_trader`, `crates/network/src/backoff.rs`, and the defaults in
/// `websocket/client.rs` beside it.)
fn nautilus(attempt: u32, rng: &mut Rng) -> Option<Duration> {
    let Some(n) = attempt.checked_sub(1) else { return Some(S(0)) };
    let base = S(2).mul_f64(1.5_f64.powi(n.min(100).cast_signed()).min(14.95));
    Some(rng.between(base, base + MS(100)))
}

/// backo2: 1 s × 2^n, up to half of it to either side, then at most 5 s. (socketio/socket.io,
/// `packages/socket.io-client/lib/contrib/backo2.ts`.)
fn socket_io(attempt: u32, rng: &mut Rng) -> Option<Duration> {
    let base = S(2_u64.saturating_pow(attempt.min(20)));
    Some(rng.between(base / 2, base + base / 2).min(S(5)))
}

/// `withAutomaticReconnect()`: 0, 2, 10, 30 s, then it stops. (dotnet/aspnetcore, `DefaultReconnectPolicy.ts`.)
fn signalr(attempt: u32, _: &mut Rng) -> Option<Duration> {
    [0, 2, 10, 30].get(attempt as usize).map(|seconds| S(*seconds))
}

/// The connection backoff protocol: at once, then 1 s × 1.6^n, at most 120 s, a fifth of it to either side.
/// (grpc/grpc, `doc/connection-backoff.md`.)
fn grpc(attempt: u32, rng: &mut Rng) -> Option<Duration> {
    let Some(n) = attempt.checked_sub(1) else { return Some(S(0)) };
    let base = S(1).mul_f64(1.6_f64.powi(n.min(100).cast_signed()).min(120.0));
    Some(rng.between(base.mul_f64(0.8), base.mul_f64(1.2)))
}

/// centrifuge-js: full jitter of 0.5 s × 2^n on top of 0.5 s, at most 20 s. (centrifugal/centrifuge-js,
/// `backoff` in `src/utils.ts`.)
fn centrifuge(attempt: u32, rng: &mut Rng) -> Option<Duration> {
    let step = MS(500 * 2_u64.saturating_pow(attempt.min(31))).min(S(20));
    Some((MS(500) + rng.between(S(0), step)).min(S(20)))
}

/// The SDKs' formula: at once, then between max(0.25, 2(n − 1)) and 0.5 + 2n s, both at most 25 s.
/// (GetStream/stream-chat-swift, the bounds in its web socket's retry strategy.)
fn stream(attempt: u32, rng: &mut Rng) -> Option<Duration> {
    let Some(n) = attempt.checked_sub(1) else { return Some(S(0)) };
    let n = u64::from(n) + 1;
    let (low, high) = (MS((2_000 * (n - 1)).max(250)).min(S(25)), MS(500 + 2_000 * n).min(S(25)));
    Some(rng.between(low, high))
}
