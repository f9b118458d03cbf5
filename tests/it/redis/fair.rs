//! Callers that share a quota over several replicas: nobody takes what is another's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use easemob_gateway::{
    app::{GroupQuota, Quota},
    quota::{Asker, Kind, Quotas},
};
use fastrand::Rng;
use tokio::{task::JoinSet, time::sleep};

use super::quota::{Ledger, fleet, greedy, worst};
use crate::support::{redis::Redis, soak};

const REPLICAS: usize = 3;
/// Messages a second: each of three callers has a third.
const LIMIT: u32 = 600;
/// What a caller with a steady flow asks for at once, at each replica: nearly its share, with the pause below.
const AT_ONCE: u64 = 10;
const PAUSE: Duration = Duration::from_millis(158);
/// How long it waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a caller asked for, and what of it had its turn.
#[derive(Debug, Default)]
struct Flow {
    asked: AtomicU64,
    had: AtomicU64,
}

/// Asks steadily at one replica.
async fn steady(quotas: Arc<Quotas>, name: &'static str, flow: Arc<Flow>, until: Instant) {
    let mut sends = JoinSet::new();
    while Instant::now() < until {
        let (quotas, flow) = (Arc::clone(&quotas), Arc::clone(&flow));
        sends.spawn(async move {
            flow.asked.fetch_add(AT_ONCE, Ordering::Relaxed);
            let asker = Asker {
                name: name.into(),
                weight: 1,
            };
            let patience = tokio::time::Instant::now() + PATIENCE;
            let admitted = quotas.admit(Kind::Groups, &asker, &[AT_ONCE], patience);
            let Ok(admission) = admitted.await else {
                return;
            };
            let turn = tokio::time::timeout_at(patience, admission.turn(AT_ONCE, None));
            if let Ok(_turn) = turn.await {
                flow.had.fetch_add(AT_ONCE, Ordering::Relaxed);
                sleep(Duration::from_millis(Rng::new().u64(0..40))).await;
            }
        });
        sleep(PAUSE).await;
    }
    sends.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_ten_times_its_share_takes_nothing_from_the_others() {
    let redis = Redis::start().await;
    let quota = Quota {
        groups: GroupQuota {
            calls_per_second: 0,
            messages_per_second: LIMIT,
        },
        ..Quota::default()
    };
    let fleet = fleet(&redis, REPLICAS, &quota);
    let ledger = Ledger::default();
    let until = Instant::now() + Duration::from_secs(if soak() { 60 } else { 8 });
    let mut senders = JoinSet::new();
    for (number, (quotas, _)) in fleet.iter().enumerate() {
        // In all sizes, and as many at once as would take ten times its share.
        for _ in 0..10 {
            let (quotas, ledger) = (Arc::clone(quotas), Arc::clone(&ledger));
            senders.spawn(greedy(quotas, ledger, number, Kind::Groups, 1..=60, until));
        }
    }
    let flows = [("a", Arc::default()), ("b", Arc::<Flow>::default())];
    for (name, flow) in &flows {
        for (quotas, _) in &fleet {
            senders.spawn(steady(Arc::clone(quotas), name, Arc::clone(flow), until));
        }
    }
    senders.join_all().await;

    println!(
        "greedy: {} in its worst second",
        worst(&ledger, Duration::from_secs(1))
    );
    for (name, flow) in &flows {
        let (asked, had) = (
            flow.asked.load(Ordering::Relaxed),
            flow.had.load(Ordering::Relaxed),
        );
        println!("{name}: {had} of {asked}");
        assert!(had * 100 >= asked * 95, "{name} had {had} of {asked}");
    }
}
