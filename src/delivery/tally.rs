//! What became of a message's recipients, counted once: as the caller was told, or, where the caller
//! has left, as it came out.

use std::{mem, sync::Arc};

use super::{Failure, Outcome, Sent, merge, part::Route};
use crate::{easemob::FirstByte, message::Message};

/// Reason of what was not sent because nobody waited any more.
const CALLER_LEFT: &str = "CALLER_LEFT";

/// Counts the recipients of one message.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    route: Arc<Route>,
    message: Arc<Message>,
    first_byte: FirstByte,
}

impl Tally {
    pub(super) fn new(route: &Arc<Route>, message: &Arc<Message>, first_byte: &FirstByte) -> Self {
        Self {
            route: Arc::clone(route),
            message: Arc::clone(message),
            first_byte: first_byte.clone(),
        }
    }

    fn count(&self, sent: &Sent) {
        if !self.first_byte.tell() {
            return;
        }
        let (recipients, kind) = (&self.route.recipients, self.message.target.kind.name());
        if !sent.accepted.is_empty() {
            recipients.accepted(kind, sent.accepted.len() as u64);
        }
        for failed in &sent.failures {
            let maybe_sent = failed.failure.may_have_been_sent();
            let reason = failed.failure.reason().name();
            recipients.failed(kind, maybe_sent, reason, failed.recipients.len() as u64);
        }
    }
}

/// A caller that waits for its answer.
pub(super) struct Asked(pub(super) Tally);

impl Asked {
    /// This is what the caller is told.
    pub(super) fn answer(&self, sent: &Sent) {
        self.0.count(sent);
    }
}

impl Drop for Asked {
    /// A caller that leaves before anything was sent ends it. What was sent by then ends by itself.
    fn drop(&mut self) {
        let Tally {
            route,
            message,
            first_byte,
        } = &self.0;
        if first_byte.forbid() && first_byte.tell() {
            let target = &message.target;
            let count = target.recipients.len() as u64;
            let kind = target.kind.name();
            route.recipients.failed(kind, false, CALLER_LEFT, count);
        }
    }
}

/// What became of a part. Dropped without being taken, it counts by itself: nobody is there to be told.
pub(super) struct Settled {
    outcome: Outcome,
    tally: Option<Tally>,
}

impl Settled {
    pub(super) async fn of(part: impl Future<Output = Outcome>, tally: Tally) -> Self {
        Self {
            outcome: part.await,
            tally: Some(tally),
        }
    }

    /// For the caller.
    pub(super) fn take(mut self) -> Outcome {
        self.tally = None;
        mem::replace(&mut self.outcome, Err(Failure::Internal))
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        if let Some(tally) = self.tally.take() {
            let outcome = mem::replace(&mut self.outcome, Err(Failure::Internal));
            tally.count(&merge(&tally.message, outcome));
        }
    }
}
