//! An Easemob that answers in the middle of an upload, is slow, stands still, or talks nonsense.

use std::time::Duration;

use easemob_gateway::{
    proto::UploadedFile,
    sandbox::{self, Endpoint, Fault, Pace, Then},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};

use super::{
    KIB, MIB, Started, assert_refused, chunk, file, finish, header, noise, start_at, start_with,
    upload, upload_stream,
};
use crate::support::{
    easemob::{Easemob, Script, UNAUTHORIZED, http},
    gateway::{Setup, TestGateway},
    ledger::Client,
    request::error_info,
    times, within,
};

const SECOND: Duration = Duration::from_secs(1);

fn impatient(setup: Setup) -> Setup {
    setup.media(|media| {
        media.transfers_in_flight = 1;
        media.stall_timeout = Duration::from_millis(500);
        media.answer_timeout = Duration::from_millis(500);
    })
}

/// An upload whose caller has sent something and goes on only when Easemob is answered.
async fn half(client: &Client) -> Result<UploadedFile, Status> {
    let (parts, stream) = mpsc::unbounded_channel();
    parts.send(header("a")).unwrap();
    parts.send(chunk(&noise(100 * KIB))).unwrap();
    let answered = upload_stream(client, UnboundedReceiverStream::new(stream));
    let result = within(SECOND, "the answer to half an upload", answered).await;
    drop(parts);
    result
}

async fn scripted(script: Script) -> (Easemob, TestGateway, Client) {
    let easemob = Easemob::start();
    easemob.on_upload(script);
    let gateway = impatient(Setup::at(easemob.url())).start().await;
    let client = gateway.client().await;
    (easemob, gateway, client)
}

