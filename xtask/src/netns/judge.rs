//! What came of a fault, judged: noticed in time, back in time, nothing lost in silence.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::watcher::Line;

/// What is sent this shortly before the fault may be on its way when the fault comes.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// What was seen of the client. All times count from the same origin.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// When each message was handed to the client; the number of the first is 1.
    pub(super) sent: Vec<Duration>,
    /// What the client said became of each.
    pub(super) outcomes: BTreeMap<usize, String>,
    /// When each message came back.
    pub(super) echoes: Vec<(Duration, usize)>,
    /// States, and `probe` and `disconnect` of the decisions.
    pub(super) signs: Vec<(Duration, String)>,
    /// When making the fault began.
    pub(super) fault: Duration,
    /// When it had been repaired.
    pub(super) repaired: Duration,
    /// What the acknowledging layer's own books say, when all was acknowledged.
    pub(super) acked: Option<Books>,
    /// For how long the machine kept those waiting who wanted to run, from the fault until it was noticed.
    pub(super) late: Duration,
}

/// Messages that are acknowledged, both ways together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Books {
    pub(super) sent: usize,
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) reordered: usize,
}

impl Books {
    /// As `courier` prints them.
    pub(super) fn read(line: &Line) -> Option<Self> {
        let count = |name| line.field(name).and_then(|count| count.parse::<usize>().ok());
        if line.field("kind") != Some("books") {
            return None;
        }
        Some(Self {
            sent: count("up")? + count("down")?,
            lost: count("lost")?,
            duplicated: count("duplicated")?,
            reordered: count("reordered")?,
        })
    }
}

/// What has to come of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Replaced,
    Kept,
    /// Both are right.
    Either,
}

/// What a fault has to lead to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) fate: Fate,
    /// From the fault until the client acts; `None` where it need not.
    pub(super) noticed: Option<Duration>,
    /// From the repair until a message sent after it is answered.
    pub(super) back: Duration,
}

/// The figures of a fault.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Verdict {
    pub(super) noticed: Option<Duration>,
    pub(super) back: Option<Duration>,
    pub(super) sent: usize,
    pub(super) flushed: usize,
    pub(super) maybe_sent: usize,
    pub(super) not_sent: usize,
    pub(super) echoed: usize,
    /// Messages that nobody can know to be lost: without any outcome; or said to be flushed and never
    /// answered, though there was no fault at the time or the connection lived on.
    pub(super) silent: usize,
    pub(super) acked: Option<Books>,
    /// What should not be so.
    pub(super) problems: Vec<String>,
}

impl Record {
    pub(super) fn take(&mut self, at: Duration, line: &Line) {
        match line.field("kind") {
            Some("state") => self.signs.extend(line.field("state").map(|state| (at, state.to_owned()))),
            Some("decision") => {
                let action = line.field("action").filter(|action| matches!(*action, "probe" | "disconnect"));
                self.signs.extend(action.map(|action| (at, action.to_owned())));
            }
            Some("sent") => {
                let id = line.field("id").and_then(|id| id.parse().ok());
                self.outcomes.extend(id.zip(line.field("outcome").map(str::to_owned)));
            }
            Some("message") => {
                self.echoes.extend(line.field("text").and_then(|text| text.parse().ok()).map(|n| (at, n)));
            }
            _ => {}
        }
    }

    /// Whether the last state is Connected.
    pub(super) fn connected(&self) -> bool {
        let mut states = self.signs.iter().rev().map(|(_, sign)| sign.as_str());
        states.find(|sign| !matches!(*sign, "probe" | "disconnect")) == Some("Connected")
    }

    /// When the client first acted on the fault.
    pub(super) fn noticed(&self) -> Option<Duration> {
        let mut signs = self.signs.iter().filter(|(at, _)| *at >= self.fault);
        let acts = |sign: &str| matches!(sign, "probe" | "disconnect" | "Disconnecting" | "Disconnected");
        signs.find(|(_, sign)| acts(sign)).map(|(at, _)| at.saturating_sub(self.fault))
    }

    /// How long after the repair it was until a message sent after it was answered.
    pub(super) fn back(&self) -> Option<Duration> {
        let fresh = |n: usize| self.sent.get(n.wrapping_sub(1)).is_some_and(|sent| *sent >= self.repaired);
        let answer = self.echoes.iter().find(|(_, n)| fresh(*n));
        answer.map(|(at, _)| at.saturating_sub(self.repaired))
    }

