//! What became of the parts → what became of the message: every recipient as the caller spelled it, in
//! the order of the request, and those with the same fate together.

use std::{iter, ops::Range, sync::Arc};

use super::{Accepted, Failed, Failure, Outcome, Sent};
use crate::{easemob, id::RecipientId, message::Message};

/// One answer for all parts.
pub(super) fn merge(message: Arc<Message>, parts: &[Range<usize>], outcomes: Vec<Outcome>) -> Sent {
    // A part that is still under way has the message, too.
    let message = Arc::unwrap_or_clone(message);
    let mut sent = Sent::default();
    sent.accepted.reserve(message.target.recipients.len());
    // The parts have them all, one after the other.
    let mut recipients = message.target.recipients.into_iter();
    for (part, outcome) in parts.iter().zip(outcomes) {
        let recipients = recipients.by_ref().take(part.len());
        match outcome {
            Ok(accepted) => sent.accept(recipients, accepted),
            Err(failure) => sent.fail(recipients.collect(), failure),
        }
    }
    sent
}

impl Sent {
    fn accept(
        &mut self,
        recipients: impl Iterator<Item = RecipientId>,
        accepted: easemob::Accepted,
    ) {
        let mut without_id = Vec::new();
        // Every recipient is told of, however many IDs there are.
        let ids = accepted.message_ids.into_iter();
        for (recipient, message_id) in recipients.zip(ids.chain(iter::repeat_with(|| None))) {
            match message_id {
                Some(message_id) => self.accepted.push(Accepted {
                    recipient,
                    message_id,
                    timestamp_ms: accepted.timestamp_ms,
                }),
                None => without_id.push(recipient),
            }
        }
        if !without_id.is_empty() {
            self.fail(without_id, Failure::without_id());
        }
    }

    pub(super) fn fail(&mut self, recipients: Vec<RecipientId>, failure: Failure) {
        let same = |failed: &&mut Failed| failed.failure.is_like(&failure);
        if let Some(failed) = self.failures.iter_mut().find(same) {
            failed.recipients.extend(recipients);
            failed.failure.wait_for(&failure);
            return;
        }
        self.failures.push(Failed {
            recipients,
            failure,
        });
    }
}

impl Failure {
    /// Of a recipient that a 200 has no message ID for.
    pub(super) fn without_id() -> Self {
        let what = "Easemob answered 200 without a message ID for this recipient";
        easemob::Error::in_doubt(what, Some(200)).into()
    }

    /// Whether a caller would read the same from both, but for the time to wait.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Easemob(one), Self::Easemob(other)) => {
                (one.kind, &one.what, &one.answer) == (other.kind, &other.what, &other.answer)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// The longer wait of both.
    fn wait_for(&mut self, other: &Self) {
        if let (Self::Easemob(one), Self::Easemob(other)) = (self, other) {
            one.retry_after = one.retry_after.max(other.retry_after);
        }
    }
}
