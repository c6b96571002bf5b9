//! Linux: link, address and route notifications of the kernel.
//!
//! if-watch joins the groups of addresses alone, so it is silent when a carrier is lost and when a route moves.
//! A notification is taken as "look again" and no more: what counts is a fresh dump of the three tables. So
//! nothing can drift, an overrun of the socket's buffer included, and it does not matter that the kernel
//! forgets to announce the routes that go with a link.

use std::{io, net::IpAddr, time::Duration};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia},
};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use tokio::time;

use super::snapshot::{Address, Kernel, Link, Route};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE` of
/// `linux/rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// The kernel answers at once; a sandbox may not answer at all.
const DUMP_DEADLINE: Duration = Duration::from_secs(2);

/// A dump that was interrupted by a change is repeated, so often at most.
const DUMPS: usize = 5;

/// A busy router would have us read for ever; so many routes are more than a host has.
pub(crate) const MOST_ROUTES: usize = 4096;

const ENOBUFS: i32 = 105;

/// A socket that hears when anything changes.
pub(crate) struct Notifications {
    socket: TokioSocket,
}

impl Notifications {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self { socket })
    }

    /// Waits until something changed. Cancel-safe.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        match self.socket.recv_from_full().await {
            Ok(_) => Ok(()),
            // Notifications were lost, so something changed indeed.
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Reads the three tables.
pub(crate) async fn dump() -> io::Result<Kernel> {
    time::timeout(DUMP_DEADLINE, dump_tables())
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer a dump request"))?
}

async fn dump_tables() -> io::Result<Kernel> {
    let mut kernel = Kernel::default();
    for request in [
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        RouteNetlinkMessage::GetRoute(RouteMessage::default()),
    ] {
        for message in dump_table(request).await? {
            take(&mut kernel, &message);
        }
    }
    kernel.links.sort_unstable();
    kernel.addresses.sort_unstable();
    kernel.routes.sort_unstable();
    Ok(kernel)
}

fn take(kernel: &mut Kernel, message: &RouteNetlinkMessage) {
    match message {
        RouteNetlinkMessage::NewLink(message) => kernel.links.push(link(message)),
        RouteNetlinkMessage::NewAddress(message) => kernel.addresses.extend(address(message)),
        RouteNetlinkMessage::NewRoute(message) if kernel.routes.len() < MOST_ROUTES => {
            kernel.routes.extend(routes(message));
        }
        _ => {}
    }
}

/// Reads the messages of one datagram, as far as they can be read. Says how much of it was.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_datagram(kernel: &mut Kernel, datagram: &[u8]) -> usize {
    let mut rest = datagram;
    while let Some((message, len)) = parse(rest) {
        if let Some(NetlinkPayload::InnerMessage(message)) = message.map(|message| message.payload) {
            take(kernel, &message);
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    datagram.len() - rest.len()
}

async fn dump_table(request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    for attempt in 1.. {
        let (messages, is_whole) = dump_once(request.clone()).await?;
        if is_whole || attempt == DUMPS {
            return Ok(messages);
        }
    }
    unreachable!("the loop returns")
}

/// One answer, and whether the table stood still while it was read.
async fn dump_once(request: RouteNetlinkMessage) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind_auto()?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0)).await?;

    let (mut messages, mut is_whole) = (Vec::new(), true);
    loop {
        let (datagram, _) = socket.recv_from_full().await?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let Some((message, len)) = parse(rest) else { break };
            rest = rest.get(len..).unwrap_or_default();
            // A message of a kind that our parser does not know is passed over.
            let Some(message) = message else { continue };
            is_whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok((messages, is_whole)),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(message) => messages.push(message),
                _ => {}
            }
        }
    }
}

/// What a dump is answered with: an error, the end, and `RTM_NEWLINK`, `RTM_NEWADDR` and `RTM_NEWROUTE` of
/// `linux/rtnetlink.h`. The parser is not sound for all that there is besides.
const KINDS: [u16; 5] = [2, 3, 16, 20, 24];

/// The first message of a datagram, if it can be read, and its length with padding.
fn parse(bytes: &[u8]) -> Option<(Option<NetlinkMessage<RouteNetlinkMessage>>, usize)> {
    let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    if len < 16 {
        return None;
    }
    let bytes = bytes.get(..len)?;
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let message = KINDS.contains(&kind).then(|| {
        NetlinkMessage::deserialize(bytes)
            .inspect_err(|error| tracing::debug!(%error, "a netlink message could not be read"))
            .ok()
    });
    Some((message.flatten(), len.next_multiple_of(4)))
}

