//! The fault matrix: what the whole client notices of each fault, after how long, how long until it is back,
//! and what becomes of the messages meanwhile.

use std::{path::Path, time::Duration};

use super::{
    crew::{Row, Told},
    judge::{Bounds, Fate, Verdict},
    trial::{Ended, Fault, Repair},
};

/// Where the system tells; what the machine was late meanwhile is allowed besides.
const TOLD: Bounds = Bounds {
    fate: Fate::Replaced,
    noticed: Some(Duration::from_millis(300)),
    // The return of a path is told, too, and a fast ladder follows it.
    back: Duration::from_secs(6),
};

/// Where only an answer that fails to come can tell.
const PINGED: Bounds = Bounds {
    noticed: Some(Duration::from_secs(5)),
    // Nothing tells that it is over: the next rung of the ladder finds it.
    back: Duration::from_secs(20),
    ..TOLD
};

/// Where the end of the connection is told and the return of the server is not.
const CLOSED: Bounds = Bounds { back: PINGED.back, ..TOLD };

const KEPT: Bounds = Bounds { fate: Fate::Kept, noticed: None, ..TOLD };

const FAULT: Fault =
    Fault { name: "", steps: &[], repair: Repair::Noticed, repair_steps: &[], needs: None, bounds: PINGED };

const FAULTS: &[Fault] = &[
    Fault {
        name: "blackhole",
        steps: &["router route add blackhole 10.77.9.2/32", "router route add blackhole 10.77.0.2/32"],
        repair_steps: &[
            "router route delete blackhole 10.77.9.2/32",
            "router route delete blackhole 10.77.0.2/32",
        ],
        ..FAULT
    },
    Fault {
        name: "half-dead path (nothing comes back)",
        steps: &["router route add blackhole 10.77.0.2/32"],
        repair_steps: &["router route delete blackhole 10.77.0.2/32"],
        ..FAULT
    },
    Fault {
        name: "reset by the server's system",
        steps: &[
            "server ! ss -K dport = :{port} > /dev/null",
            "server ! test -z \"$(ss -tnH state established dport = :{port})\"",
        ],
        repair: Repair::AtOnce,
        needs: Some("`ss -K` and a kernel with INET_DIAG_DESTROY"),
        bounds: CLOSED,
        ..FAULT
    },
    Fault {
        name: "link down",
        steps: &["client link set eth0 down"],
        repair_steps: &["client link set eth0 up", "client route add default via 10.77.0.1"],
        bounds: TOLD,
        ..FAULT
    },
    Fault {
        name: "carrier lost",
        steps: &["router link set eth0 down"],
        repair_steps: &["router link set eth0 up"],
        // Whether the probe or the carrier comes first is a race that both may win.
        bounds: Bounds { fate: Fate::Either, ..TOLD },
        ..FAULT
    },
    Fault {
        name: "carrier lost for 6 s",
        steps: &["router link set eth0 down"],
        repair: Repair::After(Duration::from_secs(6)),
        repair_steps: &["router link set eth0 up"],
        bounds: TOLD,
        ..FAULT
    },
    Fault {
        name: "address removed",
        steps: &["client address delete 10.77.0.2/24 dev eth0"],
        repair_steps: &["client address add 10.77.0.2/24 dev eth0", "client route add default via 10.77.0.1"],
        bounds: TOLD,
        ..FAULT
    },
    Fault {
        name: "address changed",
        steps: &[
            "client address delete 10.77.0.2/24 dev eth0",
            "client address add 10.77.0.3/24 dev eth0",
            "client route add default via 10.77.0.1",
        ],
        repair: Repair::AtOnce,
        bounds: TOLD,
        ..FAULT
    },
    Fault {
        name: "route moved, old address stays",
        steps: &["client route replace default via 10.77.1.1 dev wifi0"],
        bounds: Bounds { noticed: TOLD.noticed, ..KEPT },
        ..FAULT
    },
    Fault {
        name: "route moved, old address gone",
        steps: &[
            "client route replace default via 10.77.1.1 dev wifi0",
            "client address delete 10.77.0.2/24 dev eth0",
        ],
        repair: Repair::AtOnce,
        bounds: TOLD,
        ..FAULT
    },
    Fault {
        name: "NAT state lost (this flow alone is swallowed)",
        steps: &[
            "router ! ip rule add pref 10 ipproto tcp sport {port} blackhole",
            "router ! ip rule add pref 10 ipproto tcp dport {port} blackhole",
        ],
        repair: Repair::AtOnce,
        needs: Some("`ip rule` by port (Linux 4.17)"),
        ..FAULT
    },
    Fault {
        name: "ss -K on the client",
        steps: &[
            "client ! ss -K sport = :{port} > /dev/null",
            "client ! test -z \"$(ss -tnH state established sport = :{port})\"",
        ],
        repair: Repair::AtOnce,
        needs: Some("`ss -K` and a kernel with INET_DIAG_DESTROY"),
        bounds: CLOSED,
        ..FAULT
    },
    Fault {
        name: "server SIGSTOP, SIGCONT",
        steps: &["signal server STOP"],
        repair_steps: &["signal server CONT"],
        ..FAULT
    },
    Fault {
        name: "server SIGKILL, restart",
        steps: &["signal server KILL"],
        repair_steps: &["start server"],
        bounds: CLOSED,
        ..FAULT
    },
    Fault {
        name: "reboot of the server (silent, back after 2 s)",
        steps: &["router link set srv0 down", "signal server KILL", "wait 50", "server ! ss -K > /dev/null"],
        repair: Repair::After(Duration::from_secs(2)),
        repair_steps: &["start server", "router link set srv0 up"],
        needs: Some("`ss -K` and a kernel with INET_DIAG_DESTROY"),
        ..FAULT
    },
    Fault {
        name: "30 % loss",
        // By netem where the kernel has it, else by the packet filter, which draws a number for each packet.
        steps: &[
            "router ! { tc qdisc add dev eth0 root netem loss 30% && tc qdisc add dev srv0 root netem loss 30%; } \
             2> /dev/null || nft 'add table inet loss; \
             add chain inet loss forward { type filter hook forward priority 0; }; \
             add rule inet loss forward numgen random mod 100 < 30 drop'",
        ],
        repair: Repair::After(Duration::from_secs(8)),
        repair_steps: &[
            "router ! { tc qdisc delete dev eth0 root; tc qdisc delete dev srv0 root; nft delete table inet loss; } \
             2> /dev/null || true",
        ],
        needs: Some("nftables, or `tc` and the kernel module sch_netem"),
        // A pong may need longer than its deadline when a third of the segments is lost.
        bounds: Bounds { fate: Fate::Either, noticed: None, ..PINGED },
    },
    Fault {
        name: "client stopped for 8 s, continued",
        steps: &["signal client STOP"],
        repair: Repair::After(Duration::from_secs(8)),
        repair_steps: &["signal client CONT"],
        bounds: KEPT,
        ..FAULT
    },
];

