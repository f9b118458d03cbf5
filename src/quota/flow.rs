//! What one caller has in the line, has used and has asked for.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use super::{Turn, window::Window};

/// Most refused messages of a caller that are kept in mind.
const PROMISES: usize = 1_000;

/// How long after its time a refused message may come back and still find its place.
const GRACE: Duration = Duration::from_secs(1);

/// `Flow::trust` of a caller that always comes back.
const FULL_TRUST: u64 = 256;

/// How much of the quota something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) calls: u64,
    pub(super) messages: u64,
}

/// One caller.
#[derive(Debug)]
pub(super) struct Flow {
    /// 0 until it asks.
    pub(super) weight: u64,
    /// Where the caller's clock will stand after all that it has in the line.
    pub(super) end: u64,
    pub(super) queue: VecDeque<Waiting>,
    /// What was admitted and has not gone, in the queue or still on the way to it.
    pub(super) backlog: Amount,
    /// The latest end of the time of those in it.
    pub(super) until: Option<Instant>,
    /// Admitted messages that have not ended.
    pub(super) admitted: usize,
    /// What it has of the quota now.
    pub(super) used: Window,
    /// What it asked for in the quota's time, granted or not.
    pub(super) asked: Window,
    /// What was refused, by the time at which it was told to ask again: what comes later is told a later
    /// time, so that not all come at once.
    promises: BTreeMap<(Instant, u64), Amount>,
    /// How late who was told to come back may be.
    grace: Duration,
    /// Tells promises of one time apart.
    number: u64,
    promised: Amount,
    /// How many of the refused messages came back when they were told to, of 256, smoothed.
    trust: u64,
}

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) start: u64,
    pub(super) places: Option<Arc<Semaphore>>,
    /// What it will be given.
    pub(super) turn: Turn,
    pub(super) waiter: oneshot::Sender<Turn>,
}

impl Flow {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            weight: 0,
            end: 0,
            queue: VecDeque::new(),
            backlog: Amount::default(),
            until: None,
            admitted: 0,
            used: Window::new(0, length),
            asked: Window::new(0, length),
            promises: BTreeMap::new(),
            grace: GRACE.max(length / 20),
            number: 0,
            promised: Amount::default(),
            trust: FULL_TRUST,
        }
    }

    /// Whether nothing is known of the caller that still counts.
    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.admitted == 0
            && self.queue.is_empty()
            && self.used.used(now) == 0
            && self.asked.used(now) == 0
    }

    /// Whether it told somebody to come back.
    pub(super) fn has_promised(&self) -> bool {
        !self.promises.is_empty()
    }

    /// The first call whose shard has a place for it. Those of a shard that has none wait for it
    /// without holding up the others.
    pub(super) fn first_with_a_place(&self) -> Option<(usize, Option<OwnedSemaphorePermit>)> {
        let mut full: Vec<&Arc<Semaphore>> = Vec::new();
        for (index, waiting) in self.queue.iter().enumerate() {
            let Some(places) = &waiting.places else {
                return Some((index, None));
            };
            if full.iter().any(|full| Arc::ptr_eq(full, places)) {
                continue;
            }
            match Arc::clone(places).try_acquire_owned() {
                Ok(place) => return Some((index, Some(place))),
                Err(_none) => full.push(places),
            }
        }
        None
    }

    /// Removes those at the front that nobody waits for any more, and tells how many.
    pub(super) fn drop_those_who_left(&mut self) -> usize {
        let before = self.queue.len();
        while self.queue.front().is_some_and(Waiting::has_left) {
            self.queue.pop_front();
        }
        before - self.queue.len()
    }

    /// What is ahead of whoever asks now: what was admitted and, unless it comes back as it was told, what
    /// was told to come back and will.
    pub(super) fn ahead(&self, promised: bool) -> Amount {
        if !promised {
            return self.backlog;
        }
        self.backlog + self.expected(self.promised)
    }

    /// No less than what is ahead of whoever asks.
    pub(super) fn most_ahead(&self) -> Amount {
        self.backlog + self.promised
    }

    /// Changes it, and with it the sum of what is ahead of everybody.
    pub(super) fn change<T>(&mut self, sum: &mut Amount, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.most_ahead();
        let changed = change(self);
        *sum = *sum + self.most_ahead() - before;
        changed
    }

    /// When it told messages to come back, and how many of them will.
    pub(super) fn promises(&self) -> impl Iterator<Item = (Instant, u64)> {
        let promises = self.promises.iter();
        promises.map(|((when, _), promised)| (*when, self.expected(*promised).messages))
    }

    /// What comes back of what was told to.
    fn expected(&self, promised: Amount) -> Amount {
        Amount {
            calls: promised.calls * self.trust / FULL_TRUST,
            messages: promised.messages * self.trust / FULL_TRUST,
        }
    }

    pub(super) fn promise(&mut self, when: Instant, amount: Amount) {
        if self.promises.len() < PROMISES {
            self.number += 1;
            self.promises.insert((when, self.number), amount);
            self.promised = self.promised + amount;
        }
    }

    /// Whether a message was told to come back at about this time; its place is then taken. `of_size`: a message of this
    /// size, as what is of another size is another message.
    pub(super) fn redeem_promise(&mut self, of_size: Option<Amount>, now: Instant) -> bool {
        self.forget_promises(now);
        let mut due = self.promises.range(..=(now, u64::MAX));
        let fits = |promised: Amount| of_size.is_none_or(|size| size == promised);
        let Some((&key, &amount)) = due.find(|(_, promised)| fits(**promised)) else {
            return false;
        };
        self.promises.remove(&key);
        self.promised = self.promised - amount;
        self.trust += (FULL_TRUST - self.trust).div_ceil(8);
        true
    }

    /// Those who did not come back are not waited for, and trusted less.
    pub(super) fn forget_promises(&mut self, now: Instant) {
        while let Some(first) = self.promises.first_entry() {
            if first.key().0 + self.grace > now {
                break;
            }
            self.promised = self.promised - first.remove();
            self.trust -= self.trust.div_ceil(8);
        }
    }
}

impl Waiting {
    pub(super) fn has_left(&self) -> bool {
        self.waiter.is_closed()
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            messages: self.messages + other.messages,
        }
    }
}

impl std::ops::Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(other.calls),
            messages: self.messages.saturating_sub(other.messages),
        }
    }
}
