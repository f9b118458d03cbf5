//! A kind whose quota other replicas use too: what Redis is asked and told, and who waits for the answer.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{Amount, Rules};
use crate::quota::{
    Admission, Asker, Kind, Quotas, Refusal,
    lease::{Answer, Ask, Asked, Hope, Step},
};

/// Who hopes to be told when it may go, in one question at most.
const HOPES: usize = 128;

/// How a message is admitted, unless it is refused.
#[derive(Debug)]
pub(in crate::quota) enum Entry {
    Admitted,
    /// Redis is asked when it may go.
    Asked(oneshot::Receiver<Result<Admission, Refusal>>),
}

/// A message of which Redis is asked when it may go, and who waits to be told.
#[derive(Debug)]
pub(in crate::quota) struct Hoping {
    hope: Hope,
    asker: Asker,
    quotas: Arc<Quotas>,
    kind: Kind,
    /// The end of its time; none where that is over, and it is told when to come back.
    until: Option<Instant>,
    tell: oneshot::Sender<Result<Admission, Refusal>>,
}

/// What Redis told, and to whom it is passed on.
#[derive(Debug)]
pub(in crate::quota) struct Told(Hoping, Result<(), Refusal>);

impl Told {
    /// Passes it on. Not under the lock: where nobody waits any more, the message leaves again.
    pub(in crate::quota) fn pass_on(self) {
        let Self(hoping, result) = self;
        let Hoping {
            hope,
            asker,
            quotas,
            kind,
            tell,
            ..
        } = hoping;
        let admission = result.map(|()| Admission::new(quotas, kind, asker, hope.amount));
        let _left = tell.send(admission);
    }
}

impl Rules {
    /// Whether other replicas use the quota too, and are heard of.
    pub(super) fn shares(&mut self) -> bool {
        self.budget.lease().is_some_and(|lease| !lease.is_away())
    }

    /// What is granted already, or not wanted by others, goes. Who came back when told has its place, whatever the others do. Else
    /// Redis is asked.
    pub(super) fn admit_among_replicas(
        &mut self,
        of: (&Arc<Quotas>, Kind),
        asker: &Asker,
        amount: Amount,
        came_back: bool,
        until: Instant,
        now: Instant,
    ) -> Result<Entry, Refusal> {
        let backlog = self.line.all_backlog() + amount;
        let own = self.line.own_backlog(asker) + amount;
        let kept = self.line.kept_for_others(&asker.name, own.messages, now);
        let lease = self.budget.lease().filter(|_| kept == 0);
        let at_once = lease
            .is_some_and(|lease| lease.covers(backlog, now) || lease.is_open(amount.messages, now));
        if !came_back && !at_once {
            let asked = self.ask(of, asker, amount, kept, Some(until));
            return Ok(Entry::Asked(asked));
        }
        self.admit_at(asker, amount, now, until, now)?;
        Ok(Entry::Admitted)
    }

    /// A call that was admitted had no turn by now, which is the end of its time: Redis is asked when it may go, where others
    /// use the quota too.
    pub(in crate::quota) fn ask_again(
        &mut self,
        of: (&Arc<Quotas>, Kind),
        asker: &Asker,
        messages: u64,
    ) -> Option<oneshot::Receiver<Result<Admission, Refusal>>> {
        let call = Amount { calls: 1, messages };
        self.shares().then(|| self.ask(of, asker, call, 0, None))
    }

    /// When it would have its turn, if it were asked for again then.
    pub(in crate::quota) fn missed(
        &mut self,
        asker: &Asker,
        messages: u64,
        now: Instant,
    ) -> Refusal {
        let call = Amount { calls: 1, messages };
        let when = match self.shares() {
            // Nobody told: once all that is charged has left, it is as good as any other.
            true => now + self.length,
            false => self.when_last_goes(asker, call, true, now),
        };
        self.come_back(asker, call, when, now)
    }

