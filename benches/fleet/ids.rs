//! How many sends with request IDs a Redis carries: as many as it can, by the gateway's own scripts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use easemob_gateway::{
    app::{self, App},
    id::RequestId,
    invalid::Violations,
    message::Message,
    proto,
    store::{Begin, Begun, Key, Settlement, Store, Unsent},
};
use tokio::{runtime::Handle, task::JoinSet};

use crate::redis::Redis;

/// Sends at once.
const AT_ONCE: u64 = 64;
/// Time for all of a send.
const LEASE: Duration = Duration::from_secs(20);

pub(crate) async fn measure(time: Duration) -> anyhow::Result<()> {
    let redis = Redis::start().await?;
    let store = Arc::new(Store::open(&redis.config(), &Handle::current())?);
    let next = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + time;
    let before = redis.load().await?;
    let mut sends = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (store, next) = (Arc::clone(&store), Arc::clone(&next));
        sends.spawn(async move {
            while Instant::now() < until {
                send(&store, next.fetch_add(1, Ordering::Relaxed)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = sends.join_next().await {
        ended??;
    }
    let after = redis.load().await?;
    let (sent, scripts) = (next.load(Ordering::Relaxed), after.scripts - before.scripts);
    let cpu = after.cpu - before.cpu;
    let seconds = time.as_secs_f64();
    println!(
        "{:.0} sends/s, {:.0} scripts/s, Redis CPU {:.0} %: {:.1} us of it a script, {:.1} us a send",
        sent as f64 / seconds,
        scripts as f64 / seconds,
        100.0 * cpu.as_secs_f64() / seconds,
        cpu.as_secs_f64() * 1e6 / scripts as f64,
        cpu.as_secs_f64() * 1e6 / sent as f64,
    );
    Ok(())
}

/// One text to one user.
fn message(violations: &Violations) -> anyhow::Result<(Message, App)> {
    let config = app::Config {
        base_url: "http://127.0.0.1:1".to_owned(),
        org_name: Some("acme".to_owned()),
        app_name: Some("shop".to_owned()),
        client_id: "model".to_owned(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    };
    let app = App::new("shop", &config, violations.root()).context("an app")?;
    let target = proto::message::Target::Users(proto::Users {
        user_ids: vec!["bob".to_owned()],
    });
    let content = proto::message::Content::Text(proto::TextContent {
        text: "hello".to_owned(),
    });
    let message = proto::Message {
        target: Some(target),
        content: Some(content),
        ..proto::Message::default()
    };
    let message = Message::check(message, &app, violations.root()).context("a message")?;
    Ok((message, app))
}

/// Claims, dispatches and settles a send.
async fn send(store: &Store, number: u64) -> anyhow::Result<()> {
    let violations = Violations::default();
    let (message, app) = message(&violations)?;
    let id = RequestId::check(format!("id-{number}"), violations.root()).flatten();
    let begin = Begin {
        key: Key::shared("billing", "shop", &id.context("an ID")?),
        fingerprints: &message.fingerprints(&app),
        recipients: 1,
        resend_maybe_sent: false,
        at_once: false,
        lease: LEASE,
        trace: None,
    };
    let Begun::New(claim) = store.begin(&begin).await? else {
        anyhow::bail!("every ID is a new one");
    };
    let dispatched = store
        .dispatch(claim, &[0], tokio::time::Instant::now(), LEASE)
        .await?;
    anyhow::ensure!(dispatched, "the claim holds");
    let settlement = Settlement {
        message_ids: &[Some("1234567890123456789".to_owned())],
        timestamp_ms: Some(1),
        unsent: Unsent::MaybeSent,
    };
    store.settle(claim, &[0], settlement).await;
    Ok(())
}
