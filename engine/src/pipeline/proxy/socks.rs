//! SOCKS5 (RFC 1928) with user and password (RFC 1929), as a pure machine: it says how many bytes it wants,
//! and what to send.

use std::net::IpAddr;

use super::{Credentials, refused, unauthorized};
use crate::{Endpoint, EngineError};

/// More than this it never wants at once: a name of 255 bytes and a port.
pub(in crate::pipeline) const MAX_WANTED: usize = 257;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;

/// The conversation about one tunnel.
pub(in crate::pipeline) struct Socks<'a> {
    phase: Phase,
    credentials: Option<&'a Credentials>,
    /// What asks for the tunnel, once the proxy knows who we are.
    request: Vec<u8>,
}

/// What is awaited.
enum Phase {
    Method,
    Verdict,
    Reply,
    /// The length of a name.
    BoundName,
    /// So many bytes of the address that the proxy uses, which nobody needs.
    Bound(usize),
    Done,
}

impl<'a> Socks<'a> {
    /// The conversation and its first bytes.
    pub(in crate::pipeline) fn new(to: &Endpoint, credentials: Option<&'a Credentials>) -> (Self, Vec<u8>) {
        let mut request = vec![VERSION, 1, 0];
        match to.host().parse() {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend_from_slice(&address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend_from_slice(&address.octets());
            }
            Err(_) => {
                // A request has refused what is longer than 253 bytes.
                request.extend_from_slice(&[3, to.host().len() as u8]);
                request.extend_from_slice(to.host().as_bytes());
            }
        }
        request.extend_from_slice(&to.port().to_be_bytes());
        let greeting = match credentials {
            None => vec![VERSION, 1, NO_AUTHENTICATION],
            Some(_) => vec![VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        };
        (Self { phase: Phase::Method, credentials, request }, greeting)
    }

    /// How many bytes [`handle`](Self::handle) wants next; with none left to want, the tunnel stands.
    pub(in crate::pipeline) fn wants(&self) -> usize {
        match self.phase {
            Phase::Method | Phase::Verdict => 2,
            Phase::Reply => 4,
            Phase::BoundName => 1,
            Phase::Bound(len) => len,
            Phase::Done => 0,
        }
    }

    /// Takes exactly so many bytes as are wanted; gives what is to be sent, which may be nothing.
    pub(in crate::pipeline) fn handle(&mut self, bytes: &[u8]) -> Result<Vec<u8>, EngineError> {
        let (phase, send) = match (&self.phase, bytes) {
            (Phase::Method, &[VERSION, NO_AUTHENTICATION]) => {
                (Phase::Reply, std::mem::take(&mut self.request))
            }
            (Phase::Method, &[VERSION, USER_AND_PASSWORD]) => match self.credentials {
                Some(credentials) => (Phase::Verdict, authentication(credentials)),
                None => return Err(refused("it chose a method of authentication that was not offered")),
            },
            (Phase::Method, &[VERSION, NO_ACCEPTABLE_METHOD]) => {
                return Err(unauthorized(self.credentials.is_some()));
            }
            (Phase::Method, &[VERSION, _]) => {
                return Err(refused("it chose a method of authentication that was not offered"));
            }
            (Phase::Method, &[4, _] | &[0, _]) => return Err(refused("it speaks SOCKS4, not SOCKS5")),
            (Phase::Method, b"HT") => return Err(refused("it speaks HTTP, not SOCKS5")),
            // The version of this answer is that of RFC 1929, which some servers confuse; the verdict counts.
            (Phase::Verdict, &[_, 0]) => (Phase::Reply, std::mem::take(&mut self.request)),
            (Phase::Verdict, &[_, _]) => return Err(unauthorized(true)),
            (Phase::Reply, &[VERSION, 0, _, kind]) => match kind {
                1 => (Phase::Bound(4 + 2), Vec::new()),
                3 => (Phase::BoundName, Vec::new()),
                4 => (Phase::Bound(16 + 2), Vec::new()),
                _ => return Err(refused("its answer has an address of an unknown kind")),
            },
            (Phase::Reply, &[VERSION, code, ..]) => return Err(refused(reason(code))),
            (Phase::BoundName, &[len]) => (Phase::Bound(usize::from(len) + 2), Vec::new()),
            (Phase::Bound(_), _) => (Phase::Done, Vec::new()),
            _ => return Err(refused("the answer is not SOCKS5")),
        };
        self.phase = phase;
        Ok(send)
    }
}

fn authentication(Credentials { user, password }: &Credentials) -> Vec<u8> {
    // Both were checked to be at most 255 bytes when the proxy was made.
    let mut bytes = vec![1, user.len() as u8];
    bytes.extend_from_slice(user);
    bytes.push(password.len() as u8);
    bytes.extend_from_slice(password);
    bytes
}

/// RFC 1928 §6.
fn reason(code: u8) -> String {
    let words = match code {
        1 => "a failure of its own",
        2 => "its rules do not allow this connection",
        3 => "the server's network is unreachable from it",
        4 => "the server is unreachable from it, or its name unknown",
        5 => "the server refused the connection",
        6 => "the server did not answer in time",
        7 => "it does not know the command CONNECT",
        8 => "it does not know this kind of address",
        _ => "an unknown code",
    };
    format!("{words} (SOCKS5 reply {code})")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ConnectRequest, EngineErrorKind};

