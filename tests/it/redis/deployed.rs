//! The ways in which Redis is run: with TLS and a user of few rights, as a Cluster, and watched by a Sentinel.

use easemob_gateway::store::RedisUrl;

use super::{refusal, replica, says, send, send_at_last, store_away, under_way};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::{Setup, TestGateway},
    ledger::Client,
    metrics::Page,
    redis::{Cluster, Redis},
    slow_way::SlowWay,
    tls::{Authority, TlsFiles},
};

/// What docs/scaling.md says that the user needs, and no more.
const RIGHTS: &[&str] = &[
    "--user",
    "default",
    "off",
    "--user",
    "gateway",
    "on",
    ">CANARY-secret",
    "~easemob-gateway:*",
    "-@all",
    "+evalsha",
    "+eval",
    "+script|load",
    "+ping",
    "+time",
    "+@hash",
    "+pexpire",
    "+del",
];

/// A quota as well: so that all scripts run.
fn at(easemob: &Easemob, redis: &Redis, url: String) -> Setup {
    replica(easemob, redis)
        .store(|store| store.url = Some(RedisUrl(url)))
        .app(|app| {
            app.quota.users.calls_per_second = 1_000;
            app.quota.users.messages_per_minute = 60_000;
        })
}

/// Sends under a few IDs, whose keys lie anywhere, and repeats them.
async fn sends_once_each(easemob: &Easemob, client: &Client, of: &str) {
    let before = easemob.seen().sends.len();
    let ids: Vec<_> = (0..20).map(|number| format!("{of}-{number}")).collect();
    for replayed in [false, true] {
        for id in &ids {
            let sent = send(client, says(id, id)).await.unwrap();
            assert_eq!((sent.accepted.len(), sent.replayed), (1, replayed));
        }
    }
    assert_eq!(easemob.seen().texts()[before..], ids);
}

/// All its scripts run there, and none failed.
async fn is_well(gateway: &TestGateway) {
    let page = Page::of(gateway).await;
    assert_eq!(page.get("easemob_gateway_redis_up", &[]), Some(1.0));
    assert_eq!(
        page.get("easemob_gateway_redis_failed_total", &[]),
        Some(0.0)
    );
}

#[tokio::test]
async fn with_tls_and_a_user_of_few_rights() {
    let (easemob, files) = (Easemob::start(), TlsFiles::new());
    let redis = Redis::start_tls(&files, RIGHTS).await;
    let url = |password| format!("rediss://gateway:{password}@{}", redis.addr());
    let trusts = |store: &mut easemob_gateway::store::Config| {
        store.ca_file = Some(files.path("ca.crt"));
    };
    let gateway = at(&easemob, &redis, url("CANARY-secret")).store(trusts);
    let gateway = gateway.start().await;
    sends_once_each(&easemob, &gateway.client().await, "tls").await;
    is_well(&gateway).await;

    // Neither with another password, nor where its certificate is not vouched for.
    let wrong = at(&easemob, &redis, url("another")).store(trusts).start();
    let stranger = Authority::new().file();
    let distrusts = at(&easemob, &redis, url("CANARY-secret"))
        .store(|store| store.ca_file = Some(stranger))
        .start();
    for gateway in [wrong.await, distrusts.await] {
        let client = gateway.client().await;
        assert_eq!(refusal(send(&client, says("1", "1")).await), store_away());
    }
}

#[tokio::test]
async fn a_cluster_goes_on_with_the_copy_of_a_master_that_died() {
    let (easemob, mut cluster) = (Easemob::start(), Cluster::start().await);
    let gateway = at(&easemob, &cluster.nodes[0], cluster.url())
        .store(|store| store.cluster = true)
        .start()
        .await;
    let client = gateway.client().await;
    sends_once_each(&easemob, &client, "before").await;
    is_well(&gateway).await;

    cluster.nodes[0].kill().await;
    cluster.nodes[3]
        .until_it_says("replication", "role:master")
        .await;
    for number in 0..20 {
        send_at_last(&client, &format!("during-{number}")).await;
    }
    // Of the records from before, those of the dead master as well: they had been copied.
    for number in 0..20 {
        assert!(send_at_last(&client, &format!("before-{number}")).await);
    }
    sends_once_each(&easemob, &client, "after").await;
    let seen = easemob.seen();
    let mut texts = seen.texts();
    texts.sort_unstable();
    let all = texts.len();
    texts.dedup();
    assert_eq!((all, texts.len()), (60, 60));
}

#[tokio::test]
async fn sentinels_name_another_master_when_theirs_died() {
    let (easemob, mut master) = (Easemob::start(), Redis::start().await);
    let copy = Redis::start_copy(&master).await;
    let sentinel = Redis::start_sentinel(&master).await;
    let gateway = at(&easemob, &sentinel, sentinel.url())
        .store(|store| store.sentinel_master = Some("mymaster".into()))
        .start()
        .await;
    let client = gateway.client().await;
    sends_once_each(&easemob, &client, "before").await;
    is_well(&gateway).await;
    // Acknowledged by the copy: what it has not got is the known hole.
    assert_eq!(master.ask::<u64>("WAIT 1 5000").await, 1);

    master.kill().await;
    copy.until_it_says("replication", "role:master").await;
    assert!(!send_at_last(&client, "during").await);
    for number in 0..20 {
        assert!(send_at_last(&client, &format!("before-{number}")).await);
    }
    sends_once_each(&easemob, &client, "after").await;
    assert_eq!(easemob.seen().sends.len(), 41);
}

/// R4: a copy takes over that missed the last second. A record that it missed is lost, and that is told.
#[tokio::test]
async fn a_copy_that_missed_the_last_second_has_lost_its_records_and_that_is_told() {
    const LOST: &str = "easemob_gateway_redis_lost_total";
    let (easemob, mut master) = (Easemob::start(), Redis::start().await);
    let copy = Redis::start_copy(&master).await;
    let way = SlowWay::to(master.addr()).await;
    let url = format!("redis://{}", way.addr());
    let gateway = at(&easemob, &master, url).start().await;
    let client = gateway.client().await;
    sends_once_each(&easemob, &client, "before").await;
    assert_eq!(master.ask::<u64>("WAIT 1 5000").await, 1);
    copy.ask::<()>("REPLICAOF NO ONE").await;

    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let missed = under_way(&easemob, &client, says("missed", "missed")).await;
    let page = Page::of(&gateway).await;
    assert_eq!(page.get(LOST, &[("what", "record")]), Some(0.0));
    master.kill().await;
    way.lead_to(copy.addr());
    for number in 0..20 {
        assert!(send_at_last(&client, &format!("before-{number}")).await);
    }
    gate.open();
    // The caller hears the truth; a repeat may send it again, which is the known hole.
    let missed = missed.await.unwrap().unwrap();
    assert_eq!((missed.accepted.len(), missed.replayed), (1, false));
    Page::until(&gateway, "the loss shows", |page| {
        page.get(LOST, &[("what", "record")]) == Some(1.0)
    })
    .await;
    sends_once_each(&easemob, &client, "after").await;
    let expected = |of: &str| (0..20).map(|number| format!("{of}-{number}")).collect();
    let expected: Vec<Vec<String>> =
        vec![expected("before"), vec!["missed".into()], expected("after")];
    assert_eq!(easemob.seen().texts(), expected.concat());
}
