//! What is agreed by TLS: versions, ALPN, tickets, client certificates, whose roots, whose configuration.
#![cfg(feature = "rustls")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use common::{Authority, echo, serve};
use everwire_engine::{
    CertificateProblem, ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Handshake, Stage,
    TungsteniteEngine, TungsteniteEngineBuilder,
};
use futures_util::{SinkExt, StreamExt};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server for localhost. `adapt` may change its configuration; what ALPN chose is kept.
struct Server {
    address: SocketAddr,
    chosen: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
}

impl Server {
    async fn start(
        authority: &Authority,
        versions: &[&'static rustls::SupportedProtocolVersion],
        clients: Option<&Authority>,
        adapt: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let (certificate, key) = authority.certificate_pem(&["localhost"]);
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        adapt(&mut config);
        let (acceptor, chosen) = (TlsAcceptor::from(Arc::new(config)), Arc::<Mutex<Vec<_>>>::default());
        let kept = Arc::clone(&chosen);
        let address = serve(move |tcp| {
            let (acceptor, kept) = (acceptor.clone(), Arc::clone(&kept));
            async move {
                let tls = match acceptor.accept(tcp).into_fallible().await {
                    Ok(tls) => tls,
                    // Who hangs up before everything was read may take the alert back.
                    Err((_, mut tcp)) => return drop(tcp.read_to_end(&mut Vec::new()).await),
                };
                kept.lock().unwrap().push(tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec));
                echo(tls).await;
            }
        })
        .await;
        Self { address, chosen }
    }

    async fn connect(&self, engine: &TungsteniteEngine) -> Result<Handshake, EngineError> {
        let request = ConnectRequest::new(&format!("wss://localhost:{}/", self.address.port())).unwrap();
        let mut connection = engine.connect(request).await?;
        // The ticket of a TLS 1.3 session comes behind the handshake: with the first thing that is read.
        connection.send("hello".into()).await.unwrap();
        connection.next().await.unwrap().unwrap();
        Ok(connection.handshake().clone())
    }
}

fn trusting(authority: &Authority) -> TungsteniteEngineBuilder {
    TungsteniteEngine::builder().add_root_certificate_pem(authority.pem()).only_added_root_certificates()
}

#[tokio::test]
async fn tickets_are_shared_by_all_connections_of_an_engine_and_of_its_clones() {
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let authority = Authority::new();
        let server = Server::start(&authority, versions, None, |config| {
            config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        })
        .await;
        let engine = trusting(&authority).build().unwrap();
        assert_eq!(server.connect(&engine).await.unwrap().tls_resumed, Some(false));
        for engine in [&engine, &engine.clone(), &engine] {
            assert_eq!(server.connect(engine).await.unwrap().tls_resumed, Some(true), "{versions:?}");
        }
        let another = trusting(&authority).build().unwrap();
        assert_eq!(server.connect(&another).await.unwrap().tls_resumed, Some(false));
    }
}

#[tokio::test]
async fn http_1_1_is_what_we_offer_by_alpn_and_nothing_else() {
    let authority = Authority::new();
    let engine = trusting(&authority).build().unwrap();
    let protocols = |names: &'static [&'static str]| {
        move |config: &mut ServerConfig| {
            config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        }
    };
    let server = Server::start(&authority, rustls::ALL_VERSIONS, None, protocols(&["h2", "http/1.1"])).await;
    server.connect(&engine).await.unwrap();
    assert_eq!(*server.chosen.lock().unwrap(), [Some(b"http/1.1".to_vec())]);
    let server = Server::start(&authority, rustls::ALL_VERSIONS, None, protocols(&["h2"])).await;
    let error = server.connect(&engine).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls));
    assert!(error.to_string().contains("alert"), "{error}");
}

#[tokio::test]
async fn a_server_that_has_tls_1_2_at_most_is_refused_where_1_3_is_required() {
    let authority = Authority::new();
    let server = Server::start(&authority, &[&rustls::version::TLS12], None, |_| {}).await;
    let handshake = server.connect(&trusting(&authority).build().unwrap()).await.unwrap();
    assert_eq!(handshake.tls_version, Some("TLSv1_2"));
    let error = server.connect(&trusting(&authority).require_tls_1_3().build().unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls));
    let server = Server::start(&authority, &[&rustls::version::TLS13], None, |_| {}).await;
    let engine = trusting(&authority).require_tls_1_3().build().unwrap();
    assert_eq!(server.connect(&engine).await.unwrap().tls_version, Some("TLSv1_3"));
}

