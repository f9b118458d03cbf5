//! Records in the memory of this process: behind short locks, within a bound of bytes, each until its
//! time is over.

mod compact;
mod entry;
mod index;
mod table;
#[cfg(test)]
mod tests;

use std::{
    cmp,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use siphasher::sip128::SipHasher13;
use tokio::time::Instant;
use uuid::Uuid;

use self::{
    entry::Entry,
    table::{Place, Table},
};
use super::{Begin, Begun, Claim, Config, Error, Key, Running, Settlement, StoredFile, Unsent};
use crate::{id::RequestId, media::Section};

/// Locks: enough that cores do not meet at one.
const SHARDS: usize = 16;

/// How much longer than it has to a record is remembered, so that what happens under it within this time leaves it where
/// it stands in the order: a request that takes less is moved about but once.
const SLACK: Ms = 1_000;

/// The places of a request with one recipient.
const ONLY: &[u32] = &[0];

/// Milliseconds since the store was made.
type Ms = u64;

/// Records in the memory of this process.
#[derive(Debug)]
pub struct Memory {
    shards: [Shard; SHARDS],
    bytes: Bytes,
    ttl: Ms,
    max_bytes: usize,
    start: Instant,
    /// What keys are summed by: no caller knows it, and so none finds two IDs of one key.
    secret: SipHasher13,
}

/// Some of the records. Cores that write to one line of the cache wait for each other: each shard, and the count of
/// bytes, has lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Records>);

/// Bytes that all records take.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Bytes(AtomicUsize);

#[derive(Debug, Default)]
struct Records {
    // The longest unused comes first: all are kept for the same time.
    table: Table<Entry>,
    /// How many runs there have been: each has a number of its own among those of its key.
    runs: u64,
    /// Before this, nothing has had its time.
    none_expires_before: Ms,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Request IDs.
    pub records: usize,
    /// Bytes that their records take.
    pub bytes: usize,
    /// Bytes that they may take.
    pub max_bytes: usize,
}

impl Memory {
    /// Room for records as configured; nothing is taken yet.
    pub fn new(config: &Config) -> Self {
        Self {
            shards: Default::default(),
            bytes: Bytes::default(),
            ttl: ms(config.ttl()).max(1),
            max_bytes: config.memory_bytes,
            start: Instant::now(),
            secret: SipHasher13::new_with_key(Uuid::new_v4().as_bytes()),
        }
    }

    pub(super) fn key(&self, caller: &str, app: &str, request_id: &RequestId) -> Key {
        Key::secret(&self.secret, caller, app, request_id)
    }

    pub(super) fn expect(&self, key: &Key) {
        self.shard(key).table.expect(key);
    }

    pub(super) fn begin(&self, begin: &Begin<'_>) -> Result<Begun, Error> {
        let now = self.now();
        if let Some(begun) = self.begin_with_room(begin, now) {
            return Ok(begun);
        }
        self.expire_all(now);
        let begun = self.begin_with_room(begin, now);
        begun.ok_or_else(|| self.full(now))
    }

    /// None where there is no room for it.
    fn begin_with_room(&self, begin: &Begin<'_>, now: Ms) -> Option<Begun> {
        let until = now + ms(begin.lease);
        let mut records = self.shard(&begin.key);
        let records = &mut *records;
        self.expire(records, now);
        records.runs += 1;
        let claim = |place| Claim {
            key: begin.key,
            owner: records.runs,
            place,
            at_once: false,
        };
        let Some(place) = records.table.find(&begin.key) else {
            let Some(fingerprint) = begin.fingerprints.first() else {
                return Some(Begun::Reused);
            };
            let mut entry = Entry::new(*fingerprint, begin, records.runs, until);
            entry.expires = now + self.ttl + SLACK;
            let at_once = begin.at_once && entry.dispatch(records.runs, ONLY, now, until);
            let bytes = bytes(&entry);
            self.take(bytes)?;
            let place = records.table.insert(begin.key, entry);
            if place.is_none() {
                self.give_back(bytes);
            }
            let claim = place.map(claim)?;
            return Some(Begun::New(Claim { at_once, ..claim }));
        };
        let claim = claim(place);
        let entry = records.table.get(place)?;
        let fits = begin.fingerprints.contains(&entry.fingerprint);
        if !fits || entry.recipients() != begin.recipients {
            return Some(Begun::Reused);
        }
        if let Some(lives_until) = entry.runs_until(now) {
            let running = Running {
                trace: entry.trace(),
                ended: entry.ended(),
                lease: Duration::from_millis(lives_until - now),
            };
            return Some(Begun::Running(running, Box::new(entry.record())));
        }
        let begun = self.change(entry, |entry| {
            let claimed = entry.claim(claim.owner, until, begin);
            match claimed {
                true => Begun::Again(claim, Box::new(entry.record())),
                false => Begun::Settled(Box::new(entry.record())),
            }
        });
        self.keep(records, place, now);
        Some(begun)
    }

    pub(super) fn renew(&self, claim: Claim, lease: Duration) -> bool {
        let now = self.now();
        let renewed = self.under_way(claim, |entry| {
            entry.renew(claim.owner, now, now + ms(lease))
        });
        renewed.unwrap_or(false)
    }

    pub(super) fn dispatch(
        &self,
        claim: Claim,
        part: &[u32],
        now: Instant,
        lease: Duration,
    ) -> bool {
        if claim.at_once {
            return true;
        }
        let now = ms(now - self.start);
        let done = self.under_way(claim, |entry| {
            entry.dispatch(claim.owner, part, now, now + ms(lease))
        });
        done.unwrap_or(false)
    }

    pub(super) fn release(&self, claim: Claim, part: &[u32], doubt: bool, lease: Duration) -> bool {
        let now = self.now();
        let until = now + ms(lease);
        let done = self.under_way(claim, |entry| {
            let released = entry.release(claim.owner, part, doubt, now, until);
            if claim.at_once {
                entry.dispatch(claim.owner, part, now, until);
            }
            released
        });
        done.unwrap_or(false)
    }

    pub(super) fn settle(&self, claim: Claim, part: &[u32], settlement: Settlement<'_>) {
        self.with(claim, |entry, _| {
            entry.settle(claim.owner, part, settlement)
        });
    }

    pub(super) fn abandon(&self, claim: Claim) {
        match claim.at_once {
            // No part has it.
            true => self.settle(claim, ONLY, Settlement::none(Unsent::NotSent)),
            false => _ = self.with(claim, |entry, _| entry.abandon(claim.owner)),
        }
    }

    pub(super) fn stored(&self, claim: Claim, which: Section, file: StoredFile) {
        self.with(claim, |entry, _| {
            entry.store(claim.owner, |files| *files.get_mut(which) = Some(file));
        });
    }

    /// How much is remembered.
    pub fn usage(&self) -> Usage {
        let records = self.shards.iter().map(|shard| lock(shard).table.len());
        Usage {
            records: records.sum(),
            bytes: self.bytes.0.load(Ordering::Relaxed),
            max_bytes: self.max_bytes,
        }
    }

    /// Changes the record of a claim that goes on: neither its size nor its time, which counts from its end.
    fn under_way<T>(&self, claim: Claim, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut records = self.shard(&claim.key);
        let place = records.table.find_at(claim.place, &claim.key)?;
        Some(change(records.table.get(place)?))
    }

    /// Changes the record of a claim, and lets it go if nothing is left in it.
    fn with<T>(&self, claim: Claim, change: impl FnOnce(&mut Entry, Ms) -> T) -> Option<T> {
        let now = self.now();
        let mut records = self.shard(&claim.key);
        let place = records.table.find_at(claim.place, &claim.key)?;
        let entry = records.table.get(place)?;
        let changed = self.change(entry, |entry| change(entry, now));
        if entry.is_blank() {
            self.remove(&mut records, place);
        } else if entry.expires < now + self.ttl {
            self.keep(&mut records, place, now);
        }
        Some(changed)
    }

    fn change<T>(&self, entry: &mut Entry, change: impl FnOnce(&mut Entry) -> T) -> T {
        let before = bytes(entry);
        let changed = change(entry);
        let after = bytes(entry);
        // What becomes of a message that was sent is noted in any case: the bound holds for new ones.
        match after.cmp(&before) {
            cmp::Ordering::Greater => {
                self.bytes.0.fetch_add(after - before, Ordering::Relaxed);
            }
            cmp::Ordering::Less => self.give_back(before - after),
            cmp::Ordering::Equal => {}
        }
        changed
    }

    /// Takes room, if there is any.
    fn take(&self, bytes: usize) -> Option<()> {
        let taken = self.bytes.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if taken > self.max_bytes {
            self.give_back(bytes);
            return None;
        }
        Some(())
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Remembers a record from now on for as long as any, and keeps all in the order in which they go.
    fn keep(&self, records: &mut Records, place: Place, now: Ms) {
        if let Some(entry) = records.table.get(place)
            && entry.expires < now + self.ttl
        {
            entry.expires = now + self.ttl + SLACK;
            records.table.renew(place);
        }
    }

    /// Lets go whatever has had its time. Each record goes once, so it costs each as much.
    fn expire(&self, records: &mut Records, now: Ms) {
        if now < records.none_expires_before {
            return;
        }
        while let Some((place, entry)) = records.table.oldest()
            && entry.expires <= now
        {
            if !entry.has_run() {
                self.remove(records, place);
                continue;
            }
            // The time counts from its end, also where the run died and told nobody.
            if entry.runs_until(now).is_none() {
                self.change(entry, Entry::bury);
            }
            self.keep(records, place, now);
        }
        // One that comes after this goes later than any that is there.
        let oldest = records.table.oldest();
        records.none_expires_before = oldest.map_or(0, |(_, entry)| entry.expires);
    }

    fn expire_all(&self, now: Ms) {
        for shard in &self.shards {
            self.expire(&mut lock(shard), now);
        }
    }

    fn remove(&self, records: &mut Records, place: Place) {
        if let Some(entry) = records.table.remove(place) {
            self.give_back(bytes(&entry));
        }
    }

    fn full(&self, now: Ms) -> Error {
        let oldest = self.shards.iter().filter_map(|shard| {
            let mut records = lock(shard);
            records.table.oldest().map(|(_, entry)| entry.expires)
        });
        let wait = oldest.min().unwrap_or(now + self.ttl).saturating_sub(now);
        Error::Full {
            retry_after: Duration::from_millis(wait),
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Records> {
        let index = usize::from(key.as_bytes()[0]) % SHARDS;
        lock(&self.shards[index])
    }

    fn now(&self) -> Ms {
        ms(self.start.elapsed())
    }
}

// A panic under the lock leaves one record half changed at worst, and its run then dies by its lease.
fn lock(shard: &Shard) -> MutexGuard<'_, Records> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes(entry: &Entry) -> usize {
    Table::<Entry>::OVERHEAD + size_of::<Entry>() + entry.heap_bytes()
}

fn ms(time: Duration) -> Ms {
    // Half of the range: sums of two do not overflow.
    Ms::try_from(time.as_millis())
        .unwrap_or(Ms::MAX)
        .min(Ms::MAX / 4)
}
