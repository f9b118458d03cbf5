//! Redis away, slow or empty: nobody has a message twice, callers are told the truth and are not kept
//! waiting, and all is as before when it is back.

use std::time::{Duration, Instant};

use tonic::Code;
use tonic_types::StatusExt;

use super::{in_doubt, refusal, replica, says, send, send_at_last, store_away, under_way};
use crate::support::{
    binary::Binary,
    easemob::{Easemob, Gate, Script},
    gateway::Setup,
    metrics::Page,
    redis::Redis,
    soon, within,
};

/// One that waits for an answer as long as it does by default.
fn impatient(easemob: &Easemob, redis: &Redis) -> Setup {
    replica(easemob, redis).store(|store| store.answer_timeout = Duration::from_millis(100))
}

/// R1, R3: killed, and stopped where it stands.
#[tokio::test]
async fn without_redis_sends_go_on_and_those_with_an_id_are_refused() {
    for frozen in [false, true] {
        let (easemob, mut redis) = (Easemob::start(), Redis::start().await);
        let gateway = impatient(&easemob, &redis).start().await;
        let client = gateway.client().await;
        send_at_last(&client, "before").await;
        match frozen {
            true => redis.freeze(),
            false => redis.kill().await,
        }
        for number in 0..12 {
            let id = format!("during-{number}");
            let status = send(&client, says(&id, &id)).await.unwrap_err();
            let told = status.get_error_details();
            let wait = told.retry_info().and_then(|info| info.retry_delay);
            assert!(wait.unwrap() <= Duration::from_secs(11), "{wait:?}");
            assert_eq!(refusal::<()>(Err(status)), store_away());
        }
        send(&client, says("", "without an ID")).await.unwrap();
        assert_eq!(easemob.seen().texts(), ["before", "without an ID"]);

        match frozen {
            true => redis.thaw(),
            false => redis.restart().await,
        }
        send_at_last(&client, "after").await;
        assert_eq!(easemob.seen().texts().len(), 3);
        if frozen {
            assert!(send_at_last(&client, "before").await);
        }
    }
}

/// R3: once Redis is known not to answer, nobody waits for it.
#[tokio::test]
async fn a_redis_that_does_not_answer_is_soon_left_alone() {
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    let gateway = impatient(&easemob, &redis).start().await;
    let client = gateway.client().await;
    send_at_last(&client, "before").await;
    redis.freeze();
    let begin = Instant::now();
    for number in 0..200 {
        let id = format!("during-{number}");
        assert_eq!(refusal(send(&client, says(&id, &id)).await), store_away());
    }
    // Five answers' time and a probe or two; not two hundred, which would be 20 s.
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    redis.thaw();
}

/// R2: whatever is lost in between, the caller has the true outcome, and a repeat sends nothing twice.
#[tokio::test]
async fn redis_that_dies_while_a_message_is_under_way_changes_no_outcome() {
    for accepted in [true, false] {
        let (easemob, redis) = (Easemob::start(), Redis::start().await);
        let gate = Gate::default();
        let script = Script::read().wait(&gate);
        easemob.on_send(match accepted {
            true => script.accept(),
            false => script.reset(),
        });
        let gateway = replica(&easemob, &redis).start().await;
        let client = gateway.client().await;
        let first = under_way(&easemob, &client, says("1", "once")).await;
        redis.freeze();
        gate.open();
        let first = soon("the first", first).await.unwrap();
        redis.thaw();
        // Told late, and known then. Until then it is away, or has a run that nobody ends.
        let repeat = within(Duration::from_secs(90), "it is used again", async {
            loop {
                let repeat = send(&client, says("1", "once")).await;
                match &repeat {
                    Err(status) if accepted || status.code() == tonic::Code::Unavailable => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    _ => break repeat,
                }
            }
        })
        .await;
        match accepted {
            true => {
                assert_eq!(first.unwrap().accepted.len(), 1);
                let repeat = repeat.unwrap();
                assert!(repeat.replayed);
                assert_eq!(repeat.accepted.len(), 1);
            }
            false => {
                assert_eq!(refusal(first), in_doubt());
                assert_eq!(refusal(repeat), in_doubt());
            }
        }
        assert_eq!(easemob.seen().texts(), ["once"]);
    }
}

/// R4: what was forgotten is told by an alarm.
#[tokio::test]
async fn a_redis_that_forgets_what_is_under_way_is_told_by_metrics() {
    const LOST: &str = "easemob_gateway_redis_lost_total";
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = replica(&easemob, &redis)
        .app(|app| app.quota.users.messages_per_minute = 6_000)
        .start()
        .await;
    let client = gateway.client().await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { send(&client, says("1", "once")).await }
    });
    let arrived = easemob.until("it is there", |seen| seen.sends.len() == 1);
    arrived.await;
    let page = Page::of(&gateway).await;
    assert_eq!(page.get(LOST, &[("what", "record")]), Some(0.0));
    redis.flush().await;
    gate.open();
    let first = soon("the first", first).await.unwrap().unwrap();
    assert_eq!(first.accepted.len(), 1);
    Page::until(&gateway, "both losses show", |page| {
        let lost = |what| page.count(LOST, &[("what", what)]);
        lost("record") >= 1.0 && lost("quota") >= 1.0
    })
    .await;
}

/// D5: a replica starts without Redis and without Easemob, and uses them when they are there.
#[tokio::test]
async fn a_gateway_starts_without_redis_and_easemob() {
    let (easemob, mut redis) = (Easemob::start(), Redis::start().await);
    easemob.down();
    redis.kill().await;
    let gateway = replica(&easemob, &redis)
        .app(|app| app.quota.users.messages_per_minute = 6_000)
        .start()
        .await;
    assert_eq!(gateway.page("livez").await, 200);
    assert_eq!(gateway.page("readyz").await, 200);
    let client = gateway.client().await;
    let nobody = refusal(send(&client, says("", "to nobody")).await);
    let (reason, state) = ("EASEMOB_UNREACHABLE", "NOT_SENT");
    assert_eq!(nobody, (Code::Unavailable, reason.into(), state.into()));
    easemob.up();
    soon("Easemob is used", async {
        while send(&client, says("", "without an ID")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(
        refusal(send(&client, says("early", "early")).await),
        store_away()
    );
    redis.restart().await;
    send_at_last(&client, "early").await;
    assert_eq!(easemob.seen().texts(), ["without an ID", "early"]);
}

/// S4: the URL has a password, and nobody reads it anywhere, also where Redis refuses it.
#[tokio::test]
async fn the_password_of_redis_shows_nowhere() {
    let easemob = Easemob::start();
    let redis = Redis::start_with(&["--requirepass", "another"]).await;
    let with_password = redis.url().replace("redis://", "redis://amy:CANARY-redis@");
    let toml = format!(
        "[apps.shop]\nbase_url = '{}'\norg_name = 'o'\napp_name = 'a'\nclient_id = 'c'\n\
         client_secret_env = 'SECRET'\n[store]\nkind = 'redis'\nurl = '{with_password}'\n\
         [telemetry]\nlog_filter = 'trace'\n",
        easemob.url()
    );
    let binary = Binary::serve(&toml, &[("SECRET", "secret")]).await;
    let status = send(&binary.client().await, says("1", "never")).await;
    let status = status.unwrap_err();
    assert!(!format!("{status:?}").contains("CANARY"));
    assert_eq!(refusal::<()>(Err(status)), store_away());
    binary.terminate();
    let (_, said) = binary.ended().await;
    assert!(said.contains("Redis is away"), "{said}");
    assert!(!said.contains("CANARY"), "{said}");
}
