//! A model of a fleet at a hundred times Easemob's default quota: replicas that share it through a real Redis, each
//! with the scheduler and the scripts of the gateway; the callers, and Easemob's 50 ms, are simulated.
//! `docs/scaling.md` tells what came out.
//!
//! Arguments: `quick` for a short look.

mod ids;
mod redis;
mod replica;

use std::{env, sync::Arc, time::Duration};

use easemob_gateway::app::{Quota, UserQuota};
use tokio::{runtime::Runtime, task::JoinSet, time::sleep};

use self::{redis::Redis, replica::Replica};

/// Calls and messages that Easemob takes of a new app.
const CALLS_PER_SECOND: u32 = 100;
const MESSAGES_PER_MINUTE: u32 = 6_000;
/// The whole fleet has so many times that.
const TIMES: u32 = 100;

fn main() -> anyhow::Result<()> {
    let quick = env::args().any(|argument| argument == "quick");
    let seconds = if quick { 3 } else { 20 };
    Runtime::new()?.block_on(async {
        println!(
            "{TIMES} times the default quota, {} calls a second in all, asked for by a tenth more; {seconds} s each\n",
            CALLS_PER_SECOND * TIMES
        );
        println!("apps  replicas  used %  worst s %  questions/s  a send  Redis CPU %");
        for (apps, replicas) in [(1, 1), (1, 3), (1, 10), (1, 30), (100, 3), (100, 10)] {
            fleet(apps, replicas, seconds).await?;
        }
        println!("\nrequest IDs: three scripts a send");
        ids::measure(Duration::from_secs(seconds)).await
    })
}

/// Runs one fleet, and prints what became of it.
async fn fleet(apps: u32, replicas: u32, seconds: u64) -> anyhow::Result<()> {
    let redis = Redis::start().await?;
    let calls = CALLS_PER_SECOND * TIMES / apps;
    let quota = Quota {
        users: UserQuota {
            calls_per_second: calls,
            messages_per_minute: MESSAGES_PER_MINUTE * TIMES / apps,
        },
        ..Quota::default()
    };
    let mut fleet = Vec::new();
    for _ in 0..replicas {
        for app in 0..apps {
            // A tenth more than there is, from all replicas alike.
            let asked = f64::from(calls) * 1.1 / f64::from(replicas);
            let replica = Replica::new(&redis, &format!("app-{app}"), &quota, replicas, asked)?;
            fleet.push((app, Arc::new(replica)));
        }
    }
    let mut senders = JoinSet::new();
    for (_, replica) in &fleet {
        senders.spawn(Arc::clone(replica).send());
    }
    // The first second has the whole quota before it, and the rates of the replicas are not known yet.
    sleep(Duration::from_secs(2)).await;
    let before = redis.load().await?;
    fleet.iter().for_each(|(_, replica)| replica.forget());
    sleep(Duration::from_secs(seconds)).await;
    let after = redis.load().await?;
    senders.shutdown().await;

    let mut arrivals = vec![Vec::new(); apps as usize];
    for (app, replica) in &fleet {
        arrivals[*app as usize].extend(replica.arrivals());
    }
    let sent: usize = arrivals.iter().map(Vec::len).sum();
    let worst = arrivals.into_iter().map(replica::worst_second).max();
    let questions = (after.scripts - before.scripts) as f64;
    let time = seconds as f64;
    println!(
        "{apps:>4}  {replicas:>8}  {:>6.1}  {:>9.1}  {:>11.0}  {:>6.3}  {:>11.1}",
        100.0 * sent as f64 / (f64::from(CALLS_PER_SECOND * TIMES) * time),
        100.0 * worst.unwrap_or_default() as f64 / f64::from(calls),
        questions / time,
        questions / sent as f64,
        100.0 * (after.cpu - before.cpu).as_secs_f64() / time,
    );
    Ok(())
}
