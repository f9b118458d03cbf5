//! Leases over Redis: one question at a time for each quota, which tells what ended, gives back what is not used, and asks for
//! what is wanted. Redis counts, by a script and on its own clock.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{Script, Value};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Kind, Lane,
    flow::Amount,
    lease::{Answer, Ask, Step, USABLE},
    rules::Told,
};
use crate::store::{Away, Link};

static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lease/lease.lua")));

/// How much longer than its last call can take a replica is counted that is not heard of.
const MARGIN: Duration = Duration::from_secs(2);

/// What the replicas of an app share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// What keys begin with, and the app.
    pub prefix: String,
    /// The app.
    pub app: Arc<str>,
    /// The part of each quota that this replica uses while Redis is away, from 0 to 1.
    pub fallback_share: f64,
    /// The longest that a call may take after its turn.
    pub longest_call: Duration,
}

/// One quota's leases.
#[derive(Debug)]
pub(super) struct Leases {
    link: Arc<Link>,
    keys: [String; 2],
    /// This replica, for this quota.
    replica: String,
    lives: Duration,
    wake: Notify,
}

impl Leases {
    pub(super) fn new(shared: &Shared, kind: Kind) -> Self {
        let Shared { prefix, app, .. } = shared;
        // Both in one slot of a Cluster.
        let key = |what| format!("{prefix}:q:{{{app}}}:{}:{what}", kind.name());
        Self {
            link: Arc::clone(&shared.link),
            keys: [key("state"), key("parts")],
            replica: uuid::Uuid::new_v4().simple().to_string(),
            lives: USABLE + shared.longest_call + MARGIN,
            wake: Notify::new(),
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer, Away> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut script = LEASE.prepare_invoke();
        script.key(&self.keys[0]).key(&self.keys[1]);
        script.arg(&self.replica).arg(&ask.generation);
        script.arg(uuid::Uuid::new_v4().simple().to_string());
        for number in [
            ask.sequence,
            ask.batch,
            ms(self.lives),
            ask.messages.amount,
            ms(ask.messages.length),
            ask.calls.amount,
            ask.held.messages,
            ask.held.calls,
            ask.available.messages,
            ask.available.calls,
            ask.reserve.messages,
            ask.reserve.calls,
            ask.queued,
            ms(ask.patience),
            ask.answered,
        ] {
            script.arg(number);
        }
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let ended = ask.ended.iter().flat_map(|(age, amount)| {
            // An age is cut short: what ended seems to have ended later, which is the safe side.
            [ms(*age), amount.messages, amount.calls].map(number)
        });
        script.arg(ended.flatten().collect::<Vec<u8>>());
        let wanted = ask.wanted.iter().copied().flat_map(number);
        script.arg(wanted.collect::<Vec<u8>>());
        let promises = ask.promises.iter();
        let promises = promises.flat_map(|(when, messages)| [ms(*when), *messages].map(number));
        script.arg(promises.flatten().collect::<Vec<u8>>());
        let hopes = ask
            .hopes
            .iter()
            .flat_map(|hope| [hope.amount.calls, hope.amount.messages, hope.needs].map(number));
        script.arg(hopes.flatten().collect::<Vec<u8>>());
        let answer: Vec<Value> = self.link.call(&script).await?;
        Ok(read(&answer))
    }
}

/// What the script says; what does not read so was no answer of it, and grants nothing.
fn read(answer: &[Value]) -> Answer {
    let text = |at: usize| match answer.get(at) {
        Some(Value::BulkString(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    let number = |at: usize| match answer.get(at) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    };
    let count = |at: usize| u64::try_from(number(at)).unwrap_or(0);
    let generation = text(1);
    match &*text(0) {
        "ok" => Answer::Granted {
            generation,
            granted: Amount {
                messages: count(2),
                calls: count(3),
            },
            left: number(4),
            left_calls: number(5),
            live: count(6),
            busy: count(7),
            met: usize::try_from(number(8)).unwrap_or(0),
            slots: amounts(answer.get(9)),
            told: amounts(answer.get(10))
                .into_iter()
                .map(Duration::from_millis)
                .collect(),
            open: count(11),
        },
        "lost" => Answer::Lost { generation },
        "behind" => Answer::Behind { batch: count(2) },
        _ => Answer::Late,
    }
}

fn amounts(values: Option<&Value>) -> Vec<u64> {
    let amount = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    };
    match values {
        Some(Value::Array(values)) => values.iter().map(amount).collect(),
        _ => Vec::new(),
    }
}

impl Lane {
    /// Something changed that Redis may have to be asked or told for; nothing, where nothing is shared.
    pub(super) fn keep_lease(self: &Arc<Self>) {
        let Some(leases) = &self.leases else { return };
        if self.lock().begin_to_keep_lease() {
            self.runtime.spawn(keep_lease(Arc::clone(self)));
        } else {
            leases.wake.notify_one();
        }
    }
}

async fn keep_lease(lane: Arc<Lane>) {
    let Some(leases) = &lane.leases else { return };
    loop {
        let step = lane.lock().lease_step(Instant::now());
        match step {
            Step::Ask(ask) => {
                let answer = leases.ask(&ask).await;
                if matches!(answer, Ok(Answer::Lost { .. } | Answer::Behind { .. })) {
                    leases.link.lost_quota();
                }
                match answer {
                    Ok(answer) => {
                        let told = lane.lock().lease_answered(&ask, answer, Instant::now());
                        told.into_iter().for_each(Told::pass_on);
                    }
                    Err(Away { retry_after }) => {
                        lane.lock().lease_failed(retry_after, Instant::now());
                    }
                }
                lane.let_go();
            }
            Step::Until(when) => {
                tokio::select! {
                    () = sleep_until(when) => {}
                    () = leases.wake.notified() => {}
                }
            }
            Step::End => return,
        }
    }
}
