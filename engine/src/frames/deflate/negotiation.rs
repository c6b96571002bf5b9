//! What is offered in the upgrade, and what the answer makes of it (RFC 7692 §5 and §7.1).

use super::{Deflate, MAX_BITS, MIN_BITS};

const NAME: &str = "permessage-deflate";
const CLIENT_BITS: &str = "client_max_window_bits";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_RESET: &str = "client_no_context_takeover";
const SERVER_RESET: &str = "server_no_context_takeover";

/// What both sides will do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Agreement {
    pub(super) threshold: usize,
    pub(super) level: u8,
    /// What we send.
    pub(super) ours: Direction,
    /// What we receive.
    pub(super) theirs: Direction,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Direction {
    pub(super) window_bits: u8,
    /// A message may refer back to those before it.
    pub(super) takeover: bool,
}

impl Deflate {
    /// The value of `Sec-WebSocket-Extensions` in the question.
    pub(crate) fn offer(&self) -> String {
        let limit = |bits: u8| if bits < MAX_BITS { format!("={bits}") } else { String::new() };
        let mut parts = vec![NAME.to_owned(), CLIENT_BITS.to_owned() + &limit(self.client_max_window_bits)];
        if self.server_max_window_bits < MAX_BITS {
            parts.push(SERVER_BITS.to_owned() + &limit(self.server_max_window_bits));
        }
        for (name, yes) in
            [(CLIENT_RESET, self.client_no_context_takeover), (SERVER_RESET, self.server_no_context_takeover)]
        {
            if yes {
                parts.push(name.to_owned());
            }
        }
        parts.join("; ")
    }

    /// What the value of `Sec-WebSocket-Extensions` in the answer agrees to, or what is wrong with it. All that does
    /// not answer the offer fails the connection (RFC 7692 §5.1, §7.1), for both sides would read different messages.
    pub(crate) fn accept(&self, answer: &str) -> Result<Agreement, String> {
        let mut parts = answer.split(';').map(str::trim);
        if answer.contains(',') || parts.next() != Some(NAME) {
            return Err("the server chose an extension that was not offered".to_owned());
        }
        let (mut client_bits, mut server_bits) = (None, None);
        let (mut client_reset, mut server_reset) = (None, None);
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (part, None),
            };
            let wrong = |what: &str| Err(format!("the server's {NAME} has {what}"));
            let known = match name {
                CLIENT_BITS => client_bits.replace(bits(name, value)?).is_none(),
                SERVER_BITS => server_bits.replace(bits(name, value)?).is_none(),
                CLIENT_RESET | SERVER_RESET if value.is_some() => {
                    return wrong(&format!("a value for {name}, which takes none"));
                }
                CLIENT_RESET => client_reset.replace(()).is_none(),
                SERVER_RESET => server_reset.replace(()).is_none(),
                _ => return wrong("a parameter that is unknown"),
            };
            if !known {
                return wrong(&format!("{name} twice"));
            }
        }
        let exceeds = |name, asked, answered| {
            format!("the server's {NAME} has {name}={answered}, and {asked} was the most that was offered")
        };
        let ours = client_bits.unwrap_or(self.client_max_window_bits);
        if ours > self.client_max_window_bits {
            return Err(exceeds(CLIENT_BITS, self.client_max_window_bits, ours));
        }
        // To leave out what was asked of the server is to grant nothing.
        let theirs = server_bits.unwrap_or(MAX_BITS);
        if theirs > self.server_max_window_bits {
            return Err(exceeds(SERVER_BITS, self.server_max_window_bits, theirs));
        }
        if self.server_no_context_takeover && server_reset.is_none() {
            return Err(format!("the server's {NAME} lacks {SERVER_RESET}, which was asked for"));
        }
        let client_reset = client_reset.is_some() || self.client_no_context_takeover;
        Ok(Agreement {
            threshold: self.threshold,
            level: self.level,
            ours: Direction { window_bits: ours, takeover: !client_reset },
            // zlib reads the window of 8 bits by one of 9.
            theirs: Direction { window_bits: theirs.max(MIN_BITS), takeover: server_reset.is_none() },
        })
    }
}

/// Whatever a server answers: what is agreed keeps to what was offered, and a refusal quotes nothing of it.
#[cfg(feature = "fuzzing")]
pub(crate) fn holds_of(answer: &str) {
    let plain = Deflate::default();
    let narrow = plain.client_max_window_bits(12).server_max_window_bits(10);
    for offer in [plain, narrow, narrow.client_no_context_takeover(true).server_no_context_takeover(true)] {
        match offer.accept(answer) {
            Ok(Agreement { ours, theirs, .. }) => {
                // A client that is asked for 8 bits sends uncompressed.
                assert!((MIN_BITS - 1..=offer.client_max_window_bits).contains(&ours.window_bits));
                assert!((MIN_BITS..=offer.server_max_window_bits).contains(&theirs.window_bits));
                assert!(!(offer.client_no_context_takeover && ours.takeover));
                assert!(!(offer.server_no_context_takeover && theirs.takeover));
                assert_eq!(answer.split(';').next().map(str::trim), Some(NAME));
            }
            Err(words) => assert!(words.len() < 128, "{words}"),
        }
    }
}

