//! Pinned keys: a certificate must be issued by, or for, one of the keys that the user names.

use std::{error::Error as StdError, fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedCipherSuite,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{
        CryptoProvider,
        hash::{Hash, HashAlgorithm},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// The SHA-256 of a certificate's `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Pin([u8; 32]);

/// Of 32 bytes.
const BASE64_LEN: usize = 44;

impl Pin {
    /// A pin in the form that curl and other clients use: base64, `sha256/` before it or not.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // Base64 has slashes of its own, so what is before it is told by the length.
        let (before, base64) = text.split_at_checked(text.len().checked_sub(BASE64_LEN)?)?;
        if !matches!(before, "" | "sha256/" | "sha256//") {
            return None;
        }
        let bytes = data_encoding::BASE64.decode(base64.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", data_encoding::BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// None of the pins is in a chain; these are those that are.
#[derive(Debug)]
pub(super) struct PinMismatch(Vec<Pin>);

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "the keys that the server showed are {}", pins.join(", "))
    }
}

impl StdError for PinMismatch {}

/// Another verifier's verdict, and the pins on top of it.
pub(super) struct PinnedVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
    sha256: &'static dyn Hash,
}

impl PinnedVerifier {
    /// `None` when the provider has no SHA-256, which every suite of TLS 1.3 in use brings along.
    pub(super) fn new(
        inner: Arc<dyn ServerCertVerifier>,
        pins: Vec<Pin>,
        provider: Arc<CryptoProvider>,
    ) -> Option<Self> {
        let sha256 = provider.cipher_suites.iter().find_map(|suite| {
            let hash = match suite {
                SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
                SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
            };
            (hash.algorithm() == HashAlgorithm::SHA256).then_some(hash)
        })?;
        Some(Self { inner, pins, provider, sha256 })
    }

    fn pin(&self, certificate: &CertificateDer<'_>) -> Option<Pin> {
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        let hash = self.sha256.hash(parsed.subject_public_key_info().as_ref());
        hash.as_ref().try_into().ok().map(Pin)
    }

    /// Whether this key has really vouched for the server's: a server may send any certificate along with
    /// its own, also one that it has nothing to do with.
    fn has_issued(
        &self,
        issuer: &CertificateDer<'_>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let mut roots = RootCertStore::empty();
        let algorithms = self.provider.signature_verification_algorithms.all;
        roots.add(issuer.clone().into_owned()).is_ok()
            && ParsedCertificate::try_from(end_entity).is_ok_and(|end_entity| {
                verify_server_cert_signed_by_trust_anchor(&end_entity, &roots, intermediates, now, algorithms)
                    .is_ok()
            })
    }
}

impl fmt::Debug for PinnedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedVerifier").field("pins", &self.pins).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let is_pinned = |certificate| self.pin(certificate).is_some_and(|pin| self.pins.contains(&pin));
        let mut issuers = intermediates.iter().filter(|&certificate| is_pinned(certificate));
        if is_pinned(end_entity)
            || issuers.any(|issuer| self.has_issued(issuer, end_entity, intermediates, now))
        {
            return Ok(verdict);
        }
        let chain = std::iter::once(end_entity).chain(intermediates);
        let mismatch = PinMismatch(chain.filter_map(|certificate| self.pin(certificate)).collect());
        Err(Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(mismatch)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_in_the_forms_that_tools_print() {
        let base64 = data_encoding::BASE64.encode(&[0xff; 32]); // slashes everywhere, and at the beginning
        for text in [base64.clone(), format!("sha256/{base64}"), format!("sha256//{base64}")] {
            assert_eq!(Pin::parse(&text), Some(Pin([0xff; 32])), "{text}");
        }
        assert_eq!(Pin([0xff; 32]).to_string(), format!("sha256/{base64}"));
        for bad in ["", "sha256/", "sha1/AAAA", &base64[1..], "no base64 at all"] {
            assert_eq!(Pin::parse(bad), None, "{bad}");
        }
    }
}
