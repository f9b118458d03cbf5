//! What a replica asks and tells, and what the answers mean to it.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    Lease, Limit, USABLE,
    step::{Asked, REPORT},
    view::View,
};
use crate::quota::flow::Amount;

/// Parts of a window in which times are told; as in the script.
const STEPS: u32 = 64;
/// Calls at most that are asked for at once.
const CALLS: usize = 512;

/// A message for which there may not be enough: when may it go?
#[derive(Debug, Clone, Copy)]
pub(in crate::quota) struct Hope {
    pub(in crate::quota) amount: Amount,
    /// What has to be left for it to go: with what is kept for other callers, without what fair order lets it pass.
    pub(in crate::quota) needs: u64,
}

/// A question to Redis.
#[derive(Debug)]
pub(in crate::quota) struct Ask {
    pub(in crate::quota) generation: String,
    pub(in crate::quota) sequence: u64,
    pub(in crate::quota) batch: u64,
    /// A question that Redis has answered, and has to know of.
    pub(in crate::quota) answered: u64,
    pub(in crate::quota) messages: Limit,
    pub(in crate::quota) calls: Limit,
    pub(in crate::quota) held: Amount,
    pub(in crate::quota) available: Amount,
    pub(in crate::quota) reserve: Amount,
    pub(in crate::quota) queued: u64,
    pub(in crate::quota) patience: Duration,
    /// In how long, and how much.
    pub(in crate::quota) promises: Vec<(Duration, u64)>,
    /// How long ago, and how much.
    pub(in crate::quota) ended: Vec<(Duration, Amount)>,
    pub(in crate::quota) wanted: Vec<u64>,
    pub(in crate::quota) hopes: Vec<Hope>,
    pub(in crate::quota) asked_at: Instant,
}

/// What Redis says.
#[derive(Debug)]
pub(in crate::quota) enum Answer {
    /// So much more may be used.
    Granted {
        generation: String,
        granted: Amount,
        left: i64,
        left_calls: i64,
        live: u64,
        busy: u64,
        met: usize,
        slots: Vec<u64>,
        /// In how long each of those may go who hope to.
        told: Vec<Duration>,
        /// How much more may go at once, whatever was promised.
        open: u64,
    },
    /// It has forgotten what it knew, and wants to be told all again.
    Lost { generation: String },
    /// It has forgotten what it was told last, as a copy does that missed it: what came after this batch.
    Behind { batch: u64 },
    /// A later question came before this one.
    Late,
}

impl Lease {
    /// The steps in which others are told when callers were told to come back, and how many at most.
    pub(in crate::quota) fn promise_steps(&self) -> (Duration, u32) {
        (self.messages.length / STEPS, 3 * STEPS)
    }

    pub(super) fn ask(&mut self, wanted: &[u64], asked: Asked, now: Instant) -> Ask {
        self.told_promised = asked.promised;
        self.admitted = 0;
        self.pace.take(now);
        self.take_rate(now);
        let reserve = self.reserve(now);
        if wanted.is_empty() {
            self.available = Amount {
                messages: self.available.messages.min(reserve.messages),
                calls: self.available.calls.min(reserve.calls),
            };
        }
        if self.telling.is_empty() {
            self.telling = std::mem::take(&mut self.ended);
            self.batch += 1;
        }
        self.sequence += 1;
        // One that is not heard of for longer is forgotten for good reason.
        let answered = self.answered.filter(|(_, at)| now < *at + USABLE);
        let untold = self
            .ended
            .iter()
            .fold(Amount::default(), |sum, (_, amount)| sum + *amount);
        Ask {
            generation: self.generation.clone(),
            sequence: self.sequence,
            batch: self.batch,
            answered: answered.map_or(0, |(sequence, _)| sequence),
            messages: self.messages,
            calls: self.calls,
            held: self.available + self.under_way + untold,
            available: self.available,
            reserve,
            queued: asked.queued,
            patience: asked
                .queued_until
                .map_or(Duration::ZERO, |until| until.saturating_duration_since(now)),
            promises: Vec::new(),
            ended: self
                .telling
                .iter()
                .map(|(at, amount)| (now.duration_since(*at), *amount))
                .collect(),
            wanted: wanted.iter().copied().take(CALLS).collect(),
            hopes: Vec::new(),
            asked_at: now,
        }
    }

    pub(in crate::quota) fn answered(&mut self, ask: &Ask, answer: Answer) {
        match answer {
            Answer::Granted {
                generation,
                granted,
                left,
                left_calls,
                live,
                busy,
                met,
                slots,
                told,
                open,
            } => {
                if self.away.take().is_some() {
                    self.available = Amount::default();
                }
                self.generation = generation;
                self.answered = Some((ask.sequence, ask.asked_at));
                let telling = self.telling.drain(..);
                self.told
                    .extend(telling.map(|(at, amount)| (ask.batch, at, amount)));
                self.available = self.available + granted;
                let told = ask
                    .hopes
                    .iter()
                    .zip(told)
                    .filter(|(_, wait)| !wait.is_zero());
                self.told_promised += told.map(|(hope, _)| hope.amount.messages).sum::<u64>();
                self.usable_until = ask.asked_at + USABLE;
                self.view = Some(View {
                    at: ask.asked_at,
                    left,
                    left_calls,
                    live,
                    busy,
                    open,
                    slots,
                    short: met < ask.wanted.len(),
                });
            }
            Answer::Lost { generation } => {
                self.generation = generation;
                // What was granted is unknown there as well; what is on its way is told again.
                self.available = Amount::default();
                self.tell_again(0);
            }
            // What was granted is told with the next question, as with any.
            Answer::Behind { batch } => self.tell_again(batch),
            Answer::Late => self.available = Amount::default(),
        }
    }

    /// All that was told after a batch has to be told again.
    fn tell_again(&mut self, after: u64) {
        self.answered = None;
        let known = self.told.partition_point(|(batch, ..)| *batch <= after);
        let again = self.told.drain(known..).map(|(_, at, amount)| (at, amount));
        let mut all: VecDeque<_> = again.collect();
        all.append(&mut self.telling);
        all.append(&mut self.ended);
        self.ended = all;
    }

    /// What is kept ready for calls to come: a report's time of the recent rate. Nothing where none went lately.
    fn reserve(&self, now: Instant) -> Amount {
        if now.duration_since(self.last_charge) >= REPORT {
            return Amount::default();
        }
        Amount {
            messages: self.rate.messages.max(4),
            calls: self.rate.calls.max(4),
        }
    }

    fn take_rate(&mut self, now: Instant) {
        let time = now.duration_since(self.rate_since).as_millis();
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        if time >= 50 {
            let report = u64::try_from(REPORT.as_millis()).unwrap_or(u64::MAX);
            let mean = |old: u64, new: u64| (old + new * report / time).div_ceil(2);
            self.rate = Amount {
                messages: mean(self.rate.messages, self.charged.messages),
                calls: mean(self.rate.calls, self.charged.calls),
            };
            self.charged = Amount::default();
            self.rate_since = now;
        }
    }

    /// What no window counts any more.
    pub(super) fn forget(&mut self, now: Instant) {
        let length = self.messages.length.max(self.calls.length);
        let is_over = |at: &Instant| now.duration_since(*at) > length;
        while self.told.front().is_some_and(|(_, at, _)| is_over(at)) {
            self.told.pop_front();
        }
        while self.ended.front().is_some_and(|(at, _)| is_over(at)) {
            self.ended.pop_front();
        }
    }
}
