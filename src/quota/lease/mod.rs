//! A replica's part of a quota that several share: what it was granted and has not used, what is on its way, what
//! ended and is still to be told. Knows no Redis: `shared.rs` carries questions and answers.
//!
//! `step` tells when something is to be asked, `question` what, and what follows from the answer; `view` is what was answered
//! last.

mod pace;
mod question;
mod step;
mod view;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use self::{
    pace::Pace,
    view::{SLOTS, View, left, part},
};
pub(super) use self::{
    question::{Answer, Ask, Hope},
    step::{Asked, Step},
};
use super::{flow::Amount, window::Window};

/// How often a replica shows that it lives while anything of it counts.
const RENEW: Duration = Duration::from_secs(1);
/// How long a grant may be used after the question that it answers.
pub(super) const USABLE: Duration = Duration::from_secs(10);
/// Ends closer together are told as one.
const GRAIN: Duration = Duration::from_millis(5);

/// One limit: how much in which time. A limit of 0 is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) amount: u64,
    pub(super) length: Duration,
}

/// A replica's part of one quota.
#[derive(Debug)]
pub(super) struct Lease {
    messages: Limit,
    calls: Limit,
    /// In millionths.
    share: u64,
    available: Amount,
    usable_until: Instant,
    under_way: Amount,
    /// Not told yet.
    ended: VecDeque<(Instant, Amount)>,
    /// Being told; told again where no answer came.
    telling: VecDeque<(Instant, Amount)>,
    /// Told, within the window, and in which batch: for a Redis that forgets.
    told: VecDeque<(u64, Instant, Amount)>,
    generation: String,
    sequence: u64,
    batch: u64,
    /// The question that was answered last, and when it was asked.
    answered: Option<(u64, Instant)>,
    view: Option<View>,
    away: Option<Away>,
    pace: Pace,
    /// Charged since the rate was last taken.
    charged: Amount,
    rate_since: Instant,
    /// In a report's time.
    rate: Amount,
    last_charge: Instant,
    /// What Redis was last told that callers were told to come back with.
    told_promised: u64,
    /// What was admitted since it was asked last.
    admitted: u64,
}

/// Redis is away since then, and this is what was used meanwhile.
#[derive(Debug)]
struct Away {
    since: Instant,
    messages: Window,
    calls: Window,
    retry_at: Instant,
}

impl Lease {
    pub(super) fn new(messages: Limit, calls: Limit, share: f64) -> Self {
        let now = Instant::now();
        Self {
            messages,
            calls,
            share: u64::try_from(Duration::from_secs(1).mul_f64(share).as_micros()).unwrap_or(0),
            available: Amount::default(),
            usable_until: now,
            under_way: Amount::default(),
            ended: VecDeque::new(),
            telling: VecDeque::new(),
            told: VecDeque::new(),
            generation: String::new(),
            sequence: 0,
            batch: 0,
            answered: None,
            view: None,
            away: None,
            pace: Pace::new(now),
            charged: Amount::default(),
            rate_since: now,
            rate: Amount::default(),
            last_charge: now,
            told_promised: 0,
            admitted: 0,
        }
    }

    /// Whether a call may go now.
    pub(super) fn fits(&mut self, messages: u64, now: Instant) -> bool {
        if let Some(away) = &mut self.away {
            let share = self.share;
            let free = |limit: Limit, left: u64, window: &mut Window, amount: u64| {
                // Of what is free, each replica takes its share.
                limit.amount == 0 || window.used(now) + amount <= part(left, share)
            };
            let (left, left_calls) = left(&self.view, self.messages, self.calls, now);
            return free(self.messages, left, &mut away.messages, messages)
                && free(self.calls, left_calls, &mut away.calls, 1);
        }
        now < self.usable_until
            && (self.messages.amount == 0 || self.available.messages >= messages)
            && (self.calls.amount == 0 || self.available.calls >= 1)
    }

    /// Whether all of this is granted already.
    pub(super) fn covers(&self, amount: Amount, now: Instant) -> bool {
        now < self.usable_until
            && (self.messages.amount == 0 || self.available.messages >= amount.messages)
            && (self.calls.amount == 0 || self.available.calls >= amount.calls)
    }

