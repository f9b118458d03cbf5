//! One replica's part of one app's quota, and those who send through it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use easemob_gateway::{
    app::Quota,
    quota::{Asker, Kind, Quotas, Shared},
    store::Link,
};
use tokio::{
    runtime::Handle,
    time::{interval, sleep},
};

use crate::redis::Redis;

/// How long Easemob takes for a call.
const CALL: Duration = Duration::from_millis(50);
/// How long a caller waits.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Replica {
    quotas: Arc<Quotas>,
    /// Calls a second that are asked of it.
    asked: f64,
    arrivals: Mutex<Vec<Instant>>,
    _link: Arc<Link>,
}

impl Replica {
    pub(crate) fn new(
        redis: &Redis,
        app: &str,
        quota: &Quota,
        replicas: u32,
        asked: f64,
    ) -> anyhow::Result<Self> {
        let config = redis.config();
        let link = Arc::new(Link::open(&config, &Handle::current())?);
        let shared = Shared {
            link: Arc::clone(&link),
            prefix: config.prefix,
            app: app.into(),
            fallback_share: 1.0 / f64::from(replicas),
            longest_call: Duration::from_secs(20),
        };
        let quotas = Quotas::shared(quota, 100_000, &Handle::current(), &shared);
        Ok(Self {
            quotas: Arc::new(quotas),
            asked,
            arrivals: Mutex::default(),
            _link: link,
        })
    }

    /// Sends at its rate, whatever becomes of each.
    pub(crate) async fn send(self: Arc<Self>) {
        let tick = Duration::from_millis(10);
        let mut ticks = interval(tick);
        let mut due = fastrand::f64();
        loop {
            ticks.tick().await;
            due += self.asked * tick.as_secs_f64();
            while due >= 1.0 {
                due -= 1.0;
                tokio::spawn(Arc::clone(&self).call());
            }
        }
    }

    async fn call(self: Arc<Self>) {
        let asker = Asker {
            name: "billing".into(),
            weight: 1,
        };
        let until = tokio::time::Instant::now() + PATIENCE;
        let Ok(admission) = self.quotas.admit(Kind::Users, &asker, &[1], until).await else {
            return;
        };
        let turn = admission.turn(1, None);
        let Ok(turn) = tokio::time::timeout_at(until, turn).await else {
            return;
        };
        sleep(CALL / 2).await;
        self.lock().push(Instant::now());
        sleep(CALL / 2).await;
        drop(turn);
    }

    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    pub(crate) fn arrivals(&self) -> Vec<Instant> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most that any second of Easemob's clock has.
pub(crate) fn worst_second(mut arrivals: Vec<Instant>) -> usize {
    arrivals.sort_unstable();
    let (mut first, mut worst) = (0, 0);
    for (index, at) in arrivals.iter().enumerate() {
        while *at - arrivals[first] >= Duration::from_secs(1) {
            first += 1;
        }
        worst = worst.max(index + 1 - first);
    }
    worst
}
