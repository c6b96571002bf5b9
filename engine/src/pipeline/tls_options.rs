//! What the builder can be told about TLS.

use std::sync::Arc;

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use super::{
    config::TungsteniteEngineBuilder,
    pins::Pin,
    tls::{certificates, invalid, private_key},
};

/// Whom to trust to issue certificates, beside what is added with
/// [`add_root_certificate_pem`](TungsteniteEngineBuilder::add_root_certificate_pem).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Roots {
    /// Whom the operating system trusts, by its own verifier: companies' authorities and revocations count
    /// (feature `platform-verifier`).
    #[cfg(feature = "platform-verifier")]
    Platform,
    /// The certificates that the operating system keeps, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// name, read when the engine is built (feature `native-roots`).
    #[cfg(feature = "native-roots")]
    Native,
    /// Mozilla's list, compiled in, for containers that have none; as old as the build (feature
    /// `webpki-roots`).
    #[cfg(feature = "webpki-roots")]
    Webpki,
    /// Nobody but what is added.
    Added,
}

/// What the builder was told about TLS.
#[derive(Default)]
pub(crate) struct TlsOptions {
    pub(crate) added: Vec<CertificateDer<'static>>,
    pub(crate) roots: Option<Roots>,
    pub(crate) pins: Vec<Pin>,
    #[cfg(feature = "dangerous")]
    pub(crate) accept_any: bool,
    pub(crate) client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    pub(crate) at_least_1_3: bool,
    pub(crate) config: Option<Arc<ClientConfig>>,
}

impl TungsteniteEngineBuilder {
    /// Trusts the certificates of this PEM text, too, beside those of the system. Several calls add up.
    pub fn add_root_certificate_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        match certificates(pem.as_ref()) {
            Ok(certificates) => self.tls.added.extend(certificates),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// Trusts only the certificates that were added, and not those of the system; short for
    /// [`roots(Roots::Added)`](Self::roots).
    pub const fn only_added_root_certificates(self) -> Self {
        self.roots(Roots::Added)
    }

    /// Trusts these, beside what is added (default: the first of [`Roots`] whose feature is on).
    pub const fn roots(mut self, roots: Roots) -> Self {
        self.tls.roots = Some(roots);
        self
    }

    /// Accepts only servers whose certificate is for this key, or was issued by it: the SHA-256 of its
    /// `SubjectPublicKeyInfo` in base64, with `sha256/` before it or not. Several calls add up, and one of
    /// the pins is enough; a second one, for a key in reserve, saves you when the first is lost.
    ///
    /// The pins hold for every server of this engine, and beside all other checks. The key of an issuer
    /// counts when the server sends its certificate along, which servers do for intermediates and seldom for
    /// roots. A mismatch is [`EngineErrorKind::Certificate`](crate::EngineErrorKind::Certificate) with
    /// [`CertificateProblem::PinMismatch`](crate::CertificateProblem::PinMismatch), and names the pins of the
    /// keys that were shown.
    pub fn pin_spki_sha256(mut self, pin: &str) -> Self {
        if let Some(pin) = Pin::parse(pin) {
            self.tls.pins.push(pin);
        } else {
            let words = format!("the pin {pin:?} is not the base64 of 32 bytes, with or without sha256/");
            self.error = self.error.or_else(|| Some(invalid(&words)));
        }
        self
    }

    /// Accepts every certificate, of anybody: an attacker on the way can read and change everything. For
    /// tests against servers of one's own; adding their certificate is the better way there, too. Pins are
    /// checked all the same. Warns through `tracing` when the engine is built.
    #[cfg(feature = "dangerous")]
    pub const fn dangerous_accept_any_certificate(mut self) -> Self {
        self.tls.accept_any = true;
        self
    }

    /// Presents this certificate (with its chain) and key, both PEM, to servers that ask for one.
    pub fn client_certificate_pem(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let certificates = certificates(chain.as_ref());
        match certificates.and_then(|chain| Ok((chain, private_key(key.as_ref())?))) {
            Ok(client) => self.tls.client = Some(client),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// Refuses servers that speak TLS 1.2 at most (default: 1.2 is accepted).
    pub const fn require_tls_1_3(mut self) -> Self {
        self.tls.at_least_1_3 = true;
        self
    }

    /// Uses this configuration of rustls as it is; everything else that was said about TLS is then ignored,
    /// except pins, which cannot be kept with it: [`build`](Self::build) refuses both together.
    pub fn rustls_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls.config = Some(config);
        self
    }
}
