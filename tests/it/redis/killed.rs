//! Replicas that are killed in the middle of everything, and callers who repeat at the other one: nobody has a
//! message twice, and what was answered OK is there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{sync::Mutex, task::JoinSet, time::sleep};
use tonic::Request;

use super::says;
use crate::support::{
    binary::Binary,
    easemob::{Easemob, Script},
    ledger::Client,
    redis::Redis,
    soak,
};

/// Two replicas as processes, and the clients of those that run now.
struct Pair {
    toml: String,
    clients: Mutex<[Client; 2]>,
}

impl Pair {
    async fn client(&self, which: usize) -> Client {
        self.clients.lock().await[which].clone()
    }
}

async fn start(toml: &str) -> (Binary, Client) {
    let binary = Binary::serve(toml, &[("SECRET", "sandbox-client-secret")]).await;
    let client = binary.client().await;
    (binary, client)
}

/// Sends under one ID until an answer tells the end: at one replica, and then at the other.
async fn send(pair: Arc<Pair>, number: usize) -> bool {
    let id = format!("id-{number}");
    for attempt in 0..40 {
        let mut request = Request::new(says(&id, &id));
        request.set_timeout(Duration::from_secs(20));
        let mut client = pair.client((number + attempt) % 2).await;
        match client.send_message(request).await {
            Ok(_) => return true,
            // In doubt for good: it is not sent again.
            Err(status)
                if status.code() == tonic::Code::Unknown && !status.details().is_empty() =>
            {
                return false;
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("{id} never comes to an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_killed_send_nothing_twice() {
    let (ids, every) = if soak() { (1_500, 100) } else { (300, 100) };
    let seed =
        std::env::var("KILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("KILL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    for _ in 0..ids * 2 {
        easemob.on_send(match rng.u8(..20) {
            0 => Script::read().reset(),
            1 => Script::read().answer(400, ""),
            2 => Script::read().answer(503, ""),
            _ => Script::read().accept(),
        });
    }
    let toml = format!(
        "[apps.shop]\nbase_url = '{}'\norg_name = 'sandbox'\napp_name = 'demo'\n\
         client_id = 'sandbox-client-id'\nclient_secret_env = 'SECRET'\n\
         [apps.shop.timeouts]\nconnect = '600ms'\nattempt = '1s'\ncall = '2s'\ntoken = '1s'\n\
         [apps.shop.quota.users]\ncalls_per_second = 0\nmessages_per_minute = 0\n\
         [store]\nkind = 'redis'\nurl = '{}'\n",
        easemob.url(),
        redis.url()
    );
    let (one, other) = (start(&toml).await, start(&toml).await);
    let pair = Arc::new(Pair {
        toml,
        clients: Mutex::new([one.1, other.1]),
    });
    let mut binaries = [one.0, other.0];

    let (mut senders, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..24 {
        let (pair, begun, next) = (Arc::clone(&pair), Arc::clone(&begun), Arc::clone(&next));
        senders.spawn(async move {
            let mut ends = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= ids {
                    return ends;
                }
                begun.fetch_add(1, Ordering::Relaxed);
                ends.push(send(Arc::clone(&pair), number).await);
            }
        });
    }
    let mut killed = 0;
    while begun.load(Ordering::Relaxed) + every / 2 < ids {
        let at = begun.load(Ordering::Relaxed) + rng.usize(1..every);
        while begun.load(Ordering::Relaxed) < at.min(ids) {
            sleep(Duration::from_millis(1)).await;
        }
        let which = rng.usize(..2);
        binaries[which].kill().await;
        killed += 1;
        let (binary, client) = start(&pair.toml).await;
        pair.clients.lock().await[which] = client;
        binaries[which] = binary;
    }

    assert_eq!(easemob.seen().twice(), [""; 0]);
    let ends = senders.join_all().await.concat();
    let ok = ends.iter().filter(|accepted| **accepted).count();
    println!("{ids} IDs, {killed} replicas killed: {ok} OK, the rest in doubt");
    assert_eq!(ends.len(), ids);
    assert!(killed > 0 && ok > ids / 2);
}