/// RFC 7692 §7.1.2: 8 to 15, without leading zeros; a value may stand in quotes (RFC 6455 §9.1).
fn bits(name: &str, value: Option<&str>) -> Result<u8, String> {
    let value = value.unwrap_or_default();
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let all = ["8", "9", "10", "11", "12", "13", "14", "15"];
    let at = all.iter().position(|&bits| bits == bare);
    at.map(|at| at as u8 + 8)
        .ok_or_else(|| format!("the server's {NAME} has {name} without a value of 8 to 15"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow() -> Deflate {
        Deflate::default().client_max_window_bits(12).server_max_window_bits(10)
    }

    #[test]
    fn the_offer_says_what_is_set_and_no_more() {
        assert_eq!(Deflate::default().offer(), "permessage-deflate; client_max_window_bits");
        assert_eq!(
            narrow().client_no_context_takeover(true).server_no_context_takeover(true).offer(),
            "permessage-deflate; client_max_window_bits=12; server_max_window_bits=10; \
             client_no_context_takeover; server_no_context_takeover"
        );
    }

    #[test]
    fn answers_that_fit_the_offer() {
        let reset = Deflate::default().client_no_context_takeover(true);
        // The offer, the answer; our bits and takeover, theirs.
        for (offer, answer, ours, theirs) in [
            (Deflate::default(), "permessage-deflate", (15, true), (15, true)),
            (Deflate::default(), "permessage-deflate;client_max_window_bits=9", (9, true), (15, true)),
            (
                Deflate::default(),
                "permessage-deflate ; client_max_window_bits = \"10\"",
                (10, true),
                (15, true),
            ),
            (Deflate::default(), "permessage-deflate; client_max_window_bits=8", (8, true), (15, true)),
            // A server may limit itself without being asked to.
            (Deflate::default(), "permessage-deflate; server_max_window_bits=8", (15, true), (9, true)),
            (Deflate::default(), "permessage-deflate; server_no_context_takeover", (15, true), (15, false)),
            (Deflate::default(), "permessage-deflate; client_no_context_takeover", (15, false), (15, true)),
            (reset, "permessage-deflate", (15, false), (15, true)),
            (narrow(), "permessage-deflate; server_max_window_bits=10", (12, true), (10, true)),
            (
                narrow(),
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits=11",
                (11, true),
                (9, true),
            ),
        ] {
            let agreement = offer.accept(answer).expect(answer);
            let seen = |direction: Direction| (direction.window_bits, direction.takeover);
            assert_eq!((seen(agreement.ours), seen(agreement.theirs)), (ours, theirs), "{answer}");
            assert_eq!((agreement.threshold, agreement.level), (1024, 6));
        }
    }

    #[test]
    fn answers_that_do_not_are_refused_and_say_why() {
        let reset = Deflate::default().server_no_context_takeover(true);
        for (offer, answer, words) in [
            (Deflate::default(), "", "not offered"),
            (Deflate::default(), "x-webkit-deflate-frame", "not offered"),
            (Deflate::default(), "Permessage-Deflate", "not offered"),
            (Deflate::default(), "permessage-deflate, permessage-deflate", "not offered"),
            (Deflate::default(), "permessage-deflate, foo", "not offered"),
            (Deflate::default(), "permessage-deflate; ", "unknown"),
            (Deflate::default(), "permessage-deflate; zip", "unknown"),
            (Deflate::default(), "permessage-deflate; client_max_window_bits", "without a value"),
            (Deflate::default(), "permessage-deflate; client_max_window_bits=", "without a value"),
            (Deflate::default(), "permessage-deflate; client_max_window_bits=7", "without a value"),
            (Deflate::default(), "permessage-deflate; client_max_window_bits=16", "without a value"),
            (Deflate::default(), "permessage-deflate; client_max_window_bits=09", "without a value"),
            (Deflate::default(), "permessage-deflate; client_max_window_bits=+9", "without a value"),
            (Deflate::default(), "permessage-deflate; client_max_window_bits=\"9", "without a value"),
            (Deflate::default(), "permessage-deflate; server_max_window_bits", "without a value"),
            (Deflate::default(), "permessage-deflate; server_max_window_bits=x", "without a value"),
            (Deflate::default(), "permessage-deflate; server_no_context_takeover=1", "takes none"),
            (Deflate::default(), "permessage-deflate; client_no_context_takeover=\"\"", "takes none"),
            (
                Deflate::default(),
                "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
                "twice",
            ),
            (
                Deflate::default(),
                "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
                "twice",
            ),
            (
                Deflate::default(),
                "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
                "twice",
            ),
            (
                Deflate::default(),
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                "twice",
            ),
            (narrow(), "permessage-deflate", "10 was the most"),
            (narrow(), "permessage-deflate; server_max_window_bits=11", "10 was the most"),
            (
                narrow(),
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=13",
                "12 was the most",
            ),
            (reset, "permessage-deflate", "lacks server_no_context_takeover"),
        ] {
            let words_of = offer.accept(answer).expect_err(answer);
            assert!(words_of.contains(words), "{answer:?}: {words_of}");
        }
    }
}
