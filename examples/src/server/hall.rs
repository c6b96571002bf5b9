//! The server's memory: tokens, rooms, and what each participant still has to get. Pure: no socket, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::room::{Down, ErrorBody, Signal};

/// How many deliveries are kept for a participant that does not come back to fetch them.
const LOG_LIMIT: usize = 4096;

/// All rooms and all tokens.
#[derive(Debug, Default)]
pub(super) struct Hall {
    rooms: HashMap<String, Room>,
    tokens: HashMap<String, Token>,
    issued: u64,
    /// Any token is good and is the name of its bearer.
    any_token: bool,
}

#[derive(Debug)]
struct Token {
    participant: String,
    expired: bool,
}

type Room = BTreeMap<String, Member>;

/// A participant, present or only expected back.
#[derive(Debug, Default)]
struct Member {
    log: VecDeque<(u64, String)>,
    last_seq: u64,
    accepted: u64,
}

/// What became of a post.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Posted {
    /// It is in everybody's log.
    New,
    /// It had been there before.
    Duplicate,
    /// A lower number is missing, so it was not taken.
    Gap,
}

impl Hall {
    pub(super) fn new(any_token: bool) -> Self {
        Self { any_token, ..Self::default() }
    }

    /// A new token for a participant.
    pub(super) fn issue(&mut self, participant: &str) -> String {
        self.issued += 1;
        let token = format!("token-{}-{participant}", self.issued);
        self.tokens.insert(token.clone(), Token { participant: participant.to_owned(), expired: false });
        token
    }

    /// Every token issued so far is too old from now on.
    pub(super) fn expire_tokens(&mut self) {
        self.tokens.values_mut().for_each(|token| token.expired = true);
    }

    /// Whose token this is.
    pub(super) fn authenticate(&self, token: &str) -> Result<String, ErrorBody> {
        match self.tokens.get(token) {
            Some(Token { expired: true, .. }) => Err(ErrorBody::token_expired()),
            Some(Token { participant, .. }) => Ok(participant.clone()),
            // The same participant may come with a fresh token: what follows a `#` tells the two apart.
            None if self.any_token && !token.is_empty() => {
                Ok(token.split_once('#').map_or(token, |(name, _)| name).to_owned())
            }
            None => Err(ErrorBody::token_unknown()),
        }
    }

    /// Enters or re-enters a room. The others learn of a newcomer, not of one who is back.
    pub(super) fn join(&mut self, room: &str, participant: &str, seen: u64) -> Down {
        let members = self.rooms.entry(room.to_owned()).or_default();
        if !members.contains_key(participant) {
            deliver(members, participant, &Signal::Arrived);
            members.insert(participant.to_owned(), Member::default());
        }
        let member = members.get_mut(participant).expect("inserted above when it was missing");
        member.forget(seen);
        Down::Joined {
            room: room.to_owned(),
            accepted: member.accepted,
            participants: members.keys().cloned().collect(),
        }
    }

