//! The neutral server: raw TCP (and TLS), an upgrade answer written by hand, frames made beforehand.
//!
//! What a connection does is in the path of its request; see [`order`].

mod frames;
mod order;
mod upgrade;

use std::{io, process::ExitCode, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{HandshakeKind, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::{
    order::{message, path},
    upgrade::answer,
};
use crate::{measure, task::Addresses};

/// Serves on this core until its standard input ends, that is, until its parent is gone.
pub(crate) fn run(core: usize) -> ExitCode {
    measure::pin(core);
    measure::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.and_then(|runtime| runtime.block_on(serve()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: the server failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> io::Result<()> {
    let (plain, secure) = (listen()?, listen()?);
    let (acceptor, authority) = tls()?;
    let addresses =
        Addresses { plain: plain.local_addr()?.port(), tls: secure.local_addr()?.port(), authority };
    println!("{}", serde_json::to_string(&addresses)?);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = plain.accept().await {
            let _ = tcp.set_nodelay(true);
            tokio::spawn(connection(tcp, None));
        }
    });
    tokio::spawn(async move {
        while let Ok((tcp, _)) = secure.accept().await {
            let _ = tcp.set_nodelay(true);
            tokio::spawn(secured(acceptor.clone(), tcp));
        }
    });
    // A thread of its own, since waiting for standard input blocks.
    let (gone, parent) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = gone.send(());
    });
    let _ = parent.await;
    Ok(())
}

fn listen() -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(4096)
}

async fn secured(acceptor: TlsAcceptor, tcp: TcpStream) {
    let Ok(tls) = acceptor.accept(tcp).await else { return };
    let resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    connection(tls, Some(resumed)).await;
}

/// A client that goes away is not worth a word: most of them do, once they have measured.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(mut io: S, resumed: Option<bool>) {
    let Ok((path, rest)) = upgrade::accept(&mut io, resumed).await else { return };
    if order::carry_out(&mut io, &path, rest).await.is_ok() {
        // The client ends the connection first, or has ended it already.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), io.read(&mut [0; 1])).await;
    }
}

/// A certificate for this machine, by an authority that only the clients of this run trust.
fn tls() -> io::Result<(TlsAcceptor, String)> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = || KeyPair::generate().map_err(io::Error::other);
    let authority = CertifiedIssuer::self_signed(authority, key()?).map_err(io::Error::other)?;
    let server_key = key()?;
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
        .and_then(|server| server.signed_by(&server_key, &authority))
        .map_err(io::Error::other)?;
    let private = PrivateKeyDer::try_from(server_key.serialize_der()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private)
        })
        .map_err(io::Error::other)?;
    Ok((TlsAcceptor::from(Arc::new(config)), authority.pem()))
}
