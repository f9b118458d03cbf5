//! What became of a part's recipients, counted once: as the caller was told, or, where the caller has
//! left, as it came out.

use std::{mem, ops::Range, sync::Arc};

use super::{Failure, Outcome, part::Route};
use crate::{
    easemob::{self, FirstByte},
    message::Message,
};

/// Reason of what was not sent because nobody waited any more.
const CALLER_LEFT: &str = "CALLER_LEFT";

/// Counts the recipients of one part.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    route: Arc<Route>,
    kind: &'static str,
    recipients: u64,
    first_byte: FirstByte,
}

impl Tally {
    pub(super) fn new(
        route: &Arc<Route>,
        message: &Message,
        recipients: &Range<usize>,
        first_byte: &FirstByte,
    ) -> Self {
        Self {
            route: Arc::clone(route),
            kind: message.target.kind.name(),
            recipients: recipients.len() as u64,
            first_byte: first_byte.clone(),
        }
    }

    fn count(&self, outcome: &Outcome) {
        if !self.first_byte.tell() {
            return;
        }
        match outcome {
            Ok(easemob::Accepted { message_ids, .. }) => {
                let accepted = message_ids.iter().flatten().count() as u64;
                if accepted > 0 {
                    self.route.recipients.accepted(self.kind, accepted);
                }
                if accepted < self.recipients {
                    self.failed(&Failure::without_id(), self.recipients - accepted);
                }
            }
            Err(failure) => self.failed(failure, self.recipients),
        }
    }

    fn failed(&self, failure: &Failure, count: u64) {
        let (maybe_sent, reason) = (failure.may_have_been_sent(), failure.reason().name());
        let recipients = &self.route.recipients;
        recipients.failed(self.kind, maybe_sent, reason, count);
    }
}

/// A caller that waits for its answer: of each part.
pub(super) struct Asked(pub(super) Vec<Tally>);

impl Asked {
    /// This is what the caller is told.
    pub(super) fn answer(&self, outcomes: &[Outcome]) {
        for (tally, outcome) in self.0.iter().zip(outcomes) {
            tally.count(outcome);
        }
    }
}

impl Drop for Asked {
    /// A caller that leaves before anything was sent ends it. What was sent by then ends by itself.
    fn drop(&mut self) {
        for tally in &self.0 {
            if tally.first_byte.forbid() && tally.first_byte.tell() {
                let recipients = &tally.route.recipients;
                recipients.failed(tally.kind, false, CALLER_LEFT, tally.recipients);
            }
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

impl From<Outcome> for Settled {
    /// One that nobody counts.
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            tally: None,
        }
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        if let Some(tally) = self.tally.take() {
            tally.count(&self.outcome);
        }
    }
}
