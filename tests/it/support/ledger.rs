//! The one rule of every fault test: what the caller was told of a recipient agrees with what Easemob
//! has. OK: exactly once. NOT_SENT: not at all. MAYBE_SENT, or no word of the gateway: at most once.

use std::{collections::HashMap, ops::RangeInclusive};

use easemob_gateway::proto::{SendMessageResponse, SendState};
use tonic::Status;

use super::{easemob::Easemob, request::verdict};

/// How often each recipient has each message, which its text tells from all others: what arrived, but for
/// what Easemob refused.
pub struct Ledger(HashMap<String, HashMap<String, usize>>);

impl Ledger {
    /// As it is now.
    pub fn of(easemob: &Easemob) -> Self {
        let mut has: HashMap<String, HashMap<String, usize>> = HashMap::new();
        for send in easemob.seen().sends.iter().filter(|send| !send.refused) {
            let of_text = has.entry(send.text().to_owned()).or_default();
            for to in send.body["to"].as_array().unwrap() {
                *of_text.entry(to.as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        Self(has)
    }

    /// Those who have a message, and how often. They are taken out: what is left in the end is what nobody asked for.
    pub fn take(&mut self, text: &str) -> HashMap<String, usize> {
        self.0.remove(text).unwrap_or_default()
    }

    /// Checks one message, and takes it out.
    #[track_caller]
    pub fn check(
        &mut self,
        text: &str,
        recipients: &[String],
        result: &Result<SendMessageResponse, Status>,
    ) {
        let mut has = self.take(text);
        for (recipient, may_have) in told(recipients, result) {
            let has = has.remove(&recipient).unwrap_or_default();
            assert!(
                may_have.contains(&has),
                "{text}: {recipient} has it {has} times, and the caller was told {may_have:?}: {result:?}"
            );
        }
        assert!(has.is_empty(), "{text}: nobody asked for {has:?}");
    }

    /// Nothing is left.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert!(self.0.is_empty(), "nobody asked for {:?}", self.0);
    }
}

/// Checks one message among others.
#[track_caller]
pub fn check(
    easemob: &Easemob,
    text: &str,
    recipients: &[String],
    result: &Result<SendMessageResponse, Status>,
) {
    Ledger::of(easemob).check(text, recipients, result);
}

/// How often each recipient may have the message by what was told. Each is told of once.
#[track_caller]
fn told(
    recipients: &[String],
    result: &Result<SendMessageResponse, Status>,
) -> Vec<(String, RangeInclusive<usize>)> {
    let of_state = |is_maybe: bool| if is_maybe { 0..=1 } else { 0..=0 };
    let response = match result {
        Ok(response) => response,
        Err(status) => {
            let is_ours = !status.details().is_empty();
            let is_maybe = !is_ours || verdict(status).1 == "MAYBE_SENT";
            let all = recipients.iter().cloned();
            return all.map(|one| (one, of_state(is_maybe))).collect();
        }
    };
    let accepted = response.accepted.iter();
    let mut told: Vec<_> = accepted.map(|one| (one.recipient.clone(), 1..=1)).collect();
    for failure in &response.failures {
        let is_maybe = failure.state() == SendState::MaybeSent;
        let failed = failure.recipients.iter().cloned();
        told.extend(failed.map(|one| (one, of_state(is_maybe))));
    }
    let mut names: Vec<_> = told.iter().map(|(one, _)| one).collect();
    let mut all: Vec<_> = recipients.iter().collect();
    names.sort();
    all.sort();
    assert_eq!(names, all, "each recipient is told of once");
    told
}
