//! The file is stored and its message is not sent: the caller is told what need not be uploaded again.

use easemob_gateway::{
    proto::{self, UploadedMedia, message::Content},
    sandbox::{Endpoint, Fault},
};
use prost::Message;
use tonic::{Code, Status};

use super::{a_file, a_video, file_ref, header_of, media, media_with, start, uuid};
use crate::support::request::{message, request, users, verdict};

/// What the error says was stored.
fn uploaded(status: &Status) -> UploadedMedia {
    let details = tonic_types::Status::decode(status.details())
        .unwrap()
        .details;
    let found = details
        .iter()
        .find(|any| any.type_url == "type.googleapis.com/easemob.messaging.v1.UploadedMedia");
    UploadedMedia::decode(&*found.expect("UploadedMedia").value).unwrap()
}

#[tokio::test]
async fn a_message_that_was_refused_is_sent_later_with_the_stored_file() {
    let started = start().await;
    started.easemob.script(
        Endpoint::SendToUsers,
        [Fault::json(403, "forbidden_op", "the sender is blocked")],
    );
    let status = started.send(media(a_file(), b"bytes")).await.unwrap_err();
    assert_eq!(verdict(&status).1, "NOT_SENT", "{status:?}");
    let stored = uploaded(&status);
    assert_eq!(stored.thumbnail, None);
    let stored = stored.file.unwrap();
    assert_eq!(stored.size_bytes, 5);
    assert_eq!(started.easemob.messages().len(), 0);

    let content = Content::File(proto::FileContent {
        file: stored.r#ref.clone(),
        filename: "report.pdf".into(),
    });
    let mut client = started.client.clone();
    let sent = client.send_message(request(message(users(&["bob"]), content)));
    assert_eq!(sent.await.unwrap().into_inner().accepted.len(), 1);
    let body = started.easemob.messages()[0].body();
    assert!(
        body["url"]
            .as_str()
            .unwrap()
            .ends_with(uuid(&file_ref(&stored)))
    );
    assert_eq!(started.uploads(), 1);
}

#[tokio::test]
async fn a_message_in_doubt_names_its_file_too() {
    let started = start().await;
    let reset = [Fault::reset_after_read()];
    started.easemob.script(Endpoint::SendToUsers, reset);
    let parts = media_with(header_of(a_video()), b"picture", b"video");
    let status = started.send(parts).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    let (reason, state) = verdict(&status);
    assert_eq!((&*reason, &*state), ("OUTCOME_UNKNOWN", "MAYBE_SENT"));
    let stored = uploaded(&status);
    assert_eq!(stored.file.unwrap().size_bytes, 5);
    assert_eq!(stored.thumbnail.unwrap().size_bytes, 7);
    assert_eq!(started.easemob.call_count(Endpoint::SendToUsers), 1);
}

#[tokio::test]
async fn a_thumbnail_without_its_video_is_named() {
    let started = start().await;
    let faults = [Fault::default(), Fault::status(500)];
    started.easemob.script(Endpoint::Upload, faults);
    let parts = media_with(header_of(a_video()), b"picture", b"video");
    let status = started.send(parts).await.unwrap_err();
    assert_eq!(verdict(&status).0, "UPLOAD_INTERRUPTED");
    let stored = uploaded(&status);
    assert_eq!(stored.file, None);
    assert_eq!(stored.thumbnail.unwrap().size_bytes, 7);
    assert_eq!(started.easemob.messages().len(), 0);
}
