//! The protocol that clients and server speak: lines with a checksum, posts that are numbered and acknowledged in
//! both directions, and messages that nobody acknowledges.
//!
//! The checksum is there because a WebSocket has none: a byte that is spoilt inside a payload would otherwise be a
//! message like any other.

use everwire_client::{
    ApiError, DecodeError, DecodeErrorKind, EventDecoder, HealthCheckInfo, Message, WsEvent,
};

/// What a client says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Up {
    /// Its token.
    Auth(u32),
    /// Is anybody there?
    Ping,
    /// It has every post of the server up to this one, and wants the rest.
    Join(u64),
    /// It has every post of the server up to this one.
    Seen(u64),
    /// A numbered post.
    Post(u64, String),
    /// A message that nobody acknowledges, and its size.
    Loose(u64, usize),
}

/// What the server says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Down {
    /// Authenticated, under this name.
    Hello(u64),
    /// Somebody is here.
    Pong,
    /// Something is wrong: a code, and the status that goes with it.
    Error(i64, u16),
    /// It has every post of the client up to this one; what follows continues where the client stopped.
    Joined(u64),
    /// It has every post of the client up to this one.
    Accepted(u64),
    /// A numbered post.
    Post(u64, String),
    /// A line whose checksum is wrong.
    Garbled,
}

impl Up {
    pub(crate) fn line(&self) -> String {
        seal(&match self {
            Self::Auth(token) => format!("auth {token}"),
            Self::Ping => "ping".to_owned(),
            Self::Join(seen) => format!("join {seen}"),
            Self::Seen(seen) => format!("seen {seen}"),
            Self::Post(number, text) => format!("post {number} {text}"),
            Self::Loose(id, size) => format!("loose {id} {:.<size$}", ""),
        })
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = open(line)?;
        Some(match verb {
            "auth" => Self::Auth(rest.parse().ok()?),
            "ping" => Self::Ping,
            "join" => Self::Join(rest.parse().ok()?),
            "seen" => Self::Seen(rest.parse().ok()?),
            "post" => {
                let (number, text) = rest.split_once(' ')?;
                Self::Post(number.parse().ok()?, text.to_owned())
            }
            "loose" => {
                let (id, padding) = rest.split_once(' ')?;
                Self::Loose(id.parse().ok()?, padding.len())
            }
            _ => return None,
        })
    }
}

impl Down {
    pub(crate) fn line(&self) -> String {
        seal(&match self {
            Self::Hello(connection) => format!("hello {connection}"),
            Self::Pong => "pong".to_owned(),
            Self::Error(code, status) => format!("error {code} {status}"),
            Self::Joined(accepted) => format!("joined {accepted}"),
            Self::Accepted(accepted) => format!("accepted {accepted}"),
            Self::Post(number, text) => format!("post {number} {text}"),
            Self::Garbled => "garbled".to_owned(),
        })
    }

    fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = open(line)?;
        Some(match verb {
            "hello" => Self::Hello(rest.parse().ok()?),
            "pong" => Self::Pong,
            "error" => {
                let (code, status) = rest.split_once(' ')?;
                Self::Error(code.parse().ok()?, status.parse().ok()?)
            }
            "joined" => Self::Joined(rest.parse().ok()?),
            "accepted" => Self::Accepted(rest.parse().ok()?),
            "post" => {
                let (number, text) = rest.split_once(' ')?;
                Self::Post(number.parse().ok()?, text.to_owned())
            }
            _ => return None,
        })
    }
}

/// The decoder of the clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder;

impl EventDecoder for Decoder {
    type Event = Down;

    fn decode(&mut self, message: &Message) -> Result<Option<Down>, DecodeError> {
        let line = message.as_text().ok_or(DecodeErrorKind::Unsupported)?;
        Ok(Some(Down::parse(line).unwrap_or(Down::Garbled)))
    }
}

impl WsEvent for Down {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        match self {
            Self::Hello(connection) => Some(HealthCheckInfo::with_connection_id(connection.to_string())),
            Self::Pong => Some(HealthCheckInfo::default()),
            _ => None,
        }
    }

    fn error(&self) -> Option<ApiError> {
        match self {
            Self::Error(code, status) => Some(ApiError::new(*code, "").with_status(*status)),
            // Whatever it was is lost, and only a new connection brings it again.
            Self::Garbled => Some(ApiError::new(GARBLED, "garbled")),
            _ => None,
        }
    }
}

/// The code of our own for a line whose checksum is wrong.
const GARBLED: i64 = -1;

fn seal(words: &str) -> String {
    format!("{:08x} {words}", checksum(words))
}

fn open(line: &str) -> Option<(&str, &str)> {
    let (sum, words) = line.split_once(' ')?;
    let is_whole = u32::from_str_radix(sum, 16).ok()? == checksum(words);
    is_whole.then(|| words.split_once(' ').unwrap_or((words, "")))
}

/// FNV-1a: finds every single spoilt byte.
fn checksum(words: &str) -> u32 {
    words.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_back_and_no_spoilt_byte_passes() {
        for up in [
            Up::Auth(3),
            Up::Ping,
            Up::Join(4),
            Up::Seen(5),
            Up::Post(6, "a b".to_owned()),
            Up::Loose(7, 40),
            Up::Loose(8, 0),
        ] {
            assert_eq!(Up::parse(&up.line()), Some(up));
        }
        for down in [
            Down::Hello(1),
            Down::Pong,
            Down::Error(40, 401),
            Down::Joined(2),
            Down::Accepted(3),
            Down::Post(4, "x y".to_owned()),
        ] {
            let line = down.line();
            assert_eq!(Down::parse(&line), Some(down));
            for at in 0..line.len() {
                let mut spoilt = line.clone().into_bytes();
                spoilt[at] ^= 1;
                assert_eq!(Down::parse(&String::from_utf8(spoilt).unwrap()), None, "{line} at {at}");
            }
        }
    }
}
