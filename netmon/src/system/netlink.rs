//! The messages of rtnetlink: the three questions, and what is kept of the answers.
//!
//! A handful of fields is all that is needed, so they are read here, by `get` alone: whatever the bytes are, nothing
//! is read beyond their end. Numbers are the machine's own, and are named as in `linux/rtnetlink.h`.

use std::{
    io, iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::snapshot::{Address, Kernel, Link, Route};

/// A busy router would have us read for ever; so many routes are more than a host has.
pub(crate) const MOST_ROUTES: usize = 4096;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;

/// A table of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table {
    Links,
    Addresses,
    Routes,
}

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::Links, Self::Addresses, Self::Routes];

    /// Asks for all of it, of every family.
    pub(crate) fn request(self) -> Vec<u8> {
        /// `NLM_F_REQUEST | NLM_F_DUMP`.
        const FLAGS: u16 = 0x1 | 0x300;
        // RTM_GETLINK with an ifinfomsg, RTM_GETADDR with an ifaddrmsg, RTM_GETROUTE with an rtmsg, all zero.
        let (kind, body) = match self {
            Self::Links => (18_u16, 16),
            Self::Addresses => (22, 8),
            Self::Routes => (26, 12),
        };
        let mut bytes = vec![0; HEADER + body];
        bytes[..4].copy_from_slice(&((HEADER + body) as u32).to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
        bytes
    }
}

/// Length, kind, flags, number, port.
const HEADER: usize = 16;

/// A message of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Message<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

/// What a message says of its answer.
#[derive(Debug)]
pub(crate) enum Progress {
    More,
    Done,
    Failed(io::Error),
}

impl<'a> Message<'a> {
    /// The first message of a datagram, if it can be read, and what comes after it.
    pub(crate) fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let len = u32_at(datagram, 0)? as usize;
        let message = Self {
            kind: u16_at(datagram, 4)?,
            flags: u16_at(datagram, 6)?,
            body: datagram.get(HEADER..len)?,
        };
        Some((message, datagram.get(len.next_multiple_of(4)..).unwrap_or_default()))
    }

    /// The table changed while it was listed.
    pub(crate) const fn is_interrupted(&self) -> bool {
        const NLM_F_DUMP_INTR: u16 = 0x10;
        self.flags & NLM_F_DUMP_INTR != 0
    }

    pub(crate) fn progress(&self) -> Progress {
        match self.kind {
            NLMSG_DONE => Progress::Done,
            // Zero is an acknowledgement.
            NLMSG_ERROR => match u32_at(self.body, 0).unwrap_or_default().cast_signed() {
                0 => Progress::More,
                code => Progress::Failed(io::Error::from_raw_os_error(code.saturating_neg())),
            },
            _ => Progress::More,
        }
    }

    /// Adds what the message tells, if it is of a kind that counts and is whole.
    pub(crate) fn take(&self, kernel: &mut Kernel) {
        match self.kind {
            RTM_NEWLINK => kernel.links.extend(link(self.body)),
            RTM_NEWADDR => kernel.addresses.extend(address(self.body)),
            RTM_NEWROUTE if kernel.routes.len() < MOST_ROUTES => {
                kernel.routes.extend(routes(self.body).unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// `ifinfomsg`: family, type, index, flags, change.
fn link(body: &[u8]) -> Option<Link> {
    const IFLA_CARRIER_CHANGES: u16 = 35;
    /// `IFF_UP | IFF_RUNNING`.
    const RUNNING: u32 = 0x1 | 0x40;
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    Some(Link {
        index,
        running: flags & RUNNING == RUNNING,
        carrier_changes: attribute(body.get(16..)?, IFLA_CARRIER_CHANGES)
            .and_then(|value| u32_at(value, 0))
            .unwrap_or_default(),
    })
}

/// `ifaddrmsg`: family, length of the prefix, flags, scope, index.
fn address(body: &[u8]) -> Option<Address> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let (link, of) = (u32_at(body, 4)?, body.get(8..)?);
    // On a point-to-point link "address" is the peer's, and "local" is ours.
    let find = |kind| attribute(of, kind).and_then(ip);
    Some(Address { link, ip: find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))? })
}

/// The routes of the main table that have a gateway or lead everywhere.
///
/// `rtmsg`: family, length of the destination and of the source, service, table, protocol, scope, type, flags.
fn routes(body: &[u8]) -> Option<Vec<Route>> {
    const RT_TABLE_MAIN: u8 = 254;
    const RTN_UNICAST: u8 = 1;
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_PRIORITY: u16 = 6;
    const RTA_MULTIPATH: u16 = 9;
    let is_ipv4 = match body.first()? {
        2 => true,
        10 => false,
        _ => return None,
    };
    let (prefix, of) = (*body.get(1)?, body.get(12..)?);
    if (*body.get(4)?, *body.get(7)?) != (RT_TABLE_MAIN, RTN_UNICAST) {
        return None;
    }
    let to = attribute(of, RTA_DST).and_then(ip).filter(|_| prefix > 0).map(|ip| (ip, prefix));
    let number = |kind| attribute(of, kind).and_then(|value| u32_at(value, 0)).unwrap_or_default();
    let mut hops: Vec<_> = hops(attribute(of, RTA_MULTIPATH).unwrap_or_default()).collect();
    if hops.is_empty() {
        hops.push((gateway(of), number(RTA_OIF)));
    }
    let metric = number(RTA_PRIORITY);
    let hops = hops.into_iter().filter(|(gateway, _)| gateway.is_some() || to.is_none());
    Some(hops.map(|(gateway, link)| Route { to, is_ipv4, gateway, link, metric }).collect())
}

/// Gateways and links. `rtnexthop`: length, flags, hops, index, and attributes within the length.
fn hops(mut bytes: &[u8]) -> impl Iterator<Item = (Option<IpAddr>, u32)> {
    iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let hop = (gateway(bytes.get(8..len)?), u32_at(bytes, 4)?);
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(hop)
    })
}

