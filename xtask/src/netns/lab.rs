//! A network of namespaces: a client with two ways to a server, through a router.
//!
//! ```text
//! client  eth0 10.77.0.2 ── 10.77.0.1 ┐
//!                                     router  10.77.9.1 ── 10.77.9.2 srv0  server
//!         wifi0 10.77.1.2 ── 10.77.1.1 ┘
//! ```
//!
//! IPv6 is the same with `fd77:N::`. The default route goes over `eth0`.

use std::{
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// The address of the server.
pub(super) const SERVER: &str = "10.77.9.2";

/// The same, over IPv6.
pub(super) const SERVER_V6: &str = "fd77:9::2";

const PREFIX: &str = "everwire-";

static LABS: AtomicU32 = AtomicU32::new(0);

/// What the names of all namespaces of this process begin with.
pub(super) fn prefix() -> String {
    format!("{PREFIX}{}-", process::id())
}

/// Namespaces of which dropping the lab removes all trace.
pub(super) struct Lab {
    prefix: String,
}

impl Lab {
    /// With IPv4 and IPv6 on every link.
    pub(super) fn new() -> Result<Self, String> {
        let lab = Self { prefix: format!("{}{}-", prefix(), LABS.fetch_add(1, Ordering::Relaxed)) };
        for name in ["client", "router", "server"] {
            ip(&["netns", "add", &lab.name(name)])?;
            // Without the wait for duplicates, so that addresses serve at once.
            let sysctl = "for f in accept_dad dad_transmits accept_ra; do echo 0 > /proc/sys/net/ipv6/conf/default/$f; done; \
                          echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
            lab.sh(
                name,
                if name == "router" { sysctl } else { sysctl.split("; echo 1").next().unwrap_or(sysctl) },
            )?;
            lab.ip(name, "link set lo up")?;
        }
        for (name, link, net) in [("client", "eth0", 0), ("client", "wifi0", 1), ("server", "srv0", 9)] {
            let router = lab.name("router");
            lab.ip(name, &format!("link add name {link} type veth peer name {link} netns {router}"))?;
            for (name, host) in [(name, 2), ("router", 1)] {
                lab.ip(name, &format!("address add 10.77.{net}.{host}/24 dev {link}"))?;
                lab.ip(name, &format!("address add fd77:{net}::{host}/64 dev {link} nodad"))?;
                lab.ip(name, &format!("link set {link} up"))?;
            }
        }
        for (name, net, link) in [("client", 0, "eth0"), ("server", 9, "srv0")] {
            lab.ip(name, &format!("route add default via 10.77.{net}.1 dev {link}"))?;
            lab.ip(name, &format!("route add default via fd77:{net}::1 dev {link}"))?;
        }
        Ok(lab)
    }

    /// The full name of a namespace.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// `ip COMMAND` inside a namespace.
    pub(super) fn ip(&self, name: &str, command: &str) -> Result<(), String> {
        let name = self.name(name);
        let mut arguments = vec!["-n", name.as_str()];
        arguments.extend(command.split_whitespace());
        ip(&arguments)
    }

    /// A line of shell inside a namespace.
    pub(super) fn sh(&self, name: &str, line: &str) -> Result<(), String> {
        ip(&["netns", "exec", &self.name(name), "sh", "-c", line])
    }

    /// What a line of shell prints inside a namespace.
    pub(super) fn ask(&self, name: &str, line: &str) -> Result<String, String> {
        output(&["netns", "exec", &self.name(name), "sh", "-c", line])
    }

    /// Steps of the form `client route add ...`, or `client ! LINE OF SHELL`.
    pub(super) fn steps(&self, steps: &[&str]) -> Result<(), String> {
        for step in steps {
            let (name, command) = step.split_once(' ').ok_or_else(|| format!("{step} names no namespace"))?;
            match command.strip_prefix("! ") {
                Some(line) => self.sh(name, line)?,
                None => self.ip(name, command)?,
            }
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in ["client", "router", "server"] {
            // One that was never made is none to remove, and there is nobody left to tell.
            let _ = ip(&["netns", "delete", &self.name(name)]);
        }
    }
}

/// Removes the namespaces of runs whose process is no more.
pub(super) fn remove_leftovers() -> Result<(), String> {
    let listed =
        Command::new("ip").args(["netns", "list"]).output().map_err(|error| format!("ip: {error}"))?;
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            ip(&["netns", "delete", name])?;
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    output(arguments).map(drop)
}

fn output(arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new("ip").args(arguments).output().map_err(|error| format!("ip does not run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim()))
}