    /// Leaves for good: nothing is kept. The others learn of it.
    pub(super) fn leave(&mut self, room: &str, participant: &str) {
        if let Some(members) = self.rooms.get_mut(room) {
            if members.remove(participant).is_some() {
                deliver(members, participant, &Signal::Departed);
            }
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    /// Puts a signal into the log of everybody else.
    pub(super) fn post(&mut self, room: &str, participant: &str, id: u64, signal: &Signal) -> (Posted, u64) {
        let Some(members) = self.rooms.get_mut(room) else { return (Posted::Gap, 0) };
        let Some(member) = members.get_mut(participant) else { return (Posted::Gap, 0) };
        let posted = if id <= member.accepted {
            Posted::Duplicate
        } else if id == member.accepted + 1 {
            member.accepted = id;
            Posted::New
        } else {
            Posted::Gap
        };
        let accepted = member.accepted;
        if posted == Posted::New {
            deliver(members, participant, signal);
        }
        (posted, accepted)
    }

    /// The participant has everything up to `seq`.
    pub(super) fn seen(&mut self, room: &str, participant: &str, seq: u64) {
        if let Some(member) = self.rooms.get_mut(room).and_then(|members| members.get_mut(participant)) {
            member.forget(seq);
        }
    }

    /// At most `count` deliveries that follow `after`, as text, with the number of the last.
    pub(super) fn read(&self, room: &str, participant: &str, after: u64, count: usize) -> (Vec<String>, u64) {
        let Some(member) = self.rooms.get(room).and_then(|members| members.get(participant)) else {
            return (Vec::new(), after);
        };
        let mut last = after;
        let from = member.log.partition_point(|(seq, _)| *seq <= after);
        let texts = member.log.range(from..).take(count).map(|(seq, text)| {
            last = *seq;
            text.clone()
        });
        (texts.collect(), last)
    }
}

impl Member {
    fn forget(&mut self, seq: u64) {
        while self.log.front().is_some_and(|(first, _)| *first <= seq) {
            self.log.pop_front();
        }
    }
}

fn deliver(members: &mut Room, from: &str, signal: &Signal) {
    for (_, member) in members.iter_mut().filter(|(name, _)| *name != from) {
        member.last_seq += 1;
        let frame = Down::Delivery { seq: member.last_seq, from: from.to_owned(), signal: signal.clone() };
        let text = serde_json::to_string(&frame).expect("strings and numbers always serialize");
        member.log.push_back((member.last_seq, text));
        if member.log.len() > LOG_LIMIT {
            member.log.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(number: u32) -> Signal {
        Signal::Chat { number, text: "x".into() }
    }

    fn hall() -> Hall {
        let mut hall = Hall::default();
        hall.join("r", "ann", 0);
        hall.join("r", "ben", 0);
        hall
    }

    #[test]
    fn a_newcomer_is_announced_and_one_who_is_back_is_not() {
        let mut hall = hall();
        let (texts, last) = hall.read("r", "ann", 0, 10);
        assert!(texts[0].contains("participant.joined") && texts[0].contains("ben"), "{texts:?}");
        hall.join("r", "ben", 0);
        assert_eq!(hall.read("r", "ann", last, 10).0, Vec::<String>::new());
    }

    #[test]
    fn posts_are_taken_once_and_in_order() {
        let mut hall = hall();
        assert_eq!(hall.post("r", "ben", 1, &chat(1)), (Posted::New, 1));
        assert_eq!(hall.post("r", "ben", 1, &chat(1)), (Posted::Duplicate, 1));
        assert_eq!(hall.post("r", "ben", 3, &chat(3)), (Posted::Gap, 1));
        assert_eq!(hall.post("r", "ben", 2, &chat(2)), (Posted::New, 2));
        assert_eq!(hall.read("r", "ann", 1, 10).0.len(), 2, "after the arrival there are two chats");
    }

    #[test]
    fn one_who_resumes_gets_what_it_has_not_seen() {
        let mut hall = hall();
        for id in 1..=5 {
            hall.post("r", "ben", id, &chat(1));
        }
        assert_eq!(
            hall.join("r", "ann", 3),
            Down::Joined { room: "r".into(), participants: vec!["ann".into(), "ben".into()], accepted: 0 }
        );
        let (texts, last) = hall.read("r", "ann", 3, 10);
        assert_eq!((texts.len(), last), (3, 6));
        hall.seen("r", "ann", 6);
        assert!(hall.rooms["r"]["ann"].log.is_empty());
    }

    #[test]
    fn a_log_that_nobody_fetches_is_bounded() {
        let mut hall = hall();
        for id in 1..=(LOG_LIMIT as u64 + 10) {
            hall.post("r", "ben", id, &chat(1));
        }
        assert_eq!(hall.rooms["r"]["ann"].log.len(), LOG_LIMIT);
    }

    #[test]
    fn a_fresh_token_of_any_form_is_that_of_the_same_participant() {
        let hall = Hall::new(true);
        assert_eq!(hall.authenticate("ann#1").ok(), Some("ann".to_owned()));
        assert_eq!(hall.authenticate("ann").ok(), Some("ann".to_owned()));
        assert!(hall.authenticate("").is_err());
    }

    #[test]
    fn tokens_expire_and_unknown_ones_are_another_matter() {
        let mut hall = Hall::default();
        let token = hall.issue("ann");
        assert_eq!(hall.authenticate(&token), Ok("ann".to_owned()));
        hall.expire_tokens();
        assert_eq!(hall.authenticate(&token).unwrap_err().code, 40);
        assert_eq!(hall.authenticate("other").unwrap_err().code, 43);
        assert_eq!(Hall::new(true).authenticate("zoe"), Ok("zoe".to_owned()));
        let renewed = hall.issue("ann");
        assert_eq!(hall.authenticate(&renewed), Ok("ann".to_owned()));
    }
}
