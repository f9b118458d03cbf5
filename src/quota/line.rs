//! Those who wait for their turn at one quota, in fair order.
//!
//! Start-time fair queueing: every caller has a clock that advances by what its calls cost, divided by its
//! weight, and the call with the earliest start goes next. A caller that asks for ten times its share
//! waits behind its own calls and not before others'. The next in order goes as soon as the quota has room for
//! it, and nothing smaller passes it meanwhile: so large calls are not passed by for ever.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Turn;

/// Steps of a caller's clock for one message, at weight 1.
const STEP: u64 = 1 << 20;

/// Those who wait, by caller.
#[derive(Debug, Default)]
pub(super) struct Line {
    flows: HashMap<Arc<str>, Flow>,
    /// Where the clocks stand: the start of the call that went last.
    clock: u64,
    waiting: usize,
}

/// What one caller has in the line.
#[derive(Debug, Default)]
struct Flow {
    weight: u64,
    /// Where the caller's clock will stand after all that it has in the line.
    end: u64,
    queue: VecDeque<Waiting>,
    /// What was admitted and has not gone, in the queue or still on the way to it.
    backlog: Amount,
    /// Admitted messages that have not gone whole.
    admitted: usize,
}

/// How much of the quota something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) calls: u64,
    pub(super) messages: u64,
}

/// A call that waits.
#[derive(Debug)]
struct Waiting {
    start: u64,
    places: Option<Arc<Semaphore>>,
    /// What it will be given.
    turn: Turn,
    waiter: oneshot::Sender<Turn>,
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
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Calls that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Messages of this caller that were admitted and have not gone whole.
    pub(super) fn admitted(&self, caller: &str) -> usize {
        self.flows.get(caller).map_or(0, |flow| flow.admitted)
    }

    pub(super) fn admit(&mut self, caller: &Arc<str>, weight: u32, amount: Amount) {
        let flow = self.flows.entry(Arc::clone(caller)).or_default();
        flow.weight = u64::from(weight).max(1);
        flow.backlog = flow.backlog + amount;
        flow.admitted += 1;
    }

    /// The message has gone whole, or nobody waits for it any more.
    pub(super) fn leave(&mut self, caller: &Arc<str>, left: Amount) {
        let Some(flow) = self.flows.get_mut(caller) else {
            return;
        };
        flow.backlog = flow.backlog - left;
        flow.admitted -= 1;
        // What waited for it has been given up.
        let before = flow.queue.len();
        flow.queue.retain(|waiting| !waiting.waiter.is_closed());
        self.waiting -= before - flow.queue.len();
        // A clock that is behind the line's says nothing.
        if flow.admitted == 0 && flow.end <= self.clock {
            self.flows.remove(caller);
        }
    }

    /// A call of this caller went, and so is no longer before anybody.
    pub(super) fn went(&mut self, caller: &str, messages: u64) {
        if let Some(flow) = self.flows.get_mut(caller) {
            flow.backlog = flow.backlog - Amount { calls: 1, messages };
        }
    }

    /// A call that went has to go once more.
    pub(super) fn again(&mut self, caller: &str, messages: u64) {
        if let Some(flow) = self.flows.get_mut(caller) {
            flow.backlog = flow.backlog + Amount { calls: 1, messages };
        }
    }

    /// Puts a call into the line. The receiver hears when it may go.
    pub(super) fn wait(
        &mut self,
        caller: &Arc<str>,
        turn: Turn,
        places: Option<Arc<Semaphore>>,
    ) -> oneshot::Receiver<Turn> {
        let (waiter, receiver) = oneshot::channel();
        let flow = self.flows.entry(Arc::clone(caller)).or_default();
        let start = flow.end.max(self.clock);
        flow.end = start + turn.messages().max(1) * STEP / flow.weight.max(1);
        flow.queue.push_back(Waiting {
            start,
            places,
            turn,
            waiter,
        });
        self.waiting += 1;
        receiver
    }

    /// The call whose turn it is, with its place; none where all wait for a place.
    pub(super) fn next(&mut self) -> Option<Next> {
        self.drop_those_who_left();
        let mut best: Option<(u64, Next)> = None;
        for (caller, flow) in &self.flows {
            let Some(first) = flow.queue.front() else {
                continue;
            };
            if best
                .as_ref()
                .is_some_and(|(start, _)| *start <= first.start)
            {
                continue;
            }
            if let Some((index, messages, place)) = flow.first_with_a_place() {
                let next = Next {
                    caller: Arc::clone(caller),
                    index,
                    messages,
                    place,
                };
                best = Some((first.start, next));
            }
        }
        best.map(|(_, next)| next)
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
            Ok(()) => true,
            Err(mut turn) => {
                turn.take_back();
                false
            }
        }
    }

    /// What goes before the last call of a message of this caller, and the message with it: its own
    /// backlog, and of the others' what their weights let go meanwhile.
    pub(super) fn before(&self, caller: &str, weight: u32, amount: Amount) -> Amount {
        let weight = u64::from(weight).max(1);
        let own = self
            .flows
            .get(caller)
            .map_or(amount, |flow| flow.backlog + amount);
        let others = self.flows.iter().filter(|(name, _)| ***name != *caller);
        others.fold(own, |sum, (_, other)| {
            let share = |own: u64| (own * other.weight).div_ceil(weight);
            sum + Amount {
                calls: other.backlog.calls.min(share(own.calls)),
                messages: other.backlog.messages.min(share(own.messages)),
            }
        })
    }

    fn drop_those_who_left(&mut self) {
        for flow in self.flows.values_mut() {
            while flow
                .queue
                .front()
                .is_some_and(|first| first.waiter.is_closed())
            {
                flow.queue.pop_front();
                self.waiting -= 1;
            }
        }
    }
}

impl Flow {
    /// The first call whose shard has a place for it. Those of a shard that has none wait for it
    /// without holding up the others.
    fn first_with_a_place(&self) -> Option<(usize, u64, Option<OwnedSemaphorePermit>)> {
        let mut full: Vec<&Arc<Semaphore>> = Vec::new();
        for (index, waiting) in self.queue.iter().enumerate() {
            let Some(places) = &waiting.places else {
                return Some((index, waiting.turn.messages(), None));
            };
            if full.iter().any(|full| Arc::ptr_eq(full, places)) {
                continue;
            }
            match Arc::clone(places).try_acquire_owned() {
                Ok(place) => return Some((index, waiting.turn.messages(), Some(place))),
                Err(_none) => full.push(places),
            }
        }
        None
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