    /// Asks when a message may go, with the next question to Redis. Nobody tells where Redis went away meanwhile.
    fn ask(
        &mut self,
        (quotas, kind): (&Arc<Quotas>, Kind),
        asker: &Asker,
        amount: Amount,
        kept: u64,
        until: Option<Instant>,
    ) -> oneshot::Receiver<Result<Admission, Refusal>> {
        let before = self.line.before(asker, amount, |flow| flow.backlog);
        // By fair order it need not wait for these.
        let passes = (self.line.all_backlog() + amount - before).messages;
        let (tell, told) = oneshot::channel();
        let needs = (amount.messages + kept).saturating_sub(passes);
        self.hopes.push_back(Hoping {
            hope: Hope { amount, needs },
            asker: asker.clone(),
            quotas: Arc::clone(quotas),
            kind,
            until,
            tell,
        });
        told
    }

    /// Redis told when a message may go.
    fn told(&mut self, hoping: &Hoping, when: Instant, now: Instant) -> Result<(), Refusal> {
        let Hoping {
            hope, asker, until, ..
        } = hoping;
        match until {
            // Others came while it waited for the answer.
            Some(_) if self.line.admitted(asker) >= self.most => Err(Refusal::QueueFull),
            Some(until) => self.admit_at(asker, hope.amount, when, *until, now),
            None => Err(self.come_back(asker, hope.amount, when, now)),
        }
    }

    /// Admits a message that may go at this time, if that is in its own.
    fn admit_at(
        &mut self,
        asker: &Asker,
        amount: Amount,
        when: Instant,
        until: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        let calls = self.line.before(asker, amount, |flow| flow.backlog).calls;
        let calls = self
            .budget
            .lease()
            .map(|lease| lease.when_calls_fit(calls, now));
        let when = when
            .max(self.paused_until.unwrap_or(now))
            .max(calls.unwrap_or(now));
        // What need not wait is no matter of the quota, however late it is.
        if when <= until.max(now) {
            self.line.admit(asker, amount, until);
            if let Some(lease) = self.budget.lease() {
                lease.admitted(amount.messages);
            }
            return Ok(());
        }
        let needs = when - now;
        let alone = self.when_fits(amount, now).duration_since(now);
        if !self.is_within_a_window(amount) && alone > until.saturating_duration_since(now) {
            return Err(Refusal::TooLate {
                retry_after: None,
                needs,
            });
        }
        Err(self.come_back(asker, amount, when, now))
    }

    /// What is to be done about the lease. With the end of it nobody keeps it any more.
    pub(in crate::quota) fn lease_step(&mut self, now: Instant) -> Step {
        let wanted = match self.paused_until.is_some_and(|until| now < until) {
            true => Vec::new(),
            false => self.line.sizes(),
        };
        self.hopes.retain(|hoping| !hoping.tell.is_closed());
        let asked = Asked {
            queued: self.line.queued(),
            queued_until: self.line.queued_until(),
            promised: self.line.promised(now),
            hopes: !self.hopes.is_empty(),
        };
        let Some(lease) = self.budget.lease() else {
            return Step::End;
        };
        let mut step = lease.step(&wanted, asked, now);
        match &mut step {
            Step::Ask(ask) => {
                let (step, most) = lease.promise_steps();
                ask.promises = self.line.promises(step, most, now);
                let hopes = self.hopes.iter().take(HOPES);
                ask.hopes = hopes.map(|hoping| hoping.hope).collect();
            }
            Step::Until(_) => {}
            Step::End => self.keeps_lease = false,
        }
        step
    }

    /// What Redis told those who hoped is to be passed on.
    #[must_use]
    pub(in crate::quota) fn lease_answered(
        &mut self,
        ask: &Ask,
        answer: Answer,
        now: Instant,
    ) -> Vec<Told> {
        let mut all = Vec::new();
        if let Answer::Granted { told, .. } = &answer {
            for wait in told.iter().take(ask.hopes.len()) {
                if let Some(hoping) = self.hopes.pop_front() {
                    let result = self.told(&hoping, now + *wait, now);
                    all.push(Told(hoping, result));
                }
            }
        }
        if let Some(lease) = self.budget.lease() {
            lease.answered(ask, answer);
        }
        all
    }

    pub(in crate::quota) fn lease_failed(&mut self, retry_after: Duration, now: Instant) {
        self.hopes.clear();
        if let Some(lease) = self.budget.lease() {
            lease.failed(retry_after, now);
        }
    }
}
