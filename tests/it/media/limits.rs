//! Callers that are slow, endless or too many, and callers that come while all places are taken.

use std::time::Duration;

use easemob_gateway::{
    proto::upload_file_request::Part,
    sandbox::{self, Pace},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tonic::Code;

use super::{
    KIB, Started, assert_refused, chunk, file, finish, header, start_at, start_with, upload_stream,
};

const IDLE: Duration = Duration::from_millis(400);

/// One place, and little patience.
async fn impatient() -> Started {
    start_with(|setup| {
        setup.media(|media| {
            media.transfers_in_flight = 1;
            media.upload_idle_timeout = IDLE;
            media.transfer_timeout = Duration::from_secs(3);
        })
    })
    .await
}

async fn assert_given_up(started: &Started, began: Instant, by: Duration) {
    assert!(began.elapsed() < by + Duration::from_secs(1));
    started.settled().await;
    started.assert_untouched();
    started.assert_works().await;
}

#[tokio::test]
async fn a_caller_that_stands_still_is_given_up() {
    for parts in [vec![header("a")], vec![header("a"), chunk(b"x")]] {
        let started = impatient().await;
        let began = Instant::now();
        let stream = tokio_stream::iter(parts).chain(tokio_stream::pending());
        let uploaded = upload_stream(&started.client, stream).await;
        assert_refused(uploaded, Code::Aborted, "UPLOAD_INCOMPLETE");
        assert!(began.elapsed() >= IDLE);
        assert_given_up(&started, began, IDLE).await;
    }
}

#[tokio::test]
async fn a_caller_that_creeps_is_given_up() {
    let started = impatient().await;
    let began = Instant::now();
    let bytes = tokio_stream::iter(std::iter::repeat_with(|| chunk(b"x"))).throttle(IDLE / 2);
    let stream = tokio_stream::once(header("a")).chain(bytes);
    let uploaded = upload_stream(&started.client, stream).await;
    assert_refused(uploaded, Code::Aborted, "UPLOAD_INCOMPLETE");
    assert_given_up(&started, began, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn no_transfer_takes_longer_than_it_may() {
    let started = start_with(|setup| {
        setup.media(|media| {
            media.transfers_in_flight = 1;
            media.upload_min_bytes_per_second = 0;
            media.transfer_timeout = Duration::from_millis(800);
        })
    })
    .await;
    let began = Instant::now();
    let bytes = tokio_stream::iter(std::iter::repeat_with(|| chunk(b"x")));
    let bytes = bytes.throttle(Duration::from_millis(20));
    let stream = tokio_stream::once(header("a")).chain(bytes);
    let uploaded = upload_stream(&started.client, stream).await;
    assert_refused(uploaded, Code::Aborted, "UPLOAD_INCOMPLETE");
    assert_given_up(&started, began, Duration::from_millis(800)).await;
}

#[tokio::test]
async fn a_deadline_of_the_callers_own_ends_its_upload() {
    let started = impatient().await;
    let stream = tokio_stream::once(header("a")).chain(tokio_stream::pending());
    let stream =
        stream.map(|part: Part| easemob_gateway::proto::UploadFileRequest { part: Some(part) });
    let mut request = tonic::Request::new(stream);
    request.set_timeout(Duration::from_millis(100));
    let status = started.client.clone().upload_file(request).await;
    assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
    started.settled().await;
    started.assert_untouched();
}

#[tokio::test]
async fn an_endless_file_ends_at_the_size_limit() {
    let started = start_with(|setup| {
        setup
            .media(|media| media.transfers_in_flight = 1)
            .app(|app| app.limits.upload_bytes = 1_000_000)
    })
    .await;
    let bytes = tokio_stream::iter(std::iter::repeat_with(|| chunk(&[7; 64 * KIB])));
    let stream = tokio_stream::once(header("a")).chain(bytes);
    let uploaded = upload_stream(&started.client, stream).await;
    assert_refused(uploaded, Code::InvalidArgument, "FILE_TOO_LARGE");
    started.settled().await;
    started.assert_untouched();
    let read = started.easemob.uploads()[0].body_bytes;
    assert!(read <= 1_001_000, "{read}");
    started.assert_works().await;
}

#[tokio::test]
async fn the_last_byte_that_fits_is_taken() {
    let started = start_with(|setup| setup.app(|app| app.limits.upload_bytes = 1_000)).await;
    started.upload(file("a", &[0; 1_000])).await.unwrap();
    let uploaded = started.upload(file("a", &[0; 1_001])).await;
    assert_refused(uploaded, Code::InvalidArgument, "FILE_TOO_LARGE");
}

#[tokio::test]
async fn no_limit_of_ours_leaves_easemobs() {
    let config = sandbox::Config {
        file_bytes: 1_000,
        ..sandbox::Config::for_tests()
    };
    let started = start_at(config, |setup| setup.app(|app| app.limits.upload_bytes = 0)).await;
    let uploaded = started.upload(file("a", &[0; 1_001])).await;
    assert_refused(uploaded, Code::InvalidArgument, "FILE_TOO_LARGE");
    started.upload(file("a", &[0; 1_000])).await.unwrap();
}

#[tokio::test]
async fn one_more_than_there_are_places_is_told_so() {
    let started = start_with(|setup| setup.media(|media| media.transfers_in_flight = 2)).await;
    started.easemob.set_upload_pace(Pace::Full);
    let mut open = Vec::new();
    for _ in 0..2 {
        let (parts, stream) = mpsc::unbounded_channel();
        parts.send(header("a")).unwrap();
        parts.send(chunk(b"half")).unwrap();
        let client = started.client.clone();
        let stream = UnboundedReceiverStream::new(stream);
        let upload = tokio::spawn(async move { upload_stream(&client, stream).await });
        open.push((parts, upload));
    }
    let begun = |upload: &sandbox::Upload| upload.part.is_some();
    let begun = started.easemob.wait_for_uploads(2, begun, super::LONG);
    assert!(begun.await);
    let uploaded = started.upload(file("a", b"x")).await;
    assert_refused(uploaded, Code::ResourceExhausted, "OVERLOADED");
    let unknown = easemob_gateway::proto::FileRef {
        location: Some(easemob_gateway::proto::file_ref::Location::Uuid("1".into())),
        ..Default::default()
    };
    let downloaded = started.download(super::get(&unknown)).await;
    assert_refused(downloaded, Code::ResourceExhausted, "OVERLOADED");
    for (parts, upload) in open {
        parts.send(finish()).unwrap();
        assert_eq!(upload.await.unwrap().unwrap().size_bytes, 4);
    }
    started.assert_works().await;
}
