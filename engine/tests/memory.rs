//! What a connection holds and what a message costs, counted by the allocator. One test, for the counters are those
//! of the whole process.
#![cfg(feature = "tungstenite")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::{
    alloc::System,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use everwire_engine::{ConnectRequest, Engine, Message, TungsteniteConnection, TungsteniteEngine};
use futures_util::{FutureExt, SinkExt, StreamExt};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::{self, handshake::derive_accept_key};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So much is held now that was not when the region began.
fn held(region: &Region<'_, System>) -> isize {
    let change = region.change();
    change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed()
}

fn allocations(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.allocations + change.reallocations
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(len as u8),
        126..65_536 => bytes.extend([&[126], &(len as u16).to_be_bytes()[..]].concat()),
        _ => bytes.extend([&[127], &(len as u64).to_be_bytes()[..]].concat()),
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// A server on a thread of its own, which allocates nothing while the test counts: all that it sends is made before.
struct Server {
    tcp: TcpStream,
}

impl Server {
    /// Connects an engine of the default configuration to it.
    async fn connected() -> (Self, TungsteniteConnection) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let request = ConnectRequest::new(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
        let server = thread::spawn(move || {
            let tcp = listener.accept().unwrap().0;
            tcp.set_nodelay(true).unwrap();
            tungstenite::accept(tcp.try_clone().unwrap()).unwrap();
            Self { tcp }
        });
        let connection = TungsteniteEngine::new().connect(request).await.unwrap();
        (server.join().unwrap(), connection)
    }

    /// Connects an engine to it, and answers the upgrade with this line among others.
    async fn accepting(engine: TungsteniteEngine, extension: &'static str) -> (Self, TungsteniteConnection) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let request = ConnectRequest::new(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
        let server = thread::spawn(move || {
            let mut tcp = listener.accept().unwrap().0;
            tcp.set_nodelay(true).unwrap();
            accept(&mut tcp, extension);
            Self { tcp }
        });
        let connection = engine.connect(request).await.unwrap();
        (server.join().unwrap(), connection)
    }

    /// Reads one frame.
    #[cfg(feature = "deflate")]
    fn drain(&self) -> thread::JoinHandle<()> {
        let mut tcp = self.tcp.try_clone().unwrap();
        thread::spawn(move || {
            let mut head = [0; 14];
            tcp.read_exact(&mut head[..2]).unwrap();
            let more = match head[1] & 0x7F {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            tcp.read_exact(&mut head[2..6 + more]).unwrap();
            let len = match more {
                2 => u64::from(u16::from_be_bytes([head[2], head[3]])),
                8 => u64::from_be_bytes(head[2..10].try_into().unwrap()),
                _ => u64::from(head[1] & 0x7F),
            };
            std::io::copy(&mut tcp.take(len), &mut std::io::sink()).unwrap();
        })
    }

    /// Writes on another thread, for the transport may take it only while the test reads.
    fn send(&self, bytes: Vec<u8>) -> thread::JoinHandle<()> {
        let mut tcp = self.tcp.try_clone().unwrap();
        thread::spawn(move || tcp.write_all(&bytes).unwrap())
    }

    fn discard(&self, len: usize) -> thread::JoinHandle<()> {
        let mut tcp = self.tcp.try_clone().unwrap();
        let mut bytes = vec![0; len];
        thread::spawn(move || tcp.read_exact(&mut bytes).unwrap())
    }
}

/// Accepts the upgrade, with this line of the answer.
fn accept(tcp: &mut TcpStream, extension: &str) {
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        question.push(byte[0]);
    }
    let question = String::from_utf8(question).unwrap();
    let key = question.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accepted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{extension}\r\n",
        derive_accept_key(key.as_bytes())
    );
    tcp.write_all(accepted.as_bytes()).unwrap();
}

async fn next(connection: &mut TungsteniteConnection) -> Message {
    connection.next().await.unwrap().unwrap()
}

