//! When a call may go: the two limits of a kind, a pause that Easemob asked for, and the line.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

pub(super) use super::line::Amount;
use super::{
    Asker, Kind, Refusal, Turn, Use,
    line::{Line, Next},
    window::Window,
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
    calls: Option<Window>,
    messages: Option<Window>,
    paused_until: Option<Instant>,
    line: Line,
    /// Messages of one caller that may be under way or wait.
    most: usize,
    keeps_time: bool,
}

impl Rules {
    pub(super) fn new(kind: Kind, quota: &Quota, most: usize) -> Self {
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
        let window = |(limit, length)| (limit > 0).then(|| Window::new(limit, length));
        let length = messages.map_or(SECOND, |(_, length)| length);
        let messages = messages.and_then(window);
        let limit = messages.as_ref().map(Window::limit);
        Self {
            calls: window((calls, SECOND)),
            messages,
            paused_until: None,
            line: Line::new(limit, length),
            most,
            keeps_time: false,
        }
    }

    pub(super) fn admit(
        &mut self,
        asker: &Asker,
        amount: Amount,
        largest: u64,
        until: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self
            .messages
            .as_ref()
            .is_some_and(|window| largest > window.limit())
        {
            return Err(Refusal::NeverFits);
        }
        let (admitted, came_back) = self.line.ask(asker, amount, now);
        if admitted >= self.most {
            return Err(Refusal::QueueFull);
        }
        // Who came back when told goes before those who will.
        let last = self.when_last_goes(asker, amount, !came_back, now);
        // What need not wait is no matter of the quota, however late it is.
        if last > until.max(now) {
            return Err(self.refuse(asker, amount, last, until, now));
        }
        self.line.admit(asker, amount);
        Ok(())
    }

    fn when_last_goes(
        &mut self,
        asker: &Asker,
        amount: Amount,
        promised: bool,
        now: Instant,
    ) -> Instant {
        let mut before = self.line.before(asker, amount, promised, now);
        let own = self.line.own_backlog(asker) + amount;
        before.messages += self.line.kept_for_others(&asker.name, own.messages, now);
        self.when_fits(before, now)
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
        let rounds = |window: &Option<Window>, amount: u64| {
            window
                .as_ref()
                .is_some_and(|window| amount > window.limit())
        };
        let whole = !rounds(&self.calls, amount.calls) && !rounds(&self.messages, amount.messages);
        if !whole && alone > until.saturating_duration_since(now) {
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
        if !self.has_room(messages + kept, now) {
            return None;
        }
        let place = match places {
            Some(places) => Some(Arc::clone(places).try_acquire_owned().ok()?),
            None => None,
        };
        self.charge(messages);
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

    /// Lets everybody go whose turn it is.
    pub(super) fn let_go(&mut self, now: Instant) {
        while let Some(next) = self.next(now) {
            let messages = next.messages;
            if !self.has_room(messages, now) {
                return;
            }
            self.charge(messages);
            if !self.line.go(next) {
                self.give_back(messages);
            }
        }
    }

    /// When to look again; none, and the end of keeping time, where nobody waits.
    pub(super) fn next_time(&mut self, now: Instant) -> Option<Instant> {
        self.let_go(now);
        if self.line.is_empty() {
            self.keeps_time = false;
            return None;
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
        let room = self.messages.as_mut().map_or(u64::MAX, |window| {
            window.limit().saturating_sub(window.used(now))
        });
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
        let End {
            messages,
            call_counted,
            messages_counted,
        } = end;
        self.line.end(asker, messages, messages_counted, now);
        if let Some(window) = &mut self.calls {
            window.settle(1, call_counted, now);
        }
        if let Some(window) = &mut self.messages {
            window.settle(messages, messages_counted, now);
        }
    }

    /// Whether a call would go now, but for those before it and a place.
    pub(super) fn has_room_for(&mut self, messages: u64, now: Instant) -> bool {
        self.has_room(messages, now)
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |other| other.max(until)));
    }

    pub(super) fn message_limit(&self) -> Option<u64> {
        self.messages.as_ref().map(Window::limit)
    }

    pub(super) fn usage(&mut self, now: Instant) -> Use {
        let window = self.messages.as_mut().or(self.calls.as_mut());
        Use {
            waiting: usize::try_from(self.line.backlog()).unwrap_or(usize::MAX),
            limit: window.as_ref().map_or(0, |window| window.limit()),
            used: window.map_or(0, |window| window.used(now)),
        }
    }

    fn has_room(&mut self, messages: u64, now: Instant) -> bool {
        let fits = |window: &mut Option<Window>, amount: u64| {
            window
                .as_mut()
                .is_none_or(|window| window.fits(amount, now))
        };
        self.paused_until.is_none_or(|until| now >= until)
            && fits(&mut self.calls, 1)
            && fits(&mut self.messages, messages)
    }

    fn when_fits(&mut self, amount: Amount, now: Instant) -> Instant {
        let when = |window: &mut Option<Window>, amount: u64| {
            window
                .as_mut()
                .map_or(now, |window| window.when_fits(amount, now))
        };
        let unpaused = self.paused_until.map_or(now, |until| until.max(now));
        when(&mut self.calls, amount.calls)
            .max(when(&mut self.messages, amount.messages))
            .max(unpaused)
    }

    fn charge(&mut self, messages: u64) {
        if let Some(calls) = &mut self.calls {
            calls.charge(1);
        }
        if let Some(window) = &mut self.messages {
            window.charge(messages);
        }
    }

    fn give_back(&mut self, messages: u64) {
        if let Some(calls) = &mut self.calls {
            calls.give_back(1);
        }
        if let Some(window) = &mut self.messages {
            window.give_back(messages);
        }
    }
}
