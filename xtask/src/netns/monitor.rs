//! What the network monitor says of each event, and after how long.

use std::{path::Path, thread, time::Duration};

use super::{
    crew::{Row, Told},
    lab::{Lab, SERVER, SERVER_V6},
    lag,
    watcher::{Line, Watcher, now},
};

/// An event says nothing if it says nothing for so long: the probe's interval, the debounce, and some.
const QUIET: Duration = Duration::from_millis(2800);

/// Where the system tells; what the machine was late meanwhile is allowed besides.
const TOLD: Duration = Duration::from_millis(300);

/// Where only the probe can find it.
const PROBED: Duration = Duration::from_secs(5);

/// What comes later than its bound is still waited for, to say how late it was.
const PATIENCE: Duration = Duration::from_secs(3);

const ALONE: &[&str] = &["client address flush dev eth0", "client address flush dev wifi0"];

struct Event {
    name: &'static str,
    /// Before the monitor starts.
    before: &'static [&'static str],
    /// What the monitor is aimed at.
    towards: Option<&'static str>,
    /// What it says first: the status and the local address.
    first: (&'static str, &'static str),
    steps: &'static [&'static str],
    /// A stop of the monitor's process around the steps.
    stopped: Option<Duration>,
    says: Says,
}

enum Says {
    Nothing,
    This {
        status: &'static str,
        local: &'static str,
        hint: &'static str,
        /// An address, and whether it is still listed.
        lists: Option<(&'static str, bool)>,
        within: Duration,
    },
}

const A: &str = "10.77.0.2";
const B: &str = "10.77.1.2";

const EVENT: Event = Event {
    name: "",
    before: &[],
    towards: Some(SERVER),
    first: ("online", A),
    steps: &[],
    stopped: None,
    says: Says::Nothing,
};

const fn changed(status: &'static str, local: &'static str, lists: Option<(&'static str, bool)>) -> Says {
    Says::This { status, local, hint: "network_changed", lists, within: TOLD }
}

const EVENTS: &[Event] = &[
    Event {
        name: "no network at the start, then an address and a route",
        before: ALONE,
        first: ("offline", "null"),
        steps: &["client address add 10.77.0.2/24 dev eth0", "client route add default via 10.77.0.1"],
        says: changed("online", A, Some((A, true))),
        ..EVENT
    },
    Event {
        name: "no network, nothing happens",
        before: ALONE,
        towards: None,
        first: ("offline", "null"),
        ..EVENT
    },
    Event {
        name: "no network, server on this machine",
        before: ALONE,
        towards: Some("127.0.0.1"),
        first: ("online", "127.0.0.1"),
        ..EVENT
    },
    Event {
        name: "address changed",
        steps: &[
            "client address delete 10.77.0.2/24 dev eth0",
            "client address add 10.77.0.3/24 dev eth0",
            "client route add default via 10.77.0.1",
        ],
        says: changed("online", "10.77.0.3", Some((A, false))),
        ..EVENT
    },
    Event {
        name: "address removed",
        steps: &["client address delete 10.77.0.2/24 dev eth0"],
        says: changed("offline", "null", Some((A, false))),
        ..EVENT
    },
    Event {
        name: "address removed, another path is there",
        before: &["client route add default via 10.77.1.1 dev wifi0 metric 100"],
        steps: &["client address delete 10.77.0.2/24 dev eth0"],
        says: changed("online", B, Some((A, false))),
        ..EVENT
    },
    Event {
        name: "default route moves, old address stays",
        steps: &["client route replace default via 10.77.1.1 dev wifi0"],
        says: changed("online", B, Some((A, true))),
        ..EVENT
    },
    Event {
        name: "default route removed",
        steps: &["client route delete default"],
        says: changed("offline", "null", Some((A, true))),
        ..EVENT
    },
    Event {
        name: "gateway replaced on the same interface",
        steps: &["client route replace default via 10.77.0.254 dev eth0"],
        says: changed("online", A, Some((A, true))),
        ..EVENT
    },
    Event {
        name: "carrier lost, address kept",
        steps: &["router link set eth0 down"],
        says: changed("online", A, Some((A, true))),
        ..EVENT
    },
    Event {
        name: "carrier back",
        before: &["router link set eth0 down"],
        steps: &["router link set eth0 up"],
        says: changed("online", A, Some((A, true))),
        ..EVENT
    },
    Event {
        name: "active interface switched off",
        steps: &["client link set eth0 down"],
        says: changed("offline", "null", None),
        ..EVENT
    },
    Event {
        name: "active interface switched off, another path is there",
        before: &["client route add default via 10.77.1.1 dev wifi0 metric 100"],
        steps: &["client link set eth0 down"],
        says: changed("online", B, None),
        ..EVENT
    },
    Event {
        name: "same address moves to another interface",
        steps: &[
            "client address delete 10.77.0.2/24 dev eth0",
            "client address add 10.77.0.2/24 dev wifi0",
            "client route add default via 10.77.0.1",
        ],
        says: changed("online", A, Some((A, true))),
        ..EVENT
    },
    Event {
        name: "lease renewed with the same address",
        before: &["client address change 10.77.0.2/24 dev eth0 valid_lft 600 preferred_lft 600"],
        steps: &[
            "client address change 10.77.0.2/24 dev eth0 valid_lft 900 preferred_lft 900",
            "client route replace default via 10.77.0.1 dev eth0",
        ],
        ..EVENT
    },
    Event {
        name: "lease renewed, the same address taken away and given again",
        steps: &[
            "client address delete 10.77.0.2/24 dev eth0",
            "client address add 10.77.0.2/24 dev eth0",
            "client route add default via 10.77.0.1 dev eth0",
        ],
        ..EVENT
    },
    Event {
        name: "IPv6 alone, its address removed",
        before: &["client address flush dev wifi0", "client address delete 10.77.0.2/24 dev eth0"],
        towards: Some(SERVER_V6),
        first: ("online", "fd77::2"),
        steps: &["client address delete fd77:0::2/64 dev eth0"],
        says: changed("offline", "null", Some(("fd77::2", false))),
        ..EVENT
    },
    Event {
        name: "unrelated bridge appears and goes",
        steps: &[
            "client link add docker9 type bridge",
            "client address add 172.17.0.1/16 dev docker9",
            "client link set docker9 up",
            "client link delete docker9",
        ],
        ..EVENT
    },
    Event { name: "other interface loses its carrier", steps: &["router link set wifi0 down"], ..EVENT },
    Event {
        name: "IPv6 alone",
        before: ALONE,
        towards: Some(SERVER_V6),
        first: ("offline", "null"),
        steps: &[
            "client address add fd77:0::2/64 dev eth0 nodad",
            "client route replace default via fd77:0::1 dev eth0",
        ],
        says: changed("online", "fd77::2", Some(("fd77::2", true))),
        ..EVENT
    },
    Event {
        name: "the watcher's socket overran, then the address changed",
        stopped: Some(Duration::from_millis(200)),
        steps: &[
            "client ! for i in $(seq 800); do echo address add 10.99.0.1/32 dev wifi0; echo address del 10.99.0.1/32 dev wifi0; done | ip -batch -",
            // A step that fails unless the kernel did drop notifications.
            "client ! awk 'NR > 1 && $9 > 0 { dropped = 1 } END { exit !dropped }' /proc/net/netlink",
            "client address delete 10.77.0.2/24 dev eth0",
            "client address add 10.77.0.3/24 dev eth0",
            "client route add default via 10.77.0.1",
        ],
        says: changed("online", "10.77.0.3", Some((A, false))),
        ..EVENT
    },
    Event {
        name: "process stopped for 8 s and continued",
        stopped: Some(Duration::from_secs(8)),
        says: Says::This { status: "online", local: A, hint: "continued", lists: None, within: PROBED },
        ..EVENT
    },
];

const HEAD: &str = "| event | the monitor says | after |\n|---|---|---|";

/// A row for each event.
pub(super) fn rows(program: &Path) -> Vec<Row> {
    let row = |event: &'static Event| {
        let program = program.to_owned();
        Row {
            head: HEAD,
            name: event.name.to_owned(),
            takes: event.stopped.unwrap_or_default() + QUIET + Duration::from_secs(1),
            run: Box::new(move || {
                Ok(match event.run(&program)? {
                    Ok((said, after)) => {
                        let after = after.map(|after| format!("{} ms", after.as_millis()));
                        Told {
                            cells: format!("{said} | {}", after.unwrap_or_default()),
                            problems: Vec::new(),
                        }
                    }
                    Err(problem) => Told { cells: "WRONG |".to_owned(), problems: vec![problem] },
                })
            }),
        }
    };
    EVENTS.iter().map(row).collect()
}

type Said = Result<(String, Option<Duration>), String>;

impl Event {
    /// The outer error is of the laboratory, the inner one of the monitor.
    fn run(&self, program: &Path) -> Result<Said, String> {
        let lab = Lab::new()?;
        lab.steps(self.before)?;
        if !self.before.is_empty() {
            // What Linux says of a carrier may come a moment later.
            thread::sleep(Duration::from_millis(300));
        }
        let mut arguments = vec!["--json"];
        if let Some(server) = self.towards {
            arguments.extend(["--towards", server, "443"]);
        }
        let watcher = Watcher::start(&lab, "client", program, &arguments)?;
        let first = watcher.next(Duration::from_secs(10)).map(|(_, line)| line);
        let Some(first) = first else { return Ok(Err("nothing at the start".to_owned())) };
        if !shows(&first, self.first.0, self.first.1, "started") {
            return Ok(Err(format!("{first:?} at the start")));
        }
        // What starting it stirred up, and what making the laboratory did.
        if let Some((_, line)) = watcher.next(Duration::from_millis(600)) {
            return Ok(Err(format!("{line:?} follows {first:?} before anything happened")));
        }

        if self.stopped.is_some() {
            watcher.signal("STOP")?;
        }
        let start = now();
        lab.steps(self.steps)?;
        if let Some(stopped) = self.stopped {
            thread::sleep(stopped);
            watcher.signal("CONT")?;
        }
        let start = if self.stopped.is_some() { now() } else { start };

        Ok(match self.says {
            Says::Nothing => match watcher.next(QUIET) {
                None => Ok(("nothing".to_owned(), None)),
                Some((_, line)) => Err(format!("{line:?}, and nothing was to be said")),
            },
            Says::This { status, local, hint, lists, within } => {
                let told = watcher.next(within + PATIENCE);
                let extra = told.as_ref().and_then(|_| watcher.next(QUIET));
                let after = told.as_ref().map(|(at, _)| at.saturating_duration_since(start));
                let late = told.as_ref().map(|(at, _)| lag::between(start, *at)).unwrap_or_default();
                match (told, extra) {
                    (None, _) => Err(format!("nothing within {within:?}")),
                    (Some(_), _) if after.is_some_and(|after| after > within + late) => Err(format!(
                        "told after {after:?}, not within {within:?} and the {late:?} that the machine was late"
                    )),
                    (Some(_), Some((_, line))) => Err(format!("{line:?} besides")),
                    (Some((_, line)), None) => {
                        let listed = lists.is_none_or(|(address, is)| line.lists("addresses", address) == is);
                        if shows(&line, status, local, hint) && listed {
                            Ok((describe(&line), after))
                        } else {
                            Err(format!("{line:?}"))
                        }
                    }
                }
            }
        })
    }
}

fn shows(line: &Line, status: &str, local: &str, hint: &str) -> bool {
    [("status", status), ("local_addr", local), ("hint", hint)]
        .iter()
        .all(|(field, value)| line.field(field) == Some(*value))
}

fn describe(line: &Line) -> String {
    let field = |name| line.field(name).unwrap_or("?");
    let path = match field("local_addr") {
        "null" => String::new(),
        local => format!(" from {local}"),
    };
    format!("{}{path}, {}", field("status"), field("hint").replace('_', " "))
}
