//! What the watchers know of this machine, and the part of it that matters to a path.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux lets us list its tables"))]

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

/// Everything, from every watcher.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// What the kernel lists: Linux, where it lets us ask.
    pub(crate) kernel: Option<Kernel>,
    /// What if-watch knows; `None` until it has told its first addresses.
    pub(crate) interfaces: Option<BTreeSet<IpAddr>>,
}

/// Addresses, links and routes of one moment. Sorted, so that equal tables are equal values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Kernel {
    pub(crate) addresses: Vec<Address>,
    pub(crate) links: Vec<Link>,
    pub(crate) routes: Vec<Route>,
}

/// An address, on a link.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Address {
    pub(crate) link: u32,
    pub(crate) ip: IpAddr,
}

/// A network interface.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Link {
    pub(crate) index: u32,
    /// Up, and with a carrier.
    pub(crate) running: bool,
    /// How often the carrier came or went. A link that lost it and has it again looks the same otherwise.
    pub(crate) carrier_changes: u32,
}

/// A route with a gateway, or a default route.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Route {
    /// The destination; `None` is everything of the gateway's family.
    pub(crate) to: Option<(IpAddr, u8)>,
    pub(crate) is_ipv4: bool,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) link: u32,
    pub(crate) metric: u32,
}

/// What a path stands on: the links of its addresses, and the routes over them towards the targets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ground {
    pub(crate) links: Vec<Link>,
    pub(crate) routes: Vec<Route>,
}

impl Snapshot {
    /// All addresses of this machine but loopback and link-local ones, where they are known. `locals`, which
    /// the path probe just saw in use, belong to them whatever a watcher says.
    pub(crate) fn addresses(&self, locals: &[IpAddr]) -> Option<Arc<[IpAddr]>> {
        let known: BTreeSet<IpAddr> = match (&self.kernel, &self.interfaces) {
            (Some(kernel), _) => kernel.addresses.iter().map(|address| address.ip).collect(),
            (None, Some(interfaces)) => interfaces.clone(),
            (None, None) => return None,
        };
        Some(
            known
                .into_iter()
                .chain(locals.iter().copied())
                .filter(|ip| is_told(*ip))
                .collect::<BTreeSet<_>>(),
        )
        .map(|all| all.into_iter().collect())
    }

    /// The links that are up and have a carrier, where a watcher knows.
    pub(crate) fn running(&self) -> Option<BTreeSet<u32>> {
        let kernel = self.kernel.as_ref()?;
        Some(kernel.links.iter().filter(|link| link.running).map(|link| link.index).collect())
    }

    /// Whether the watcher that is believed has spoken.
    pub(crate) fn is_known(&self) -> bool {
        if cfg!(target_os = "linux") { self.kernel.is_some() } else { self.interfaces.is_some() }
    }

    /// What the path from `locals` to `targets` stands on, where a watcher knows.
    pub(crate) fn ground(&self, locals: &[IpAddr], targets: &[IpAddr]) -> Option<Ground> {
        let kernel = self.kernel.as_ref()?;
        let carries = |link: u32| kernel.addresses.iter().any(|a| a.link == link && locals.contains(&a.ip));
        let leads = |route: &Route| targets.iter().any(|target| route.covers(*target));
        Some(Ground {
            links: kernel.links.iter().filter(|link| carries(link.index)).copied().collect(),
            routes: kernel.routes.iter().filter(|r| carries(r.link) && leads(r)).copied().collect(),
        })
    }
}

/// Whether an address is worth telling: loopback and link-local ones say nothing about a network.
pub(crate) fn is_told(ip: IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified() && !super::path::is_link_local(ip)
}