fn gateway(attributes: &[u8]) -> Option<IpAddr> {
    const RTA_GATEWAY: u16 = 5;
    const RTA_VIA: u16 = 18;
    // Of another family than the route's: the family stands before it.
    let via = || attribute(attributes, RTA_VIA).and_then(|via| ip(via.get(2..)?));
    attribute(attributes, RTA_GATEWAY).and_then(ip).or_else(via)
}

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    /// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` are no part of the kind.
    const KIND: u16 = 0x3FFF;
    loop {
        let len = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..len)?;
        if u16_at(attributes, 2)? & KIND == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || bytes.try_into().ok().map(|ip: [u8; 4]| Ipv4Addr::from(ip).into());
    let v6 = || bytes.try_into().ok().map(|ip: [u8; 16]| Ipv6Addr::from(ip).into());
    v4().or_else(v6)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(header: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = header.to_vec();
        for (kind, value) in attributes {
            bytes.extend((4 + value.len() as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    /// Each of these made a common parser of netlink panic: a fuzzer found them.
    #[test]
    fn a_message_of_wrong_lengths_or_of_a_foreign_kind_is_passed_over() {
        let mut kernel = Kernel::default();
        for bytes in [
            &include_bytes!("../../../xtask/fuzz/corpus/netlink/prefix_too_short")[..],
            include_bytes!("../../../xtask/fuzz/corpus/netlink/address_of_odd_lengths"),
        ] {
            let (message, rest) = Message::split(bytes).unwrap();
            message.take(&mut kernel);
            assert!(rest.is_empty());
        }
        assert_eq!((kernel.links.len(), kernel.routes.len()), (0, 0));
    }

    #[test]
    fn every_cut_of_every_message_is_read_without_harm() {
        let ip = [10, 0, 0, 1];
        let hop = with(&[20, 0, 0, 0, 7, 0, 0, 0], &[(5, &ip), (18, &[2, 0, 10, 0, 0, 1])]);
        for (kind, body) in [
            (RTM_NEWLINK, with(&[0; 16], &[(35, &[1, 0, 0, 0])])),
            (RTM_NEWADDR, with(&[0; 8], &[(1, &ip), (2, &[1])])),
            (RTM_NEWROUTE, with(&[2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0], &[(1, &ip), (9, &hop)])),
        ] {
            for len in 0..=body.len() {
                let bytes = message(kind, &body[..len]);
                for end in 0..=bytes.len() {
                    if let Some((message, rest)) = Message::split(&bytes[..end]) {
                        message.take(&mut Kernel::default());
                        assert!(rest.is_empty() && end == bytes.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_link_runs_when_it_is_up_and_has_a_carrier() {
        let header = |flags: u32| {
            let mut header = [0; 16];
            header[4..8].copy_from_slice(&3_u32.to_ne_bytes());
            header[8..12].copy_from_slice(&flags.to_ne_bytes());
            header
        };
        let read = |flags, attributes: &[_]| link(&with(&header(flags), attributes)).unwrap();
        let changes = 6_u32.to_ne_bytes();
        let expected = Link { index: 3, running: true, carrier_changes: 6 };
        assert_eq!(read(0x1_0043, &[(3, b"eth0\0"), (35, &changes)]), expected);
        assert_eq!(read(0x1, &[]), Link { index: 3, running: false, carrier_changes: 0 });
        assert!(!read(0x40, &[]).running);
    }

    #[test]
    fn on_a_point_to_point_link_the_address_of_ours_is_the_local_one() {
        let mut header = [0; 8];
        header[4..].copy_from_slice(&7_u32.to_ne_bytes());
        let (peer, ours) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let both = with(&header, &[(1, &peer), (2, &ours)]);
        assert_eq!(address(&both), Some(Address { link: 7, ip: ours.into() }));
        let v6 = [0xFD; 16];
        let one = with(&header, &[(6, &[0; 16]), (1, &v6)]);
        assert_eq!(address(&one), Some(Address { link: 7, ip: v6.into() }), "IPv6 has this one alone");
        assert_eq!(address(&with(&header, &[(1, &[1, 2, 3])])), None);
    }

    #[test]
    fn only_routes_that_can_be_the_way_to_a_server_are_kept() {
        let (net, three) = ([172, 17, 0, 0], 3_u32.to_ne_bytes());
        let read = |family, prefix, table, kind, attributes: &[_]| {
            routes(&with(&[family, prefix, 0, 0, table, 0, 0, kind, 0, 0, 0, 0], attributes))
        };
        let default = Route { to: None, is_ipv4: true, gateway: None, link: 3, metric: 0 };
        assert_eq!(read(2, 0, 254, 1, &[(4, &three)]), Some(vec![default]));
        assert_eq!(read(2, 24, 254, 1, &[(4, &three), (1, &net)]), Some(vec![]), "the net of a bridge");
        let far = [(1, &net[..]), (5, &[10, 0, 0, 1]), (4, &three), (6, &three)];
        let gateway = Some(IpAddr::from([10, 0, 0, 1]));
        let expected = Route { to: Some((net.into(), 24)), gateway, metric: 3, ..default };
        assert_eq!(read(2, 24, 254, 1, &far), Some(vec![expected]));
        for (family, table, kind, what) in
            [(2, 100, 1, "another table"), (2, 254, 6, "unreachable"), (28, 254, 1, "labels")]
        {
            assert_eq!(read(family, 24, table, kind, &far), None, "{what}");
        }
    }

    #[test]
    fn every_hop_of_a_route_of_many_is_a_route() {
        let hop = |link: u8, attribute: (u16, &[u8])| {
            let mut hop = with(&[0, 0, 0, 0, 0, 0, 0, 0], &[attribute]);
            let len = hop.len() as u16;
            hop[..2].copy_from_slice(&len.to_ne_bytes());
            hop[4..8].copy_from_slice(&u32::from(link).to_ne_bytes());
            hop
        };
        let v6 = [0xFD; 16];
        let via = [&10_u16.to_ne_bytes()[..], &v6].concat();
        let both = [hop(3, (5, &[10, 0, 0, 1])), hop(4, (18, &via))].concat();
        let header = [2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let seen: Vec<_> = routes(&with(&header, &[(9, &both)])).unwrap();
        let seen: Vec<_> = seen.iter().map(|route| (route.gateway.unwrap(), route.link)).collect();
        assert_eq!(seen, [(IpAddr::from([10, 0, 0, 1]), 3), (IpAddr::from(v6), 4)]);
    }

    #[test]
    fn a_broken_datagram_ends_its_reading() {
        assert!(Message::split(&[]).is_none());
        assert!(Message::split(&[200, 0, 0, 0, 1, 2, 3, 4]).is_none(), "shorter than it says");
        assert!(Message::split(&[0; 16]).is_none(), "a length of none would be read for ever");
    }

    #[test]
    fn an_error_ends_an_answer_and_an_acknowledgement_does_not() {
        let says = |kind, code: i32| {
            let bytes = message(kind, &code.to_ne_bytes());
            Message::split(&bytes).unwrap().0.progress()
        };
        assert!(matches!(says(NLMSG_DONE, 0), Progress::Done));
        assert!(matches!(says(NLMSG_ERROR, 0), Progress::More));
        let Progress::Failed(error) = says(NLMSG_ERROR, -13) else { panic!("an error") };
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(matches!(says(NLMSG_ERROR, i32::MIN), Progress::Failed(_)));
    }
}
