//! The 500 bytes of JSON that are received as typed events.

use everwire_client::WsEvent;
use serde::{Deserialize, Serialize};

/// An event of a chat, as servers send them: a dozen fields, three of them nested.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Event {
    pub(crate) r#type: String,
    pub(crate) cid: String,
    pub(crate) created_at: String,
    pub(crate) message: Message,
    pub(crate) watcher_count: u32,
    pub(crate) unread: Vec<u32>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) user: User,
    pub(crate) reply_count: u32,
    pub(crate) silent: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) online: bool,
}

impl WsEvent for Event {}

impl Event {
    pub(crate) fn sample() -> Self {
        Self {
            r#type: "message.new".to_owned(),
            cid: "messaging:general-2f1b7c".to_owned(),
            created_at: "2026-11-24T18:20:27.513Z".to_owned(),
            message: Message {
                id: "5d2a0c9e-7a44-4a5e-9a57-4f6f1f0b6f4c".to_owned(),
                text: "The ferry leaves at nine; we meet at the pier a quarter of an hour before. Bring a coat, \
                       since it will be windy on deck, and the tickets are with me already."
                    .to_owned(),
                user: User {
                    id: "user-81723".to_owned(),
                    name: "Ada Example".to_owned(),
                    role: "admin".to_owned(),
                    online: true,
                },
                reply_count: 3,
                silent: false,
            },
            watcher_count: 42,
            unread: vec![1, 5, 8, 13],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_about_500_bytes() {
        let json = serde_json::to_string(&Event::sample()).expect("it is plain data");
        assert!((480..=520).contains(&json.len()), "{}", json.len());
        assert_eq!(serde_json::from_str::<Event>(&json).expect("it was one"), Event::sample());
    }
}
