//! Linux: link, address and route notifications of the kernel.
//!
//! if-watch joins the groups of addresses alone, so it is silent when a carrier is lost and when a route moves.
//! A notification is taken as "look again" and no more: what counts is a fresh dump of the three tables. So
//! nothing can drift, an overrun of the socket's buffer included, and it does not matter that the kernel
//! forgets to announce the routes that go with a link.

use std::{io, time::Duration};

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use tokio::time;

use super::{
    netlink::{Message, Progress, Table},
    snapshot::Kernel,
};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE` of
/// `linux/rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// The kernel answers at once; a sandbox may not answer at all.
const DUMP_DEADLINE: Duration = Duration::from_secs(2);

/// A dump that was interrupted by a change is repeated, so often at most.
const DUMPS: usize = 5;

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
    for table in Table::ALL {
        dump_table(&mut kernel, table).await?;
    }
    kernel.links.sort_unstable();
    kernel.addresses.sort_unstable();
    kernel.routes.sort_unstable();
    Ok(kernel)
}

async fn dump_table(kernel: &mut Kernel, table: Table) -> io::Result<()> {
    for attempt in 1.. {
        let mut read = Kernel::default();
        let is_whole = dump_once(&mut read, table).await?;
        if is_whole || attempt == DUMPS {
            kernel.links.extend(read.links);
            kernel.addresses.extend(read.addresses);
            kernel.routes.extend(read.routes);
            break;
        }
    }
    Ok(())
}

/// One answer. Says whether the table stood still while it was read.
async fn dump_once(kernel: &mut Kernel, table: Table) -> io::Result<bool> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind_auto()?;
    socket.send_to(&table.request(), &SocketAddr::new(0, 0)).await?;
    let mut is_whole = true;
    loop {
        let (datagram, _) = socket.recv_from_full().await?;
        let mut rest = datagram.as_slice();
        while let Some((message, after)) = Message::split(rest) {
            rest = after;
            is_whole &= !message.is_interrupted();
            match message.progress() {
                Progress::Done => return Ok(is_whole),
                Progress::Failed(error) => return Err(error),
                Progress::More => message.take(kernel),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tables_of_this_machine_list_loopback() {
        let kernel = match dump().await {
            Ok(kernel) => kernel,
            Err(error) => return println!("skipped: this sandbox has no netlink ({error})"),
        };
        assert!(kernel.links.iter().any(|link| link.index == 1), "{kernel:?}");
        assert!(
            kernel.addresses.iter().all(|a| kernel.links.iter().any(|l| l.index == a.link)),
            "{kernel:?}"
        );
    }
}
