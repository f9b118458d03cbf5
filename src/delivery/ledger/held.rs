//! A part's hold on its recipients: dispatched before its attempt, settled by its outcome. However the
//! part ends, its recipients end in a state that is true.

use std::time::Duration;

use tokio::time::Instant;

use super::{BEYOND_ATTEMPT, CLAIM_LEASE, Records, TAKEN_OVER, in_doubt};
use crate::{
    delivery::{Failure, Outcome},
    easemob::FirstByte,
    message::Places,
    store::{Claim, Settlement, Unsent},
    trace,
};

/// See the module.
#[derive(Debug)]
pub(in crate::delivery) struct Held {
    store: Records,
    claim: Claim,
    places: Places,
    first_byte: FirstByte,
    settled: bool,
}

impl Held {
    pub(super) fn new(
        store: &Records,
        claim: Claim,
        places: Places,
        first_byte: FirstByte,
    ) -> Self {
        Self {
            store: store.clone(),
            claim,
            places,
            first_byte,
            settled: false,
        }
    }

    /// The last step before the socket: from here on the part may have been sent, unless its outcome
    /// proves that it was not. It is `now`, and the attempt takes `at_most` so long. Gives the time after it.
    pub(in crate::delivery) async fn dispatch(
        &self,
        now: Instant,
        at_most: Duration,
    ) -> Result<Instant, Failure> {
        let lease = at_most + BEYOND_ATTEMPT;
        let dispatched = self.store.dispatch(self.claim, &self.places, now, lease);
        match dispatched.await? {
            true => {
                trace::event("request_id.dispatched", &[]);
                Ok(match self.store.is_shared() {
                    true => Instant::now(),
                    // It took none.
                    false => now,
                })
            }
            false => Err(in_doubt(TAKEN_OVER)),
        }
    }

    /// Back to where it was before, since another attempt may follow.
    pub(in crate::delivery) async fn release(&self, after: &Failure) -> Result<(), Failure> {
        let doubt = after.may_have_been_sent();
        let released = self
            .store
            .release(self.claim, &self.places, doubt, CLAIM_LEASE);
        match released.await? {
            true => {
                trace::event("request_id.released", &[]);
                Ok(())
            }
            false => Err(in_doubt(TAKEN_OVER)),
        }
    }

    /// Notes what became of the part.
    pub(in crate::delivery) async fn settle(mut self, outcome: &Outcome) {
        let settlement = match outcome {
            Ok(accepted) => Settlement {
                message_ids: &accepted.message_ids,
                timestamp_ms: accepted.timestamp_ms,
                unsent: Unsent::MaybeSent,
            },
            Err(failure) if failure.may_have_been_sent() => Settlement::none(Unsent::MaybeSent),
            Err(_) => Settlement::none(Unsent::NotSent),
        };
        // The caller is told the truth in any case; to a store that never hears of it, the part is in doubt
        // once its lease is over.
        self.store
            .settle(self.claim, &self.places, settlement)
            .await;
        self.settled = true;
    }
}

impl Drop for Held {
    /// A part that ended without an outcome: its caller has left, or it panicked.
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let unsent = match self.first_byte.forbid() {
            true => Unsent::NotSent,
            false => Unsent::MaybeSent,
        };
        self.store.drop_part(self.claim, &self.places, unsent);
    }
}
