//! Those who wait for their turn at one quota, in fair order.
//!
//! Start-time fair queueing: every caller has a clock that advances by what its calls cost, divided by its
//! weight, and the call with the earliest start goes next. A caller that asks for ten times its share
//! waits behind its own calls and not before others'. The next in order goes as soon as the quota has room for
//! it, and nothing smaller passes it meanwhile: so large calls are not passed by for ever.
//!
//! Order alone would not do: who takes a whole minute's quota at once leaves nothing for a minute, however fair the
//! order. So what the others asked for lately is kept for them, up to their shares; only what is left of it
//! can be taken beyond one's own share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

pub(super) use super::flow::Amount;
use super::{
    Asker, CallerUse, Turn,
    flow::{Flow, Waiting},
};

/// Steps of a caller's clock for one message, at weight 1.
const STEP: u64 = 1 << 20;

/// Those who wait, by caller.
#[derive(Debug)]
pub(super) struct Line {
    /// In order of their names: there are few, and finding one costs less than to hash its name.
    flows: BTreeMap<Arc<str>, Flow>,
    /// Callers of whom a call waits, and perhaps some of whom none does any more.
    in_line: BTreeSet<Arc<str>>,
    /// Of all callers: what was admitted and has not gone, and what was told to come back, whether or not it does.
    ahead: Amount,
    /// Sum of the callers' weights.
    weights: u64,
    /// Where the clocks stand: the start of the call that went last.
    clock: u64,
    waiting: usize,
    /// The messages that may go in `length`; none where they are not limited.
    limit: Option<u64>,
    length: Duration,
    tidied: Instant,
}

/// The call that goes next, once the quota has room for it.
#[derive(Debug)]
pub(super) struct Next {
    caller: Arc<str>,
    index: usize,
    pub(super) messages: u64,
    place: Option<OwnedSemaphorePermit>,
}

