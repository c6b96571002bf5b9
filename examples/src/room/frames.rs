//! The frames, as serde types.

use serde::{Deserialize, Serialize};

/// What a participant sends to the server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Up {
    /// The first frame. The server also takes Stream's own form of it, which has no `type`.
    #[serde(rename = "auth")]
    Auth {
        /// The secret that says who this is.
        token: String,
    },
    /// Are you there? Answered with [`Down::HealthCheck`].
    #[serde(rename = "health.check")]
    HealthCheck {
        /// The connection id that the server gave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// Enters a room, or comes back to it.
    #[serde(rename = "join")]
    Join {
        /// The room's name.
        room: String,
        /// The highest sequence number that was received there; 0 for a newcomer.
        #[serde(default)]
        seen: u64,
    },
    /// Leaves the room for good.
    #[serde(rename = "leave")]
    Leave,
    /// Says something to everybody else in the room.
    #[serde(rename = "post")]
    Post {
        /// The sender's own number of it: 1, 2, 3 and so on, also across connections.
        id: u64,
        /// What is said.
        signal: Signal,
    },
    /// Everything up to this sequence number has arrived and need not be kept.
    #[serde(rename = "seen")]
    Seen {
        /// The sequence number.
        seq: u64,
    },
}

/// What the server sends to a participant.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Down {
    /// The authentication was accepted.
    #[serde(rename = "connection.ok")]
    ConnectionOk {
        /// The server's name for this connection.
        connection_id: String,
        /// Who the server takes us for.
        me: Me,
    },
    /// The answer to a health check.
    #[serde(rename = "health.check")]
    HealthCheck {
        /// The connection id.
        connection_id: String,
    },
    /// Something is wrong; the server closes next.
    #[serde(rename = "connection.error")]
    ConnectionError {
        /// The connection id, if there is one already.
        #[serde(default)]
        connection_id: String,
        /// What is wrong.
        error: ErrorBody,
    },
    /// The answer to [`Up::Join`].
    #[serde(rename = "joined")]
    Joined {
        /// The room's name.
        room: String,
        /// Who is in it, in alphabetical order, the one who asked included.
        participants: Vec<String>,
        /// The highest `id` of ours that the server has; 0 for a newcomer.
        accepted: u64,
    },
    /// Everything up to this `id` of ours is in the room's log.
    #[serde(rename = "accepted")]
    Accepted {
        /// The number.
        id: u64,
    },
    /// Somebody else said something.
    #[serde(rename = "delivery")]
    Delivery {
        /// Its number in our log: 1, 2, 3 and so on, also across connections.
        seq: u64,
        /// Who said it.
        from: String,
        /// What was said.
        signal: Signal,
    },
}

/// Who the server takes us for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Me {
    /// The participant's name.
    pub id: String,
}

impl Me {
    /// A participant by name.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into() }
    }
}

/// What participants say to each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Signal {
    /// Somebody entered. Only the server says it.
    #[serde(rename = "participant.joined")]
    Arrived,
    /// Somebody left for good. Only the server says it.
    #[serde(rename = "participant.left")]
    Departed,
    /// The offer of a call ([RFC 9429](https://www.rfc-editor.org/rfc/rfc9429)).
    #[serde(rename = "offer")]
    Offer {
        /// The session description.
        sdp: String,
    },
    /// The answer to an offer.
    #[serde(rename = "answer")]
    Answer {
        /// The session description.
        sdp: String,
    },
    /// An ICE candidate ([RFC 8839 §5.1](https://www.rfc-editor.org/rfc/rfc8839#section-5.1)).
    #[serde(rename = "candidate")]
    Candidate {
        /// The candidate line, without `a=`.
        candidate: String,
        /// The media section it belongs to.
        sdp_mid: String,
        /// The index of that section.
        sdp_m_line_index: u16,
    },
    /// A chat message.
    #[serde(rename = "chat")]
    Chat {
        /// The sender's number of it.
        number: u32,
        /// The text.
        text: String,
    },
}

/// What is wrong, in the form of Stream's API.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ErrorBody {
    /// The number that decides.
    pub code: i64,
    /// The HTTP-like status.
    #[serde(rename = "StatusCode", default)]
    pub status: u16,
    /// In words.
    #[serde(default)]
    pub message: String,
    /// Whether trying again is pointless.
    #[serde(default)]
    pub unrecoverable: bool,
}

impl ErrorBody {
    /// An error after which trying again makes sense.
    pub fn new(code: i64, status: u16, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into(), unrecoverable: false }
    }

    /// The token was good and is no longer.
    pub fn token_expired() -> Self {
        Self::new(40, 401, "the token has expired")
    }

    /// The token was never good.
    pub fn token_unknown() -> Self {
        Self::new(43, 401, "the token's signature is not ours")
    }

    /// The first frame was no authentication.
    pub fn no_authentication() -> Self {
        Self::new(5, 401, "the first frame must carry a token")
    }

    /// A frame made no sense.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(4, 400, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_look_as_they_are_documented() {
        let up = |frame: &Up| serde_json::to_string(frame).unwrap();
        assert_eq!(up(&Up::Auth { token: "t".into() }), r#"{"type":"auth","token":"t"}"#);
        assert_eq!(up(&Up::HealthCheck { client_id: None }), r#"{"type":"health.check"}"#);
        assert_eq!(
            up(&Up::Post { id: 3, signal: Signal::Chat { number: 1, text: "hi".into() } }),
            r#"{"type":"post","id":3,"signal":{"type":"chat","number":1,"text":"hi"}}"#
        );
        let down = Down::ConnectionError { connection_id: String::new(), error: ErrorBody::token_expired() };
        assert_eq!(
            serde_json::to_string(&down).unwrap(),
            r#"{"type":"connection.error","connection_id":"","error":{"code":40,"StatusCode":401,"message":"the token has expired","unrecoverable":false}}"#
        );
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let frames = [
            Down::ConnectionOk { connection_id: "c".into(), me: Me::new("ann") },
            Down::Joined { room: "r".into(), participants: vec!["ann".into()], accepted: 0 },
            Down::Delivery { seq: 1, from: "ben".into(), signal: Signal::Arrived },
        ];
        for frame in frames {
            let text = serde_json::to_string(&frame).unwrap();
            assert_eq!(serde_json::from_str::<Down>(&text).unwrap(), frame, "{text}");
        }
    }
}
