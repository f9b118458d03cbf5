//! A replica's part of a quota that several share: what it was granted and has not used, what is on its way, what
//! ended and is still to be told. Knows no Redis: `shared.rs` carries questions and answers.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{flow::Amount, window::Window};

/// How long what ended may wait to be told, and what is not used to be given back. A charge lasts a window from its
/// own end, however late that is told.
const REPORT: Duration = Duration::from_millis(300);
/// How often a replica shows that it lives while anything of it counts.
const RENEW: Duration = Duration::from_secs(1);
/// How long a grant may be used after the question that it answers.
pub(super) const USABLE: Duration = Duration::from_secs(10);
/// Between two questions of all replicas together that wait, where a hundred calls go a second, or fewer: so one question
/// serves eight.
const PACE: Duration = Duration::from_millis(80);
/// The same where more go.
const FASTEST_PACE: Duration = Duration::from_millis(10);
/// Between two questions of one replica that waits, however many do: what ended has to be told within its window.
const LONGEST_PACE: Duration = Duration::from_millis(500);
/// Questions that may come sooner.
const BURST: f64 = 8.0;
/// Ends closer together are told as one.
const GRAIN: Duration = Duration::from_millis(5);
/// Parts of a window in which Redis tells what leaves.
const SLOTS: u32 = 16;
/// Parts of a window in which times are told; as in the script.
const STEPS: u32 = 64;
/// Calls at most that are asked for at once.
const CALLS: usize = 512;

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

/// What callers want of this replica, in messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Of calls that wait.
    pub(super) queued: u64,
    /// Until when the last of them waits.
    pub(super) queued_until: Option<Instant>,
    /// Of those that were told to come back.
    pub(super) promised: u64,
    /// Whether some hope to be told when they may go.
    pub(super) hopes: bool,
}

/// A message for which there may not be enough: when may it go?
#[derive(Debug, Clone, Copy)]
pub(super) struct Hope {
    pub(super) amount: Amount,
    /// What has to be left for it to go: with what is kept for other callers, without what fair order lets it pass.
    pub(super) needs: u64,
}

/// What Redis said last.
#[derive(Debug, Clone)]
struct View {
    at: Instant,
    left: i64,
    left_calls: i64,
    busy: u64,
    open: u64,
    /// What leaves in each sixteenth of the window from then on.
    slots: Vec<u64>,
    /// Somebody here still waits.
    short: bool,
}

/// Redis is away since then, and this is what was used meanwhile.
#[derive(Debug)]
struct Away {
    since: Instant,
    messages: Window,
    calls: Window,
    retry_at: Instant,
}

#[derive(Debug)]
struct Pace {
    tokens: f64,
    at: Instant,
}

/// A question to Redis.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) generation: String,
    pub(super) sequence: u64,
    pub(super) batch: u64,
    /// A question that Redis has answered, and has to know of.
    pub(super) answered: u64,
    pub(super) messages: Limit,
    pub(super) calls: Limit,
    pub(super) held: Amount,
    pub(super) available: Amount,
    pub(super) reserve: Amount,
    pub(super) queued: u64,
    pub(super) patience: Duration,
    /// In how long, and how much.
    pub(super) promises: Vec<(Duration, u64)>,
    /// How long ago, and how much.
    pub(super) ended: Vec<(Duration, Amount)>,
    pub(super) wanted: Vec<u64>,
    pub(super) hopes: Vec<Hope>,
    pub(super) asked_at: Instant,
}