fn link(message: &LinkMessage) -> Link {
    let carrier_changes = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::CarrierChanges(count) => Some(*count),
        _ => None,
    });
    Link {
        index: message.header.index,
        running: message.header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        carrier_changes: carrier_changes.unwrap_or_default(),
    }
}

fn address(message: &AddressMessage) -> Option<Address> {
    // On a point-to-point link "address" is the peer's, and "local" is ours.
    let find = |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    let local = find(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
    let any = find(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
    Some(Address { link: message.header.index, ip: local.or(any)? })
}

/// The routes of the main table that have a gateway or lead everywhere.
fn routes(message: &RouteMessage) -> Vec<Route> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let (mut to, mut gateway, mut link, mut metric, mut hops) = (None, None, 0, 0, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Via(via) => gateway = ip_via(via),
            RouteAttribute::Oif(index) => link = *index,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::MultiPath(next_hops) => {
                hops = next_hops
                    .iter()
                    .map(|hop| {
                        let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                            RouteAttribute::Gateway(address) => ip(address),
                            RouteAttribute::Via(via) => ip_via(via),
                            _ => None,
                        });
                        (gateway, hop.interface_index)
                    })
                    .collect();
            }
            _ => {}
        }
    }
    if hops.is_empty() {
        hops.push((gateway, link));
    }
    let to = to.filter(|_| header.destination_prefix_length > 0);
    let is_ipv4 = header.address_family == netlink_packet_route::AddressFamily::Inet;
    hops.into_iter()
        .filter(|(gateway, _)| gateway.is_some() || to.is_none())
        .map(|(gateway, link)| Route {
            to: to.map(|ip| (ip, header.destination_prefix_length)),
            is_ipv4,
            gateway,
            link,
            metric,
        })
        .collect()
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn ip_via(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(v4) => Some((*v4).into()),
        RouteVia::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that the parser of another kind of message panics of: a fuzzer found it.
    #[test]
    fn a_message_of_a_kind_that_answers_no_dump_is_passed_over_unread() {
        let prefix = include_bytes!("../../../xtask/fuzz/corpus/netlink/prefix_too_short");
        assert_eq!(parse(prefix), Some((None, 76)));
    }

    #[test]
    fn on_a_point_to_point_link_the_address_of_ours_is_the_local_one() {
        let mut message = AddressMessage::default();
        message.header.index = 7;
        let (peer, ours) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        message.attributes = vec![AddressAttribute::Address(peer), AddressAttribute::Local(ours)];
        assert_eq!(address(&message), Some(Address { link: 7, ip: ours }));
        message.attributes.pop();
        assert_eq!(address(&message), Some(Address { link: 7, ip: peer }), "IPv6 has this one alone");
    }

    #[test]
    fn only_routes_that_can_be_the_way_to_a_server_are_kept() {
        let mut message = RouteMessage::default();
        message.header.address_family = netlink_packet_route::AddressFamily::Inet;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![RouteAttribute::Oif(3)];
        let default = routes(&message);
        assert_eq!(default, [Route { to: None, is_ipv4: true, gateway: None, link: 3, metric: 0 }]);

        message.header.destination_prefix_length = 24;
        let net = std::net::Ipv4Addr::new(172, 17, 0, 0);
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(net)));
        assert_eq!(routes(&message), [], "the net of a bridge");
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(net)));
        assert_eq!(routes(&message)[0].to, Some((net.into(), 24)));
        message.header.table = 100;
        assert_eq!(routes(&message), [], "another table");
    }

    #[test]
    fn a_broken_datagram_ends_its_reading() {
        assert!(parse(&[]).is_none());
        assert!(parse(&[200, 0, 0, 0, 1, 2, 3, 4]).is_none(), "shorter than it says");
        assert!(parse(&[0; 16]).is_none(), "a length of none would be read for ever");
    }

    #[tokio::test]
    async fn the_tables_of_this_machine_list_loopback() {
        let kernel = match dump().await {
            Ok(kernel) => kernel,
            Err(error) => return println!("skipped: this sandbox has no netlink ({error})"),
        };
        assert!(kernel.links.iter().any(|link| link.index == 1), "{kernel:?}");
    }
}