#[tokio::test]
async fn an_answer_in_the_middle_is_told_at_once() {
    let (easemob, _gateway, client) =
        scripted(Script::read_at_least(KIB).answer(413, "").fin()).await;
    for round in 0..times(10, 50) {
        if round > 0 {
            easemob.on_upload(Script::read_at_least(KIB).answer(413, "").fin());
        }
        assert_refused(half(&client).await, Code::InvalidArgument, "FILE_TOO_LARGE");
    }
    for status in [500, 502, 503, 504, 408] {
        easemob.on_upload(Script::read_at_least(KIB).answer(status, "<html>").fin());
        let uploaded = half(&client).await;
        assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    }
    easemob.on_upload(
        Script::read_at_least(KIB)
            .answer(429, r#"{"error":"reach_limit"}"#)
            .fin(),
    );
    assert_refused(
        half(&client).await,
        Code::ResourceExhausted,
        "QUOTA_EXCEEDED",
    );
    assert_eq!(easemob.seen().uploads.len(), 0);
    upload(&client, file("a", b"next")).await.unwrap();
}

/// The answer races with the reset: either is told, and nothing else.
#[tokio::test]
async fn an_answer_that_a_reset_follows_is_told_where_it_can_be_read() {
    let (easemob, _gateway, client) =
        scripted(Script::read_at_least(KIB).answer(413, "").reset()).await;
    for round in 0..times(10, 50) {
        if round > 0 {
            easemob.on_upload(Script::read_at_least(KIB).answer(413, "").reset());
        }
        let status = half(&client).await.unwrap_err();
        let reason = error_info(&status).reason;
        match status.code() {
            Code::InvalidArgument => assert_eq!(reason, "FILE_TOO_LARGE"),
            Code::Unavailable => assert_eq!(reason, "UPLOAD_INTERRUPTED"),
            _ => panic!("{status:?}"),
        }
    }
    for script in [
        Script::read_at_least(KIB).reset(),
        Script::unread().reset(),
        Script::read_at_least(KIB).fin(),
        Script::read().reset(),
    ] {
        easemob.on_upload(script);
        let uploaded = upload(&client, file("a", &noise(MIB))).await;
        assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    }
    upload(&client, file("a", b"next")).await.unwrap();
}

#[tokio::test]
async fn after_an_early_answer_no_more_of_the_file_is_read() {
    let (easemob, _gateway, client) =
        scripted(Script::read_at_least(KIB).answer(413, "").silence()).await;
    let (parts, stream) = mpsc::unbounded_channel();
    parts.send(header("a")).unwrap();
    parts.send(chunk(&noise(10 * KIB))).unwrap();
    let uploaded = upload_stream(&client, UnboundedReceiverStream::new(stream)).await;
    assert_refused(uploaded, Code::InvalidArgument, "FILE_TOO_LARGE");
    // The connection to Easemob goes although the answer said that it may stay.
    easemob.until("it ends", |seen| seen.ended > 0).await;
    let _ = parts.send(finish());
    assert_eq!(easemob.seen().uploads.len(), 0);
}

#[tokio::test]
async fn a_token_refused_in_the_middle_is_another_one_next_time() {
    let (easemob, _gateway, client) =
        scripted(Script::read_at_least(KIB).answer(401, UNAUTHORIZED).fin()).await;
    assert_refused(half(&client).await, Code::Unavailable, "UPLOAD_INTERRUPTED");
    easemob
        .until("another token", |seen| seen.tokens.len() == 2)
        .await;
    upload(&client, file("a", b"next")).await.unwrap();
    let seen = easemob.seen();
    assert!(seen.uploads[0].head.contains("CANARY-token-2"));
    assert_eq!(seen.tokens.len(), 2);
}

#[tokio::test]
async fn a_revoked_token_costs_one_upload() {
    let started = start_with(impatient).await;
    started.assert_works().await;
    started.easemob.revoke_tokens();
    let uploaded = started.upload(file("a", b"x")).await;
    assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    let renewed = started
        .easemob
        .wait_for_calls(Endpoint::Token, 2, 10 * SECOND);
    assert!(renewed.await);
    started.assert_works().await;
}

#[tokio::test]
async fn a_success_that_comes_too_early_is_none() {
    let early = http(200, crate::support::easemob::STORED_JSON);
    let (easemob, _gateway, client) =
        scripted(Script::read_at_least(KIB).write(early).silence()).await;
    let uploaded = half(&client).await;
    assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    easemob.until("it ends", |seen| seen.ended > 0).await;
    upload(&client, file("a", b"next")).await.unwrap();
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_none() {
    let answers = [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"entities":[]}"#,
        r#"{"entities":[{}]}"#,
        r#"{"entities":[{"uuid":7}]}"#,
        r#"{"entities":[{"uuid":"../../token"}]}"#,
        r#"{"entities":[{"uuid":"1?x=y"}]}"#,
    ];
    let (easemob, _gateway, client) = scripted(Script::read().store()).await;
    upload(&client, file("a", b"x")).await.unwrap();
    let huge = "x".repeat(2 * MIB);
    for answer in answers.into_iter().chain([&*huge]) {
        easemob.on_upload(Script::read().answer(200, answer));
        let uploaded = upload(&client, file("a", b"x")).await;
        assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    }
    let cut = &http(200, r#"{"entities":[]}"#)[..60];
    easemob.on_upload(Script::read().write(cut).fin());
    let uploaded = upload(&client, file("a", b"x")).await;
    assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    upload(&client, file("a", b"next")).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Easemob::start();
    let to = format!(
        "HTTP/1.1 307 Elsewhere\r\nLocation: {}/x\r\nContent-Length: 0\r\n\r\n",
        other.url()
    );
    let (_easemob, _gateway, client) = scripted(Script::read().write(to)).await;
    let status = upload(&client, file("a", b"x")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(other.seen().connections, 0);
}

#[tokio::test]
async fn silence_after_the_last_byte_ends() {
    let (easemob, _gateway, client) = scripted(Script::read().silence()).await;
    let began = Instant::now();
    let uploaded = upload(&client, file("a", b"x")).await;
    assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    assert!(began.elapsed() < SECOND + SECOND);
    easemob.until("it ends", |seen| seen.ended > 0).await;
    upload(&client, file("a", b"next")).await.unwrap();
}

/// With small buffers, so that what it does not read is not taken either.
async fn with_a_small_window() -> Started {
    let config = sandbox::Config {
        receive_buffer: Some(16 * KIB),
        file_bytes: 0,
        ..sandbox::Config::for_tests()
    };
    start_at(config, |setup| {
        impatient(setup).app(|app| app.limits.upload_bytes = 0)
    })
    .await
}

#[tokio::test]
async fn an_easemob_that_is_slow_gets_the_whole_file() {
    // As patient as by default: the kernel tells of room only when much of its buffer is free.
    let config = sandbox::Config {
        receive_buffer: Some(16 * KIB),
        file_bytes: 0,
        ..sandbox::Config::for_tests()
    };
    let started = start_at(config, |setup| setup.app(|app| app.limits.upload_bytes = 0)).await;
    // All of a small file is in the kernel's buffers long before Easemob has read it.
    let seconds = times(3, 60);
    started
        .easemob
        .set_upload_pace(Pace::BytesPerSecond(1_000_000));
    let bytes = noise(usize::try_from(seconds).unwrap() * 1_000_000);
    let stored = started.upload(file("a", &bytes)).await.unwrap();
    assert_eq!(stored.size_bytes, bytes.len() as u64);
}

#[tokio::test]
async fn an_easemob_that_stands_still_is_given_up() {
    let started = with_a_small_window().await;
    started.easemob.set_upload_pace(Pace::Stopped);
    let began = Instant::now();
    let bytes = noise(20 * MIB);
    let uploaded = started.upload(file("a", &bytes)).await;
    assert_refused(uploaded, Code::Unavailable, "UPLOAD_INTERRUPTED");
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    started.easemob.set_upload_pace(Pace::Full);
    started.settled().await;
    started.assert_untouched();
    started.assert_works().await;
}

#[tokio::test]
async fn faults_of_the_sandbox_in_the_middle_end_in_what_they_mean() {
    let started = start_with(impatient).await;
    for (fault, code, reason) in [
        (Fault::status(413), Code::InvalidArgument, "FILE_TOO_LARGE"),
        (
            Fault::unauthorized(),
            Code::Unavailable,
            "UPLOAD_INTERRUPTED",
        ),
        (Fault::html(502), Code::Unavailable, "UPLOAD_INTERRUPTED"),
    ] {
        let fault = fault.at_byte(10_000).then(Then::Drain);
        started.easemob.script(Endpoint::Upload, [fault]);
        let began = Instant::now();
        let uploaded = started.upload(file("a", &noise(MIB))).await;
        assert_refused(uploaded, code, reason);
        assert!(began.elapsed() < SECOND);
    }
    started.easemob.clear_uploads();
    assert_eq!(started.easemob.files().len(), 0);
    started.assert_works().await;
}