/// What Redis says.
#[derive(Debug)]
pub(super) enum Answer {
    /// So much more may be used.
    Granted {
        generation: String,
        granted: Amount,
        left: i64,
        left_calls: i64,
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

/// What is to be done about a lease.
#[derive(Debug)]
pub(super) enum Step {
    Ask(Ask),
    Until(Instant),
    /// Nothing of it counts any more.
    End,
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
            pace: Pace {
                tokens: BURST,
                at: now,
            },
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
            now < view.at + RENEW && self.admitted + messages <= view.open / (view.busy + 1)
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

    /// The steps in which others are told when callers were told to come back, and how many at most.
    pub(super) fn promise_steps(&self) -> (Duration, u32) {
        (self.messages.length / STEPS, 2 * STEPS)
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

    /// What is to be done now. `wanted`: the calls that wait, in their order.
    pub(super) fn step(&mut self, wanted: &[u64], asked: Asked, now: Instant) -> Step {
        self.forget(now);
        if let Some(away) = &self.away {
            if now < away.retry_at {
                return Step::Until(away.retry_at);
            }
            return Step::Ask(self.ask(wanted, asked, now));
        }
        if now >= self.usable_until {
            self.available = Amount::default();
        }
        let waits = wanted.first().is_some_and(|first| !self.fits(*first, now));
        let busy = self.view.as_ref().map_or(0, |view| view.busy);
        let between = self.between(busy + 1);
        let asked_at = self.view.as_ref().map(|view| view.at);
        let is_short = self.view.as_ref().is_some_and(|view| view.short);
        let mut next = None;
        let mut at = |when: Instant| next = Some(next.map_or(when, |next: Instant| next.min(when)));
        if waits {
            let paced = self.pace.ready(between, now);
            at(match asked_at.filter(|_| is_short) {
                Some(asked_at) => paced.max(asked_at + between),
                None => paced,
            });
        }
        if asked.hopes {
            // They are waited for by callers that may have to be refused.
            let between = (FASTEST_PACE * u32::try_from(busy + 1).unwrap_or(u32::MAX)).min(PACE);
            at(asked_at.map_or(now, |asked_at| now.max(asked_at + between)));
        }
        if asked.promised > self.told_promised {
            // What others tell their callers depends on it.
            at(self.pace.ready(between, now));
        }
        if let Some((oldest, _)) = self.telling.front().or(self.ended.front()) {
            at((*oldest + REPORT).max(self.pace.ready(between, now)));
        }
        if self.available != Amount::default() && wanted.is_empty() {
            at((self.last_charge + REPORT).max(asked_at.unwrap_or(now) + REPORT));
        }
        if self.available != Amount::default()
            || self.under_way != Amount::default()
            || !self.told.is_empty()
            || asked.promised > 0
        {
            at(asked_at.unwrap_or(now) + RENEW);
        }
        match next {
            Some(next) if next <= now => Step::Ask(self.ask(wanted, asked, now)),
            Some(next) => Step::Until(next),
            None => Step::End,
        }
    }

    /// Between two questions of this replica, where so many wait.
    fn between(&self, waiting: u64) -> Duration {
        let pace = match self.calls.amount {
            0 => PACE,
            calls => {
                (PACE * 100 / u32::try_from(calls).unwrap_or(u32::MAX)).clamp(FASTEST_PACE, PACE)
            }
        };
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        pace.saturating_mul(waiting).min(LONGEST_PACE)
    }

    fn ask(&mut self, wanted: &[u64], asked: Asked, now: Instant) -> Ask {
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

    pub(super) fn answered(&mut self, ask: &Ask, answer: Answer) {
        match answer {
            Answer::Granted {
                generation,
                granted,
                left,
                left_calls,
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
    fn forget(&mut self, now: Instant) {
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

/// What was left when Redis last said so, and what has left its windows since. What nothing is known of, or only
/// what is long over, is all free.
fn left(view: &Option<View>, messages: Limit, calls: Limit, now: Instant) -> (u64, u64) {
    let Some(view) = view else {
        return (messages.amount, calls.amount);
    };
    let passed = now.duration_since(view.at);
    let positive = |left: i64| u64::try_from(left).unwrap_or(0);
    let of_calls = match passed > calls.length * 2 {
        true => calls.amount,
        false => positive(view.left_calls).min(calls.amount),
    };
    // What was on its way then has ended, and has left its window.
    if passed > messages.length + 3 * USABLE {
        return (messages.amount, of_calls);
    }
    let slot = messages.length / SLOTS;
    let gone = (1u32..)
        .zip(&view.slots)
        .filter(|(number, _)| slot * *number <= passed)
        .map(|(_, amount)| amount)
        .sum::<u64>();
    ((positive(view.left) + gone).min(messages.amount), of_calls)
}

fn part(of: u64, millionths: u64) -> u64 {
    of.saturating_mul(millionths) / 1_000_000
}

impl Pace {
    /// When the next question may go.
    fn ready(&mut self, between: Duration, now: Instant) -> Instant {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed / between.as_secs_f64()).min(BURST);
        match self.tokens >= 1.0 {
            true => now,
            false => now + between.mul_f64(1.0 - self.tokens),
        }
    }

    fn take(&mut self, now: Instant) {
        self.at = self.at.max(now);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }
}
