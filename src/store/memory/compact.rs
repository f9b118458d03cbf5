//! States of recipients in few bytes: most messages have one recipient, and most IDs of Easemob's are
//! numbers.

use std::collections::BTreeMap;

use crate::store::State;

/// Longest list: places are 32 bits wide.
const MAX_RECIPIENTS: usize = u32::MAX as usize;

/// An ID of Easemob's.
#[derive(Debug, Clone)]
pub(super) enum MessageId {
    Number(u64),
    Text(Box<str>),
}

impl MessageId {
    fn new(id: &str) -> Self {
        number(id.as_bytes()).map_or_else(|| Self::Text(id.into()), Self::Number)
    }

    fn to_text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
        }
    }
}

/// The number that reads as the very same text: no leading zero, no sign. Up to 19 digits fit whatever they are, as those
/// of Easemob's IDs: the standard library's `parse` looks after each.
fn number(id: &[u8]) -> Option<u64> {
    let is_number = matches!(id, b"0" | [b'1'..=b'9', ..]) && id.len() <= 19;
    // All of it, which is many bytes at once.
    let all_digits = id.iter().fold(true, |all, b| all & b.is_ascii_digit());
    let digits = (is_number && all_digits).then_some(id)?;
    Some(
        digits
            .iter()
            .fold(0, |n, digit| n * 10 + u64::from(digit - b'0')),
    )
}

/// What is known of one recipient.
#[derive(Debug, Clone)]
enum One {
    Pending(Pending),
    Accepted(MessageId, Time),
}

/// Every state but that of being accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    Free,
    Claimed { doubt: bool },
    Dispatched { doubt: bool },
    Unknown,
}

/// Milliseconds since 1970, or the least number for none: half as large as an `Option`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time(i64);

impl Time {
    fn new(timestamp_ms: Option<i64>) -> Self {
        Self(timestamp_ms.unwrap_or(i64::MIN))
    }

    fn to_option(self) -> Option<i64> {
        (self.0 != i64::MIN).then_some(self.0)
    }
}

/// The states of all recipients of a request.
#[derive(Debug)]
pub(super) struct Recipients(Repr);

#[derive(Debug)]
enum Repr {
    One(One),
    Many(Box<Many>),
}

/// Two bytes tell a state, or in which answer the recipient was accepted; eight more its message's ID.
#[derive(Debug)]
struct Many {
    codes: Box<[u16]>,
    /// None until the first is accepted.
    ids: Box<[u64]>,
    /// The IDs that are not numbers.
    texts: BTreeMap<u32, Box<str>>,
    /// Of the answers, in the order in which they came.
    times: Vec<Time>,
}

const FREE: u16 = 0;
const CLAIMED: u16 = 1;
const CLAIMED_IN_DOUBT: u16 = 2;
const DISPATCHED: u16 = 3;
const DISPATCHED_IN_DOUBT: u16 = 4;
const UNKNOWN: u16 = 5;
/// The first answer; one more for each further one.
const ACCEPTED: u16 = 6;

impl Recipients {
    /// So many, all claimed.
    pub(super) fn claimed(count: usize) -> Self {
        Self(match count {
            1 => Repr::One(One::Pending(Pending::Claimed { doubt: false })),
            _ => Repr::Many(Box::new(Many {
                codes: vec![CLAIMED; count.min(MAX_RECIPIENTS)].into(),
                ids: Box::default(),
                texts: BTreeMap::new(),
                times: Vec::new(),
            })),
        })
    }

    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Repr::One(_) => 1,
            Repr::Many(many) => many.codes.len(),
        }
    }

    /// The state of one that is not accepted. None where it is, or where there is no such recipient.
    pub(super) fn pending(&self, at: usize) -> Option<Pending> {
        match &self.0 {
            Repr::One(One::Pending(pending)) => (at == 0).then_some(*pending),
            Repr::One(One::Accepted(..)) => None,
            Repr::Many(many) => many.codes.get(at).and_then(|code| pending(*code)),
        }
    }

    /// Changes the state of one that is not accepted: nothing takes that back.
    pub(super) fn set(&mut self, at: usize, to: Pending) {
        match &mut self.0 {
            Repr::One(One::Pending(pending)) if at == 0 => *pending = to,
            Repr::One(_) => {}
            Repr::Many(many) => {
                if let Some(code) = many.codes.get_mut(at).filter(|code| **code < ACCEPTED) {
                    *code = code_of(to);
                }
            }
        }
    }

    /// Notes the message's ID for one that has none yet.
    pub(super) fn accept(&mut self, at: usize, id: &str, timestamp_ms: Option<i64>) {
        let (id, time) = (MessageId::new(id), Time::new(timestamp_ms));
        match &mut self.0 {
            Repr::One(one @ One::Pending(_)) if at == 0 => *one = One::Accepted(id, time),
            Repr::One(_) => {}
            Repr::Many(many) => many.accept(at, id, time),
        }
    }

    /// The state of each.
    pub(super) fn states(&self) -> Vec<State> {
        match &self.0 {
            Repr::One(One::Pending(pending)) => vec![(*pending).into()],
            Repr::One(One::Accepted(id, time)) => vec![accepted(id, *time)],
            Repr::Many(many) => (0..many.codes.len()).map(|at| many.state(at)).collect(),
        }
    }

    /// Whether nothing is known that a repeat would need.
    pub(super) fn all_free(&self) -> bool {
        match &self.0 {
            Repr::One(one) => matches!(one, One::Pending(Pending::Free)),
            Repr::Many(many) => many.codes.iter().all(|code| *code == FREE),
        }
    }

    /// Bytes outside of the value itself, those included that the IDs to come will take.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::One(One::Accepted(MessageId::Text(text), _)) => text.len(),
            Repr::One(_) => 0,
            Repr::Many(many) => {
                let texts = many.texts.values().map(|text| text.len() + 40);
                let lists = many.codes.len() * (size_of::<u16>() + size_of::<u64>());
                // An eighth for what the allocator rounds up to.
                size_of::<Many>()
                    + lists
                    + lists / 8
                    + many.times.capacity() * size_of::<Time>()
                    + texts.sum::<usize>()
            }
        }
    }
}

