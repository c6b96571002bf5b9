//! Whom the tungstenite engine trusts: pins, roots, and everybody.
#![cfg(feature = "tungstenite")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::{net::SocketAddr, sync::Arc};

use common::{echo, serve};
use everwire_engine::{
    CertificateProblem, ConnectRequest, Engine, EngineError, EngineErrorKind, Roots, TungsteniteEngine,
    TungsteniteEngineBuilder,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};
use rustls::{
    SupportedCipherSuite,
    crypto::hash::HashAlgorithm,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio_rustls::TlsAcceptor;

/// An authority, an intermediate that it issued, and a server's key with a certificate by the intermediate.
struct Chain {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    server: CertificateDer<'static>,
    key: KeyPair,
}

impl Chain {
    fn new() -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params, KeyPair::generate().unwrap())
        };
        let (params, key) = authority("root");
        let root = CertifiedIssuer::self_signed(params, key).unwrap();
        let (params, key) = authority("intermediate");
        let intermediate = CertifiedIssuer::signed_by(params, key, &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let server = params.signed_by(&key, &intermediate).unwrap().der().clone();
        Self { root, intermediate, server, key }
    }

    /// A server that sends its certificate, the intermediate's, and these.
    async fn serve(&self, extra: &[CertificateDer<'static>]) -> SocketAddr {
        let mut chain = vec![self.server.clone(), self.intermediate.der().clone()];
        chain.extend_from_slice(extra);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(self.key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        serve(move |tcp| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    echo(tls).await;
                }
            }
        })
        .await
    }

    fn trusting(&self) -> TungsteniteEngineBuilder {
        TungsteniteEngine::builder().add_root_certificate_pem(self.root.pem()).only_added_root_certificates()
    }
}

fn pin(key: &KeyPair) -> String {
    let suites = rustls::crypto::ring::default_provider().cipher_suites;
    let hash = suites.iter().find_map(|suite| match suite {
        SupportedCipherSuite::Tls13(suite) => {
            Some(suite.common.hash_provider).filter(|hash| hash.algorithm() == HashAlgorithm::SHA256)
        }
        SupportedCipherSuite::Tls12(_) => None,
    });
    let digest = hash.unwrap().hash(&key.subject_public_key_info());
    format!("sha256/{}", data_encoding::BASE64.encode(digest.as_ref()))
}

async fn connect(builder: TungsteniteEngineBuilder, to: SocketAddr) -> Result<(), EngineError> {
    let request = ConnectRequest::new(&format!("wss://localhost:{}/", to.port())).unwrap();
    builder.build()?.connect(request).await.map(drop)
}

#[tokio::test]
async fn the_servers_key_and_its_issuers_satisfy_a_pin_and_no_other_key_does() {
    let chain = Chain::new();
    let address = chain.serve(&[]).await;
    let stranger = pin(&KeyPair::generate().unwrap());
    for known in [&chain.key, chain.intermediate.key()] {
        let builder = chain.trusting().pin_spki_sha256(&stranger).pin_spki_sha256(&pin(known));
        connect(builder, address).await.unwrap();
    }
    let error = connect(chain.trusting().pin_spki_sha256(&stranger), address).await.unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Certificate(CertificateProblem::PinMismatch));
    for shown in [&chain.key, chain.intermediate.key()] {
        assert!(error.to_string().contains(&pin(shown)), "{error}");
    }
    assert!(!error.to_string().contains(&stranger), "{error}");
}

/// Whoever has a certificate that is trusted could send the pinned one along with it.
#[tokio::test]
async fn a_pinned_certificate_that_issued_nothing_satisfies_no_pin() {
    let (pinned, attacker) = (Chain::new(), Chain::new());
    let address = attacker.serve(&[pinned.intermediate.der().clone(), pinned.server.clone()]).await;
    for key in [&pinned.key, pinned.intermediate.key()] {
        let error = connect(attacker.trusting().pin_spki_sha256(&pin(key)), address).await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Certificate(CertificateProblem::PinMismatch));
    }
}

#[tokio::test]
async fn a_pin_does_not_replace_the_other_checks() {
    let (chain, other) = (Chain::new(), Chain::new());
    let address = chain.serve(&[]).await;
    let error = connect(other.trusting().pin_spki_sha256(&pin(&chain.key)), address).await.unwrap_err();
    let EngineErrorKind::Certificate(problem) = error.kind() else { panic!("{error}") };
    assert_ne!(problem, CertificateProblem::PinMismatch);
}

#[test]
fn a_pin_that_is_none_or_cannot_be_kept_is_refused_when_built() {
    let error = TungsteniteEngine::builder().pin_spki_sha256("sha256/AAAA").build().unwrap_err();
    assert!(error.to_string().contains("sha256/AAAA"), "{error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = TungsteniteEngine::builder().pin_spki_sha256(&pin(&KeyPair::generate().unwrap()));
    let error = builder.rustls_config(Arc::new(config)).build().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::InvalidConfiguration);
}

#[tokio::test]
async fn every_choice_of_roots_takes_added_ones_and_refuses_strangers() {
    let chain = Chain::new();
    let address = chain.serve(&[]).await;
    let choices = [
        Roots::Added,
        #[cfg(feature = "platform-verifier")]
        Roots::Platform,
        #[cfg(feature = "native-roots")]
        Roots::Native,
        #[cfg(feature = "webpki-roots")]
        Roots::Webpki,
    ];
    for roots in choices {
        let trusting = || chain.trusting().roots(roots);
        if let Err(error) = connect(trusting(), address).await {
            panic!("{roots:?}: {error} {error:?}");
        }
        let other = Chain::new();
        let strangers = other.trusting().roots(roots);
        let error = connect(strangers, address).await.unwrap_err();
        assert!(matches!(error.kind(), EngineErrorKind::Certificate(_)), "{roots:?}: {error}");
    }
    let error = TungsteniteEngine::builder().roots(Roots::Added).build().unwrap_err();
    assert!(error.to_string().contains("no certificate is trusted"), "{error}");
}

#[cfg(feature = "dangerous")]
#[tokio::test]
async fn the_dangerous_engine_accepts_any_certificate_says_so_and_still_keeps_pins() {
    let chain = Chain::new();
    let address = chain.serve(&[]).await;
    let warnings = Arc::new(Warnings::default());
    let builder = TungsteniteEngine::builder().dangerous_accept_any_certificate();
    let engine = tracing::subscriber::with_default(Arc::clone(&warnings), || builder.build().unwrap());
    assert_eq!(warnings.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    // Not even the host is right.
    let request = ConnectRequest::new(&format!("wss://{address}/")).unwrap();
    engine.connect(request).await.unwrap();
    let stranger = pin(&KeyPair::generate().unwrap());
    let pinned = TungsteniteEngine::builder().dangerous_accept_any_certificate().pin_spki_sha256(&stranger);
    let error = connect(pinned, address).await.unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Certificate(CertificateProblem::PinMismatch));
}

/// Counts the warnings of the code under it.
#[cfg(feature = "dangerous")]
#[derive(Default)]
struct Warnings(std::sync::atomic::AtomicUsize);

#[cfg(feature = "dangerous")]
impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
