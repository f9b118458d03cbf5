//! R3: a Redis that answers, and too late, or never. Sends go on, soon nobody waits for it, and no place is lost.

use std::time::{Duration, Instant};

use easemob_gateway::store::RedisUrl;

use super::{refusal, replica, says, send, send_at_last, store_away};
use crate::support::{
    easemob::Easemob,
    gateway::{Setup, TestGateway},
    is_timed,
    metrics::Page,
    redis::Redis,
    slow_way::SlowWay,
    times,
};

/// One place for calls, so that one that is lost is missed; and quotas, so that each send has to do with Redis.
fn narrow(easemob: &Easemob, redis: &Redis, way: &SlowWay) -> Setup {
    let url = RedisUrl(format!("redis://{}", way.addr()));
    replica(easemob, redis)
        .store(|store| {
            store.url = Some(url);
            store.answer_timeout = Duration::from_millis(100);
            store.fallback_share = 1.0;
        })
        .server(|server| server.shards = std::num::NonZeroUsize::new(1))
        .delivery(|delivery| delivery.calls_in_flight = 1)
        .app(|app| {
            app.quota.users.calls_per_second = 10_000;
            app.quota.users.messages_per_minute = 100_000;
        })
}

async fn failures(gateway: &TestGateway) -> f64 {
    let page = Page::of(gateway).await;
    page.get("easemob_gateway_redis_failed_total", &[]).unwrap()
}

#[tokio::test]
async fn a_slow_redis_delays_nobody_for_long_and_takes_no_place() {
    let (late, very_late) = (Duration::from_millis(200), Duration::from_secs(5));
    for delay in [Some(late), Some(very_late), None] {
        let (easemob, redis) = (Easemob::start(), Redis::start().await);
        let way = SlowWay::to(redis.addr()).await;
        let gateway = narrow(&easemob, &redis, &way).start().await;
        let client = gateway.client().await;
        send_at_last(&client, "before").await;
        let failed_before = failures(&gateway).await;

        way.delay(delay);
        let mut waits = Vec::new();
        let count = times(40, 400);
        for number in 0..count {
            let begin = Instant::now();
            let words = format!("without-{number}");
            send(&client, says("", &words)).await.unwrap();
            waits.push(begin.elapsed());
            let id = format!("with-{number}");
            let refused = refusal(send(&client, says(&id, &id)).await);
            assert_eq!(refused, store_away());
        }
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        let asked = failures(&gateway).await - failed_before;
        println!("{delay:?}: p99 {p99:?}, {asked} calls without an answer");
        if is_timed() {
            assert!(p99 <= Duration::from_millis(150), "{p99:?}");
        }
        let page = Page::of(&gateway).await;
        assert_eq!(page.get("easemob_gateway_redis_up", &[]), Some(0.0));
        assert_eq!(page.get("easemob_gateway_calls_active", &[]), Some(0.0));
        assert_eq!(page.count("easemob_gateway_quota_waiting", &[]), 0.0);

        way.delay(Some(Duration::ZERO));
        send_at_last(&client, "after").await;
        send(&client, says("", "last")).await.unwrap();
        // None of those that were refused is among them, and none twice.
        let mut expected = vec!["before".to_owned()];
        expected.extend((0..count).map(|number| format!("without-{number}")));
        expected.extend(["after".to_owned(), "last".to_owned()]);
        assert_eq!(easemob.seen().texts(), expected);
    }
}
