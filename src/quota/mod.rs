//! FLOOR 2: Easemob's quotas. Who may call when, so that all of each quota is used, none is exceeded, and
//! callers share them by their weights.
//!
//! A message is admitted whole or refused whole: it is refused at once where its last call could not have
//! its turn in time. What was admitted waits for its turns; a turn is leave to make one call, with the
//! quota for it and a place among the calls under way.

mod budget;
mod flow;
mod lease;
mod line;
mod rules;
mod shared;
mod window;

#[cfg(test)]
mod tests;

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering, fence},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep_until, timeout_at},
};

pub use self::shared::Shared;
use self::{
    rules::{Amount, End, Entry, Rules},
    shared::Leases,
};
use crate::app::Quota;

/// The time that Redis has at least to tell when a message may go.
const TO_BE_TOLD: Duration = Duration::from_millis(100);

/// What Easemob counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Messages to users.
    Users,
    /// Messages to groups.
    Groups,
    /// Messages to chat rooms.
    Chatrooms,
    /// Messages to named members of a group or room.
    Directed,
    /// Uploads and downloads.
    Files,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Users,
        Self::Groups,
        Self::Chatrooms,
        Self::Directed,
        Self::Files,
    ];

    /// As in the settings and in telemetry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
            Self::Chatrooms => "chatrooms",
            Self::Directed => "directed",
            Self::Files => "files",
        }
    }
}

/// The quotas of one app, shared by all shards.
#[derive(Debug)]
pub struct Quotas {
    kinds: [Arc<Lane>; 5],
}

/// Who asks, and how much of a quota is its share.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Name of the caller.
    pub name: Arc<str>,
    /// Its share in relation to the others'.
    pub weight: u32,
}

/// Why a message is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its last call could not have its turn in time.
    TooLate {
        /// When it would be admitted, if it asked again then. None where it never would with so little
        /// time.
        retry_after: Option<Duration>,
        /// The time that it needs from now on.
        needs: Duration,
    },
    /// One of its calls alone is more than the quota.
    NeverFits,
    /// The caller has too many messages waiting.
    QueueFull,
}

impl Refusal {
    /// The cause, as in telemetry.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLate { .. } => "too_late",
            Self::NeverFits => "never_fits",
            Self::QueueFull => "queue_full",
        }
    }
}

/// What is known of a quota now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Messages that are charged; of files, calls.
    pub used: u64,
    /// The most that may be.
    pub limit: u64,
    /// Calls that wait for their turn.
    pub waiting: usize,
}

/// What a caller has of a quota now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerUse {
    /// Name of the caller.
    pub caller: Arc<str>,
    /// Its messages that are charged; of files, calls.
    pub used: u64,
    /// Its calls that wait for their turn.
    pub waiting: u64,
}

/// One kind's quota, and who waits for it.
#[derive(Debug)]
struct Lane {
    rules: Mutex<Rules>,
    /// Somebody waits. Mostly nobody does, and then no core has to wait for another to learn it.
    waits: AtomicBool,
    /// The messages of a window; none where that may change.
    limit: Option<Option<u64>>,
    /// Something changed that may let a waiting call go earlier.
    changed: Notify,
    runtime: Handle,
    /// Where the quota is shared by several replicas.
    leases: Option<Leases>,
}

impl Quotas {
    /// The quotas as the app's settings have them. `most` bounds the messages of one caller that are under way or wait.
    /// Time is kept on `runtime`, which must not be a shard's: those end.
    pub fn new(quota: &Quota, most: usize, runtime: &Handle) -> Self {
        Self::with(quota, most, runtime, None)
    }

    /// The same, where all replicas together keep within the quotas.
    pub fn shared(quota: &Quota, most: usize, runtime: &Handle, shared: &Shared) -> Self {
        Self::with(quota, most, runtime, Some(shared))
    }

    fn with(quota: &Quota, most: usize, runtime: &Handle, shared: Option<&Shared>) -> Self {
        let share = shared.map(|shared| shared.fallback_share);
        let kinds = Kind::ALL.map(|kind| {
            let rules = Rules::new(kind, quota, most, share);
            Arc::new(Lane {
                limit: shared.is_none().then(|| rules.message_limit()),
                waits: AtomicBool::new(false),
                rules: Mutex::new(rules),
                changed: Notify::new(),
                runtime: runtime.clone(),
                leases: shared.map(|shared| Leases::new(shared, kind)),
            })
        });
        Self { kinds }
    }

    /// Admits a message that takes these calls, each with its number of messages, if the last of them will have its turn
    /// before `until`.
    pub async fn admit(
        self: &Arc<Self>,
        kind: Kind,
        asker: &Asker,
        calls: &[u64],
        until: Instant,
    ) -> Result<Admission, Refusal> {
        let amount = Amount {
            calls: calls.len() as u64,
            messages: calls.iter().sum(),
        };
        let largest = calls.iter().copied().max().unwrap_or_default();
        let lane = self.lane(kind);
        let now = Instant::now();
        let of = (self, kind);
        let entry = lane.lock().admit(of, asker, amount, largest, until, now)?;
        if let Entry::Asked(asked) = entry {
            if let Some(told) = lane.told(asked, until.max(now + TO_BE_TOLD)).await {
                return told;
            }
            let mut rules = lane.lock();
            rules.admit_alone(asker, amount, true, until, Instant::now())?;
        }
        let asker = asker.clone();
        Ok(Admission::new(Arc::clone(self), kind, asker, amount))
    }

