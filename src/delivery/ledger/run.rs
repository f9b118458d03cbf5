//! One run of a request: its claim, kept alive while its caller waits.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::time::timeout;

use super::{CLAIM_LEASE, Held, Records};
use crate::{
    easemob::FirstByte,
    media::Section,
    message::Places,
    store::{Claim, StoredFile},
};

/// The caller's side of a run. Dropped, it gives back what no part has.
#[derive(Debug)]
pub(in crate::delivery) struct Run {
    store: Records,
    claim: Claim,
    /// Others see the store: the claim has to show that its run lives.
    renews: bool,
    /// Recipients that are claimed, and that no part has.
    left: AtomicUsize,
}

impl Run {
    /// `claimed`: recipients that it has.
    pub(super) fn new(store: &Records, claim: Claim, claimed: usize) -> Self {
        Self {
            store: store.clone(),
            claim,
            renews: store.is_shared(),
            left: claimed.into(),
        }
    }

    /// As in a store that others see.
    #[cfg(test)]
    pub(super) fn renewing(self) -> Self {
        let mut run = self;
        run.renews = true;
        run
    }

    /// Whether it has to be kept alive.
    pub(in crate::delivery) fn renews(&self) -> bool {
        self.renews
    }

    /// A part's hold on its recipients, by their places. From now on it is the part that gives them back.
    pub(in crate::delivery) fn hold(&self, places: Places, first_byte: FirstByte) -> Held {
        self.left.fetch_sub(places.len(), Ordering::Relaxed);
        Held::new(&self.store, self.claim, places, first_byte)
    }

    /// Keeps the claim alive while this takes its time. Pinned, since it is large and would be moved.
    pub(in crate::delivery) async fn keep<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> T {
        match self.renews {
            // Boxed: it is larger than all that a send in memory needs.
            true => Box::pin(self.renew_during(work)).await,
            false => work.await,
        }
    }

    async fn renew_during<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        loop {
            match timeout(CLAIM_LEASE / 3, work.as_mut()).await {
                Ok(done) => return done,
                // A claim that was lost shows itself where something is to be sent under it.
                Err(_elapsed) => tokio::select! {
                    biased;
                    done = work.as_mut() => return done,
                    _kept = self.store.renew(self.claim, CLAIM_LEASE) => {}
                },
            }
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
