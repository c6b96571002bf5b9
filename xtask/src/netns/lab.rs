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
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// The address of the server.
pub(super) const SERVER: &str = "10.77.9.2";

/// The same, over IPv6.
pub(super) const SERVER_V6: &str = "fd77:9::2";

const PREFIX: &str = "everwire-";

/// The one [file](Lab::file) that there may be.
pub(super) const JOURNAL: &str = "journal";

const NAMES: [&str; 3] = ["client", "router", "server"];

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
        let [client, router, server] = NAMES.map(|name| lab.name(name));
        batch(&[], &[&client, &router, &server].map(|name| format!("netns add {name}")))?;
        // Without the wait for duplicates, so that addresses serve at once.
        let quick = "for f in accept_dad dad_transmits accept_ra; do echo 0 > /proc/sys/net/ipv6/conf/default/$f; done";
        let forward =
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        lab.sh("client", quick)?;
        lab.sh("server", quick)?;
        lab.sh("router", &format!("{quick}; {forward}"))?;
        let link = |name: &str, net: u32| {
            // The two ends have indexes of their own. Of a link whose peer has the same, Linux tells a change of
            // the carrier late when any other link of the machine, in whichever namespace, changed just before.
            let (here, there) = (100 + net, 200 + net);
            format!(
                "link add name {name} index {here} type veth peer name {name} index {there} netns {router}"
            )
        };
        let end = |name: &str, net: u32, host: u32| {
            [
                format!("address add 10.77.{net}.{host}/24 dev {name}"),
                format!("address add fd77:{net}::{host}/64 dev {name} nodad"),
                format!("link set {name} up"),
            ]
        };
        let default = |name: &str, net: u32| {
            [
                format!("route add default via 10.77.{net}.1 dev {name}"),
                format!("route add default via fd77:{net}::1 dev {name}"),
            ]
        };
        let up = || "link set lo up".to_owned();
        batch(&["-n", &client], &[up(), link("eth0", 0), link("wifi0", 1)])?;
        batch(&["-n", &server], &[up(), link("srv0", 9)])?;
        let links = [("eth0", 0), ("wifi0", 1), ("srv0", 9)];
        let ends = links.iter().flat_map(|(name, net)| end(name, *net, 1));
        batch(&["-n", &router], &ends.chain([up()]).collect::<Vec<_>>())?;
        batch(
            &["-n", &client],
            &[&end("eth0", 0, 2)[..], &end("wifi0", 1, 2), &default("eth0", 0)].concat(),
        )?;
        batch(&["-n", &server], &[&end("srv0", 9, 2)[..], &default("srv0", 9)].concat())?;
        Ok(lab)
    }

    /// The full name of a namespace.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A file for the programs of this laboratory, which goes with it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        std::env::temp_dir().join(self.name(name))
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
        // One that was never made is none to remove, and there is nobody left to tell.
        let _ = std::fs::remove_file(self.file(JOURNAL));
        let _ = batch(&["-force"], &NAMES.map(|name| format!("netns delete {}", self.name(name))));
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

/// Many commands by one process, in order, up to the first that fails.
fn batch(options: &[&str], commands: &[String]) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(options).args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("ip does not run: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // Should it not read to the end, it says why.
        let _ = input.write_all(commands.join("\n").as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {} {commands:?}: {}", options.join(" "), said.trim()))
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