/// Nothing more comes: which a connection learns by a poll, as every reader polls it.
fn settle(connection: &mut TungsteniteConnection) {
    assert!(connection.next().now_or_never().is_none());
}

/// A connection that nothing has come over yet is nearly all its answer's headers, and its socket.
async fn an_idle_connection_is_small() {
    // 2,292 are held, half of them the small read buffer: growth shall be noticed, and be worth it.
    const IDLE: isize = 2_400;
    // The runtime's tables are there already.
    drop(Server::connected().await);
    let region = Region::new(ALLOCATOR);
    let (server, mut connection) = Server::connected().await;
    settle(&mut connection);
    let idle = held(&region);
    assert!(idle < IDLE, "{idle} bytes are held by an idle connection");
    // Much comes, and then nothing: which the connection learns by the polls of its pings.
    let sending = server.send(frame(0x82, &[7; 100]).repeat(1000));
    for _ in 0..1000 {
        next(&mut connection).await;
    }
    sending.join().unwrap();
    for _ in 0..64 {
        settle(&mut connection);
    }
    let again = held(&region);
    assert!(again < IDLE, "{again} bytes are held by a connection that is idle again");
}

const MIB: usize = 1 << 20;
const LIMIT: isize = 64 << 10;

async fn a_burst_is_given_back() {
    let region = Region::new(ALLOCATOR);
    let (server, mut connection) = Server::connected().await;
    let whole = || frame(0x82, &vec![7; MIB]);
    let fragments = || [frame(0x02, &vec![7; MIB]), frame(0x89, b""), frame(0x80, &vec![7; MIB])].concat();
    let cases: [(_, &dyn Fn() -> Vec<u8>, _); 2] =
        [("a frame", &whole, MIB), ("fragments", &fragments, 2 * MIB)];
    for (what, bytes, len) in cases {
        let sending = server.send(bytes());
        loop {
            match next(&mut connection).await {
                Message::Ping(_) => {}
                message => {
                    assert_eq!(message.len(), len);
                    break;
                }
            }
        }
        sending.join().unwrap();
        settle(&mut connection);
        let held = held(&region);
        assert!(held < LIMIT, "{what}: {held} bytes are held after {len} were received");
    }

    let message = Message::binary(vec![7; MIB]);
    let reading = server.discard(MIB + 14 + 6); // with the answer to the ping
    connection.send(message).await.unwrap();
    reading.join().unwrap();
    settle(&mut connection);
    let held = held(&region);
    assert!(held < LIMIT, "{held} bytes are held after {MIB} were sent");
    drop(server);
}

/// What is under way when the buffers could be given back is not lost: neither the half of a frame, nor the first of
/// two fragments, nor what was sent and not flushed.
async fn nothing_is_lost_with_the_buffers() {
    let (server, mut connection) = Server::connected().await;
    let burst = frame(0x82, &vec![7; MIB]);
    let after = [frame(0x01, b"Gr"), frame(0x89, b"?"), frame(0x80, "üezi".as_bytes())].concat();
    for at in 0..=after.len() {
        server.send([&burst, &after[..at]].concat()).join_with(&mut connection, MIB).await;
        connection.feed(Message::from("fed")).await.unwrap();
        let mut rest = Vec::new();
        while let Some(message) = connection.next().now_or_never() {
            rest.push(message.unwrap().unwrap());
        }
        server.send(after[at..].to_vec()).join().unwrap();
        while rest.len() < 2 {
            rest.push(next(&mut connection).await);
        }
        assert_eq!(rest, [Message::Ping("?".into()), Message::from("Grüezi")], "cut at {at}");
        settle(&mut connection);
        connection.flush().await.unwrap();
        let mut told = [0; 9 + 7];
        (&server.tcp).read_exact(&mut told).unwrap();
        let mut opcodes = [told[0], told[if told[0] == 0x81 { 9 } else { 7 }]];
        opcodes.sort_unstable();
        assert_eq!(opcodes, [0x81, 0x8A], "the text and the pong arrive, once each");
    }
}