    /// Whether each message has its outcome, and the last one its answer.
    pub(super) fn settled(&self) -> bool {
        self.outcomes.len() == self.sent.len() && self.echoes.iter().any(|(_, n)| *n == self.sent.len())
    }

    pub(super) fn judge(&self, bounds: &Bounds) -> Verdict {
        let with = |outcome: &str| self.outcomes.values().filter(|said| said.as_str() == outcome).count();
        let echoed: BTreeSet<usize> = self.echoes.iter().map(|(_, n)| *n).collect();
        let mut verdict = Verdict {
            noticed: self.noticed(),
            back: self.back(),
            sent: self.sent.len(),
            flushed: with("flushed"),
            maybe_sent: with("maybe_sent"),
            not_sent: with("not_sent"),
            echoed: echoed.len(),
            silent: 0,
            acked: self.acked,
            problems: Vec::new(),
        };
        let left = self.signs.iter().any(|(at, sign)| *at >= self.fault && sign.starts_with("Disconnect"));
        let until = verdict.back.map_or(Duration::MAX, |back| self.repaired + back);
        for (n, sent) in (1..).zip(&self.sent) {
            let in_fault = left && *sent + UNDER_WAY >= self.fault && *sent <= until;
            verdict.silent += usize::from(match self.outcomes.get(&n).map(String::as_str) {
                None => true,
                Some("flushed") => !echoed.contains(&n) && !in_fault,
                Some(_) => false,
            });
        }

        let mut problem = |text: String| verdict.problems.push(text);
        if self.signs.iter().any(|(at, sign)| *at < self.fault && sign.starts_with("Disconnect")) {
            problem("disconnected before the fault".to_owned());
        }
        match (bounds.noticed, verdict.noticed) {
            (Some(bound), Some(noticed)) if noticed > bound + self.late => {
                let late = self.late;
                problem(format!(
                    "noticed after {noticed:?}, not within {bound:?} and the {late:?} that the machine was late"
                ));
            }
            (Some(bound), None) => problem(format!("not noticed within {bound:?}")),
            _ => {}
        }
        match verdict.back {
            Some(back) if back > bounds.back => {
                problem(format!("back after {back:?}, not within {:?}", bounds.back));
            }
            None => problem(format!("not back within {:?}", bounds.back)),
            _ => {}
        }
        if !self.connected() {
            problem("not connected at the end".to_owned());
        }
        match bounds.fate {
            Fate::Kept if left => problem("a healthy connection was given up".to_owned()),
            Fate::Replaced if !left => problem("the dead connection was not given up".to_owned()),
            _ => {}
        }
        if verdict.silent > 0 {
            problem(format!("{} messages lost in silence", verdict.silent));
        }
        if verdict.not_sent > 0 {
            // Each message may wait for longer than any fault lasts.
            problem(format!("{} messages refused that could wait", verdict.not_sent));
        }
        let denied = echoed.iter().filter(|n| self.outcomes.get(n).is_some_and(|said| said == "not_sent"));
        match denied.count() {
            0 => {}
            n => problem(format!("{n} messages answered that were said not to be sent")),
        }
        if self.echoes.len() > echoed.len() {
            problem(format!("{} messages answered twice", self.echoes.len() - echoed.len()));
        }
        if !self.echoes.iter().map(|(_, n)| n).is_sorted() {
            problem("answers out of order".to_owned());
        }
        match self.acked {
            None => problem("not everything was acknowledged in time".to_owned()),
            Some(Books { sent: 0, .. }) => problem("no message was acknowledged".to_owned()),
            Some(Books { lost: 0, duplicated: 0, reordered: 0, .. }) => {}
            Some(books) => problem(format!("acknowledged messages: {books:?}")),
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        fate: Fate::Replaced,
        noticed: Some(Duration::from_millis(1500)),
        back: Duration::from_secs(5),
    };

    const ACKED: Books = Books { sent: 200, lost: 0, duplicated: 0, reordered: 0 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A message each 100 ms for 10 s; a fault at 2 s, noticed at 2.3 s, repaired at 4 s, back at 4.5 s.
    fn good() -> Record {
        let acked = Some(ACKED);
        let mut record = Record { fault: ms(2000), repaired: ms(4000), acked, ..Record::default() };
        for (at, sign) in
            [(50, "Connected"), (2300, "Disconnected"), (2300, "Connecting"), (4400, "Connected")]
        {
            record.signs.push((ms(at), sign.to_owned()));
        }
        for n in 1..=100 {
            let sent = ms(100 * n as u64);
            record.sent.push(sent);
            let (outcome, answered) = match n {
                20 | 21 => ("flushed", None),
                22 | 23 => ("maybe_sent", None),
                24..45 => ("flushed", Some(ms(4500))),
                _ => ("flushed", Some(sent + ms(1))),
            };
            record.outcomes.insert(n, outcome.to_owned());
            record.echoes.extend(answered.map(|at| (at, n)));
        }
        record
    }

    #[test]
    fn a_good_recovery_passes_and_its_figures_are_right() {
        let verdict = good().judge(&BOUNDS);
        assert_eq!(
            verdict,
            Verdict {
                noticed: Some(ms(300)),
                back: Some(ms(500)),
                sent: 100,
                flushed: 98,
                maybe_sent: 2,
                not_sent: 0,
                echoed: 96,
                silent: 0,
                acked: Some(ACKED),
                problems: Vec::new(),
            }
        );
    }

    /// A recovery spoilt in one point is refused for this point alone.
    #[test]
    fn each_violation_is_found() {
        type Spoil = fn(&mut Record);
        let violations: [(&str, Spoil); 16] = [
            ("noticed after", |r| r.signs[1].0 = ms(3600)),
            ("not noticed", |r| {
                r.fault = ms(1900);
                r.repaired = ms(1900);
                r.signs.truncate(1);
            }),
            ("back after", |r| r.echoes.retain(|(at, _)| *at < ms(4000) || *at > ms(9200))),
            ("not back", |r| r.echoes.retain(|(at, _)| *at < ms(4000))),
            ("not connected", |r| r.signs.truncate(3)),
            ("1 messages lost in silence", |r| drop(r.outcomes.remove(&22))),
            ("1 messages lost in silence", |r| r.echoes.retain(|(_, n)| *n != 90)),
            ("1 messages lost in silence", |r| r.echoes.retain(|(_, n)| *n != 5)),
            ("1 messages refused", |r| drop(r.outcomes.insert(22, "not_sent".to_owned()))),
            ("not to be sent", |r| drop(r.outcomes.insert(90, "not_sent".to_owned()))),
            ("answered twice", |r| r.echoes.push((ms(9999), 100))),
            ("out of order", |r| r.echoes.swap(3, 4)),
            ("not everything was acknowledged", |r| r.acked = None),
            ("lost: 1", |r| r.acked = Some(Books { lost: 1, ..ACKED })),
            ("duplicated: 1", |r| r.acked = Some(Books { duplicated: 1, ..ACKED })),
            ("reordered: 1", |r| r.acked = Some(Books { reordered: 1, ..ACKED })),
        ];
        for (word, spoil) in violations {
            let mut record = good();
            spoil(&mut record);
            let problems = record.judge(&BOUNDS).problems;
            assert!(problems.iter().any(|problem| problem.contains(word)), "{word}: {problems:?}");
        }
    }

    #[test]
    fn what_the_machine_was_late_is_allowed_and_no_more() {
        let mut record = good();
        record.signs[1].0 = ms(3600);
        record.late = ms(99);
        assert_eq!(record.judge(&BOUNDS).problems.len(), 1);
        record.late = ms(100);
        assert_eq!(record.judge(&BOUNDS).problems, [""; 0]);
    }

    #[test]
    fn a_kept_connection_may_not_be_given_up_nor_lose_anything() {
        let kept = Bounds { fate: Fate::Kept, noticed: None, ..BOUNDS };
        let problems = good().judge(&kept).problems;
        assert_eq!(problems, ["a healthy connection was given up"]);

        let mut record = good();
        record.signs.truncate(1);
        let verdict = record.judge(&kept);
        assert_eq!(verdict.silent, 2, "flushed on a connection that lived on: {verdict:?}");
    }

    #[test]
    fn a_dead_connection_that_is_kept_is_refused() {
        let mut record = good();
        record.signs.truncate(1);
        record.signs.push((ms(2300), "probe".to_owned()));
        let problems = record.judge(&BOUNDS).problems;
        assert!(problems.contains(&"the dead connection was not given up".to_owned()), "{problems:?}");
    }
}
