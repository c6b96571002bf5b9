//! The key of an upgrade and the acceptance that proves that it was read (RFC 6455 §4.1, §4.2.2).
//!
//! A few lines of our own instead of tungstenite's handshake, whose SHA-1 brings seven crates along.

use data_encoding::BASE64;

use crate::{EngineError, EngineErrorKind, Stage};

/// What a server appends to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A new key: 16 random bytes in base64.
///
/// # Errors
/// When the operating system gives no random bytes.
pub(crate) fn generate() -> Result<String, EngineError> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| {
        EngineError::new(EngineErrorKind::InvalidConfiguration, Stage::Upgrade)
            .with_detail("the operating system gives no random bytes")
            .with_source(std::io::Error::from(error))
    })?;
    Ok(BASE64.encode(&nonce))
}

/// What the server must answer to a key.
pub(crate) fn acceptance(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    BASE64.encode(&sha1.digest().bytes())
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    use super::*;

    #[test]
    fn the_acceptance_is_that_of_the_rfc_and_of_tungstenite() {
        // The example of RFC 6455 §1.3.
        assert_eq!(acceptance("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let key = generate().unwrap();
        assert_eq!(acceptance(&key), derive_accept_key(key.as_bytes()));
    }

    #[test]
    fn every_key_is_another_one_of_16_bytes() {
        let [one, other] = [(); 2].map(|()| generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(BASE64.decode(one.as_bytes()).unwrap().len(), 16);
    }
}