const HEAD: &str = "Flushed is what the system took; what it took before the fault was noticed may never be \
    answered. The last four columns are of a second client, whose messages are acknowledged, both ways together.\n\n| fault | noticed after | back after | sent | flushed | maybe sent | not sent | answered \
    | lost in silence | acknowledged | lost | duplicated | reordered |\n\
    |---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// A row for each fault.
pub(super) fn rows(programs: &Path) -> Vec<Row> {
    let row = |fault: &'static Fault| {
        let programs = programs.to_owned();
        let repaired = match fault.repair {
            Repair::AtOnce => Duration::ZERO,
            Repair::Noticed => Duration::from_secs(4),
            Repair::After(time) => time,
        };
        Row {
            head: HEAD,
            name: fault.name.to_owned(),
            takes: repaired + Duration::from_secs(6),
            run: Box::new(move || {
                Ok(match fault.run(&programs)? {
                    Ended::Judged(verdict) => Told { cells: cells(&verdict), problems: verdict.problems },
                    Ended::Skipped(needs) => Told::skipped(needs),
                })
            }),
        }
    };
    FAULTS.iter().map(row).collect()
}

fn cells(verdict: &Verdict) -> String {
    let time = |time: Option<Duration>| {
        time.map_or_else(|| "never".to_owned(), |time| format!("{} ms", time.as_millis()))
    };
    let counts =
        [verdict.sent, verdict.flushed, verdict.maybe_sent, verdict.not_sent, verdict.echoed, verdict.silent];
    let acked = verdict.acked.unwrap_or_default();
    let acked = [acked.sent, acked.lost, acked.duplicated, acked.reordered];
    let counts: Vec<String> = counts.into_iter().chain(acked).map(|count| count.to_string()).collect();
    format!("{} | {} | {}", time(verdict.noticed), time(verdict.back), counts.join(" | "))
}
