//! The steps of a send, each by itself, in time: `make micro`. What they are in all is measured by `make bench`.

use std::{hint::black_box, sync::Arc, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use easemob_gateway::{
    app::{self, App},
    delivery::split::split,
    id::RequestId,
    invalid::Violations,
    message::Message,
    proto::{self, SendMessageRequest, message::Content, message::Target},
    quota::{Asker, Kind, Quotas},
    store::{self, Begin, Begun, Settlement, Store, Unsent},
};
use prost::Message as _;
use tokio::{
    runtime::{self, Runtime},
    time::Instant,
};

/// Numbers of recipients.
const RECIPIENTS: [usize; 3] = [1, 100, 10_000];
const LEASE: Duration = Duration::from_secs(10);

fn main() {
    divan::main();
}

fn one_thread() -> Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn config() -> app::Config {
    app::Config {
        base_url: "http://127.0.0.1:1".to_owned(),
        org_name: Some("acme".to_owned()),
        app_name: Some("shop".to_owned()),
        client_id: "bench".to_owned(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    }
}

fn app() -> App {
    App::new("shop", &config(), Violations::default().root()).expect("right settings")
}

fn message(recipients: usize) -> proto::Message {
    let user_ids = (0..recipients)
        .map(|user| format!("user{user:08}"))
        .collect();
    proto::Message {
        from_user_id: Some("alice".to_owned()),
        target: Some(Target::Users(proto::Users { user_ids })),
        content: Some(Content::Text(proto::TextContent {
            text: "您的订单已发货，预计明天送达。Your order is on its way.".to_owned(),
        })),
        ..proto::Message::default()
    }
}

fn checked(recipients: usize) -> Message {
    check(message(recipients), &app()).expect("a right message")
}

fn check(message: proto::Message, app: &App) -> Option<Message> {
    Message::check(message, app, Violations::default().root())
}

/// From the bytes of a request to its values.
#[divan::bench(args = RECIPIENTS)]
fn decode(bencher: Bencher<'_, '_>, recipients: usize) {
    let request = SendMessageRequest {
        message: Some(message(recipients)),
        ..SendMessageRequest::default()
    };
    let bytes = request.encode_to_vec();
    let bencher = bencher.counter(ItemsCount::new(recipients));
    bencher.bench(|| SendMessageRequest::decode(black_box(&*bytes)));
}

/// Every rule that a message has to keep to.
#[divan::bench(args = RECIPIENTS)]
fn validate(bencher: Bencher<'_, '_>, recipients: usize) {
    let app = app();
    let bencher = bencher.counter(ItemsCount::new(recipients));
    bencher
        .with_inputs(|| message(recipients))
        .bench_values(|message| check(message, &app));
}

/// A message with much that is wrong, each told with its field.
#[divan::bench]
fn refuse(bencher: Bencher<'_, '_>) {
    let app = app();
    let wrong = || {
        let mut wrong = message(3);
        wrong.from_user_id = Some("a user".to_owned());
        wrong.content = None;
        wrong
    };
    bencher.with_inputs(wrong).bench_values(|message| {
        let violations = Violations::default();
        let refused = Message::check(message, &app, violations.root());
        (refused.is_none(), violations)
    });
}

/// From a checked message to Easemob's JSON.
#[divan::bench(args = RECIPIENTS)]
fn map(bencher: Bencher<'_, '_>, recipients: usize) {
    let message = checked(recipients);
    let bencher = bencher.counter(ItemsCount::new(recipients));
    bencher.bench(|| message.to_json(black_box(&message.target.recipients)));
}

/// Recipients to parts.
#[divan::bench(args = RECIPIENTS)]
fn parts(bencher: Bencher<'_, '_>, recipients: usize) {
    let message = checked(recipients);
    let limits = config().limits;
    let bencher = bencher.counter(ItemsCount::new(recipients));
    bencher.bench(|| split(black_box(&message), &limits, usize::MAX));
}

/// A turn of a quota that nobody else waits for, while so many calls are charged already.
#[divan::bench(args = [0, 1_000, 100_000])]
fn quota(bencher: Bencher<'_, '_>, charged: usize) {
    let runtime = one_thread();
    let mut quota = app::Config::default().quota;
    quota.users.calls_per_second = 1_000_000_000;
    quota.users.messages_per_minute = 1_000_000_000;
    let quotas = Arc::new(Quotas::new(&quota, 10_000, runtime.handle()));
    let asker = Asker {
        name: "bench".into(),
        weight: 1,
    };
    let turn = || {
        let until = Instant::now() + LEASE;
        runtime.block_on(async {
            let admission = quotas.admit(Kind::Users, &asker, &[1], until).await;
            drop(admission.expect("room").turn(1, None).await);
        });
    };
    (0..charged).for_each(|_| turn());
    bencher.bench_local(turn);
}

/// A request ID from its claim to its outcome, while so many are remembered already.
#[divan::bench(args = [0, 1_000, 100_000, 1_000_000])]
fn ledger(bencher: Bencher<'_, '_>, remembered: u64) {
    let runtime = one_thread();
    let config = store::Config {
        memory_bytes: 1 << 30,
        ..store::Config::default()
    };
    let store = Store::open(&config, runtime.handle()).expect("a store in memory");
    let (message, app) = (checked(1), app());
    let mut next = 0;
    let mut send = || {
        next += 1;
        runtime.block_on(remember(&store, next, &message, &app));
    };
    (0..remembered).for_each(|_| send());
    bencher.bench_local(send);
}

async fn remember(store: &Store, id: u64, message: &Message, app: &App) {
    let violations = Violations::default();
    let id = RequestId::check(format!("{id:032}"), violations.root());
    let begin = Begin {
        key: store.key("billing", &app.name, &id.flatten().expect("an ID")),
        fingerprints: &message.fingerprints(app),
        recipients: message.target.recipients.len(),
        resend_maybe_sent: false,
        at_once: true,
        lease: LEASE,
        trace: None,
    };
    let Ok(Begun::New(claim)) = store.begin(&begin).await else {
        unreachable!("every ID is a new one, and there is room");
    };
    let part = message.target.places();
    let dispatched = store.dispatch(claim, &part, Instant::now(), LEASE).await;
    assert_eq!(dispatched, Ok(true));
    let settlement = Settlement {
        message_ids: &[Some("1029457500870543736".to_owned())],
        timestamp_ms: Some(1),
        unsent: Unsent::MaybeSent,
    };
    store.settle(claim, &part, settlement).await;
}
