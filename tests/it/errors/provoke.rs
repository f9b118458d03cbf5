//! How each reason comes about.

use std::time::Duration;

use bytes::Bytes;
use easemob_gateway::{
    caller::{CallerConfig, Mode, key},
    proto::{
        self, ErrorReason, FileRef, UploadFileRequest, file_ref::Location,
        upload_file_request::Part,
    },
    sandbox::{Endpoint, Fault},
    store::{Kind, RedisUrl},
};
use tonic::{Code, Request, Status};

use super::{Client, Provoked, Started, chinese, internal, start, start_with, started};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::Setup,
    redis::Redis,
    request::{message, request, text, text_to, users},
};

const USERS: Endpoint = Endpoint::SendToUsers;
/// Less than any wait that helps.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

/// The reason, in each way that differs to the caller.
pub(super) async fn provoke(reason: ErrorReason) -> Vec<Provoked> {
    match reason {
        ErrorReason::Unspecified => unreachable!("it is never returned"),
        ErrorReason::InvalidRequest => invalid_request().await,
        ErrorReason::MessageTooLarge => message_too_large().await,
        ErrorReason::FileTooLarge => {
            let header = header(Some(11 << 20));
            upload("declared", vec![header]).await
        }
        ErrorReason::StreamOutOfOrder => upload("no header", vec![chunk(b"x")]).await,
        ErrorReason::UploadIncomplete => upload("no finish", vec![header(None), chunk(b"x")]).await,
        ErrorReason::ChecksumMismatch => {
            let parts = vec![header(None), chunk(b"x"), finish(2)];
            upload("another size", parts).await
        }
        ErrorReason::FileNotFound => file_not_found().await,
        ErrorReason::FileExpired => file_expired().await,
        ErrorReason::CallerUnauthenticated => unauthenticated().await,
        ErrorReason::AppForbidden => app_forbidden().await,
        ErrorReason::AppNotConfigured => app_not_configured().await,
        ErrorReason::RequestIdReused => request_id_reused().await,
        ErrorReason::QuotaExceeded => quota_exceeded().await,
        ErrorReason::PlanLimitReached => {
            let fault = Fault::json(429, "resource_limited", "DAU of the edition is used up");
            vec![refused("the plan's limit", fault).await]
        }
        ErrorReason::Overloaded => overloaded().await,
        ErrorReason::ShuttingDown => shutting_down().await,
        ErrorReason::StoreUnavailable => store_unavailable().await,
        ErrorReason::DeadlineExceeded => deadline_exceeded().await,
        ErrorReason::EasemobCredentialsRejected => credentials_rejected().await,
        ErrorReason::EasemobAppNotFound => app_not_found().await,
        ErrorReason::FeatureNotEnabled => {
            let fault = Fault::json(403, "forbidden_op", "message broadcast service is unopened");
            vec![refused("not open", fault).await]
        }
        ErrorReason::EasemobRefused => {
            let fault = Fault::json(418, "teapot", "short and stout");
            vec![refused("another 4xx", fault).await]
        }
        ErrorReason::EasemobUnreachable => unreachable_easemob().await,
        ErrorReason::EasemobBusy => {
            let mut started =
                start_with(|setup| hurried(setup).app(|app| app.treat_503_as_not_sent = true))
                    .await;
            started.easemob.script(USERS, vec![Fault::status(503); 9]);
            vec![Provoked::send("503", send(&mut started.client).await)]
        }
        ErrorReason::OutcomeUnknown => outcome_unknown().await,
        ErrorReason::UploadInterrupted => upload_interrupted().await,
        ErrorReason::Internal => internal::panicked().await,
    }
}

async fn send(client: &mut Client) -> Result<(), Status> {
    client.send_message(text_to(&["bob"])).await.map(drop)
}

/// What a caller is told of this answer to its send.
async fn refused(how: &'static str, fault: Fault) -> Provoked {
    let mut started = start_with(hurried).await;
    started.easemob.script(USERS, vec![fault; 9]);
    Provoked::send(how, send(&mut started.client).await)
}

/// What could be tried again is told at once.
fn hurried(setup: Setup) -> Setup {
    setup.server(|server| server.default_deadline = Duration::from_secs(1))
}

async fn invalid_request() -> Vec<Provoked> {
    let mut started = start().await;
    let client = &mut started.client;
    let empty = client.send_message(proto::SendMessageRequest::default());
    let empty = Provoked::send("nothing in it", empty.await);
    let nobody = client.send_message(text_to(&[]));
    let nobody = Provoked::send("to nobody", nobody.await);
    let file = client.download_file(proto::DownloadFileRequest::default());
    let file = Provoked::transfer("no file named", file.await);
    vec![empty, nobody, file]
}

