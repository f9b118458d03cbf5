//! What is remembered of a message, and what of it is left to be sent.

use std::{collections::HashSet, mem};

use super::{Run, SENT_BEFORE, STILL_RUNNING, Start, in_doubt, is_ours};
use crate::{
    delivery::{Accepted, Failed, Sent},
    id::RecipientId,
    message::{Places, Target},
    store::{Record, State},
};

/// A message of which a part is known already.
#[derive(Debug)]
pub(in crate::delivery) struct Remaining {
    /// The right to send the rest; none where there is none.
    pub(in crate::delivery) run: Option<Run>,
    /// Recipients that are left, in the order of the request, and their places.
    pub(in crate::delivery) recipients: Vec<RecipientId>,
    pub(in crate::delivery) places: Places,
    /// Those of them that an earlier attempt may have sent to.
    in_doubt: HashSet<RecipientId>,
    /// What is known of the others.
    pub(in crate::delivery) known: Sent,
}

impl Start {
    /// Parts what is known from what is left. The recipients are taken out of their target.
    pub(in crate::delivery) fn remaining(self, target: &mut Target) -> Remaining {
        let places = target.places();
        let recipients = mem::take(&mut target.recipients);
        let (run, record) = match self {
            Self::Run(run, None) => {
                return Remaining {
                    run: Some(run),
                    recipients,
                    places,
                    in_doubt: HashSet::new(),
                    known: Sent::default(),
                };
            }
            Self::Run(run, Some(record)) => (Some(run), record),
            Self::Settled(record) | Self::Running(record) => (None, record),
        };
        let mut remaining = Remaining {
            run,
            recipients: Vec::new(),
            places: Places::new(),
            in_doubt: HashSet::new(),
            known: Sent::default(),
        };
        remaining.take(recipients, &places, &record);
        remaining
    }
}

impl Remaining {
    fn take(&mut self, recipients: Vec<RecipientId>, places: &[u32], record: &Record) {
        let (mut unknown, mut running) = (Vec::new(), Vec::new());
        for (recipient, place) in recipients.into_iter().zip(places) {
            let at = usize::try_from(*place).unwrap_or(usize::MAX);
            match record.recipients.get(at) {
                Some(State::Accepted {
                    message_id,
                    timestamp_ms,
                }) => self.known.accepted.push(Accepted {
                    recipient,
                    message_id: message_id.clone(),
                    timestamp_ms: *timestamp_ms,
                }),
                Some(State::Unknown) => unknown.push(recipient),
                Some(state) if is_ours(state) && self.run.is_some() => {
                    if let State::Claimed { doubt: true } = state {
                        self.in_doubt.insert(recipient.clone());
                    }
                    self.recipients.push(recipient);
                    self.places.push(*place);
                }
                _ => running.push(recipient),
            }
        }
        self.known.replayed = !self.known.accepted.is_empty() || !unknown.is_empty();
        for (recipients, what) in [(unknown, SENT_BEFORE), (running, STILL_RUNNING)] {
            if !recipients.is_empty() {
                self.known.fail(recipients, in_doubt(what));
            }
        }
    }

    /// The whole answer, once the rest was sent.
    pub(in crate::delivery) fn with(self, rest: Sent) -> Sent {
        let Self {
            in_doubt: doubted,
            known: mut sent,
            ..
        } = self;
        match sent.accepted.is_empty() {
            true => sent.accepted = rest.accepted,
            false => sent.accepted.extend(rest.accepted),
        }
        for Failed {
            recipients,
            failure,
        } in rest.failures
        {
            // That it was not sent this time does not mean that it never was.
            let (doubtful, plain): (Vec<_>, Vec<_>) = match failure.may_have_been_sent() {
                true => (Vec::new(), recipients),
                false => recipients.into_iter().partition(|id| doubted.contains(id)),
            };
            for (recipients, failure) in [(doubtful, in_doubt(SENT_BEFORE)), (plain, failure)] {
                if !recipients.is_empty() {
                    sent.fail(recipients, failure);
                }
            }
        }
        sent
    }
}