    /// Easemob refused a call for its quota: nothing of this kind goes for a while.
    pub fn pause(&self, kind: Kind, wait: Duration) {
        let lane = self.lane(kind);
        lane.lock().pause(Instant::now() + wait);
        lane.changed.notify_one();
    }

    /// The most messages that one call may have.
    pub fn largest_call(&self, kind: Kind) -> usize {
        let lane = self.lane(kind);
        let limit = lane.limit.unwrap_or_else(|| lane.lock().message_limit());
        limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        })
    }

    /// Whether the quota has room for a call now. Where it has and a call waits, it is for a place.
    pub fn has_room(&self, kind: Kind, messages: u64) -> bool {
        let mut rules = self.lane(kind).lock();
        rules.has_room_for(messages, Instant::now())
    }

    /// How long before the end of its time a call has to be given up for it to be told when to come back.
    pub fn time_to_miss(&self) -> Duration {
        let is_shared = self.kinds.iter().any(|lane| lane.leases.is_some());
        if is_shared {
            TO_BE_TOLD
        } else {
            Duration::ZERO
        }
    }

    /// How much of a quota is used.
    pub fn usage(&self, kind: Kind) -> Use {
        self.lane(kind).lock().usage(Instant::now())
    }

    /// The same for each caller that used it, or asked for it, lately.
    pub fn callers(&self, kind: Kind) -> Vec<CallerUse> {
        self.lane(kind).lock().callers(Instant::now())
    }

    fn lane(&self, kind: Kind) -> &Arc<Lane> {
        &self.kinds[kind as usize]
    }

    /// A place was given back: whoever waits for one, of any kind, may go.
    fn place_freed(&self) {
        see_who_waits();
        for lane in &self.kinds {
            lane.let_go_whoever_is_seen();
        }
    }
}

/// A message that was admitted. Dropped, it gives up the turns that it has not had.
#[derive(Debug)]
pub struct Admission {
    quotas: Arc<Quotas>,
    kind: Kind,
    asker: Asker,
    left: Mutex<Amount>,
}

impl Admission {
    fn new(quotas: Arc<Quotas>, kind: Kind, asker: Asker, amount: Amount) -> Self {
        Self {
            quotas,
            kind,
            asker,
            left: Mutex::new(amount),
        }
    }

    /// Waits for the turn of one of its calls, with one of `places`, if any are given. A call that has to
    /// go again waits again.
    pub async fn turn(&self, messages: u64, places: Option<&Arc<Semaphore>>) -> Turn {
        self.turn_from(Instant::now(), messages, places).await
    }

    /// The same for whoever has just looked what time it is.
    pub async fn turn_from(
        &self,
        now: Instant,
        messages: u64,
        places: Option<&Arc<Semaphore>>,
    ) -> Turn {
        let lane = self.quotas.lane(self.kind);
        let mut turn = Turn {
            quotas: Arc::clone(&self.quotas),
            kind: self.kind,
            asker: self.asker.clone(),
            messages,
            place: None,
            state: State::Waiting,
        };
        let receiver = {
            let mut rules = lane.lock();
            self.put_back_what_goes_again(&mut rules, messages);
            if let Some(place) = rules.go_at_once(&self.asker, messages, places, now) {
                self.goes(&mut rules, messages);
                drop(rules);
                lane.keep_lease();
                turn.grant(place);
                turn.begin(now);
                return turn;
            }
            rules.wait(&self.asker, turn, places)
        };
        lane.keep_time(now);
        lane.keep_lease();
        // The line is not dropped while this holds the lane, and gives up nobody who waits.
        let mut turn = receiver.await.expect("the line lets go whoever waits");
        self.goes(&mut lane.lock(), messages);
        turn.begin(Instant::now());
        turn
    }

    /// One of its calls had no turn in time: when it would have one, if it were asked for again then.
    pub async fn missed(&self, messages: u64) -> Refusal {
        let lane = self.quotas.lane(self.kind);
        let of = (&self.quotas, self.kind);
        let asked = lane.lock().ask_again(of, &self.asker, messages);
        if let Some(asked) = asked
            && let Some(Err(refusal)) = lane.told(asked, Instant::now() + TO_BE_TOLD).await
        {
            return refusal;
        }
        let mut rules = lane.lock();
        rules.missed(&self.asker, messages, Instant::now())
    }

    /// Name of the caller.
    pub fn caller(&self) -> &str {
        &self.asker.name
    }

    /// What has been counted as gone, and now waits once more.
    fn put_back_what_goes_again(&self, rules: &mut Rules, messages: u64) {
        let mut left = self.left();
        if left.calls == 0 {
            let call = Amount { calls: 1, messages };
            rules.again(&self.asker, call);
            *left = *left + call;
        }
    }