impl Route {
    fn covers(&self, target: IpAddr) -> bool {
        let same_prefix = |a: u128, b: u128, bits: u32, len: u8| {
            let shift = bits - u32::from(len).min(bits);
            a.checked_shr(shift) == b.checked_shr(shift)
        };
        match (self.to, target) {
            (None, target) => target.is_ipv4() == self.is_ipv4,
            (Some((IpAddr::V4(to), len)), IpAddr::V4(target)) => {
                same_prefix(u32::from(to).into(), u32::from(target).into(), 32, len)
            }
            (Some((IpAddr::V6(to), len)), IpAddr::V6(target)) => {
                same_prefix(to.into(), target.into(), 128, len)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn machine() -> Kernel {
        let link = |index| Link { index, running: true, carrier_changes: 2 };
        let route = |to: Option<(&str, u8)>, gateway: &str, link| Route {
            to: to.map(|(net, len)| (ip(net), len)),
            is_ipv4: ip(gateway).is_ipv4(),
            gateway: Some(ip(gateway)),
            link,
            metric: 0,
        };
        Kernel {
            addresses: vec![
                Address { link: 1, ip: ip("127.0.0.1") },
                Address { link: 2, ip: ip("10.0.0.5") },
                Address { link: 2, ip: ip("fe80::5") },
                Address { link: 3, ip: ip("172.17.0.1") },
            ],
            links: vec![link(1), link(2), link(3)],
            routes: vec![
                route(None, "10.0.0.1", 2),
                route(None, "172.17.0.2", 3),
                route(Some(("198.51.100.0", 24)), "10.0.0.9", 2),
                route(None, "fe80::1", 2),
            ],
        }
    }

    fn known(kernel: Kernel) -> Snapshot {
        Snapshot { kernel: Some(kernel), interfaces: Some(BTreeSet::from([ip("10.9.9.9")])) }
    }

    #[test]
    fn loopback_and_link_local_are_not_told_and_the_kernel_is_believed_first() {
        let addresses = known(machine()).addresses(&[]).unwrap();
        assert_eq!(*addresses, [ip("10.0.0.5"), ip("172.17.0.1")]);
        let watched = Snapshot { kernel: None, ..known(machine()) };
        assert_eq!(*watched.addresses(&[ip("10.0.0.7")]).unwrap(), [ip("10.0.0.7"), ip("10.9.9.9")]);
        assert_eq!(Snapshot::default().addresses(&[ip("10.0.0.7")]), None, "unknown is not the same as none");
    }

    #[test]
    fn the_ground_is_the_link_and_the_routes_that_the_path_uses() {
        let ground = |kernel: Kernel| known(kernel).ground(&[ip("10.0.0.5")], &[ip("192.0.2.1")]).unwrap();
        let before = ground(machine());
        assert_eq!((before.links.len(), before.routes.len()), (1, 1));

        let mut unrelated = machine();
        unrelated.links[2].running = false;
        unrelated.routes.remove(3); // IPv6, and the target is not
        unrelated.routes.remove(2); // leads elsewhere
        unrelated.routes.remove(1); // over the bridge
        assert_eq!(ground(unrelated), before, "an unrelated bridge is quiet");

        let mut carrier = machine();
        carrier.links[1].running = false;
        assert_ne!(ground(carrier), before, "the carrier of the path's link");
        let mut flapped = machine();
        flapped.links[1].carrier_changes += 2;
        assert_ne!(ground(flapped), before, "a carrier that went and came");
        let mut gateway = machine();
        gateway.routes[0].gateway = Some(ip("10.0.0.2"));
        assert_ne!(ground(gateway), before, "the gateway of the path");
    }

    #[test]
    fn a_route_covers_its_prefix() {
        let route = |to: &str, len| Route {
            to: Some((ip(to), len)),
            is_ipv4: true,
            gateway: None,
            link: 1,
            metric: 0,
        };
        assert!(route("10.1.0.0", 16).covers(ip("10.1.255.1")));
        assert!(!route("10.1.0.0", 16).covers(ip("10.2.0.1")));
        assert!(route("10.1.2.3", 32).covers(ip("10.1.2.3")));
        assert!(!route("10.1.2.3", 32).covers(ip("10.1.2.2")));
        assert!(route("2001:db8::", 32).covers(ip("2001:db8:1::1")));
        assert!(!route("2001:db8::", 32).covers(ip("10.1.2.3")));
        assert!(route("0.0.0.0", 1).covers(ip("127.0.0.1")));
    }
}
