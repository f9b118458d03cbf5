//! One run of a request: its claim, kept alive while its caller waits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::sleep;

use super::{CLAIM_LEASE, Held};
use crate::{
    easemob::FirstByte,
    media::Section,
    store::{Claim, Store, StoredFile},
};

/// The caller's side of a run. Dropped, it gives back what no part has.
#[derive(Debug)]
pub(in crate::delivery) struct Run {
    store: Arc<Store>,
    claim: Claim,
    /// Recipients that are claimed, and that no part has.
    left: AtomicUsize,
}

impl Run {
    /// `claimed`: recipients that it has.
    pub(super) fn new(store: &Arc<Store>, claim: Claim, claimed: usize) -> Self {
        Self {
            store: Arc::clone(store),
            claim,
            left: claimed.into(),
        }
    }

    /// A part's hold on its recipients, by their places. From now on it is the part that gives them back.
    pub(in crate::delivery) fn hold(&self, places: Vec<u32>, first_byte: FirstByte) -> Held {
        self.left.fetch_sub(places.len(), Ordering::Relaxed);
        Held::new(&self.store, self.claim, places, first_byte)
    }

    /// Keeps the claim alive while this takes its time.
    pub(in crate::delivery) async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        let renewals = async {
            loop {
                sleep(CLAIM_LEASE / 3).await;
                // A claim that was lost shows itself where something is to be sent under it.
                let _kept = self.store.renew(self.claim, CLAIM_LEASE).await;
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            never = renewals => never,
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
        if *self.left.get_mut() > 0 {
            self.store.drop_claim(self.claim);
        }
    }
}
