//! Happy Eyeballs (RFC 8305): a name with an IPv6 and an IPv4 address, where packets to one of them vanish.

use std::{path::Path, time::Duration};

use super::{
    crew::{Row, Told},
    lab::{Lab, SERVER},
    lag,
    watcher::{Watcher, now},
};

/// An address that is preferred to IPv4 (RFC 6724), unlike the unique local ones of the laboratory.
const GLOBAL: &str = "2001:db8:9::2";

/// Within so long the engine is connected, whichever address is dead; what the machine was late is allowed besides.
const BOUND: Duration = Duration::from_millis(400);

/// For so long a bare connect is watched. It would go on for two minutes.
const PATIENCE: Duration = Duration::from_secs(3);

const HEAD: &str = "A name with both addresses; the bare connect is tokio's `TcpStream::connect`, watched for 3 s.\n\n\
    | fault | everwire | bare connect |\n|---|---|---|";

/// What the laboratory needs besides.
const BOTH: &[&str] = &[
    "client address add 2001:db8:0::2/64 dev eth0 nodad",
    "router address add 2001:db8:0::1/64 dev eth0 nodad",
    "router address add 2001:db8:9::1/64 dev srv0 nodad",
    "server address add 2001:db8:9::2/64 dev srv0 nodad",
];

struct Case {
    name: &'static str,
    steps: &'static [&'static str],
    /// The address that has to answer.
    peer: &'static str,
    /// Whether a bare connect has to hang: else the fault is none.
    hangs: bool,
}

const CASES: &[Case] = &[
    Case { name: "both addresses answer", steps: &[], peer: GLOBAL, hangs: false },
    Case {
        name: "packets to the AAAA vanish",
        steps: &["router -6 route add blackhole 2001:db8:9::2/128"],
        peer: SERVER,
        hangs: true,
    },
    Case {
        name: "packets to the A vanish",
        steps: &["router route add blackhole 10.77.9.2/32"],
        peer: GLOBAL,
        hangs: false,
    },
];

pub(super) fn rows(programs: &Path) -> Vec<Row> {
    let row = |case: &'static Case| {
        let programs = programs.to_owned();
        Row {
            head: HEAD,
            name: case.name.to_owned(),
            takes: Duration::from_secs(2) + if case.hangs { PATIENCE } else { Duration::ZERO },
            run: Box::new(move || case.run(&programs)),
        }
    };
    CASES.iter().map(row).collect()
}

impl Case {
    fn run(&self, programs: &Path) -> Result<Told, String> {
        let lab = Lab::new()?;
        lab.steps(BOTH)?;
        let server = Watcher::start(&lab, "server", &programs.join("echo_server"), &["[::]:9000"])?;
        server.next(Duration::from_secs(10)).ok_or("the server does not start")?;
        lab.steps(self.steps)?;
        // The names of the namespace are its own: `ip netns exec` gives the program mounts of its own.
        let line = format!(
            "mount -t tmpfs names /run && echo '{SERVER} both.test\n{GLOBAL} both.test' > /run/hosts \
             && mount --bind /run/hosts /etc/hosts && exec {} both.test 9000 {}s",
            programs.join("dual_stack").display(),
            PATIENCE.as_secs(),
        );
        let start = now();
        let dual = Watcher::start(&lab, "client", Path::new("sh"), &["-c", &line])?;
        let next = || dual.next(PATIENCE * 4).ok_or("dual_stack says nothing");
        let ((at, everwire), (_, bare)) = (next()?, next()?);

        let mut problems = Vec::new();
        let ms =
            |line: &super::watcher::Line| line.field("ms").and_then(|ms| ms.parse().ok()).unwrap_or(u64::MAX);
        let (took, late) = (Duration::from_millis(ms(&everwire)), lag::between(start, at));
        if took > BOUND + late {
            problems.push(format!(
                "connected after {took:?}, not within {BOUND:?} and the {late:?} of the machine"
            ));
        }
        if everwire.field("peer") != Some(self.peer) {
            problems.push(format!("{} was to answer: {everwire:?}", self.peer));
        }
        let hangs = bare.field("peer") == Some("null");
        if hangs != self.hangs {
            problems.push(format!("the bare connect: {bare:?}"));
        }
        let peer = everwire.field("peer").unwrap_or("nobody").to_owned();
        let bare =
            if hangs { format!("hangs ({} ms and no end)", ms(&bare)) } else { format!("{} ms", ms(&bare)) };
        Ok(Told { cells: format!("{} ms, {peer} | {bare}", ms(&everwire)), problems })
    }
}