impl Line {
    pub(super) fn new(limit: Option<u64>, length: Duration) -> Self {
        Self {
            flows: BTreeMap::new(),
            in_line: BTreeSet::new(),
            ahead: Amount::default(),
            weights: 0,
            clock: 0,
            waiting: 0,
            limit,
            length,
            tidied: Instant::now(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Calls that were admitted and have not gone.
    pub(super) fn backlog(&self) -> u64 {
        self.flows.values().map(|flow| flow.backlog.calls).sum()
    }

    /// The messages of each call that waits, about in the order in which they will go.
    pub(super) fn sizes(&self) -> Vec<u64> {
        let waiting = self.flows.values().flat_map(|flow| &flow.queue);
        let mut waiting: Vec<_> = waiting
            .filter(|waiting| !waiting.has_left())
            .map(|waiting| (waiting.start, waiting.turn.messages()))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, messages)| messages).collect()
    }

    /// All that was admitted and has not gone.
    pub(super) fn all_backlog(&self) -> Amount {
        let backlogs = self.flows.values().map(|flow| flow.backlog);
        backlogs.fold(Amount::default(), std::ops::Add::add)
    }

    /// The messages that were admitted and have not gone.
    pub(super) fn queued(&self) -> u64 {
        self.flows.values().map(|flow| flow.backlog.messages).sum()
    }

    /// What each caller has, and waits for.
    pub(super) fn callers(&mut self, now: Instant) -> Vec<CallerUse> {
        let of = |(name, flow): (&Arc<str>, &mut Flow)| CallerUse {
            caller: Arc::clone(name),
            used: flow.used.used(now),
            waiting: flow.backlog.calls,
        };
        self.flows.iter_mut().map(of).collect()
    }

    /// Until when the last of them waits.
    pub(super) fn queued_until(&self) -> Option<Instant> {
        let waiting = self.flows.values().filter(|flow| flow.backlog.calls > 0);
        waiting.filter_map(|flow| flow.until).max()
    }

    /// The messages that were told to come back, and will.
    pub(super) fn promised(&mut self, now: Instant) -> u64 {
        let Self { flows, ahead, .. } = self;
        let of = |flow: &mut Flow| {
            flow.change(ahead, |flow| flow.forget_promises(now));
            flow.ahead(true).messages - flow.backlog.messages
        };
        flows.values_mut().map(of).sum()
    }

    /// No less than what goes before a message of any caller.
    pub(super) fn all_ahead(&self) -> Amount {
        self.ahead
    }

    /// The same by how long from now that is, in steps of this length; all that is further away than so many, at the last.
    pub(super) fn promises(&self, step: Duration, most: u32, now: Instant) -> Vec<(Duration, u64)> {
        let mut sums = BTreeMap::new();
        for (when, messages) in self.flows.values().flat_map(Flow::promises) {
            let wait = when.saturating_duration_since(now).as_nanos();
            let steps = wait.div_ceil(step.as_nanos().max(1));
            let steps = u32::try_from(steps).unwrap_or(most).min(most);
            *sums.entry(steps).or_default() += messages;
        }
        let wait = |(steps, messages)| (step * steps, messages);
        sums.into_iter().map(wait).collect()
    }

    /// Notes that a caller asks, granted or not. How many of its messages wait already, and whether it was told
    /// to come back now; with `of_size`, one of that size.
    pub(super) fn ask(
        &mut self,
        asker: &Asker,
        amount: Amount,
        of_size: Option<Amount>,
        now: Instant,
    ) -> (usize, bool) {
        self.tidy(of_size.is_some(), now);
        let length = self.length;
        let flow = self
            .flows
            .entry(Arc::clone(&asker.name))
            .or_insert_with(|| Flow::new(length));
        let weight = u64::from(asker.weight).max(1);
        // 0 where it is new.
        self.weights = self.weights - flow.weight + weight;
        flow.weight = weight;
        flow.asked.charge(amount.messages);
        flow.asked.end(amount.messages, now, now);
        let admitted = flow.admitted;
        let redeem = |flow: &mut Flow| flow.redeem_promise(of_size, now);
        (admitted, flow.change(&mut self.ahead, redeem))
    }

    pub(super) fn admit(&mut self, asker: &Asker, amount: Amount, until: Instant) {
        if let Some(flow) = self.flows.get_mut(&asker.name) {
            // Of those that wait.
            flow.until = flow
                .until
                .filter(|_| flow.backlog.calls > 0)
                .max(Some(until));
            flow.change(&mut self.ahead, |flow| flow.backlog = flow.backlog + amount);
            flow.admitted += 1;
        }
    }

    /// A message has ended: nobody waits any more for what is left of it.
    pub(super) fn leave(&mut self, asker: &Asker, left: Amount) {
        let Some(flow) = self.flows.get_mut(&asker.name) else {
            return;
        };
        flow.admitted -= 1;
        if left.calls == 0 {
            return;
        }
        flow.change(&mut self.ahead, |flow| flow.backlog = flow.backlog - left);
        // What waited for it has been given up.
        let before = flow.queue.len();
        flow.queue.retain(|waiting| !waiting.has_left());
        self.waiting -= before - flow.queue.len();
    }

    /// A call of this caller went, and so is no longer before anybody.
    pub(super) fn went(&mut self, asker: &Asker, messages: u64) {
        if let Some(flow) = self.flows.get_mut(&asker.name) {
            let call = Amount { calls: 1, messages };
            flow.change(&mut self.ahead, |flow| flow.backlog = flow.backlog - call);
        }
    }

    /// A call of a message that had gone whole has to go once more.
    pub(super) fn again(&mut self, asker: &Asker, messages: u64) {
        if let Some(flow) = self.flows.get_mut(&asker.name) {
            let call = Amount { calls: 1, messages };
            flow.change(&mut self.ahead, |flow| flow.backlog = flow.backlog + call);
        }
    }

    /// Charges a caller for a call that goes.
    pub(super) fn charge(&mut self, caller: &str, messages: u64) {
        if let Some(flow) = self.flows.get_mut(caller) {
            flow.used.charge(messages);
        }
    }

    /// The call ended: the charge stays for a window, or goes where nobody counted the call.
    pub(super) fn end(
        &mut self,
        asker: &Asker,
        messages: u64,
        counted_since: Option<Instant>,
        now: Instant,
    ) {
        if let Some(flow) = self.flows.get_mut(&asker.name) {
            flow.used.settle(messages, counted_since, now);
        }
    }

    /// Puts a call into the line. The receiver hears when it may go.
    pub(super) fn wait(
        &mut self,
        asker: &Asker,
        turn: Turn,
        places: Option<Arc<Semaphore>>,
    ) -> oneshot::Receiver<Turn> {
        let (waiter, receiver) = oneshot::channel();
        let length = self.length;
        let flow = self
            .flows
            .entry(Arc::clone(&asker.name))
            .or_insert_with(|| Flow::new(length));
        let start = flow.end.max(self.clock);
        flow.end = start + turn.messages().max(1) * STEP / flow.weight.max(1);
        flow.queue.push_back(Waiting {
            start,
            places,
            turn,
            waiter,
        });
        self.waiting += 1;
        if !self.in_line.contains(&asker.name) {
            self.in_line.insert(Arc::clone(&asker.name));
        }
        receiver
    }

    /// The call whose turn it is, with its place; none where all wait for a place, or for what is kept for others.
    pub(super) fn next(&mut self, room: u64, now: Instant) -> Option<Next> {
        let Self {
            flows,
            in_line,
            waiting,
            ..
        } = self;
        let mut order = Vec::new();
        in_line.retain(|name| {
            let Some(flow) = flows.get_mut(name) else {
                return false;
            };
            *waiting -= flow.drop_those_who_left();
            let first = flow.queue.front();
            order.extend(first.map(|first| (first.start, Arc::clone(name))));
            first.is_some()
        });
        order.sort_by_key(|(start, _)| *start);
        let mut borrower = None;
        for (_, caller) in order {
            let Some(next) = self.first_of(&caller) else {
                continue;
            };
            let within_share = self.is_within_share(&caller, next.messages, now);
            if within_share {
                return Some(next);
            }
            // What goes beyond a share waits for room without holding up those within theirs.
            let mut fits =
                || next.messages + self.kept_for_others(&caller, next.messages, now) <= room;
            if borrower.is_none() && fits() {
                return Some(next);
            }
            borrower = borrower.or(Some(next));
        }
        // Not for what is kept for others: that changes as time passes.
        borrower.filter(|next| next.messages > room)
    }

    fn first_of(&self, caller: &Arc<str>) -> Option<Next> {
        let flow = self.flows.get(caller)?;
        let (index, place) = flow.first_with_a_place()?;
        Some(Next {
            caller: Arc::clone(caller),
            index,
            messages: flow.queue.get(index)?.turn.messages(),
            place,
        })
    }

    /// Lets it go, its quota being charged. False where it has left meanwhile, and the charge is nobody's.
    pub(super) fn go(&mut self, next: Next) -> bool {
        let flow = self.flows.get_mut(&next.caller);
        let Some(waiting) = flow.and_then(|flow| flow.queue.remove(next.index)) else {
            return false;
        };
        self.waiting -= 1;
        self.clock = self.clock.max(waiting.start);
        let mut turn = waiting.turn;
        turn.grant(next.place);
        match waiting.waiter.send(turn) {
            Ok(()) => {
                self.charge(&next.caller, next.messages);
                true
            }
            Err(mut turn) => {
                turn.take_back();
                false
            }
        }
    }

    /// How much of the room is kept for others while this caller takes `messages` more. Nothing, as long as it
    /// stays within its share.
    pub(super) fn kept_for_others(&mut self, caller: &str, messages: u64, now: Instant) -> u64 {
        let Some(limit) = self.limit else { return 0 };
        let weights = self.weights.max(1);
        let share = |flow: &Flow| limit * flow.weight / weights;
        if self.is_within_share(caller, messages, now) {
            return 0;
        }
        let others = self.flows.iter_mut().filter(|(name, _)| ***name != *caller);
        others
            .map(|(_, flow)| {
                let wanted = flow.asked.used(now).min(share(flow));
                wanted.saturating_sub(flow.used.used(now))
            })
            .sum()
    }

    /// Whether a caller stays within its share with `messages` more. A call that is larger than the whole share is within it
    /// where the caller has nothing else.
    fn is_within_share(&mut self, caller: &str, messages: u64, now: Instant) -> bool {
        let (Some(limit), true) = (self.limit, self.flows.len() > 1) else {
            return true;
        };
        let weights = self.weights.max(1);
        self.flows.get_mut(caller).is_none_or(|flow| {
            flow.used.used(now) + messages <= (limit * flow.weight / weights).max(messages)
        })
    }

    /// Messages of this caller that were admitted and have not ended.
    pub(super) fn admitted(&self, asker: &Asker) -> usize {
        let flow = self.flows.get(&asker.name);
        flow.map_or(0, |flow| flow.admitted)
    }

    pub(super) fn own_backlog(&self, asker: &Asker) -> Amount {
        let flow = self.flows.get(&asker.name);
        flow.map_or_else(Amount::default, |flow| flow.backlog)
    }

    /// What goes before the last call of a message of this caller, and the message with it: its own
    /// backlog, and of the others' what their weights let go meanwhile. `ahead` tells what of a caller's goes before a newcomer.
    pub(super) fn before(
        &mut self,
        asker: &Asker,
        amount: Amount,
        ahead: impl Fn(&mut Flow) -> Amount,
    ) -> Amount {
        let weight = u64::from(asker.weight).max(1);
        let Self {
            flows,
            ahead: all_ahead,
            ..
        } = self;
        let mut ahead = |flow: &mut Flow| flow.change(all_ahead, &ahead);
        let own = flows
            .get_mut(&asker.name)
            .map_or(amount, |flow| ahead(flow) + amount);
        if flows.len() < 2 {
            return own;
        }
        let mut sum = own;
        for (name, flow) in flows {
            if **name == *asker.name {
                continue;
            }
            let ahead = ahead(flow);
            let share = |own: u64| (own * flow.weight).div_ceil(weight);
            sum = sum
                + Amount {
                    calls: ahead.calls.min(share(own.calls)),
                    messages: ahead.messages.min(share(own.messages)),
                };
        }
        sum
    }

    /// The same for a message that is refused, at the pace that the caller can count on whatever the others do: all of the
    /// quota, without what they asked for lately. So those who are told to come back at one time find room for all.
    pub(super) fn before_at_own_pace(
        &mut self,
        asker: &Asker,
        amount: Amount,
        now: Instant,
    ) -> Amount {
        let own = self
            .flows
            .get_mut(&asker.name)
            .map_or(amount, |flow| flow.ahead(true) + amount);
        let Some(limit) = self.limit else { return own };
        let weights = self.weights.max(1);
        let others = self
            .flows
            .iter_mut()
            .filter(|(name, _)| ***name != *asker.name);
        let wanted: u64 = others
            .map(|(_, flow)| flow.asked.used(now).min(limit * flow.weight / weights))
            .sum();
        let left = limit.saturating_sub(wanted).max(1);
        Amount {
            calls: own.calls * limit / left,
            messages: own.messages * limit / left,
        }
    }

    /// Notes when a refused message was told to come back.
    pub(super) fn promise(&mut self, asker: &Asker, when: Instant, amount: Amount) {
        if let Some(flow) = self.flows.get_mut(&asker.name) {
            flow.change(&mut self.ahead, |flow| flow.promise(when, amount));
        }
    }

    /// Forgets callers of whom nothing counts any more; or not those who were told to come back.
    fn tidy(&mut self, keeps_promises: bool, now: Instant) {
        if now.duration_since(self.tidied) >= self.length {
            self.tidied = now;
            let Self { flows, ahead, .. } = self;
            flows.retain(|_, flow| {
                let stays = !flow.is_idle(now) || keeps_promises && flow.has_promised();
                if !stays {
                    *ahead = *ahead - flow.most_ahead();
                }
                stays
            });
            self.weights = self.flows.values().map(|flow| flow.weight).sum();
        }
    }
}