trait JoinWith {
    async fn join_with(self, connection: &mut TungsteniteConnection, len: usize);
}

impl JoinWith for thread::JoinHandle<()> {
    /// Reads the burst, and waits until what follows it was written, too.
    async fn join_with(self, connection: &mut TungsteniteConnection, len: usize) {
        assert_eq!(next(connection).await.len(), len);
        self.join().unwrap();
    }
}

async fn a_message_costs_no_allocation() {
    const COUNT: usize = 400;
    // Of one size, so that none of the rounds is the one in which it grows under a flood.
    let engine = TungsteniteEngine::builder().read_buffer_size(16 << 10).build().unwrap();
    let (server, mut connection) = Server::accepting(engine, "").await;
    for payload in [&[b'x'; 64][..], &[b'x'; 1024]] {
        for first in [0x81, 0x82] {
            let bytes = frame(first, payload).repeat(COUNT);
            let warm = server.send(bytes.clone());
            for _ in 0..COUNT {
                next(&mut connection).await;
            }
            warm.join().unwrap();
            // Both rounds are the same, so what grows by use has grown.
            let sending = server.send(bytes);
            next(&mut connection).await;
            sending.join().unwrap();
            let region = Region::new(ALLOCATOR);
            for _ in 1..COUNT {
                assert_eq!(next(&mut connection).await.len(), payload.len());
            }
            assert_eq!(allocations(&region), 0, "for {COUNT} messages of {} bytes", payload.len());
        }
        let message = Message::binary(payload.to_vec());
        let reading = server.discard(2 * COUNT * (payload.len() + if payload.len() < 126 { 6 } else { 8 }));
        let mut region = Region::new(ALLOCATOR);
        for round in 0..2 {
            if round == 1 {
                region.reset();
            }
            for _ in 0..COUNT {
                connection.send(message.clone()).await.unwrap();
            }
        }
        assert_eq!(allocations(&region), 0, "for {COUNT} messages of {} bytes sent", payload.len());
        reading.join().unwrap();
    }
}

/// What a connection holds for compression, as its documentation says: nothing while none was needed, a window for each
/// direction that has seen a compressed message, and nothing more after a burst; without takeover nothing at all.
#[cfg(feature = "deflate")]
async fn compression_holds_its_windows_and_nothing_else() {
    use everwire_engine::Deflate;
    use flate2::{Compress, Compression, FlushCompress};

    const TAKEOVER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    const NO_TAKEOVER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
                               server_no_context_takeover\r\n";
    // What does not compress, so that the buffers are needed.
    let mut state = 7_u64;
    let mut noise = |len: usize| -> Vec<u8> {
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| byte()).collect()
    };
    let (short, long) = (noise(2000), noise(MIB));
    let received = |message: &[u8]| {
        let mut payload = Vec::with_capacity(message.len() + 2048);
        let mut compress = Compress::new(Compression::default(), false);
        compress.compress_vec(message, &mut payload, FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - 4);
        frame(0xC2, &payload)
    };

    // What receiving and sending add to what a connection without compression has by then.
    let mut plain = [0; 3];
    let windows = (46 << 10..47 << 10, 371 << 10..372 << 10);
    let small = (46 << 10..47 << 10, 245 << 10..246 << 10);
    let none = (0..1 << 10, 0..1 << 10);
    for (what, choice, bits, (receives, sends)) in [
        ("without compression", "", 15, none.clone()),
        ("the largest windows", TAKEOVER, 15, windows),
        ("the smallest window", TAKEOVER, 9, small),
        ("no takeover", NO_TAKEOVER, 15, none),
    ] {
        let region = Region::new(ALLOCATOR);
        let engine = TungsteniteEngine::builder();
        let engine = if choice.is_empty() {
            engine
        } else {
            engine.deflate(Deflate::default().client_max_window_bits(bits))
        };
        let (server, mut connection) = Server::accepting(engine.build().unwrap(), choice).await;
        settle(&mut connection);
        let idle = held(&region);
        let exchange =
            async |connection: &mut TungsteniteConnection, message: &[u8], receive: bool, send: bool| {
                if receive {
                    let bytes = if choice.is_empty() { frame(0x82, message) } else { received(message) };
                    let sending = server.send(bytes);
                    assert_eq!(next(connection).await.len(), message.len());
                    sending.join().unwrap();
                }
                if send {
                    let reading = server.drain();
                    connection.send(Message::binary(message.to_vec())).await.unwrap();
                    reading.join().unwrap();
                }
                settle(connection);
                held(&region) - idle
            };
        let receiving = exchange(&mut connection, &short, true, false).await;
        let sending = exchange(&mut connection, &short, false, true).await - receiving;
        let burst = exchange(&mut connection, &long, true, true).await - receiving - sending;
        if choice.is_empty() {
            plain = [idle, receiving, sending];
        }
        assert!(idle < plain[0] + (1 << 10), "{what}: idle it holds {idle} bytes, {} without", plain[0]);
        let (receiving, sending) = (receiving - plain[1], sending - plain[2]);
        assert!(receives.contains(&receiving), "{what}: {receiving} bytes more after receiving");
        assert!(sends.contains(&sending), "{what}: {sending} bytes more after sending");
        assert!(burst < LIMIT, "{what}: {burst} bytes more after {MIB} bytes each way");
    }
}

