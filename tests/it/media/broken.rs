//! Callers that break off, lie, or send in the wrong order: Easemob never takes half a file for a
//! whole one, no message is sent, and the place is given back.

use std::time::Duration;

use easemob_gateway::{
    proto::{self, send_media_message_request::Part as SendPart, upload_file_request::Part},
    sandbox::{Endpoint, Pace, UploadState},
};
use prost::Message;
use tonic::Code;

use super::{
    KIB, LONG, SEND, Started, UPLOAD, a_file, a_video, assert_refused, chunk, finish, finish_of,
    header, header_of, header_with, media_with, noise, sized, start_with,
};
use crate::support::{
    http2::{self, Connection, code, data, headers, rst_stream},
    times,
};

/// A single place for transfers: one that is not given back makes the next upload fail.
async fn one_place() -> Started {
    start_with(|setup| setup.media(|media| media.transfers_in_flight = 1)).await
}

/// Easemob saw no whole file, and the next upload works.
async fn assert_nothing_happened(started: &Started) {
    started.settled().await;
    started.assert_untouched();
    // Somebody who has broken off is gone once the gateway has noticed.
    crate::support::soon("the place is back", async {
        loop {
            match started.upload(super::file("next", b"next")).await {
                Ok(_) => break,
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
            }
        }
    })
    .await;
    started.easemob.clear_uploads();
    started.easemob.clear_files();
}

#[tokio::test]
async fn a_stream_that_ends_without_finish_is_no_file() {
    let started = one_place().await;
    for parts in [
        vec![header("a")],
        vec![header("a"), chunk(b"x")],
        vec![header_with("a", sized(1)), chunk(b"x")],
    ] {
        let uploaded = started.upload(parts).await;
        assert_refused(uploaded, Code::Aborted, "UPLOAD_INCOMPLETE");
        assert_nothing_happened(&started).await;
    }
    let mut parts = media_with(header_of(a_video()), b"t", b"v");
    while parts.pop().is_some() {
        if parts.is_empty() {
            break;
        }
        let sent = started.send(parts.clone()).await;
        assert_refused(sent, Code::Aborted, "UPLOAD_INCOMPLETE");
        started.settled().await;
        assert_eq!(started.easemob.messages().len(), 0);
    }
}

#[tokio::test]
async fn sizes_and_sums_that_differ_are_no_file() {
    let started = one_place().await;
    let bytes = noise(100 * KIB);
    let len = bytes.len() as u64;
    let sum = |sha256: &[u8]| {
        Part::Finish(proto::UploadFinish {
            sha256: sha256.to_vec().into(),
            ..Default::default()
        })
    };
    let size = |size_bytes| {
        Part::Finish(proto::UploadFinish {
            size_bytes: Some(size_bytes),
            ..Default::default()
        })
    };
    for (header, finish) in [
        (header_with("a", sized(len - 1)), finish()),
        (header_with("a", sized(len + 1)), finish()),
        (header("a"), size(len - 1)),
        (header("a"), size(len + 1)),
        (header_with("a", sized(len)), size(len + 1)),
        (header("a"), sum(&[7; 32])),
        (header_with("a", sized(len)), sum(&[7; 32])),
    ] {
        let uploaded = started.upload(vec![header, chunk(&bytes), finish]).await;
        assert_refused(uploaded, Code::DataLoss, "CHECKSUM_MISMATCH");
        assert_nothing_happened(&started).await;
    }
    let uploaded = started.upload(vec![header("a"), chunk(&bytes), sum(&[7; 31])]);
    assert_refused(uploaded.await, Code::InvalidArgument, "INVALID_REQUEST");
    assert_nothing_happened(&started).await;
}

#[tokio::test]
async fn parts_in_the_wrong_order_are_no_file() {
    let started = one_place().await;
    let second_header = vec![header("a"), chunk(b"x"), header("b"), chunk(b"x"), finish()];
    let uploaded = started.upload(second_header).await;
    assert_refused(uploaded, Code::InvalidArgument, "STREAM_OUT_OF_ORDER");
    assert_nothing_happened(&started).await;

    let file = || SendPart::Chunk(b"v"[..].into());
    let thumbnail = || SendPart::ThumbnailChunk(b"t"[..].into());
    let header = || SendPart::Header(header_of(a_video()));
    let finish = || SendPart::Finish(finish_of(b"v"));
    for parts in [
        vec![header(), file(), thumbnail(), finish()],
        vec![header(), file(), header(), finish()],
    ] {
        let sent = started.send(parts).await;
        assert_refused(sent, Code::InvalidArgument, "STREAM_OUT_OF_ORDER");
        assert_nothing_happened(&started).await;
    }
}

fn first(size_bytes: u64) -> Vec<u8> {
    let request = proto::UploadFileRequest {
        part: Some(header_with("a", sized(size_bytes))),
    };
    http2::message(&request.encode_to_vec())
}

