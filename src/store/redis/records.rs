//! Records in Redis: the rules of `memory/entry.rs`, as scripts, on Redis's clock.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Script, ScriptInvocation};
use tokio::sync::Semaphore;

use super::{
    link::{Away, Link},
    wire::{self, Part},
};
use crate::{
    media::Section,
    store::{Begin, Begun, Claim, Config, Error, Key, Running, Settlement, StoredFile, Unsent},
};

/// How often another replica's run is looked at that a repeat waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Outcomes at most that wait for Redis to come back.
const LATE_OUTCOMES: usize = 1_000;
/// How often an outcome is told again that Redis did not take, and how long after the last time.
const LATE_TRIES: [u64; 7] = [1, 2, 4, 8, 16, 30, 60];

macro_rules! script {
    ($name:literal) => {
        LazyLock::new(|| {
            let prelude = include_str!("script/prelude.lua");
            Script::new(&format!(
                "{prelude}{}",
                include_str!(concat!("script/", $name, ".lua"))
            ))
        })
    };
}

static BEGIN: LazyLock<Script> = script!("begin");
static RENEW: LazyLock<Script> = script!("renew");
static DISPATCH: LazyLock<Script> = script!("dispatch");
static RELEASE: LazyLock<Script> = script!("release");
static SETTLE: LazyLock<Script> = script!("settle");
static ABANDON: LazyLock<Script> = script!("abandon");
static STORED: LazyLock<Script> = script!("stored");

/// Records in Redis, shared by all replicas.
#[derive(Debug, Clone)]
pub struct Redis {
    link: Arc<Link>,
    prefix: Arc<str>,
    ttl: Duration,
    owners: Arc<AtomicU64>,
    late: Arc<Semaphore>,
}

impl From<Away> for Error {
    fn from(Away { retry_after }: Away) -> Self {
        Self::Away { retry_after }
    }
}

impl Redis {
    /// Records behind this link.
    pub fn new(config: &Config, link: Arc<Link>) -> Self {
        // From somewhere in the middle: no other replica counts there.
        let first = uuid::Uuid::new_v4().as_u64_pair().0;
        Self {
            link,
            prefix: config.prefix.as_str().into(),
            ttl: config.ttl(),
            owners: Arc::new(AtomicU64::new(first)),
            late: Arc::new(Semaphore::new(LATE_OUTCOMES)),
        }
    }

    pub(in crate::store) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(in crate::store) async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, Error> {
        let claim = Claim {
            at_once: false,
            key: begin.key,
            owner: self.owners.fetch_add(1, Ordering::Relaxed),
            place: 0,
        };
        let mut script = self.script(&BEGIN, claim, wire::ms(begin.lease));
        script
            .arg(begin.recipients)
            .arg(u8::from(begin.resend_maybe_sent));
        for fingerprint in begin.fingerprints {
            script.arg(fingerprint.as_bytes().as_slice());
        }
        // Where its answer does not come, it may have been claimed all the same.
        let unless_answered = Abandons(self, Some(claim));
        let answer: wire::Begun = self.link.call(&script).await?;
        let (what, lives_ms, fields) = answer;
        let begun = match &*what {
            "new" => Begun::New(claim),
            "again" => Begun::Again(claim, Box::new(wire::record(&fields)?)),
            "settled" => Begun::Settled(Box::new(wire::record(&fields)?)),
            "running" => Begun::Running(
                Running::elsewhere(Duration::from_millis(lives_ms).min(LOOK_AGAIN)),
                Box::new(wire::record(&fields)?),
            ),
            _ => Begun::Reused,
        };
        unless_answered.disarm();
        Ok(begun)
    }

    pub(in crate::store) async fn renew(
        &self,
        claim: Claim,
        lease: Duration,
    ) -> Result<bool, Error> {
        let script = self.script(&RENEW, claim, wire::ms(lease));
        Ok(self.link.call(&script).await?)
    }

    pub(in crate::store) async fn dispatch(
        &self,
        claim: Claim,
        part: &[u32],
        lease: Duration,
    ) -> Result<bool, Error> {
        let mut script = self.script(&DISPATCH, claim, wire::ms(lease));
        script.arg(wire::places(part));
        Ok(self.link.call(&script).await?)
    }

