//! One proxied connection.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};

use super::Mode;

/// Carries bytes both ways until one side ends or the mode says so.
pub(super) async fn run(
    mut client: TcpStream,
    mut server: TcpStream,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    // Borrowed halves: owned ones send FIN when they are dropped, which would come before the reset.
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let up = pump(client_read, server_write, mode.clone(), false);
    let down = pump(server_read, client_write, mode.clone(), true);
    let result = tokio::select! {
        result = async { tokio::try_join!(up, down) } => Some(result.map(drop)),
        // The sender lives in the proxy's list as long as this connection does; should it go all the same,
        // the connection ends the rough way, too.
        _ = mode.wait_for(|mode| *mode == Mode::Reset) => None,
    };
    match result {
        Some(result) => result,
        // Closing with a linger time of zero sends RST instead of FIN.
        None => socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)),
    }
}

/// Carries bytes one way. `to_client` is the way on which a half-close shows.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    to_client: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    // Once bytes were swallowed the rest of the stream makes no sense to anybody.
    let mut broken = false;
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::HalfClose && to_client && !broken {
            to.shutdown().await?;
        }
        broken |= matches!(now, Mode::Blackhole | Mode::HalfClose);
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            changed = mode.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                continue;
            }
        };
        if read == 0 {
            if broken {
                // An end is swallowed as well. Only the proxy's own end, or a reset, wakes this again.
                return std::future::pending().await;
            }
            return to.shutdown().await;
        }
        if let Mode::Delay(delay) = now {
            tokio::time::sleep(delay).await;
        }
        if broken {
            continue;
        }
        if let Mode::Trickle { piece, pause } = now {
            for piece in buffer[..read].chunks(piece.max(1)) {
                tokio::time::sleep(pause).await;
                to.write_all(piece).await?;
            }
        } else {
            to.write_all(&buffer[..read]).await?;
        }
    }
}
