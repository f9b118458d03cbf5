//! The end of a gateway with uploads open: their callers are told in time, and nothing is stored.

use std::time::Duration;

use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;

use super::{assert_refused, chunk, file_ref, finish, get, header, start_with, upload_stream};

const DRAIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_open_upload_is_told_before_the_drain_ends() {
    let started = start_with(|setup| {
        setup
            .server(|server| server.drain_timeout = DRAIN)
            .media(|media| media.upload_idle_timeout = Duration::from_secs(60))
    })
    .await;
    let (parts, stream) = mpsc::unbounded_channel();
    parts.send(header("a")).unwrap();
    parts.send(chunk(b"half")).unwrap();
    let client = started.client.clone();
    let upload =
        tokio::spawn(
            async move { upload_stream(&client, UnboundedReceiverStream::new(stream)).await },
        );
    started.reached(4).await;
    let began = Instant::now();
    started.gateway.begin_drain();
    assert_refused(upload.await.unwrap(), Code::Unavailable, "SHUTTING_DOWN");
    assert!(began.elapsed() < DRAIN, "{:?}", began.elapsed());
    let report = started.gateway.drained().await;
    assert!(report.in_time);
    assert!(began.elapsed() < DRAIN + Duration::from_secs(1));
    drop(parts);
    let uploads = started.easemob.uploads();
    assert!(uploads.iter().all(|upload| !upload.closed), "{uploads:?}");
}

#[tokio::test]
async fn an_upload_that_ends_in_time_is_finished_first() {
    let started = start_with(|setup| setup.server(|server| server.drain_timeout = DRAIN)).await;
    let (parts, stream) = mpsc::unbounded_channel();
    parts.send(header("a")).unwrap();
    parts.send(chunk(b"half")).unwrap();
    let client = started.client.clone();
    let upload =
        tokio::spawn(
            async move { upload_stream(&client, UnboundedReceiverStream::new(stream)).await },
        );
    started.reached(4).await;
    started.gateway.begin_drain();
    crate::support::refused(started.gateway.addr).await;
    parts.send(finish()).unwrap();
    assert_eq!(upload.await.unwrap().unwrap().size_bytes, 4);
    drop(parts);
    let began = Instant::now();
    assert!(started.gateway.drained().await.in_time);
    assert!(began.elapsed() < DRAIN);
}

#[tokio::test]
async fn an_open_download_does_not_hold_up_the_end() {
    let started = start_with(|setup| setup.server(|server| server.drain_timeout = DRAIN)).await;
    let bytes = super::noise(8 * super::MIB);
    let stored = started.upload(super::file("a", &bytes)).await.unwrap();
    let mut client = started.client.clone();
    let request = get(&file_ref(&stored));
    let mut parts = client.download_file(request).await.unwrap().into_inner();
    parts.message().await.unwrap().unwrap();
    let began = Instant::now();
    // Nobody reads on: it cannot be told, and is cut off.
    started.gateway.drained().await;
    assert!(began.elapsed() < DRAIN + Duration::from_secs(1));
    let rest = async {
        while parts.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    rest.await.unwrap_err();
}
