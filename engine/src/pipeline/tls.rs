//! TLS: which certificates are trusted, and what a failed handshake means.

use std::{error::Error as _, io, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    pins::{PinMismatch, PinnedVerifier},
    stream::Stream,
    tls_options::{Roots, TlsOptions},
};
use crate::{CertificateProblem, EngineError, EngineErrorKind, Stage};

/// All certificates of a PEM text.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid("the PEM text is malformed").with_source(error))?;
    if certificates.is_empty() {
        return Err(invalid("the PEM text has no certificate in it"));
    }
    Ok(certificates)
}

/// The private key of a PEM text.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, EngineError> {
    // The source names the kind of the mistake, never the key.
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| invalid("the PEM text has no private key in it").with_source(error))
}

impl TlsOptions {
    /// The one configuration that all connections of an engine share, and with it their session tickets.
    ///
    /// # Errors
    /// In the outer result what the user gave and cannot be used; in the inner one what is the machine's
    /// fault (no system roots), which matters only to those who ask for TLS.
    pub(crate) fn build(self) -> Result<Result<Arc<ClientConfig>, EngineError>, EngineError> {
        if let Some(config) = self.config {
            if !self.pins.is_empty() {
                return Err(invalid(
                    "pins cannot be checked with a rustls_config of your own: put them there",
                ));
            }
            return Ok(Ok(config));
        }
        let Some(provider) = provider() else {
            return Ok(Err(invalid("TLS has no provider: enable rustls-ring or rustls-aws-lc-rs")));
        };
        let provider = Arc::new(provider);
        let versions: &[_] =
            if self.at_least_1_3 { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| invalid("the provider lacks that version of TLS").with_source(error))?;
        let mut verifier = match self.verifier(&provider)? {
            Ok(verifier) => verifier,
            Err(error) => return Ok(Err(error)),
        };
        if !self.pins.is_empty() {
            let pinned = PinnedVerifier::new(verifier, self.pins, provider);
            verifier = Arc::new(pinned.ok_or_else(|| invalid("the provider has no SHA-256 for the pins"))?);
        }
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match self.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| invalid("the client certificate cannot be used").with_source(error))?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Ok(Arc::new(config)))
    }

    /// Who says which certificate is good; the results are those of [`build`](Self::build).
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Result<Arc<dyn ServerCertVerifier>, EngineError>, EngineError> {
        #[cfg(feature = "dangerous")]
        if self.accept_any {
            tracing::warn!(
                "every certificate of every server is accepted: nothing is secret from an attacker"
            );
            return Ok(Ok(Arc::new(super::dangerous::AcceptAny::new(provider))));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &self.added {
            roots
                .add(certificate.clone())
                .map_err(|error| invalid("a certificate to trust is malformed").with_source(error))?;
        }
        match self.roots.unwrap_or(DEFAULT_ROOTS) {
            #[cfg(feature = "platform-verifier")]
            Roots::Platform => {
                return Ok(platform_verifier(self.added.clone(), Arc::clone(provider)));
            }
            #[cfg(feature = "native-roots")]
            Roots::Native => {
                let found = rustls_native_certs::load_native_certs();
                // What a system keeps is not always well-formed; the rest of it is trusted all the same.
                let (usable, _) = roots.add_parsable_certificates(found.certs);
                if usable == 0 && self.added.is_empty() {
                    let error = invalid("the system's certificates cannot be read; add a certificate");
                    let cause = found.errors.into_iter().next();
                    return Ok(Err(match cause {
                        Some(cause) => error.with_source(cause),
                        None => error,
                    }));
                }
            }
            #[cfg(feature = "webpki-roots")]
            Roots::Webpki => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Roots::Added if roots.is_empty() => {
                let error = invalid("no certificate is trusted: add one, or choose other roots");
                // Said by the user it is a mistake; else it matters only to those who ask for TLS.
                return if self.roots.is_some() { Err(error) } else { Ok(Err(error)) };
            }
            Roots::Added => {}
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier =
            verifier.build().map_err(|error| invalid("no certificate is trusted").with_source(error))?;
        Ok(Ok(verifier))
    }
}

/// The first that there is.
const DEFAULT_ROOTS: Roots = {
    #[cfg(feature = "platform-verifier")]
    {
        Roots::Platform
    }
    #[cfg(all(feature = "native-roots", not(feature = "platform-verifier")))]
    {
        Roots::Native
    }
    #[cfg(all(feature = "webpki-roots", not(any(feature = "native-roots", feature = "platform-verifier"))))]
    {
        Roots::Webpki
    }
    #[cfg(not(any(feature = "webpki-roots", feature = "native-roots", feature = "platform-verifier")))]
    {
        Roots::Added
    }
};

#[cfg(feature = "platform-verifier")]
fn platform_verifier(
    added: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, EngineError> {
    #[cfg(not(target_os = "android"))]
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(added, provider);
    #[cfg(target_os = "android")]
    let verifier = {
        let _ = added;
        rustls_platform_verifier::Verifier::new(provider)
    };
    match verifier {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(error) => {
            Err(invalid("the system's certificates cannot be used; add a certificate").with_source(error))
        }
    }
}

/// Explicit, and never the default of the process: whatever another library installs there, or fails to,
/// changes nothing here.
#[cfg_attr(
    any(feature = "rustls-ring", feature = "rustls-aws-lc-rs"),
    expect(clippy::unnecessary_wraps, reason = "without a provider's feature there is none")
)]
fn provider() -> Option<CryptoProvider> {
    #[cfg(feature = "rustls-ring")]
    return Some(rustls::crypto::ring::default_provider());
    #[cfg(all(feature = "rustls-aws-lc-rs", not(feature = "rustls-ring")))]
    return Some(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs")))]
    None
}

/// The TLS handshake.
pub(crate) async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    io: Stream,
) -> Result<TlsStream<Stream>, EngineError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| {
        EngineError::new(EngineErrorKind::InvalidRequest, Stage::Tls)
            .with_detail("the host is no name that a certificate could be for")
            .with_source(error)
    })?;
    TlsConnector::from(config).connect(name, io).await.map_err(map_error)
}