fn more(bytes: &[u8]) -> Vec<u8> {
    let request = proto::UploadFileRequest {
        part: Some(chunk(bytes)),
    };
    http2::message(&request.encode_to_vec())
}

/// A call of UploadFile that Easemob has some bytes of.
async fn begin(started: &Started) -> Connection {
    let mut connection = Connection::open(started.gateway.addr).await;
    connection.send(&headers(1, UPLOAD, &[])).await;
    let begin = [first(20_000), more(&noise(10_000))].concat();
    connection.send(&data(1, &begin, false)).await;
    started.reached(10_000).await;
    connection
}

#[tokio::test]
async fn a_caller_that_takes_its_call_back_leaves_nothing() {
    let started = one_place().await;
    for reset in [code::CANCEL, code::NO_ERROR, code::PROTOCOL_ERROR] {
        let mut connection = begin(&started).await;
        connection.send(&rst_stream(1, reset)).await;
        connection.round_trip().await.unwrap();
        assert_nothing_happened(&started).await;
    }
    // With all the bytes that were declared, and only finish missing.
    for reset in [code::CANCEL, code::NO_ERROR] {
        let mut connection = begin(&started).await;
        connection
            .send(&data(1, &more(&noise(10_000)), false))
            .await;
        started.reached(20_000).await;
        connection.send(&rst_stream(1, reset)).await;
        connection.round_trip().await.unwrap();
        assert_nothing_happened(&started).await;
    }
    // In the middle of a part.
    let mut connection = begin(&started).await;
    let half = more(&noise(10_000));
    connection.send(&data(1, &half[..5_000], false)).await;
    connection.send(&rst_stream(1, code::CANCEL)).await;
    assert_nothing_happened(&started).await;
    // A part that the end of the stream cuts off.
    let mut connection = begin(&started).await;
    connection.send(&data(1, &half[..5_000], true)).await;
    let answer = connection.answer(1).await.unwrap();
    assert!(matches!(answer.status(), Some(3 | 10)), "{answer:?}");
    assert_nothing_happened(&started).await;
}

#[tokio::test]
async fn a_caller_that_dies_leaves_nothing() {
    let started = one_place().await;
    drop(begin(&started).await);
    assert_nothing_happened(&started).await;
}

#[tokio::test]
async fn a_half_file_stays_half_while_easemob_is_slow() {
    let started = one_place().await;
    started
        .easemob
        .set_upload_pace(Pace::BytesPerSecond(40_000));
    let mut connection = begin(&started).await;
    connection.send(&rst_stream(1, code::CANCEL)).await;
    started.easemob.set_upload_pace(Pace::Full);
    assert_nothing_happened(&started).await;
}

/// Callers that vanish at any instant before finish: by a reset, or with their connection.
#[tokio::test]
async fn callers_killed_at_random_instants_leave_nothing() {
    let started = one_place().await;
    started
        .easemob
        .set_upload_pace(Pace::BytesPerSecond(4_000_000));
    let bytes = noise(100 * KIB);
    let message = |part| {
        let request = proto::SendMediaMessageRequest { part: Some(part) };
        http2::message(&request.encode_to_vec())
    };
    let without_finish: Vec<u8> = media_with(header_of(a_file()), &[], &bytes)
        .into_iter()
        .filter(|part| !matches!(part, SendPart::Finish(_)))
        .flat_map(message)
        .collect();
    for round in 0..times(100, 1_000) {
        let mut connection = Connection::open(started.gateway.addr).await;
        // As much as the window lets through.
        connection.send(&headers(1, SEND, &[])).await;
        let frames = without_finish[..60 * KIB].chunks(8 * KIB);
        let sent = usize::try_from(round).unwrap() % 9;
        for frame in frames.take(sent) {
            connection.send(&data(1, frame, false)).await;
        }
        let micros = fastrand::u64(..3_000);
        let _ = tokio::time::timeout(Duration::from_micros(micros), connection.next_of(0)).await;
        if round % 2 == 0 {
            connection.send(&rst_stream(1, code::CANCEL)).await;
        }
    }
    started.easemob.set_upload_pace(Pace::Full);
    started.settled().await;
    assert_eq!(started.easemob.files().len(), 0);
    assert_eq!(started.easemob.call_count(Endpoint::SendToUsers), 0);
    assert_nothing_happened(&started).await;
}

#[tokio::test]
async fn what_breaks_off_is_seen_by_easemob_as_broken() {
    let started = one_place().await;
    drop(begin(&started).await);
    let broken = |upload: &easemob_gateway::sandbox::Upload| upload.state == UploadState::Broken;
    assert!(started.easemob.wait_for_uploads(1, broken, LONG).await);
    assert_eq!(started.easemob.call_count(Endpoint::Upload), 0);
}