/// A server that asks without end and never reads an answer costs us a bounded buffer; and when it reads at last, it
/// finds the answer to its latest question.
async fn a_flood_of_pings_is_bounded() {
    const PINGS: u32 = 120_000;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap(); // ours is what should fill, and soon
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    let request = ConnectRequest::new(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
    let (go, gone) = mpsc::channel::<()>();
    let server = thread::spawn(move || {
        let mut tcp = listener.accept().unwrap().0;
        accept(&mut tcp, "");
        let mut ping = frame(0x89, &[0; 125]);
        for number in 0..PINGS {
            ping[2..6].copy_from_slice(&number.to_be_bytes());
            tcp.write_all(&ping).unwrap();
        }
        gone.recv().unwrap();
        let mut previous = None;
        loop {
            let mut answer = [0; 2 + 4 + 125];
            tcp.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..2], [0x8A, 0xFD]);
            let number: Vec<u8> = (0..4).map(|at| answer[6 + at] ^ answer[2 + at]).collect();
            let number = u32::from_be_bytes(number.try_into().unwrap());
            assert!(previous < Some(number), "in the order of the questions");
            if number + 1 == PINGS {
                return;
            }
            previous = Some(number);
        }
    });
    let mut connection = TungsteniteEngine::new().connect(request).await.unwrap();
    let region = Region::new(ALLOCATOR);
    let mut most = 0;
    for _ in 0..PINGS {
        assert!(matches!(next(&mut connection).await, Message::Ping(_)));
        most = most.max(held(&region));
    }
    assert!(most < LIMIT, "{most} bytes are held for answers that nobody reads");
    go.send(()).unwrap();
    // Reading alone brings the answers out.
    while !server.is_finished() {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(20), connection.next()).await;
    }
    server.join().unwrap();
}

#[tokio::test]
async fn what_a_connection_holds_is_bounded_and_a_message_costs_no_allocation() {
    // What is lost would be waited for.
    let all = async {
        an_idle_connection_is_small().await;
        a_message_costs_no_allocation().await;
        a_burst_is_given_back().await;
        nothing_is_lost_with_the_buffers().await;
        a_flood_of_pings_is_bounded().await;
        #[cfg(feature = "deflate")]
        compression_holds_its_windows_and_nothing_else().await;
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), all).await.expect("nothing is lost");
}
