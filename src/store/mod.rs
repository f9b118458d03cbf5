//! FLOOR 2: what request IDs have achieved so far, recipient by recipient, so that a repeat sends what is
//! left and nothing twice.
//!
//! A recipient is *claimed* by one run of a request at a time (the claim has a lease, which the run
//! renews while it waits), then *dispatched* (the last step before the socket; the lease covers the whole
//! attempt), then *accepted*, or *unknown* where nothing tells what became of it, or free again where it
//! is proven that nothing was sent. A claim whose lease runs out is free again; what was dispatched under
//! it is unknown.
//!
//! Recipients are numbers here: places in the message's own order, which does not depend on how a
//! request lists or splits them. A record holds no names, texts or tokens; of a file that came with
//! the message it holds the ID and the share secret.

mod config;
mod memory;
mod record;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use self::{
    config::{Config, Kind},
    memory::{Memory, Usage},
    record::{Files, Key, Record, Settlement, State, StoredFile, Unsent},
};
use crate::{media::Section, message::Fingerprint, trace};

/// Where the records are. Every operation is atomic: nothing comes between its look and its change.
#[derive(Debug)]
pub enum Store {
    /// In this process, and gone with it.
    Memory(Memory),
}

/// A request that is about to begin, for the first time or again.
#[derive(Debug)]
pub struct Begin<'a> {
    /// Whose request.
    pub key: Key,
    /// What it says. Several, where the request may have begun as another method: any of them fits a
    /// record, the first goes into a new one.
    pub fingerprints: &'a [Fingerprint],
    /// How many recipients it has, at least one.
    pub recipients: usize,
    /// Also claims what may have been sent.
    pub resend_maybe_sent: bool,
    /// How long the claim lasts unless it is renewed.
    pub lease: Duration,
    /// Where its trace is, for those who wait for it.
    pub trace: Option<trace::Ids>,
}

/// What a request finds when it begins.
#[derive(Debug)]
pub enum Begun {
    /// A first one: all recipients are claimed.
    New(Claim),
    /// A repeat, and recipients that are still to be sent to: those that the record calls claimed.
    Again(Claim, Record),
    /// A repeat, and nothing is left to be sent.
    Settled(Record),
    /// Another run of the same request is under way.
    Running(Running, Record),
    /// The ID belongs to another request.
    Reused,
}

/// The right of one run of a request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    key: Key,
    owner: u64,
}

/// Another run that is under way.
#[derive(Debug)]
pub struct Running {
    /// Where its trace is.
    pub trace: Option<trace::Ids>,
    ended: CancellationToken,
    lease: Duration,
}

impl Running {
    /// Returns when the other run has ended, or when it should show whether it lives: begin again then.
    pub async fn ended(self) {
        // Beyond the lease: at its very end it may still hold.
        let lease = self.lease + Duration::from_millis(1);
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = tokio::time::sleep(lease) => {}
        }
    }
}

/// Why the store did not take a request. Nothing was sent for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// All room is taken by records that are still to be remembered.
    #[error("the gateway remembers as many request IDs as it has room for")]
    Full {
        /// When the oldest of them goes.
        retry_after: Duration,
    },
}

impl Store {
    /// A store as configured.
    pub fn new(config: &Config) -> Self {
        match config.kind {
            Kind::Memory => Self::Memory(Memory::new(config)),
        }
    }

    /// Begins a request, or a repeat of it.
    pub async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, Error> {
        match self {
            Self::Memory(memory) => memory.begin(begin),
        }
    }

    /// Lets the claim last this long from now. `false`: it was lost, and nothing may be sent under it.
    pub async fn renew(&self, claim: Claim, lease: Duration) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.renew(claim, lease)),
        }
    }

    /// The last step before the socket. `false`: the claim was lost, and nothing may be sent.
    pub async fn dispatch(
        &self,
        claim: Claim,
        part: &[u32],
        lease: Duration,
    ) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.dispatch(claim, part, lease)),
        }
    }

    /// Back to claimed, since another attempt may follow. `doubt`: this one may have sent, and no later
    /// failure takes that back. `false`: the claim was lost meanwhile.
    pub async fn release(
        &self,
        claim: Claim,
        part: &[u32],
        doubt: bool,
        lease: Duration,
    ) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.release(claim, part, doubt, lease)),
        }
    }

    /// What became of a part in the end. A late answer is taken even if the lease is over.
    pub async fn settle(
        &self,
        claim: Claim,
        part: &[u32],
        settlement: Settlement<'_>,
    ) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => {
                memory.settle(claim, part, settlement);
                Ok(())
            }
        }
    }

    /// Remembers a file of the message, so that a repeat need not upload it again.
    pub async fn stored(
        &self,
        claim: Claim,
        which: Section,
        file: StoredFile,
    ) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => {
                memory.stored(claim, which, file);
                Ok(())
            }
        }
    }

    /// Settles a part that got no answer, for one that cannot wait, as in a destructor.
    pub fn drop_part(&self, claim: Claim, part: &[u32], unsent: Unsent) {
        match self {
            Self::Memory(memory) => memory.settle(claim, part, Settlement::none(unsent)),
        }
    }

    /// Gives up whatever is claimed and not dispatched, for one that cannot wait.
    pub fn drop_claim(&self, claim: Claim) {
        match self {
            Self::Memory(memory) => memory.abandon(claim),
        }
    }

    /// How much is remembered here.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Memory(memory) => memory.usage(),
        }
    }
}
