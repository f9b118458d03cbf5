//! When a replica asks Redis something, or tells it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Ask, Lease, RENEW};
use crate::quota::flow::Amount;

/// How long what ended may wait to be told, and what is not used to be given back. A charge lasts a window from its
/// own end, however late that is told.
pub(super) const REPORT: Duration = Duration::from_millis(300);
/// Between two questions of all replicas together that wait, where a hundred calls go a second, or fewer: so one question
/// serves nine.
const PACE: Duration = Duration::from_millis(90);
/// The same where more go.
const FASTEST_PACE: Duration = Duration::from_millis(10);
/// Between two questions of one replica that waits, however many do: what ended has to be told within its window.
const LONGEST_PACE: Duration = Duration::from_millis(500);

/// What callers want of this replica, in messages.
#[derive(Debug, Clone, Copy)]
pub(in crate::quota) struct Asked {
    /// Of calls that wait.
    pub(in crate::quota) queued: u64,
    /// Until when the last of them waits.
    pub(in crate::quota) queued_until: Option<Instant>,
    /// Of those that were told to come back.
    pub(in crate::quota) promised: u64,
    /// Whether some hope to be told when they may go.
    pub(in crate::quota) hopes: bool,
}

/// What is to be done about a lease.
#[derive(Debug)]
pub(in crate::quota) enum Step {
    Ask(Box<Ask>),
    Until(Instant),
    /// Nothing of it counts any more.
    End,
}

impl Lease {
    /// What is to be done now. `wanted`: the calls that wait, in their order.
    pub(in crate::quota) fn step(&mut self, wanted: &[u64], asked: Asked, now: Instant) -> Step {
        self.forget(now);
        if let Some(away) = &self.away {
            if now < away.retry_at {
                return Step::Until(away.retry_at);
            }
            return Step::Ask(Box::new(self.ask(wanted, asked, now)));
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
            Some(next) if next <= now => Step::Ask(Box::new(self.ask(wanted, asked, now))),
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
}