    fn endpoint(url: &str) -> Endpoint {
        ConnectRequest::new(url).unwrap().endpoint().clone()
    }

    #[test]
    fn a_name_goes_to_the_proxy_unresolved_and_an_address_as_itself() {
        for (url, expected) in [
            ("ws://h.example:258/", &b"\x05\x01\x00\x03\x09h.example\x01\x02"[..]),
            ("ws://1.2.3.4/", b"\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50"),
            ("ws://[::1]/", b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50"),
        ] {
            let (mut socks, greeting) = Socks::new(&endpoint(url), None);
            assert_eq!(greeting, [5, 1, 0]);
            assert_eq!(socks.handle(&[5, 0]).unwrap(), expected);
        }
        let longest = "a".repeat(253);
        let (mut socks, _) = Socks::new(&endpoint(&format!("ws://{longest}/")), None);
        assert_eq!(socks.handle(&[5, 0]).unwrap()[3..5], [3, 253]);
    }

    #[test]
    fn user_and_password_are_sent_when_they_are_asked_for() {
        let credentials = Credentials::decode("us%40r:pw");
        let (mut socks, greeting) = Socks::new(&endpoint("ws://h/"), Some(&credentials));
        assert_eq!(greeting, [5, 2, 0, 2]);
        assert_eq!(socks.handle(&[5, 2]).unwrap(), b"\x01\x04us@r\x02pw");
        assert!(socks.handle(&[1, 0]).unwrap().starts_with(&[5, 1, 0, 3]));
        // An answer with a name is read to its end, and no further.
        for (answer, wanted) in [(&[5, 0, 0, 3][..], 1), (&[3], 5), (b"abc\x00\x50", 0)] {
            assert!(socks.handle(answer).unwrap().is_empty());
            assert_eq!(socks.wants(), wanted);
        }
    }

    #[test]
    fn every_refusal_has_its_kind_and_its_words() {
        let credentials = Credentials::decode("u:p");
        for (credentials, answers, kind, words) in [
            (None, &[&[5, 0xff][..]][..], EngineErrorKind::ProxyAuthentication, "give them"),
            (None, &[&[5, 2]], EngineErrorKind::Proxy, "not offered"),
            (None, &[b"HT"], EngineErrorKind::Proxy, "speaks HTTP"),
            (None, &[&[9, 0]], EngineErrorKind::Proxy, "not SOCKS5"),
            (None, &[&[5, 0], &[5, 5, 0, 1]], EngineErrorKind::Proxy, "refused the connection"),
            (
                Some(&credentials),
                &[&[5, 2], &[1, 1]],
                EngineErrorKind::ProxyAuthentication,
                "refused the user",
            ),
        ] {
            let (mut socks, _) = Socks::new(&endpoint("ws://h/"), credentials);
            let outcome = answers.iter().try_for_each(|answer| socks.handle(answer).map(drop));
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_is_wanted_without_end(mut answers: Vec<u8>, lead in 0..4_usize) {
            let lead: &[u8] = [&b""[..], b"\x05\x00", b"\x05\x02\x01\x00", b"\x05\x00\x05\x00\x00\x03"][lead];
            answers.splice(..0, lead.iter().copied());
            answers.resize(answers.len() + 2 * MAX_WANTED, 0);
            let credentials = Credentials::decode("u:p");
            let (mut socks, _) = Socks::new(&endpoint("ws://h/"), Some(&credentials));
            let mut rest = &answers[..];
            let mut steps = 0;
            while socks.wants() > 0 {
                prop_assert!(socks.wants() <= MAX_WANTED && steps < 6);
                let (bytes, behind) = rest.split_at(socks.wants());
                rest = behind;
                steps += 1;
                if socks.handle(bytes).is_err() {
                    break;
                }
            }
        }
    }
}
