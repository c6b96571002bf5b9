//! What is set on the engine's own TCP sockets.

use std::{io, net::IpAddr, time::Duration};

use tokio::net::{TcpSocket, TcpStream};

use super::config::{TungsteniteEngineBuilder, invalid};

/// What is set on every socket.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) bind: Option<IpAddr>,
    pub(crate) interface: Option<String>,
    nodelay: bool,
    user_timeout: Option<Duration>,
    keepalive: Option<Duration>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            bind: None,
            interface: None,
            nodelay: true,
            user_timeout: Some(Duration::from_secs(20)),
            keepalive: Some(Duration::from_secs(60)),
        }
    }
}

impl SocketOptions {
    /// A socket that has not connected yet: from where it does.
    pub(super) fn before(&self, is_ipv4: bool) -> io::Result<TcpSocket> {
        let socket = if is_ipv4 { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(interface) = &self.interface {
            bind_to_interface(&socket, interface)?;
        }
        if let Some(ours) = self.bind {
            if ours.is_ipv4() != is_ipv4 {
                let words = format!("{ours}, to connect from, is of the other family");
                return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, words));
            }
            socket.bind((ours, 0).into())?;
        }
        Ok(socket)
    }

    /// A socket that has connected: how it behaves.
    pub(super) fn after(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(self.nodelay)?;
        let socket = socket2::SockRef::from(stream);
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        socket.set_tcp_user_timeout(self.user_timeout)?;
        if let Some(idle) = self.keepalive {
            socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle))?;
        }
        Ok(())
    }
}

/// `SO_BINDTODEVICE`. The interface may come and go while the program runs, so one that is missing now fails the
/// attempt, not the engine.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
fn bind_to_interface(socket: &TcpSocket, interface: &str) -> io::Result<()> {
    let bound = socket2::SockRef::from(socket).bind_device(Some(interface.as_bytes()));
    bound.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "; it takes CAP_NET_RAW, or Linux 5.7",
            _ => "; is there such an interface now?",
        };
        io::Error::new(error.kind(), format!("binding to the interface {interface:?}: {error}{advice}"))
    })
}

#[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
fn bind_to_interface(_socket: &TcpSocket, _interface: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into()) // refused when built
}

impl TungsteniteEngineBuilder {
    /// Connects from this address of ours, which chooses the interface on most systems (default: the system
    /// chooses). Addresses of the other family then fail at once, and the next one is tried.
    pub const fn bind_address(mut self, address: IpAddr) -> Self {
        self.socket.bind = Some(address);
        self
    }

    /// Connects through the network interface of this name and no other, such as `wlan0`, whatever the routes say
    /// (default: the system chooses).
    ///
    /// Linux, Android and Fuchsia have this (`SO_BINDTODEVICE`; before Linux 5.7 it takes `CAP_NET_RAW`); elsewhere
    /// [`build`](Self::build) refuses it, and [`bind_address`](Self::bind_address) is the nearest. An interface that
    /// is missing, or that we may not bind to, fails each attempt with
    /// [`EngineErrorKind::Connect`](crate::EngineErrorKind::Connect): it may be there for the next one.
    pub fn bind_interface(mut self, name: &str) -> Self {
        let is_one = (1..16).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if !is_one {
            self.error =
                self.error.or_else(|| Some(invalid(format!("{name:?} is no name for a network interface"))));
        } else if cfg!(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))) {
            let words =
                "this system cannot bind to an interface by name: use bind_address with an address of it";
            self.error = self.error.or_else(|| Some(invalid(words.to_owned())));
        }
        self.socket.interface = Some(name.to_owned());
        self
    }

    /// `TCP_NODELAY` (default on). Off costs 44 ms for each exchange of small messages.
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.socket.nodelay = nodelay;
        self
    }

    /// After how long without an acknowledgement the operating system gives up a connection, where it has
    /// `TCP_USER_TIMEOUT` (default 20 s; `None` leaves it to the system, often a quarter of an hour).
    pub const fn tcp_user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.socket.user_timeout = timeout;
        self
    }

    /// After how much silence TCP's own keep-alive probes begin (default 60 s; `None`: never). A back-stop
    /// only: an application's ping notices sooner.
    pub const fn tcp_keepalive(mut self, idle: Option<Duration>) -> Self {
        self.socket.keepalive = idle;
        self
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What the operating system says of the socket, not what we have asked for.
    #[tokio::test]
    async fn every_option_reaches_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = SocketOptions { interface: Some("lo".to_owned()), ..SocketOptions::default() };
        let socket = options.before(true).unwrap();
        let stream = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        options.after(&stream).unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(20)));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    }
}
