//! The library's part of a send, alone: from the bytes of the request to those of the call, and what is
//! remembered under a request ID.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use easemob_gateway::{
    app::{self, App},
    id::RequestId,
    invalid::Violations,
    message::Message,
    store::{Begin, Begun, Settlement, Store, Unsent},
};
use prost::Message as _;
use tokio::time::Instant;

use crate::message;

/// From the bytes of the request to those of the call, so many times; with `store`, what is remembered under a request ID from its beginning to its end.
pub(crate) fn run(sends: u64, store: Option<&Store>) -> anyhow::Result<()> {
    let config = app::Config {
        base_url: "http://127.0.0.1:1".to_owned(),
        org_name: Some("acme".to_owned()),
        app_name: Some("shop".to_owned()),
        client_id: "bench".to_owned(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    };
    let violations = Violations::default();
    let app = App::new("shop", &config, violations.root()).context("an app")?;
    let request = message::request(1).encode_to_vec();
    for number in 0..sends {
        let request = easemob_gateway::proto::SendMessageRequest::decode(black_box(&*request))?;
        let violations = Violations::default();
        let message = request.message.context("a message")?;
        let message = Message::check(message, &app, violations.root()).context("valid")?;
        if let Some(store) = store {
            ready(remember(store, number, &message, &app))?;
        }
        black_box(message.to_json(&message.target.recipients));
    }
    Ok(())
}

async fn remember(store: &Store, id: u64, message: &Message, app: &App) -> anyhow::Result<()> {
    let violations = Violations::default();
    let id = RequestId::check(format!("{id:032}"), violations.root());
    let lease = Duration::from_secs(10);
    let begin = Begin {
        key: store.key("billing", &app.name, &id.flatten().context("an ID")?),
        fingerprints: &message.fingerprints(app),
        recipients: message.target.recipients.len(),
        resend_maybe_sent: false,
        at_once: true,
        lease,
        trace: None,
    };
    let Begun::New(claim) = store.begin(&begin).await? else {
        bail!("every ID is a new one");
    };
    let part = message.target.places();
    ensure!(
        store.dispatch(claim, &part, Instant::now(), lease).await?,
        "the claim holds"
    );
    let settlement = Settlement {
        message_ids: &[Some(message::MESSAGE_ID.to_owned())],
        timestamp_ms: Some(1),
        unsent: Unsent::MaybeSent,
    };
    store.settle(claim, &part, settlement).await;
    Ok(())
}

/// What a future gives that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("records are in memory"),
    }
}