    /// Whether this replica's part of what nobody else wants has room for so many more, by what Redis said lately.
    pub(super) fn is_open(&self, messages: u64, now: Instant) -> bool {
        let view = self.view.as_ref();
        view.is_some_and(|view| {
            now < view.at + RENEW && self.admitted + messages <= view.open / view.live.max(1)
        })
    }

    /// A message was admitted that Redis does not know of.
    pub(super) fn admitted(&mut self, messages: u64) {
        self.admitted += messages;
    }

    pub(super) fn limit(&self) -> Option<u64> {
        (self.messages.amount > 0).then_some(self.messages.amount)
    }

    /// What is left of the whole quota, as far as is known here.
    pub(super) fn room(&mut self, now: Instant) -> u64 {
        if self.messages.amount == 0 {
            return u64::MAX;
        }
        let (left, _) = left(&self.view, self.messages, self.calls, now);
        match &mut self.away {
            Some(away) => part(left, self.share).saturating_sub(away.messages.used(now)),
            None => left + self.available.messages,
        }
    }

    pub(super) fn charge(&mut self, messages: u64, now: Instant) {
        let call = Amount { calls: 1, messages };
        self.under_way = self.under_way + call;
        self.charged = self.charged + call;
        self.last_charge = now;
        match &mut self.away {
            Some(away) => {
                away.messages.charge(messages);
                away.calls.charge(1);
            }
            None => self.available = self.available - call,
        }
    }

    pub(super) fn end(&mut self, call: Amount, began: Instant, now: Instant) {
        self.under_way = self.under_way - call;
        match self.ended.back_mut() {
            // The later end holds for both.
            Some((at, sum)) if now.duration_since(*at) < GRAIN => {
                *at = now;
                *sum = *sum + call;
            }
            _ => self.ended.push_back((now, call)),
        }
        if let Some(away) = &mut self.away
            && began >= away.since
        {
            away.messages.end(call.messages, began, now);
            away.calls.end(call.calls, began, now);
        }
    }

    /// The call is proven not to have reached Easemob's count.
    pub(super) fn give_back(&mut self, messages: u64, now: Instant) {
        let call = Amount { calls: 1, messages };
        match &mut self.away {
            // Whether it began before Redis went is not known here: it counts as ended.
            Some(away) => {
                self.under_way = self.under_way - call;
                away.messages.end_at_most(messages, now);
                away.calls.end_at_most(1, now);
            }
            None => {
                self.under_way = self.under_way - call;
                self.available = self.available + call;
            }
        }
    }

    /// When this much will fit, if nothing else goes before.
    pub(super) fn when_fits(&mut self, amount: Amount, now: Instant) -> Instant {
        let Limit {
            amount: limit,
            length,
        } = self.messages;
        let calls = self.when_calls_fit(amount.calls, now);
        if limit == 0 {
            return calls;
        }
        let Some(away) = &mut self.away else {
            let rounds = amount.messages.saturating_sub(1) / limit;
            return (now + length * u32::try_from(rounds).unwrap_or(u32::MAX)).max(calls);
        };
        let (left, _) = left(&self.view, self.messages, self.calls, now);
        match away.messages.used(now) + amount.messages <= part(left, self.share) {
            true => calls,
            false => away
                .messages
                .when_fits(amount.messages, now)
                .max(now + length / SLOTS),
        }
    }

    /// They are on their way through a window of a second.
    pub(super) fn when_calls_fit(&self, calls: u64, now: Instant) -> Instant {
        match self.calls.amount {
            0 => now,
            limit => {
                let rounds = calls.saturating_sub(1) / limit;
                now + self.calls.length * u32::try_from(rounds).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether this replica is on its own.
    pub(super) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Redis did not answer: until it does, this replica uses its share of what was left.
    pub(super) fn failed(&mut self, retry_after: Duration, now: Instant) {
        let share = |limit: Limit| {
            let share = part(limit.amount, self.share);
            Window::new(u32::try_from(share).unwrap_or(u32::MAX), limit.length)
        };
        let (messages, calls) = (share(self.messages), share(self.calls));
        self.available = Amount::default();
        let away = self.away.get_or_insert(Away {
            since: now,
            messages,
            calls,
            retry_at: now,
        });
        let soon = Duration::from_millis(100);
        away.retry_at = now + retry_after.clamp(soon, RENEW);
    }
}