    pub(in crate::store) async fn release(
        &self,
        claim: Claim,
        part: &[u32],
        doubt: bool,
        lease: Duration,
    ) -> Result<bool, Error> {
        let mut script = self.script(&RELEASE, claim, wire::ms(lease));
        script.arg(wire::places(part)).arg(u8::from(doubt));
        Ok(self.link.call(&script).await?)
    }

    /// Where Redis does not take it now, it is told again later, for as long as that may help.
    pub(in crate::store) async fn settle(
        &self,
        claim: Claim,
        part: &[u32],
        settlement: Settlement<'_>,
    ) {
        let part = Part::new(part, settlement);
        if let Err(Away { .. }) = self.tell(claim, &part).await {
            self.settle_later(claim, part);
        }
    }

    /// The same for one that cannot wait.
    pub(in crate::store) fn drop_part(&self, claim: Claim, part: &[u32], unsent: Unsent) {
        let part = Part::new(part, Settlement::none(unsent));
        let this = self.clone();
        self.link.runtime().spawn(async move {
            if let Err(Away { .. }) = this.tell(claim, &part).await {
                this.settle_later(claim, part);
            }
        });
    }

    pub(in crate::store) fn drop_claim(&self, claim: Claim) {
        let this = self.clone();
        self.link.runtime().spawn(async move {
            let script = this.script(&ABANDON, claim, 0);
            // Where it fails, the claim's time runs out.
            let _given_back: Result<bool, _> = this.link.call(&script).await;
        });
    }

    pub(in crate::store) async fn stored(
        &self,
        claim: Claim,
        which: Section,
        file: &StoredFile,
    ) -> Result<(), Error> {
        let mut script = self.script(&STORED, claim, wire::section(which));
        script.arg(wire::file(file));
        let _remembered: bool = self.link.call(&script).await?;
        Ok(())
    }

    async fn tell(&self, claim: Claim, part: &Part) -> Result<(), Away> {
        let not_sent = u8::from(part.unsent == Unsent::NotSent);
        let mut script = self.script(&SETTLE, claim, not_sent);
        script
            .arg(&part.places)
            .arg(&part.is_accepted)
            .arg(&part.accepted);
        let is_known: bool = self.link.call(&script).await?;
        if !is_known {
            self.link.lost_record();
            tracing::warn!("Redis has lost the record of a request ID: a repeat may send again");
        }
        Ok(())
    }

    fn settle_later(&self, claim: Claim, part: Part) {
        let Ok(place) = Arc::clone(&self.late).try_acquire_owned() else {
            tracing::warn!("the outcome of a send is not remembered under its request ID");
            return;
        };
        let this = self.clone();
        self.link.runtime().spawn(async move {
            for pause in LATE_TRIES {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                if this.tell(claim, &part).await.is_ok() {
                    return;
                }
            }
            // To a repeat it stays in doubt.
            tracing::warn!("the outcome of a send is not remembered under its request ID");
            drop(place);
        });
    }

    /// A script with its key and what all of them are told first; `second` is each one's own.
    fn script<'s>(
        &self,
        script: &'s Script,
        claim: Claim,
        second: impl redis::ToRedisArgs,
    ) -> ScriptInvocation<'s> {
        let mut call = script.key(self.key(&claim.key));
        call.arg(claim.owner).arg(second).arg(wire::ms(self.ttl));
        call
    }

    fn key(&self, key: &Key) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.prefix.len() + 3 + key.as_bytes().len());
        name.extend_from_slice(self.prefix.as_bytes());
        name.extend_from_slice(b":i:");
        name.extend_from_slice(key.as_bytes());
        name
    }
}

/// Gives up a claim that nobody got to hear of.
struct Abandons<'r>(&'r Redis, Option<Claim>);

impl Abandons<'_> {
    fn disarm(mut self) {
        self.1 = None;
    }
}

impl Drop for Abandons<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.1 {
            self.0.drop_claim(claim);
        }
    }
}