impl Many {
    fn accept(&mut self, at: usize, id: MessageId, time: Time) {
        if self.ids.is_empty() {
            self.ids = vec![0; self.codes.len()].into();
        }
        let (Some(code), Some(slot)) = (self.codes.get_mut(at), self.ids.get_mut(at)) else {
            return;
        };
        if *code >= ACCEPTED {
            return;
        }
        if self.times.last() != Some(&time) {
            self.times.push(time);
        }
        // More answers than fit: the last ones share a place, and with it a time.
        let answer = u16::try_from(self.times.len() - 1).unwrap_or(u16::MAX);
        *code = answer.saturating_add(ACCEPTED);
        match id {
            MessageId::Number(number) => *slot = number,
            MessageId::Text(text) => {
                let at = u32::try_from(at).expect("a list is no longer than MAX_RECIPIENTS");
                self.texts.insert(at, text);
            }
        }
    }

    fn state(&self, at: usize) -> State {
        let code = self.codes[at];
        if let Some(pending) = pending(code) {
            return pending.into();
        }
        let text = u32::try_from(at).ok().and_then(|at| self.texts.get(&at));
        let id = match text {
            Some(text) => MessageId::Text(text.clone()),
            None => MessageId::Number(self.ids[at]),
        };
        accepted(&id, self.times[usize::from(code - ACCEPTED)])
    }
}

fn accepted(id: &MessageId, time: Time) -> State {
    State::Accepted {
        message_id: id.to_text(),
        timestamp_ms: time.to_option(),
    }
}

fn pending(code: u16) -> Option<Pending> {
    Some(match code {
        FREE => Pending::Free,
        CLAIMED => Pending::Claimed { doubt: false },
        CLAIMED_IN_DOUBT => Pending::Claimed { doubt: true },
        DISPATCHED => Pending::Dispatched { doubt: false },
        DISPATCHED_IN_DOUBT => Pending::Dispatched { doubt: true },
        UNKNOWN => Pending::Unknown,
        _ => return None,
    })
}

fn code_of(pending: Pending) -> u16 {
    match pending {
        Pending::Free => FREE,
        Pending::Claimed { doubt: false } => CLAIMED,
        Pending::Claimed { doubt: true } => CLAIMED_IN_DOUBT,
        Pending::Dispatched { doubt: false } => DISPATCHED,
        Pending::Dispatched { doubt: true } => DISPATCHED_IN_DOUBT,
        Pending::Unknown => UNKNOWN,
    }
}

impl From<Pending> for State {
    fn from(pending: Pending) -> Self {
        match pending {
            Pending::Free => Self::Free,
            Pending::Claimed { doubt } => Self::Claimed { doubt },
            Pending::Dispatched { doubt } => Self::Dispatched { doubt },
            Pending::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_the_same_text() {
        let ids = [
            "0",
            "1",
            "1029457500870543736",
            "9999999999999999999",
            "18446744073709551615",
            "18446744073709551616",
            "007",
            "+1",
            "-1",
            "",
            "a-b",
            "1.0",
            "1029457500870543x36",
        ];
        for count in [1, 3] {
            for id in ids {
                let mut recipients = Recipients::claimed(count);
                recipients.accept(count - 1, id, Some(-5));
                let accepted = State::Accepted {
                    message_id: id.to_owned(),
                    timestamp_ms: Some(-5),
                };
                assert_eq!(recipients.states()[count - 1], accepted);
            }
        }
    }

    #[test]
    fn what_was_accepted_stays_so() {
        for count in [1, 2] {
            let mut recipients = Recipients::claimed(count);
            recipients.accept(0, "1", None);
            recipients.accept(0, "2", None);
            recipients.set(0, Pending::Free);
            let accepted = State::Accepted {
                message_id: "1".to_owned(),
                timestamp_ms: None,
            };
            assert_eq!(recipients.states()[0], accepted);
            assert_eq!(recipients.pending(0), None);
        }
    }

    #[test]
    fn more_answers_than_fit_lose_no_more_than_their_times() {
        let mut recipients = Recipients::claimed(70_000);
        for at in 0..70_000 {
            recipients.accept(at, "7", Some(at as i64));
        }
        let states = recipients.states();
        assert!(
            states.iter().all(
                |state| matches!(state, State::Accepted { message_id, .. } if message_id == "7")
            )
        );
    }
}
