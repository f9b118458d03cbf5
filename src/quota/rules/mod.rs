//! When a call may go: the two limits of a kind, a pause that Easemob asked for, and the line. `shared` is what comes on top
//! where other replicas use the quota too.

mod shared;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use self::shared::Hoping;
pub(super) use self::shared::{Entry, Told};
pub(super) use super::line::Amount;
use super::{
    Asker, CallerUse, Kind, Quotas, Refusal, Turn, Use,
    budget::Budget,
    line::{Line, Next},
};
use crate::app::Quota;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What is known of a call when it has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) messages: u64,
    /// When it began, if Easemob may have counted the call.
    pub(super) call_counted: Option<Instant>,
    /// The same, if Easemob may have counted its messages.
    pub(super) messages_counted: Option<Instant>,
}

/// The state of one kind.
#[derive(Debug)]
pub(super) struct Rules {
    budget: Budget,
    paused_until: Option<Instant>,
    line: Line,
    /// The quota's time.
    length: Duration,
    /// Those who wait to be told when they may go.
    hopes: VecDeque<Hoping>,
    /// Messages of one caller that may be under way or wait.
    most: usize,
    keeps_time: bool,
    keeps_lease: bool,
    calls_per_second: u64,
}

impl Rules {
    /// `share`: of the quota, while Redis is away; none where nothing is shared.
    pub(super) fn new(kind: Kind, quota: &Quota, most: usize, share: Option<f64>) -> Self {
        let (calls, messages) = match kind {
            Kind::Users => (
                quota.users.calls_per_second,
                Some((quota.users.messages_per_minute, MINUTE)),
            ),
            Kind::Groups => (
                quota.groups.calls_per_second,
                Some((quota.groups.messages_per_second, SECOND)),
            ),
            Kind::Chatrooms => (
                quota.chatrooms.calls_per_second,
                Some((quota.chatrooms.messages_per_second, SECOND)),
            ),
            Kind::Directed => (
                quota.directed.calls_per_second,
                Some((quota.directed.messages_per_second, SECOND)),
            ),
            Kind::Files => (quota.files.calls_per_second, None),
        };
        let length = messages.map_or(SECOND, |(_, length)| length);
        let budget = Budget::new(calls, messages, share);
        let limit = budget.limit();
        Self {
            budget,
            calls_per_second: calls.into(),
            keeps_lease: false,
            paused_until: None,
            line: Line::new(limit, length),
            length,
            hopes: VecDeque::new(),
            most,
            keeps_time: false,
        }
    }

    pub(super) fn admit(
        &mut self,
        (quotas, kind): (&Arc<Quotas>, Kind),
        asker: &Asker,
        amount: Amount,
        largest: u64,
        until: Instant,
        now: Instant,
    ) -> Result<Entry, Refusal> {
        if self.budget.limit().is_some_and(|limit| largest > limit) {
            return Err(Refusal::NeverFits);
        }
        // Among replicas who comes back has its place in any case, so it has to be the same message.
        let shares = self.shares();
        let (admitted, came_back) = self.line.ask(asker, amount, shares.then_some(amount), now);
        if admitted >= self.most {
            return Err(Refusal::QueueFull);
        }
        if shares {
            let of = (quotas, kind);
            return self.admit_among_replicas(of, asker, amount, came_back, until, now);
        }
        // Who came back when told goes before those who will.
        self.admit_alone(asker, amount, !came_back, until, now)?;
        Ok(Entry::Admitted)
    }

    /// The same where others use the quota too, and do not tell in time.
    pub(super) fn admit_alone(
        &mut self,
        asker: &Asker,
        amount: Amount,
        promised: bool,
        until: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        let last = self.when_last_goes(asker, amount, promised, now);
        // What need not wait is no matter of the quota, however late it is.
        if last > until.max(now) {
            return Err(self.refuse(asker, amount, last, until, now));
        }
        self.line.admit(asker, amount, until);
        Ok(())
    }

    fn come_back(&mut self, asker: &Asker, amount: Amount, when: Instant, now: Instant) -> Refusal {
        self.line.promise(asker, when, amount);
        Refusal::TooLate {
            retry_after: Some(when - now),
            needs: when - now,
        }
    }

    fn is_within_a_window(&self, amount: Amount) -> bool {
        let calls = Some(self.calls_per_second).filter(|limit| *limit > 0);
        calls.is_none_or(|limit| amount.calls <= limit)
            && self
                .budget
                .limit()
                .is_none_or(|limit| amount.messages <= limit)
    }

    fn when_last_goes(
        &mut self,
        asker: &Asker,
        amount: Amount,
        promised: bool,
        now: Instant,
    ) -> Instant {
        let own = self.line.own_backlog(asker) + amount;
        let kept = self.line.kept_for_others(&asker.name, own.messages, now);
        let with_kept = |mut amount: Amount| {
            amount.messages += kept;
            amount
        };
        // Where there is room for all, however many they are, nobody's share matters.
        let all = with_kept(self.line.all_ahead() + amount);
        if self.when_fits(all, now) <= now {
            return now;
        }
        let before = self.line.before(asker, amount, |flow| {
            flow.forget_promises(now);
            flow.ahead(promised)
        });
        self.when_fits(with_kept(before), now)
    }