async fn message_too_large() -> Vec<Provoked> {
    let mut started = start().await;
    let client = &mut started.client;
    let long = "x".repeat(4_000);
    let long = request(message(users(&["bob"]), text(&long)));
    let long = Provoked::send("content", client.send_message(long).await);
    let whole = "x".repeat(2 << 20);
    let whole = request(message(users(&["bob"]), text(&whole)));
    let whole = Provoked::send("the whole request", client.send_message(whole).await);
    vec![long, whole.with_code(Code::ResourceExhausted)]
}

fn header(size_bytes: Option<u64>) -> Part {
    Part::Header(proto::UploadFileHeader {
        filename: "a.txt".into(),
        upload: Some(proto::UploadOptions {
            size_bytes,
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn chunk(bytes: &'static [u8]) -> Part {
    Part::Chunk(Bytes::from_static(bytes))
}

fn finish(size_bytes: u64) -> Part {
    Part::Finish(proto::UploadFinish {
        size_bytes: Some(size_bytes),
        ..Default::default()
    })
}

async fn upload_to(client: &mut Client, parts: Vec<Part>) -> Result<FileRef, Status> {
    let parts = parts
        .into_iter()
        .map(|part| UploadFileRequest { part: Some(part) });
    let response = client.upload_file(tokio_stream::iter(parts)).await?;
    let file = response.into_inner().file.and_then(|file| file.r#ref);
    Ok(file.expect("a file has a ref"))
}

async fn upload(how: &'static str, parts: Vec<Part>) -> Vec<Provoked> {
    let mut started = start().await;
    vec![Provoked::transfer(
        how,
        upload_to(&mut started.client, parts).await,
    )]
}

async fn download(client: &mut Client, file: FileRef) -> Result<(), Status> {
    let request = proto::DownloadFileRequest {
        file: Some(file),
        ..Default::default()
    };
    let mut parts = client.download_file(request).await?.into_inner();
    while parts.message().await?.is_some() {}
    Ok(())
}

async fn file_not_found() -> Vec<Provoked> {
    let mut started = start().await;
    let unknown = FileRef {
        location: Some(Location::Uuid(
            "11111111-2222-3333-4444-555555555555".into(),
        )),
        ..Default::default()
    };
    let unknown = download(&mut started.client, unknown).await;
    vec![Provoked::transfer("no such file", unknown)]
}

async fn file_expired() -> Vec<Provoked> {
    let mut started = start().await;
    let client = &mut started.client;
    let parts = vec![header(None), chunk(b"x"), finish(1)];
    let stored = upload_to(client, parts).await.unwrap();
    started.easemob.advance(Duration::from_secs(8 * 24 * 3_600));
    vec![Provoked::transfer(
        "too old",
        download(client, stored).await,
    )]
}

/// `amy` with her key, who may use no app but `shop`.
fn amy(setup: Setup) -> Setup {
    setup.auth(|auth| {
        auth.mode = Mode::ApiKey;
        let amy = CallerConfig {
            key_sha256: vec![key::hex(&key::sha256(b"egk_of-amy"))],
            apps: vec!["shop".into()],
            ..Default::default()
        };
        auth.callers = [("amy".to_owned(), amy)].into();
    })
}

async fn unauthenticated() -> Vec<Provoked> {
    let mut started = start_with(amy).await;
    let client = &mut started.client;
    let no_key = Provoked::send("no key", send(client).await);
    let mut wrong = Request::new(text_to(&["bob"]));
    let value = "Bearer egk_of-ben".parse().unwrap();
    wrong.metadata_mut().insert("authorization", value);
    let wrong = Provoked::send("unknown key", client.send_message(wrong).await);
    let file = client.download_file(proto::DownloadFileRequest::default());
    vec![no_key, wrong, Provoked::transfer("no key", file.await)]
}

fn for_app(app: &str) -> proto::SendMessageRequest {
    proto::SendMessageRequest {
        app: app.into(),
        ..text_to(&["bob"])
    }
}

async fn app_forbidden() -> Vec<Provoked> {
    let mut started = start_with(amy).await;
    let mut request = Request::new(for_app("support"));
    let value = "Bearer egk_of-amy".parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    vec![Provoked::send(
        "another's app",
        started.client.send_message(request).await,
    )]
}

async fn app_not_configured() -> Vec<Provoked> {
    let mut started = start().await;
    let sent = started.client.send_message(for_app("nope")).await;
    vec![Provoked::send("no such app", sent)]
}

fn named(words: &str) -> proto::SendMessageRequest {
    proto::SendMessageRequest {
        request_id: "one".into(),
        ..request(message(users(&["bob"]), text(words)))
    }
}

async fn request_id_reused() -> Vec<Provoked> {
    let mut started = start().await;
    started.client.send_message(named("first")).await.unwrap();
    let sent = started.client.send_message(named("second")).await;
    vec![Provoked::send("another message", sent)]
}

async fn quota_exceeded() -> Vec<Provoked> {
    let fault = Fault::json(403, "forbidden_op", "message send reach limit");
    let easemobs = refused("Easemob's", fault).await;
    let mut started =
        start_with(|setup| hurried(setup).app(|app| app.quota.users.messages_per_minute = 1)).await;
    send(&mut started.client).await.unwrap();
    vec![
        easemobs,
        Provoked::send("ours", send(&mut started.client).await),
    ]
}

/// A gateway whose only place is taken until the gate opens.
async fn full(gate: &Gate, change: impl FnOnce(Setup) -> Setup) -> Started<Easemob> {
    let easemob = Easemob::start();
    easemob.on_send(Script::read().wait(gate).accept());
    let setup = Setup::at(easemob.url())
        .server(|server| server.shards = std::num::NonZeroUsize::new(1))
        .delivery(|delivery| delivery.calls_in_flight = 1)
        .app(|app| (app.timeouts.attempt, app.timeouts.call) = (LONG, LONG));
    let started = started(easemob, change(setup)).await;
    let mut first = started.client.clone();
    tokio::spawn(async move { send(&mut first).await });
    let taken = started
        .easemob
        .until("it is there", |seen| seen.sends.len() == 1);
    taken.await;
    started
}

async fn overloaded() -> Vec<Provoked> {
    let gate = Gate::default();
    let mut queue = full(&gate, |setup| setup.delivery(|delivery| delivery.queue = 0)).await;
    let queue = Provoked::send("no room in the queue", send(&mut queue.client).await);
    let mut process = full(&gate, |setup| {
        setup.server(|server| server.max_requests_in_flight = 1)
    })
    .await;
    let process = Provoked::send("no place in the process", send(&mut process.client).await);
    gate.open();
    vec![queue, process]
}

async fn shutting_down() -> Vec<Provoked> {
    let gate = Gate::default();
    // No longer than a call may take: nothing new can be begun in it.
    let started = full(&gate, |setup| {
        setup
            .delivery(|delivery| delivery.queue = 1)
            .server(|server| server.drain_timeout = LONG)
    })
    .await;
    let mut client = chinese(started.gateway.channel().await);
    let waiting = tokio::spawn(async move { send(&mut client).await });
    let places = r#"easemob_gateway_requests_active 2"#;
    while !started.gateway.metrics().await.contains(places) {}
    started.gateway.begin_drain();
    let waiting = Provoked::send("a wait for a turn", waiting.await.unwrap());
    gate.open();
    vec![waiting]
}

async fn store_unavailable() -> Vec<Provoked> {
    let mut redis = Redis::start().await;
    let store = RedisUrl(redis.url());
    let mut started = start_with(|setup| {
        setup.store(|settings| {
            settings.kind = Kind::Redis;
            settings.url = Some(store);
        })
    })
    .await;
    redis.kill().await;
    let sent = started.client.send_message(named("with an ID")).await;
    vec![Provoked::send("Redis is away", sent)]
}

async fn deadline_exceeded() -> Vec<Provoked> {
    let easemob = Easemob::start();
    easemob.always_on_token(Script::read().silence());
    // The gateway's own: a caller's might end on the caller's side first.
    let setup = Setup::at(easemob.url()).server(|server| server.default_deadline = SHORT);
    let mut started = started(easemob, setup).await;
    vec![Provoked::send(
        "no token in time",
        send(&mut started.client).await,
    )]
}

async fn credentials_rejected() -> Vec<Provoked> {
    let mut started =
        start_with(|setup| setup.app(|app| app.client_secret = Some("wrong".to_owned().into())))
            .await;
    vec![Provoked::send(
        "a wrong secret",
        send(&mut started.client).await,
    )]
}

async fn app_not_found() -> Vec<Provoked> {
    let fault = Fault::json(404, "organization_application_not_found", "no such app");
    vec![refused("no such app at Easemob", fault).await]
}

async fn unreachable_easemob() -> Vec<Provoked> {
    let setup = hurried(Setup::at("http://127.0.0.1:1"));
    let mut started = started((), setup).await;
    vec![Provoked::send(
        "nobody listens",
        send(&mut started.client).await,
    )]
}

async fn outcome_unknown() -> Vec<Provoked> {
    let mut provoked = Vec::new();
    for (how, fault) in [
        ("500", Fault::status(500)),
        ("reset", Fault::reset_after_read()),
        ("half an answer", Fault::truncated()),
        ("a page", Fault::html(200)),
        ("silence", Fault::silence()),
    ] {
        provoked.push(refused(how, fault).await);
    }
    provoked
}

async fn upload_interrupted() -> Vec<Provoked> {
    let easemob = Easemob::start();
    easemob.on_upload(Script::read().reset());
    let setup = Setup::at(easemob.url());
    let mut started = started(easemob, setup).await;
    let parts = vec![header(None), chunk(b"x"), finish(1)];
    let uploaded = upload_to(&mut started.client, parts).await;
    vec![Provoked::transfer("a reset", uploaded)]
}
