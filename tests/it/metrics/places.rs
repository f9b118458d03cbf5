//! What is under way against its limits: requests, files, connections.

use std::time::Duration;

use easemob_gateway::{
    proto::{
        self, DownloadFileRequest, UploadFileHeader, UploadFileRequest, UploadFinish,
        upload_file_request::Part,
    },
    sandbox::{self, Sandbox},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{BYTES, CALLS, HANDSHAKES, RPC, method};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::{Setup, TestGateway},
    metrics::Page,
    request::text_to,
    soon,
};

fn limit(page: &Page, what: &str) -> (f64, f64) {
    let of = |which: &str| page.get(&format!("easemob_gateway_{what}_{which}"), &[]);
    let missing = "a gauge is there from the start";
    (of("active").expect(missing), of("limit").expect(missing))
}

#[tokio::test]
async fn sends_under_way_and_waiting_are_told_with_their_limits() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.always_on_send(Script::read().wait(&gate).accept());
    let setup = Setup::at(easemob.url()).delivery(|delivery| {
        delivery.calls_in_flight = 1;
        delivery.queue = 5;
    });
    let gateway = setup.start().await;
    let page = Page::of(&gateway).await;
    // Of two shards together.
    assert_eq!(limit(&page, "calls"), (0.0, 2.0));
    assert_eq!(limit(&page, "queue"), (0.0, 5.0));
    assert_eq!(limit(&page, "requests"), (0.0, 512.0));

    // One connection, so one shard.
    let client = gateway.client().await;
    let sends: Vec<_> = (0..3)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.send_message(text_to(&["bob"])).await })
        })
        .collect();
    let page = Page::until(&gateway, "three sends are under way", |page| {
        limit(page, "queue").0 == 2.0 && limit(page, "calls").0 == 1.0
    })
    .await;
    assert_eq!(limit(&page, "requests").0, 3.0);
    gate.open();
    for send in sends {
        soon("an answer", send).await.unwrap().unwrap();
    }
    let page = Page::of(&gateway).await;
    assert_eq!(limit(&page, "requests").0, 0.0);
    // A place is given back a moment after its answer.
    Page::until(&gateway, "all places are free", |page| {
        (limit(page, "calls").0, limit(page, "queue").0) == (0.0, 0.0)
    })
    .await;
}

#[tokio::test]
async fn files_are_told_in_flight_and_in_bytes() {
    let easemob = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let gateway = TestGateway::start(easemob.base_url()).await;
    let mut client = gateway.client().await;
    let (frames, stream) = mpsc::unbounded_channel();
    let send = |part| {
        let request = UploadFileRequest { part: Some(part) };
        frames.send(request).unwrap();
    };
    send(Part::Header(UploadFileHeader {
        filename: "a.bin".into(),
        ..Default::default()
    }));
    send(Part::Chunk(vec![7; 100_000].into()));
    let upload = {
        let mut client = client.clone();
        let stream = UnboundedReceiverStream::new(stream);
        tokio::spawn(async move { client.upload_file(stream).await })
    };
    let up = [("app", "shop"), ("direction", "upload")];
    let page = Page::until(&gateway, "the bytes that have gone show", |page| {
        page.count(BYTES, &up) == 100_000.0
    })
    .await;
    assert_eq!(limit(&page, "transfers").0, 1.0);
    send(Part::Chunk(vec![7; 11].into()));
    send(Part::Finish(UploadFinish::default()));
    let stored = soon("the upload", upload).await.unwrap().unwrap();
    let page = Page::of(&gateway).await;
    assert_eq!(page.count(BYTES, &up), 100_011.0);
    assert_eq!(limit(&page, "transfers").0, 0.0);
    let call = [("endpoint", "upload"), ("outcome", "ok")];
    assert_eq!(page.count(CALLS, &call), 1.0);

    let request = DownloadFileRequest {
        file: stored.into_inner().file.and_then(|file| file.r#ref),
        ..Default::default()
    };
    let mut parts = client.download_file(request).await.unwrap().into_inner();
    while let Some(proto::DownloadFileResponse { .. }) = parts.message().await.unwrap() {}
    let page = Page::of(&gateway).await;
    let down = [("app", "shop"), ("direction", "download")];
    assert_eq!(page.count(BYTES, &down), 100_011.0);
    let labels = [method!("DownloadFile"), ("rpc_response_status_code", "OK")];
    assert_eq!(page.count(RPC, &labels), 1.0, "{page:#?}");
}

#[tokio::test]
async fn handshakes_are_told_by_how_they_went() {
    let easemob = Easemob::start();
    let setup = Setup::at(easemob.url()).server(|server| {
        server.max_handshakes = 1;
        server.handshake_timeout = Duration::from_secs(60);
    });
    let gateway = setup.start().await;
    // Past its handshake, where no newcomer takes its place.
    let mut served = gateway.client().await;
    served.send_message(text_to(&["bob"])).await.unwrap();
    let mut wrong = TcpStream::connect(gateway.addr).await.unwrap();
    wrong.write_all(&[b'x'; 64]).await.unwrap();
    let ended =
        |how: &'static str| move |page: &Page| page.count(HANDSHAKES, &[("outcome", how)]) >= 1.0;
    Page::until(&gateway, "one fails", ended("failed")).await;
    let _silent = TcpStream::connect(gateway.addr).await.unwrap();
    Page::until(&gateway, "one is silent", |page| {
        limit(page, "handshakes") == (1.0, 1.0)
    })
    .await;
    let _newer = TcpStream::connect(gateway.addr).await.unwrap();
    Page::until(&gateway, "the silent one gives way", ended("gave_way")).await;
    let page = Page::of(&gateway).await;
    assert!(limit(&page, "connections").0 >= 1.0, "{page:#?}");
    assert!(page.count(HANDSHAKES, &[("outcome", "served")]) >= 1.0);
    assert_eq!(page.get("easemob_gateway_ready", &[]), Some(1.0));
    let version = ("version", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        page.get("easemob_gateway_build_info", &[version]),
        Some(1.0)
    );
}