/// In TLS 1.3 a server refuses a client's certificate when the handshake is through for the client.
#[tokio::test]
async fn a_client_certificate_is_presented_and_its_refusal_is_told_as_such() {
    let (authority, clients, strangers) =
        (Authority::new(), Authority::named("clients"), Authority::named("x"));
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let server = Server::start(&authority, versions, Some(&clients), |_| {}).await;
        let (certificate, key) = clients.certificate_pem(&["client"]);
        let engine = trusting(&authority).client_certificate_pem(certificate, key).build().unwrap();
        server.connect(&engine).await.unwrap();
        let (certificate, key) = strangers.certificate_pem(&["client"]);
        for builder in [trusting(&authority), trusting(&authority).client_certificate_pem(certificate, key)] {
            let error = server.connect(&builder.build().unwrap()).await.unwrap_err();
            assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls), "{error}");
            assert!(error.to_string().contains("certificate of ours"), "{error}");
        }
    }
    let error = trusting(&authority).client_certificate_pem(clients.pem(), "no key").build().unwrap_err();
    assert!(error.to_string().contains("no private key"), "{error}");
}

#[tokio::test]
async fn a_configuration_of_the_users_own_is_used_as_it_is() {
    let authority = Authority::new();
    let server = Server::start(&authority, rustls::ALL_VERSIONS, None, |config| {
        config.alpn_protocols = vec![b"everwire".to_vec()];
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"everwire".to_vec()];
    let engine = TungsteniteEngine::builder().rustls_config(Arc::new(config)).build().unwrap();
    server.connect(&engine).await.unwrap();
    assert_eq!(*server.chosen.lock().unwrap(), [Some(b"everwire".to_vec())]);
}

#[tokio::test]
async fn a_certificate_that_has_signed_itself_is_refused_in_words() {
    let authority = Authority::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let server = Server::start(&authority, rustls::ALL_VERSIONS, None, |config| {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let single =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        *config = single.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    })
    .await;
    let error = server.connect(&trusting(&authority).build().unwrap()).await.unwrap_err();
    let unknown = EngineErrorKind::Certificate(CertificateProblem::UnknownIssuer);
    assert_eq!((error.kind(), error.stage()), (unknown, Stage::Tls));
    assert!(error.to_string().contains("self-signed"), "{error}");
}

/// The part of the test below that runs in a process of its own, with `SSL_CERT_FILE` in its environment.
#[cfg(any(feature = "native-roots", feature = "platform-verifier"))]
#[tokio::test]
async fn with_ssl_cert_file_of_the_environment() {
    use everwire_engine::Roots;

    let Ok(port) = std::env::var("EVERWIRE_TEST_PORT") else { return };
    let known = std::env::var("EVERWIRE_TEST_KNOWN").is_ok();
    let request = ConnectRequest::new(&format!("wss://localhost:{port}/")).unwrap();
    for roots in [
        #[cfg(feature = "native-roots")]
        Roots::Native,
        #[cfg(all(feature = "platform-verifier", target_os = "linux"))]
        Roots::Platform,
    ] {
        let engine = TungsteniteEngine::builder().roots(roots).build().unwrap();
        let outcome = engine.connect(request.clone()).await.map(drop);
        assert_eq!(outcome.is_ok(), known, "{roots:?}: {outcome:?}");
    }
}

#[cfg(any(feature = "native-roots", feature = "platform-verifier"))]
#[tokio::test]
async fn ssl_cert_file_names_whom_to_trust() {
    let directory = common::TemporaryDirectory::new("ssl-cert-file");
    let (ours, others) = (Authority::new(), Authority::named("others"));
    let server = Server::start(&ours, rustls::ALL_VERSIONS, None, |_| {}).await;
    for (authority, known) in [(&ours, true), (&others, false)] {
        let file = directory.path().join("authorities.pem");
        std::fs::write(&file, authority.pem()).unwrap();
        // An environment cannot be changed safely in a process that has threads.
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "with_ssl_cert_file_of_the_environment", "--nocapture"]);
        command.env("EVERWIRE_TEST_PORT", server.address.port().to_string());
        command.env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR").env_remove("NEXTEST");
        if known {
            command.env("EVERWIRE_TEST_KNOWN", "yes");
        }
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