    fn goes(&self, rules: &mut Rules, messages: u64) {
        let mut left = self.left();
        *left = *left - Amount { calls: 1, messages };
        rules.went(&self.asker, messages);
    }

    fn left(&self) -> MutexGuard<'_, Amount> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let left = *self.left();
        let lane = self.quotas.lane(self.kind);
        lane.lock().leave(&self.asker, left);
        lane.let_go();
    }
}

/// Leave to make one call. Dropped, the call has ended: its charge stays for the quota's time.
#[derive(Debug)]
pub struct Turn {
    quotas: Arc<Quotas>,
    kind: Kind,
    asker: Asker,
    messages: u64,
    place: Option<OwnedSemaphorePermit>,
    state: State,
}

/// How far a turn is.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing is charged.
    Waiting,
    /// Charged, and nobody has begun.
    Granted,
    /// Charged, and on its way since then.
    Begun(Instant),
    /// The same, and Easemob has refused it.
    Refused(Instant),
}

impl Turn {
    /// The call is proven not to have been counted by Easemob: its charge is given back.
    pub fn not_sent(mut self) {
        self.state = State::Granted;
    }

    /// Easemob answered, and took no message: the call counts, and its messages are given back.
    pub fn refused(mut self) {
        if let State::Begun(at) = self.state {
            self.state = State::Refused(at);
        }
    }

    /// When it began; none of one that has ended.
    pub fn began(&self) -> Option<Instant> {
        match self.state {
            State::Begun(at) => Some(at),
            State::Waiting | State::Granted | State::Refused(_) => None,
        }
    }

    fn messages(&self) -> u64 {
        self.messages
    }

    fn grant(&mut self, place: Option<OwnedSemaphorePermit>) {
        self.place = place;
        self.state = State::Granted;
    }

    /// Nobody took it, and whoever granted it gives back the charge.
    fn take_back(&mut self) {
        self.state = State::Waiting;
    }

    fn begin(&mut self, now: Instant) {
        self.state = State::Begun(now);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (call_counted, messages_counted) = match self.state {
            // May be dropped by the line, under its lock.
            State::Waiting => return,
            State::Granted => (None, None),
            State::Refused(at) => (Some(at), None),
            State::Begun(at) => (Some(at), Some(at)),
        };
        let lane = self.quotas.lane(self.kind);
        let end = End {
            messages: self.messages,
            call_counted,
            messages_counted,
        };
        lane.lock().end(&self.asker, end, Instant::now());
        lane.keep_lease();
        if self.place.take().is_some() {
            self.quotas.place_freed();
        } else {
            lane.let_go();
        }
    }
}

impl Lane {
    fn lock(&self) -> Locked<'_> {
        // A panic under the lock would be a fault of ours; what is kept stays consistent enough to go on.
        Locked {
            rules: self.rules.lock().unwrap_or_else(PoisonError::into_inner),
            waits: &self.waits,
        }
    }

    /// What Redis tells of a message, if it does by then.
    async fn told(
        self: &Arc<Self>,
        asked: oneshot::Receiver<Result<Admission, Refusal>>,
        by: Instant,
    ) -> Option<Result<Admission, Refusal>> {
        self.keep_lease();
        timeout_at(by, asked).await.ok()?.ok()
    }

    /// Lets those go who can, after something was given back.
    fn let_go(&self) {
        see_who_waits();
        self.let_go_whoever_is_seen();
    }

    fn let_go_whoever_is_seen(&self) {
        if self.waits.load(Ordering::Relaxed) && self.lock().let_go(Instant::now()) {
            self.changed.notify_one();
        }
    }

    /// Someone waits: from now until nobody does, they go when their time comes.
    fn keep_time(self: &Arc<Self>, now: Instant) {
        let mut rules = self.lock();
        // Here, and not by the task that keeps time: to wake that one costs more than all the rest.
        let for_time = rules.let_go(now);
        if rules.nobody_waits() {
            return;
        }
        if rules.begin_to_keep_time() {
            self.runtime.spawn(keep_time(Arc::clone(self)));
        } else if for_time {
            self.changed.notify_one();
        }
    }
}

/// Comes between giving something back and a look at who waits for it; and between being seen to wait and a look at what
/// there is. So one of the two finds the other.
fn see_who_waits() {
    fence(Ordering::SeqCst);
}

/// The rules of a lane. When it is let go of, everybody sees whether somebody waits.
struct Locked<'a> {
    rules: MutexGuard<'a, Rules>,
    waits: &'a AtomicBool,
}

impl Deref for Locked<'_> {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        &self.rules
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let waits = !self.rules.nobody_waits();
        if self.waits.load(Ordering::Relaxed) != waits {
            self.waits.store(waits, Ordering::Relaxed);
            see_who_waits();
        }
    }
}

async fn keep_time(lane: Arc<Lane>) {
    loop {
        let Some(next) = lane.lock().next_time(Instant::now()) else {
            return;
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = lane.changed.notified() => {}
        }
    }
}
