//! Downloads that fail say so, and never end as a short file.

use std::time::Duration;

use easemob_gateway::{
    proto::{self, FileRef, download_file_response::Part, file_ref::Location},
    sandbox::{Endpoint, Fault},
};
use tonic::Code;

use super::{
    MIB, assert_refused, download, file, file_ref, file_with, get, noise, sha256, start, start_with,
};
use crate::support::{
    easemob::{Easemob, Gate, Script, UNAUTHORIZED},
    gateway::Setup,
    within,
};

fn by_uuid(uuid: &str) -> FileRef {
    FileRef {
        location: Some(Location::Uuid(uuid.into())),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let started = start().await;
    let unknown = by_uuid("11111111-2222-3333-4444-555555555555");
    let downloaded = started.download(get(&unknown)).await;
    assert_refused(downloaded, Code::NotFound, "FILE_NOT_FOUND");

    let stored = file_ref(&started.upload(file("a", b"x")).await.unwrap());
    started.download(get(&stored)).await.unwrap();
    started.easemob.advance(Duration::from_secs(8 * 24 * 3_600));
    let downloaded = started.download(get(&stored)).await;
    assert_refused(downloaded, Code::NotFound, "FILE_EXPIRED");
}

#[tokio::test]
async fn a_wrong_secret_opens_nothing() {
    let started = start().await;
    let options = proto::UploadOptions {
        restrict_access: true,
        ..Default::default()
    };
    let parts = file_with("a", b"x", options);
    let stored = file_ref(&started.upload(parts).await.unwrap());
    for secret in ["", "wrong"] {
        let wrong = FileRef {
            secret: secret.into(),
            ..stored.clone()
        };
        let downloaded = started.download(get(&wrong)).await;
        assert_refused(downloaded, Code::FailedPrecondition, "EASEMOB_REFUSED");
    }
    assert_eq!(started.download(get(&stored)).await.unwrap().bytes, b"x");
}

#[tokio::test]
async fn nobody_can_have_the_gateway_fetch_from_elsewhere() {
    let other = Easemob::start();
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let own = format!("{}/sandbox/demo/chatfiles/1-2", easemob.url());
    let elsewhere = format!("{}/sandbox/demo/chatfiles/1-2", other.url());
    let urls = [
        "http://169.254.169.254/latest",
        "http://localhost/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://user@127.0.0.1/",
        &own,
        &elsewhere,
    ];
    for url in urls {
        let by_url = FileRef {
            location: Some(Location::Url(url.into())),
            ..Default::default()
        };
        let downloaded = download(&client, get(&by_url)).await;
        assert_refused(downloaded, Code::InvalidArgument, "INVALID_REQUEST");
    }
    for uuid in [
        "", "..", "../token", "a/b", "a?b", "a#b", "a%2fb", "a\\b", "a@b", "a:1", "é",
    ] {
        let downloaded = download(&client, get(&by_uuid(uuid))).await;
        assert_refused(downloaded, Code::InvalidArgument, "INVALID_REQUEST");
    }
    let split = FileRef {
        secret: "a\r\nX: 1".into(),
        ..by_uuid("1")
    };
    let downloaded = download(&client, get(&split)).await;
    assert_refused(downloaded, Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(other.seen().connections, 0);
    assert_eq!(easemob.seen().downloads.len(), 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Easemob::start();
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {}/x\r\nContent-Length: 0\r\n\r\n",
            other.url()
        );
        easemob.on_download(Script::read().write(to));
        let downloaded = download(&client, get(&by_uuid("1"))).await;
        assert_refused(downloaded, Code::FailedPrecondition, "EASEMOB_REFUSED");
    }
    assert_eq!(other.seen().connections, 0);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let started = start().await;
    let stored = file_ref(&started.upload(file("a", b"x")).await.unwrap());
    started.easemob.revoke_tokens();
    assert_eq!(started.download(get(&stored)).await.unwrap().bytes, b"x");
    assert_eq!(started.easemob.call_count(Endpoint::Token), 2);

    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    for _ in 0..2 {
        easemob.on_download(Script::read().answer(401, UNAUTHORIZED));
    }
    let downloaded = download(&gateway.client().await, get(&by_uuid("1"))).await;
    let rejected = "EASEMOB_CREDENTIALS_REJECTED";
    assert_refused(downloaded, Code::FailedPrecondition, rejected);
    assert_eq!(easemob.seen().downloads.len(), 2);
}

#[tokio::test]
async fn a_download_that_breaks_off_is_an_error() {
    let started = start().await;
    let stored = file_ref(&started.upload(file("a", &noise(MIB))).await.unwrap());
    let faults = [Fault::truncated()];
    started.easemob.script(Endpoint::Download, faults);
    let downloaded = started.download(get(&stored)).await;
    assert_refused(downloaded, Code::Unavailable, "EASEMOB_UNREACHABLE");

    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for answer in [sized, chunked] {
        easemob.on_download(Script::read().write(answer).fin());
        let downloaded = download(&client, get(&by_uuid("1"))).await;
        assert_refused(downloaded, Code::Unavailable, "EASEMOB_UNREACHABLE");
        easemob.on_download(Script::read().write(answer).reset());
        let downloaded = download(&client, get(&by_uuid("1"))).await;
        assert_refused(downloaded, Code::Unavailable, "EASEMOB_UNREACHABLE");
    }
    for status in [500, 502, 503] {
        easemob.on_download(Script::read().answer(status, "<html>"));
        let downloaded = download(&client, get(&by_uuid("1"))).await;
        assert_refused(downloaded, Code::Unavailable, "EASEMOB_UNREACHABLE");
    }
}

#[tokio::test]
async fn an_easemob_that_stands_still_is_given_up() {
    let easemob = Easemob::start();
    let setup = Setup::at(easemob.url()).media(|media| {
        media.transfers_in_flight = 1;
        media.stall_timeout = Duration::from_millis(300);
        media.answer_timeout = Duration::from_millis(300);
    });
    let gateway = setup.start().await;
    let client = gateway.client().await;
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    for script in [
        Script::read().write(half).silence(),
        Script::read().silence(),
    ] {
        easemob.on_download(script);
        let ended = download(&client, get(&by_uuid("1")));
        let ended = within(Duration::from_secs(2), "the end of it", ended).await;
        assert_refused(ended, Code::Unavailable, "EASEMOB_UNREACHABLE");
    }
    let downloaded = download(&client, get(&by_uuid("1"))).await.unwrap();
    assert_eq!(downloaded.bytes, b"{}");
}

/// What a slow reader does not take stays at Easemob.
#[tokio::test]
async fn a_slow_reader_holds_easemob_back() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let gate = Gate::default();
    let mut script = Script::read().write("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n");
    for _ in 0..256 {
        script = script.write(vec![7; MIB]);
    }
    easemob.on_download(script.wait(&gate));
    let mut client = gateway.client().await;
    let request = get(&by_uuid("1"));
    let mut parts = client.download_file(request).await.unwrap().into_inner();
    parts.message().await.unwrap().unwrap();
    // It takes what fits into windows and kernels, and then no more.
    let mut before = 0;
    loop {
        let more = easemob.until("more", move |seen| seen.bytes_out > before);
        match tokio::time::timeout(Duration::from_millis(700), more).await {
            Ok(seen) => before = seen.bytes_out,
            Err(_elapsed) => break,
        }
    }
    assert!(before < 32 * MIB, "{before}");
    let mut count = 0;
    while let Some(part) = parts.message().await.unwrap() {
        match part.part {
            Some(Part::Chunk(chunk)) => count += chunk.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 256 * MIB);
    gate.open();
}

#[tokio::test]
async fn a_reader_that_goes_away_gives_its_place_back() {
    let started = start_with(|setup| setup.media(|media| media.transfers_in_flight = 1)).await;
    let bytes = noise(8 * MIB);
    let stored = file_ref(&started.upload(file("a", &bytes)).await.unwrap());
    let mut client = started.client.clone();
    let mut parts = client
        .download_file(get(&stored))
        .await
        .unwrap()
        .into_inner();
    let first = parts.message().await.unwrap().unwrap().part;
    assert!(matches!(first, Some(Part::Header(_))));
    drop(parts);
    crate::support::soon("the place is back", async {
        while started.download(get(&stored)).await.is_err() {}
    })
    .await;
    let back = started.download(get(&stored)).await.unwrap();
    assert_eq!(sha256(&back.bytes), sha256(&bytes));
}
