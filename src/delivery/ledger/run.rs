//! One run of a request: its claim, kept alive while its caller waits.

use std::{pin::pin, sync::Arc};

use tokio::time::sleep;

use super::{CLAIM_LEASE, Held};
use crate::{
    easemob::FirstByte,
    media::Section,
    store::{Claim, Store, StoredFile},
};

/// The caller's side of a run. Dropped, it gives back what is not dispatched.
#[derive(Debug)]
pub(in crate::delivery) struct Run {
    store: Arc<Store>,
    claim: Claim,
}

impl Run {
    pub(super) fn new(store: &Arc<Store>, claim: Claim) -> Self {
        Self {
            store: Arc::clone(store),
            claim,
        }
    }

    /// A part's hold on its recipients, by their places.
    pub(in crate::delivery) fn hold(&self, places: Vec<u32>, first_byte: FirstByte) -> Held {
        Held::new(&self.store, self.claim, places, first_byte)
    }

    /// Keeps the claim alive while this takes its time.
    pub(in crate::delivery) async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(CLAIM_LEASE / 3) => {}
            }
            // A claim that was lost shows itself where something is to be sent under it.
            let _kept = self.store.renew(self.claim, CLAIM_LEASE).await;
        }
    }

    /// Remembers a file, so that a repeat need not upload it again.
    pub(in crate::delivery) async fn stored(&self, which: Section, file: StoredFile) {
        // Where it fails, a repeat uploads once more, and nothing is sent twice for it.
        if let Err(error) = self.store.stored(self.claim, which, file).await {
            tracing::warn!(%error, "an uploaded file is not remembered under its request ID");
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.store.drop_claim(self.claim);
    }
}