    fn refuse(
        &mut self,
        asker: &Asker,
        amount: Amount,
        last: Instant,
        until: Instant,
        now: Instant,
    ) -> Refusal {
        let needs = last - now;
        // With all of the quota before it, it would still need this long.
        let alone = self.when_fits(amount, now).duration_since(now);
        if !self.is_within_a_window(amount) && alone > until.saturating_duration_since(now) {
            return Refusal::TooLate {
                retry_after: None,
                needs,
            };
        }
        let before = self.line.before_at_own_pace(asker, amount, now);
        // As long as those before it stay, it would be refused until then.
        let in_time = last - until.saturating_duration_since(now);
        let when = self.when_fits(before, now).max(in_time);
        self.line.promise(asker, when, amount);
        Refusal::TooLate {
            retry_after: Some(when - now),
            needs,
        }
    }

    /// A call has to go once more, after its message was thought to have gone whole.
    pub(super) fn again(&mut self, asker: &Asker, call: Amount) {
        self.line.again(asker, call.messages);
    }

    /// The usual case: nobody waits, and there is room.
    pub(super) fn go_at_once(
        &mut self,
        asker: &Asker,
        messages: u64,
        places: Option<&Arc<Semaphore>>,
        now: Instant,
    ) -> Option<Option<OwnedSemaphorePermit>> {
        if !self.line.is_empty() {
            return None;
        }
        let kept = self.line.kept_for_others(&asker.name, messages, now);
        if !self.has_room(messages, kept, now) {
            return None;
        }
        let place = match places {
            Some(places) => Some(Arc::clone(places).try_acquire_owned().ok()?),
            None => None,
        };
        self.budget.charge(messages, now);
        self.line.charge(&asker.name, messages);
        Some(place)
    }

    pub(super) fn wait(
        &mut self,
        asker: &Asker,
        turn: Turn,
        places: Option<&Arc<Semaphore>>,
    ) -> oneshot::Receiver<Turn> {
        self.line.wait(asker, turn, places.cloned())
    }

    /// A call of this caller goes, and so is no longer before anybody.
    pub(super) fn went(&mut self, asker: &Asker, messages: u64) {
        self.line.went(asker, messages);
    }

    /// Lets everybody go whose turn it is. Whether the next one waits for time to pass; else all wait for places,
    /// and are let go when one is given back.
    pub(super) fn let_go(&mut self, now: Instant) -> bool {
        while let Some(next) = self.next(now) {
            let messages = next.messages;
            if !self.has_room(messages, 0, now) {
                return true;
            }
            self.budget.charge(messages, now);
            if !self.line.go(next) {
                self.budget.give_back(messages, now);
            }
        }
        false
    }

    /// When to look again; none, and the end of keeping time, where nobody waits.
    pub(super) fn next_time(&mut self, now: Instant) -> Option<Instant> {
        self.let_go(now);
        if self.line.is_empty() {
            self.keeps_time = false;
            return None;
        }
        if self.budget.lease().is_some() {
            // What is granted lets them go by itself; the rest is for what changes with time alone.
            let unpaused = self.paused_until.filter(|until| *until > now);
            return Some(unpaused.unwrap_or(now + SECOND / 10));
        }
        Some(match self.next(now) {
            // A moment later than now: not to spin where the estimate is short.
            Some(next) => {
                let amount = Amount {
                    calls: 1,
                    messages: next.messages,
                };
                self.when_fits(amount, now)
                    .max(now + Duration::from_millis(1))
            }
            // All wait for places, and are told when one is given back; or for what is kept for others, which changes
            // with time.
            None => now + SECOND / 10,
        })
    }

    fn next(&mut self, now: Instant) -> Option<Next> {
        let room = self.budget.room(now);
        self.line.next(room, now)
    }

    pub(super) fn begin_to_keep_time(&mut self) -> bool {
        !std::mem::replace(&mut self.keeps_time, true)
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn leave(&mut self, asker: &Asker, left: Amount) {
        self.line.leave(asker, left);
    }

    /// A call ended: what Easemob counted is charged for a window more, and the rest is given back.
    pub(super) fn end(&mut self, asker: &Asker, end: End, now: Instant) {
        self.line
            .end(asker, end.messages, end.messages_counted, now);
        self.budget.settle(end, now);
    }

    /// Whether a call would go now, but for those before it and a place.
    pub(super) fn has_room_for(&mut self, messages: u64, now: Instant) -> bool {
        self.has_room(messages, 0, now)
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |other| other.max(until)));
    }

    pub(super) fn message_limit(&self) -> Option<u64> {
        self.budget.limit()
    }

    pub(super) fn usage(&mut self, now: Instant) -> Use {
        let (used, limit) = self.budget.usage(now);
        Use {
            waiting: usize::try_from(self.line.backlog()).unwrap_or(usize::MAX),
            limit,
            used,
        }
    }

    pub(super) fn callers(&mut self, now: Instant) -> Vec<CallerUse> {
        self.line.callers(now)
    }

    pub(super) fn begin_to_keep_lease(&mut self) -> bool {
        !std::mem::replace(&mut self.keeps_lease, true)
    }

    fn has_room(&mut self, messages: u64, kept: u64, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| now >= until) && self.budget.fits(messages, kept, now)
    }

    fn when_fits(&mut self, amount: Amount, now: Instant) -> Instant {
        let unpaused = self.paused_until.map_or(now, |until| until.max(now));
        self.budget.when_fits(amount, now).max(unpaused)
    }
}
