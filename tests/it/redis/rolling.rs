//! D4: three replicas are replaced one after another under load, by callers with request IDs who repeat what failed.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{interval, sleep},
};
use tonic::{Code, Request};

use super::says;
use crate::support::{
    binary::Binary,
    easemob::{Easemob, Script},
    is_timed,
    ledger::Client,
    redis::Redis,
    request::error_info,
    times,
};

type Clients = Arc<Mutex<Vec<Client>>>;

/// Sends under one ID until it is accepted, each time at the next replica. How often that took.
async fn send(clients: Clients, number: usize) -> usize {
    let id = format!("id-{number}");
    for attempt in 0..100 {
        let mut client = {
            let clients = clients.lock().await;
            clients[(number + attempt) % clients.len()].clone()
        };
        let mut request = Request::new(says(&id, &id));
        request.set_timeout(Duration::from_secs(20));
        match client.send_message(request).await {
            Ok(sent) => {
                assert_eq!(sent.into_inner().accepted.len(), 1);
                return attempt;
            }
            // No word of a gateway: the library found nobody there, or lost the answer.
            Err(status) if status.details().is_empty() => {}
            Err(status) => {
                let label = error_info(&status);
                assert_eq!(status.code(), Code::Unavailable, "{label:?}: {status:?}");
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} never comes to an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_replaced_under_load_and_nothing_is_lost_or_sent_twice() {
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    easemob.always_on_send(Script::read().stay(Duration::from_millis(20)).accept());
    let toml = format!(
        "[apps.shop]\nbase_url = '{}'\norg_name = 'sandbox'\napp_name = 'demo'\n\
         client_id = 'sandbox-client-id'\nclient_secret_env = 'SECRET'\n\
         [apps.shop.quota.users]\ncalls_per_second = 1000\nmessages_per_minute = 60000\n\
         [store]\nkind = 'redis'\nurl = '{}'\nanswer_timeout = '5s'\n",
        easemob.url(),
        redis.url()
    );
    let start = async || Binary::serve(&toml, &[("SECRET", "sandbox-client-secret")]).await;
    let (mut binaries, clients) = (Vec::new(), Clients::default());
    for _ in 0..3 {
        let binary = start().await;
        clients.lock().await.push(binary.client().await);
        binaries.push(binary);
    }

    let (over, begun) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let begin = Instant::now();
    let load = tokio::spawn({
        let (clients, over, begun) = (Arc::clone(&clients), Arc::clone(&over), Arc::clone(&begun));
        // The figure is 300 a second; in small, what a busy machine has room for.
        let mut ticks = interval(Duration::from_secs(1) / times(60, 300));
        async move {
            let mut sends = JoinSet::new();
            while !over.load(Ordering::Relaxed) {
                ticks.tick().await;
                let number = begun.fetch_add(1, Ordering::Relaxed);
                sends.spawn(send(Arc::clone(&clients), number));
            }
            sends.join_all().await
        }
    });
    let some_go = async |more: usize| {
        let before = begun.load(Ordering::Relaxed);
        while begun.load(Ordering::Relaxed) < before + more {
            sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..times(1, 5) {
        for (which, old) in binaries.iter_mut().enumerate() {
            some_go(50).await;
            let fresh = start().await;
            clients.lock().await[which] = fresh.client().await;
            let old = std::mem::replace(old, fresh);
            old.terminate();
            let (status, said) = old.ended().await;
            assert!(status.success(), "{said}");
        }
    }
    some_go(50).await;
    over.store(true, Ordering::Relaxed);
    let rate = begun.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    let attempts = load.await.unwrap();

    let repeated = attempts.iter().filter(|&&attempts| attempts > 0).count();
    println!(
        "{} sends, {rate:.0} a second, {repeated} of them repeated",
        attempts.len()
    );
    if is_timed() {
        assert!(rate >= 290.0, "{rate} a second");
    }
    let mut has: HashMap<String, usize> = HashMap::new();
    for text in easemob.seen().texts() {
        *has.entry(text.to_owned()).or_default() += 1;
    }
    has.retain(|_, times| *times != 1);
    assert!(has.is_empty(), "twice: {has:?}");
    assert_eq!(easemob.seen().sends.len(), attempts.len());
}
