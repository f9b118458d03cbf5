//! FLOOR 2: what request IDs have achieved so far, recipient by recipient, so that a repeat sends what is
//! left and nothing twice. In memory, or in a Redis that several replicas share; the link to it is here too.
//!
//! A recipient is *claimed* by one run of a request at a time (the claim has a lease, which the run
//! renews while it waits if others share the store), then *dispatched* (the last step before the socket; the lease covers the whole
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
mod redis;

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::{
    config::{Config, Kind, RedisUrl},
    memory::{Memory, Usage},
    record::{Files, Key, Record, Settlement, State, StoredFile, Unsent},
    redis::{Away, Health, Link, Probe, ProbeError, Redis, SetupError, probe},
};
use crate::{id::RequestId, media::Section, message::Fingerprint, trace};

/// Where the records are. Every operation is atomic: nothing comes between its look and its change.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Store {
    /// In this process, and gone with it.
    Memory(Memory),
    /// In Redis, for all replicas.
    Redis(Redis),
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
    /// The only recipient counts as dispatched as soon as it is claimed, so that no step is left before the socket. For a store
    /// that nobody else sees: while a run lives, a repeat waits for it in either state, and a run that ends gives back what it did
    /// not send. A repeat's claim is never so.
    pub at_once: bool,
    /// How long the claim lasts unless it is renewed.
    pub lease: Duration,
    /// Where its trace is, for those who wait for it.
    pub trace: Option<trace::Ids>,
}

/// What a request finds when it begins. Records are boxed: most requests find none, and all of this is moved about.
#[derive(Debug)]
pub enum Begun {
    /// A first one: all recipients are claimed.
    New(Claim),
    /// A repeat, and recipients that are still to be sent to: those that the record calls claimed.
    Again(Claim, Box<Record>),
    /// A repeat, and nothing is left to be sent.
    Settled(Box<Record>),
    /// Another run of the same request is under way.
    Running(Running, Box<Record>),
    /// The ID belongs to another request.
    Reused,
}

/// The right of one run of a request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    key: Key,
    owner: u64,
    /// Where a store in memory has its record.
    place: u32,
    /// What it has is dispatched as long as it has it.
    at_once: bool,
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
    /// On another replica, whose end nobody tells: it is looked at again after this.
    fn elsewhere(look_again: Duration) -> Self {
        Self {
            ended: CancellationToken::new(),
            lease: look_again,
            trace: None,
        }
    }

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
    /// The shared store does not answer.
    #[error("the store of request IDs does not answer")]
    Away {
        /// When it is tried again.
        retry_after: Duration,
    },
    /// The record was not written by a gateway of this version.
    #[error("the record of the request ID cannot be read")]
    Unreadable,
}

impl Store {
    /// A store as configured. Connections are kept on `runtime`, which must not be a shard's: those end.
    pub fn open(config: &Config, runtime: &Handle) -> Result<Self, SetupError> {
        match config.kind {
            Kind::Memory => Ok(Self::Memory(Memory::new(config))),
            Kind::Redis => {
                let link = Arc::new(Link::open(config, runtime)?);
                Ok(Self::Redis(Redis::new(config, link)))
            }
        }
    }

    /// What all replicas share, where they share anything.
    pub fn link(&self) -> Option<&Arc<Link>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => Some(redis.link()),
        }
    }

    /// Whether others see it too: then a claim has to be renewed, to show that its owner lives.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// The key of a request. Each caller has IDs of its own, and so has each app.
    pub fn key(&self, caller: &str, app: &str, request_id: &RequestId) -> Key {
        match self {
            Self::Memory(memory) => memory.key(caller, app, request_id),
            Self::Redis(_) => Key::shared(caller, app, request_id),
        }
    }

    /// Brings nearer what `begin` looks at.
    pub fn expect(&self, key: &Key) {
        if let Self::Memory(memory) = self {
            memory.expect(key);
        }
    }

    /// Begins a request, or a repeat of it.
    pub async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, Error> {
        match self {
            Self::Memory(memory) => memory.begin(begin),
            Self::Redis(redis) => redis.begin(begin).await,
        }
    }

    /// Lets the claim last this long from now. `false`: it was lost, and nothing may be sent under it.
    pub async fn renew(&self, claim: Claim, lease: Duration) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.renew(claim, lease)),
            Self::Redis(redis) => redis.renew(claim, lease).await,
        }
    }

    /// The last step before the socket, `now`: whoever is there has just looked. `false`: the claim was lost, and nothing
    /// may be sent.
    pub async fn dispatch(
        &self,
        claim: Claim,
        part: &[u32],
        now: Instant,
        lease: Duration,
    ) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.dispatch(claim, part, now, lease)),
            Self::Redis(redis) => redis.dispatch(claim, part, lease).await,
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
            Self::Redis(redis) => redis.release(claim, part, doubt, lease).await,
        }
    }

    /// What became of a part in the end. A late answer is taken even if the lease is over; a store that
    /// is away is told later.
    pub async fn settle(&self, claim: Claim, part: &[u32], settlement: Settlement<'_>) {
        match self {
            Self::Memory(memory) => memory.settle(claim, part, settlement),
            Self::Redis(redis) => redis.settle(claim, part, settlement).await,
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
            Self::Redis(redis) => redis.stored(claim, which, &file).await,
        }
    }

    /// Settles a part that got no answer, for one that cannot wait, as in a destructor.
    pub fn drop_part(&self, claim: Claim, part: &[u32], unsent: Unsent) {
        match self {
            Self::Memory(memory) => memory.settle(claim, part, Settlement::none(unsent)),
            Self::Redis(redis) => redis.drop_part(claim, part, unsent),
        }
    }

    /// Gives up whatever is claimed and not dispatched, for one that cannot wait.
    pub fn drop_claim(&self, claim: Claim) {
        match self {
            Self::Memory(memory) => memory.abandon(claim),
            Self::Redis(redis) => redis.drop_claim(claim),
        }
    }

    /// How much is remembered here: nothing, where it is elsewhere.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Memory(memory) => memory.usage(),
            Self::Redis(_) => Usage {
                records: 0,
                bytes: 0,
                max_bytes: 0,
            },
        }
    }
}
