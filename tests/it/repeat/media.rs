//! A message with its file, repeated: what was stored is compared and not stored again.

use bytes::Bytes;
use easemob_gateway::proto::{
    self, FileRef, SendMediaMessageResponse, SendMessageRequest, file_ref::Location,
    message::Content, send_media_message_request::Part,
};
use tonic::Status;

use super::{in_doubt, refusal, reused, says, send};
use crate::support::{
    easemob::{Easemob, Script},
    gateway::Setup,
    ledger::Client,
    request::{message, users, verdict},
};

fn a_file(file: Option<FileRef>) -> Content {
    Content::File(proto::FileContent {
        file,
        filename: "report.pdf".into(),
    })
}

fn a_video(file: Option<FileRef>, thumbnail: Option<FileRef>) -> Content {
    Content::Video(proto::VideoContent {
        file,
        thumbnail,
        filename: "cat.mp4".into(),
        ..Default::default()
    })
}

/// What [`Script::store`] gives.
fn stored() -> Option<FileRef> {
    Some(FileRef {
        location: Some(Location::Uuid(
            "11111111-2222-3333-4444-555555555555".into(),
        )),
        secret: String::new(),
    })
}

async fn send_media(
    client: &Client,
    content: Content,
    thumbnail: &'static [u8],
    bytes: &'static [u8],
) -> Result<SendMediaMessageResponse, Status> {
    let header = proto::MediaHeader {
        message: Some(message(users(&["bob"]), content)),
        request_id: "1".into(),
        ..Default::default()
    };
    let mut parts = vec![Part::Header(header)];
    if !thumbnail.is_empty() {
        parts.push(Part::ThumbnailChunk(Bytes::from_static(thumbnail)));
    }
    parts.push(Part::Chunk(Bytes::from_static(bytes)));
    parts.push(Part::Finish(proto::UploadFinish::default()));
    let parts = parts
        .into_iter()
        .map(|part| proto::SendMediaMessageRequest { part: Some(part) });
    let parts = tokio_stream::iter(parts.collect::<Vec<_>>());
    Ok(client.clone().send_media_message(parts).await?.into_inner())
}

fn with_ref(content: Content) -> SendMessageRequest {
    SendMessageRequest {
        message: Some(message(users(&["bob"]), content)),
        ..says("1", "")
    }
}

async fn start() -> (Easemob, crate::support::gateway::TestGateway, Client) {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    (easemob, gateway, client)
}

#[tokio::test]
async fn a_repeat_stores_nothing_again_and_answers_the_same() {
    let (easemob, _gateway, client) = start().await;
    let first = send_media(&client, a_file(None), b"", b"bytes")
        .await
        .unwrap();
    let again = send_media(&client, a_file(None), b"", b"bytes")
        .await
        .unwrap();
    assert_eq!(again.file, first.file);
    let (first, again) = (first.sent.unwrap(), again.sent.unwrap());
    assert!(!first.replayed && again.replayed);
    assert_eq!(again.accepted, first.accepted);
    let seen = easemob.seen();
    assert_eq!((seen.uploads.len(), seen.sends.len()), (1, 1));
}

#[tokio::test]
async fn another_file_under_the_same_id_is_refused() {
    let (easemob, _gateway, client) = start().await;
    send_media(&client, a_video(None, None), b"picture", b"video")
        .await
        .unwrap();
    for (thumbnail, bytes) in [
        (&b"picture"[..], &b"other"[..]),
        (b"picture", b"longer video"),
        (b"another", b"video"),
        (b"", b"video"),
    ] {
        let result = send_media(&client, a_video(None, None), thumbnail, bytes).await;
        assert_eq!(refusal(result), reused(), "{thumbnail:?} {bytes:?}");
    }
    let again = send_media(&client, a_video(None, None), b"picture", b"video").await;
    assert!(again.unwrap().sent.unwrap().replayed);
    let seen = easemob.seen();
    assert_eq!((seen.uploads.len(), seen.sends.len()), (2, 1));
}

#[tokio::test]
async fn a_send_that_failed_is_made_up_for_without_another_upload() {
    let (easemob, _gateway, client) = start().await;
    easemob.on_send(Script::read().answer(400, ""));
    let status = send_media(&client, a_file(None), b"", b"bytes")
        .await
        .unwrap_err();
    assert_eq!(verdict(&status).1, "NOT_SENT");
    let sent = send_media(&client, a_file(None), b"", b"bytes")
        .await
        .unwrap();
    assert_eq!(sent.sent.unwrap().accepted.len(), 1);
    let seen = easemob.seen();
    assert_eq!((seen.uploads.len(), seen.sends.len()), (1, 2));
}

#[tokio::test]
async fn an_upload_that_failed_is_made_again() {
    let (easemob, _gateway, client) = start().await;
    easemob.on_upload(Script::read().answer(500, ""));
    let status = send_media(&client, a_file(None), b"", b"bytes")
        .await
        .unwrap_err();
    assert_eq!(verdict(&status).0, "UPLOAD_INTERRUPTED");
    send_media(&client, a_file(None), b"", b"bytes")
        .await
        .unwrap();
    let seen = easemob.seen();
    assert_eq!((seen.uploads.len(), seen.sends.len()), (2, 1));
}

#[tokio::test]
async fn sending_the_stored_file_is_a_repeat_of_its_upload() {
    let (easemob, _gateway, client) = start().await;
    easemob.on_send(Script::read().reset());
    let result = send_media(&client, a_file(None), b"", b"bytes").await;
    assert_eq!(refusal(result), in_doubt());
    // In doubt it stays, whichever way it is asked for.
    assert_eq!(
        refusal(send(&client, with_ref(a_file(stored()))).await),
        in_doubt()
    );
    let seen = easemob.seen();
    assert_eq!((seen.uploads.len(), seen.sends.len()), (1, 1));

    let other = FileRef {
        location: Some(Location::Uuid(
            "22222222-2222-3333-4444-555555555555".into(),
        )),
        secret: String::new(),
    };
    let other = send(&client, with_ref(a_file(Some(other)))).await;
    assert_eq!(refusal(other), reused());
}

#[tokio::test]
async fn an_upload_is_no_repeat_of_a_message_that_named_its_file() {
    let (easemob, _gateway, client) = start().await;
    send(&client, with_ref(a_file(stored()))).await.unwrap();
    let result = send_media(&client, a_file(None), b"", b"bytes").await;
    assert_eq!(refusal(result), reused());
    let seen = easemob.seen();
    assert_eq!((seen.uploads.len(), seen.sends.len()), (0, 1));
}

#[tokio::test]
async fn a_stored_thumbnail_belongs_to_the_repeat() {
    let (easemob, _gateway, client) = start().await;
    easemob.on_send(Script::read().answer(400, ""));
    let result = send_media(&client, a_video(None, None), b"picture", b"video").await;
    result.unwrap_err();
    let without = send(&client, with_ref(a_video(stored(), None))).await;
    assert_eq!(refusal(without), reused());
    let whole = send(&client, with_ref(a_video(stored(), stored())))
        .await
        .unwrap();
    assert_eq!(whole.accepted.len(), 1);
    let seen = easemob.seen();
    assert_eq!((seen.uploads.len(), seen.sends.len()), (2, 2));
}