/// An alert that came when the handshake was through for us: so does TLS 1.3 refuse a client's certificate. Whatever
/// stage was on, the error is of this one.
pub(crate) fn blame(error: EngineError) -> EngineError {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let cause = cause.and_then(io::Error::get_ref).and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rustls::Error::AlertReceived(alert)) => EngineError::new(EngineErrorKind::Tls, Stage::Tls)
            .with_detail(alert_words(*alert))
            .with_source(error),
        _ => error,
    }
}

/// RFC 8446 §6.2, as far as somebody can do something about it.
const fn alert_words(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;

    match alert {
        A::AccessDenied
        | A::BadCertificate
        | A::CertificateExpired
        | A::CertificateRequired
        | A::CertificateRevoked
        | A::CertificateUnknown
        | A::UnknownCA
        | A::UnsupportedCertificate => {
            "the server broke it off with an alert: it wants a certificate of ours, or refuses the one it got"
        }
        A::ProtocolVersion => "the server broke it off with an alert: it speaks none of our versions of TLS",
        A::NoApplicationProtocol => "the server broke it off with an alert: it has no http/1.1 there (ALPN)",
        A::UnrecognisedName => "the server broke it off with an alert: it does not know the host",
        _ => "the server broke it off with an alert",
    }
}

fn map_error(error: io::Error) -> EngineError {
    use rustls::Error as E;

    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<E>());
    if let Some(E::InvalidCertificate(CertificateError::Other(other))) = cause
        && let Some(mismatch) = other.0.downcast_ref::<PinMismatch>()
    {
        let kind = EngineErrorKind::Certificate(CertificateProblem::PinMismatch);
        return EngineError::new(kind, Stage::Tls).with_detail(mismatch.to_string());
    }
    let (kind, words) = match cause {
        // The authority of a test environment that was made anew looks like this.
        Some(E::InvalidCertificate(problem @ CertificateError::BadSignature)) => (
            EngineErrorKind::Certificate(certificate_problem(problem)),
            Some("a signature is wrong; an authority of that name is trusted, but with another key"),
        ),
        Some(E::InvalidCertificate(problem)) => {
            (EngineErrorKind::Certificate(certificate_problem(problem)), None)
        }
        Some(E::NoCertificatesPresented) => (EngineErrorKind::Certificate(CertificateProblem::Other), None),
        Some(E::InvalidMessage(_)) => (
            EngineErrorKind::Tls,
            Some("the answer is not TLS: the port may want a plain connection (ws://)"),
        ),
        Some(E::AlertReceived(alert)) => (EngineErrorKind::Tls, Some(alert_words(*alert))),
        Some(other) => {
            return EngineError::new(EngineErrorKind::Tls, Stage::Tls).with_detail(other.to_string());
        }
        None => (EngineErrorKind::Tls, Some("the transport failed or ended")),
    };
    let mapped = EngineError::new(kind, Stage::Tls).with_source(error);
    match words {
        Some(words) => mapped.with_detail(words),
        None => mapped,
    }
}

fn certificate_problem(error: &CertificateError) -> CertificateProblem {
    use CertificateError as E;

    match error {
        E::Expired | E::ExpiredContext { .. } => CertificateProblem::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => CertificateProblem::NotYetValid,
        E::NotValidForName | E::NotValidForNameContext { .. } => CertificateProblem::WrongHost,
        E::UnknownIssuer => CertificateProblem::UnknownIssuer,
        E::Revoked => CertificateProblem::Revoked,
        _ => CertificateProblem::Other,
    }
}

pub(super) fn invalid(detail: &str) -> EngineError {
    EngineError::new(EngineErrorKind::InvalidConfiguration, Stage::Tls).with_detail(detail)
}
