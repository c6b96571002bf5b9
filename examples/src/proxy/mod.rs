//! A TCP proxy that spoils the path on purpose, in this process.
//!
//! It passes bytes both ways until it is told otherwise, for all connections or for one. What it can do to a
//! path is [`Mode`].
//!
//! ```no_run
//! # async fn f(server: std::net::SocketAddr) -> std::io::Result<()> {
//! use everwire_examples::proxy::{Mode, Proxy};
//! let proxy = Proxy::start(server)?;
//! println!("dial {}", proxy.addr());
//! proxy.set_all(Mode::Blackhole);
//! # Ok(()) }
//! ```

mod pump;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// Every byte is passed on.
    #[default]
    Pass,
    /// Every read is held for so long before it is passed on.
    Delay(Duration),
    /// Bytes go on in pieces of at most so many, each after a pause: a path with hardly any room.
    Trickle {
        /// How many bytes at once; at least 1.
        piece: usize,
        /// The pause before each.
        pause: Duration,
    },
    /// Bytes are swallowed both ways, and the sockets stay open: nothing fails, nothing arrives. Lasts for
    /// the connections it has befallen, as a lost NAT entry does: what was swallowed is missing for ever.
    Blackhole,
    /// The client gets a reset (RST), and the server loses its connection.
    Reset,
    /// The client reads the end (FIN) where more was due; what it sends is still read, for nobody.
    HalfClose,
    /// New connections are refused; open ones go on.
    Refuse,
}

/// The number of a connection: 1 for the first, in the order they were accepted.
pub type ConnectionNumber = u64;

/// A running proxy. Dropping it ends every connection.
pub struct Proxy {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: Mutex<Option<AbortHandle>>,
}

struct Shared {
    upstream: SocketAddr,
    /// What befalls new connections.
    mode: Mutex<Mode>,
    open: Mutex<BTreeMap<ConnectionNumber, watch::Sender<Mode>>>,
    accepted: watch::Sender<u64>,
    sessions: Mutex<JoinSet<()>>,
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1 that passes everything to `upstream`.
    ///
    /// # Errors
    /// When no port can be had.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            mode: Mutex::default(),
            open: Mutex::default(),
            accepted: watch::Sender::new(0),
            sessions: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, addr, accepting: Mutex::new(Some(accepting)) })
    }

    /// Where to connect.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets what befalls all connections, those to come included.
    ///
    /// [`Mode::Reset`] and [`Mode::HalfClose`] befall the open ones; new ones pass. Refusing stops to listen;
    /// every other mode listens again.
    ///
    /// # Errors
    /// When it has to listen again and somebody else took the port.
    pub fn set_all(&self, mode: Mode) -> io::Result<()> {
        let mut accepting = lock(&self.accepting);
        *lock(&self.shared.mode) = match mode {
            Mode::Reset | Mode::HalfClose | Mode::Refuse => Mode::Pass,
            lasting => lasting,
        };
        if mode == Mode::Refuse {
            if let Some(task) = accepting.take() {
                task.abort();
            }
            return Ok(());
        }
        for open in lock(&self.shared.open).values() {
            open.send_replace(mode);
        }
        if accepting.is_none() {
            let listener = listen(self.addr)?;
            *accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))).abort_handle());
        }
        Ok(())
    }

    /// Sets what befalls one connection. Whether it was open.
    pub fn set(&self, connection: ConnectionNumber, mode: Mode) -> bool {
        lock(&self.shared.open).get(&connection).map(|open| open.send_replace(mode)).is_some()
    }

    /// Which connections are open.
    pub fn open(&self) -> Vec<ConnectionNumber> {
        lock(&self.shared.open).keys().copied().collect()
    }

    /// How many connections were accepted until now.
    pub fn accepted(&self) -> u64 {
        *self.shared.accepted.borrow()
    }

    /// Waits until so many connections were accepted.
    pub async fn until_accepted(&self, count: u64) {
        let mut accepted = self.shared.accepted.subscribe();
        // The sender lives as long as `self`.
        let _ = accepted.wait_for(|accepted| *accepted >= count).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.accepting).take() {
            task.abort();
        }
        lock(&self.shared.sessions).abort_all();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("addr", &self.addr)
            .field("upstream", &self.shared.upstream)
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(1024)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (mode, watched) = watch::channel(*lock(&shared.mode));
        let mut number = 0;
        shared.accepted.send_modify(|accepted| {
            *accepted += 1;
            number = *accepted;
        });
        lock(&shared.open).insert(number, mode);
        let entry = Entry { shared: Arc::clone(&shared), number };
        let mut sessions = lock(&shared.sessions);
        while sessions.try_join_next().is_some() {}
        sessions.spawn(async move {
            if let Err(error) = session(client, entry.shared.upstream, watched).await {
                tracing::debug!(%error, connection = entry.number, "proxied connection ended");
            }
        });
    }
}

async fn session(client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<Mode>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    pump::run(client, server, mode).await
}

/// A connection's place in the list; dropping it takes it out.
struct Entry {
    shared: Arc<Shared>,
    number: ConnectionNumber,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.shared.open).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// An echo server and a proxy before it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Proxy::start(addr).unwrap()
    }

    async fn round_trip(stream: &mut TcpStream) -> io::Result<[u8; 2]> {
        stream.write_all(b"hi").await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.map(|_| answer)
    }

    #[tokio::test]
    async fn bytes_pass_until_the_mode_changes() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(round_trip(&mut stream).await.unwrap(), *b"hi");
        proxy.set_all(Mode::Reset).unwrap();
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(round_trip(&mut next).await.unwrap(), *b"hi", "a reset befalls open connections only");
    }

    #[tokio::test]
    async fn a_half_close_reads_as_the_end_and_writes_go_on() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        round_trip(&mut stream).await.unwrap();
        proxy.set_all(Mode::HalfClose).unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        stream.write_all(b"still").await.unwrap();
    }

    #[tokio::test]
    async fn a_blackhole_swallows_and_nothing_fails() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        round_trip(&mut stream).await.unwrap();
        let [connection] = proxy.open()[..] else { panic!("one connection is open") };
        assert!(proxy.set(connection, Mode::Blackhole));
        let silence = tokio::time::timeout(Duration::from_millis(200), round_trip(&mut stream));
        assert!(silence.await.is_err(), "neither an answer nor an error");
        let mut other = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(round_trip(&mut other).await.unwrap(), *b"hi", "only one connection was meant");
    }

    #[tokio::test]
    async fn a_trickle_brings_every_byte_piece_by_piece() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        proxy.set_all(Mode::Trickle { piece: 1, pause: Duration::from_millis(30) }).unwrap();
        let start = crate::clock::now();
        assert_eq!(round_trip(&mut stream).await.unwrap(), *b"hi");
        assert!(start.elapsed() >= Duration::from_millis(90), "two bytes there, and the first one back");
    }

    #[tokio::test]
    async fn refused_is_refused_and_comes_back_on_the_same_port() {
        let proxy = echo().await;
        proxy.set_all(Mode::Refuse).unwrap();
        // The aborted task drops the listener when it is next polled; there is nothing to wait on but it.
        while TcpStream::connect(proxy.addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        proxy.set_all(Mode::Pass).unwrap();
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(round_trip(&mut stream).await.unwrap(), *b"hi");
    }
}
