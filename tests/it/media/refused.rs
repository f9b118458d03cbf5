//! What can be refused is refused before Easemob sees a byte of it.

use easemob_gateway::proto::{
    self, FileRef, file_ref::Location, message::Content,
    send_media_message_request::Part as SendPart, upload_file_request::Part,
};
use tonic::Code;

use super::{
    KIB, Started, a_file, a_video, assert_refused, chunk, finish, header, header_of, header_with,
    media_with, sized, start, start_with,
};
use crate::support::request::{error_info, text};

async fn refused(started: &Started, header: proto::MediaHeader, code: Code, reason: &str) {
    let sent = started.send(media_with(header, &[], b"bytes")).await;
    assert_refused(sent, code, reason);
    started.assert_no_byte();
}

#[tokio::test]
async fn a_wrong_message_is_refused_before_its_file() {
    let started = start().await;
    let given = Some(FileRef {
        location: Some(Location::Uuid("1-2".into())),
        ..Default::default()
    });
    let with_file = Content::File(proto::FileContent {
        file: given,
        filename: "a".into(),
    });
    let without_name = Content::File(proto::FileContent::default());
    let half_size = Content::Image(proto::ImageContent {
        filename: "a".into(),
        width: 3,
        ..Default::default()
    });
    for content in [with_file, without_name, half_size, text("no file")] {
        let header = header_of(content);
        refused(&started, header, Code::InvalidArgument, "INVALID_REQUEST").await;
    }
    let nobody = proto::MediaHeader {
        message: Some(proto::Message {
            content: Some(a_file()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let no_message = proto::MediaHeader::default();
    let half_thumbnail = proto::MediaHeader {
        upload: Some(proto::UploadOptions {
            thumbnail_width: 10,
            ..Default::default()
        }),
        ..header_of(a_file())
    };
    let bad_id = proto::MediaHeader {
        request_id: "a\nb".into(),
        ..header_of(a_file())
    };
    for header in [nobody, no_message, half_thumbnail, bad_id] {
        refused(&started, header, Code::InvalidArgument, "INVALID_REQUEST").await;
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_its_file() {
    let started = start().await;
    let mut header = header_of(a_file());
    let ext = format!(r#"{{"k":"{}"}}"#, "x".repeat(10 * KIB));
    if let Some(message) = &mut header.message {
        message.extension = Some(proto::message::Extension::ExtJson(ext));
    }
    refused(&started, header, Code::InvalidArgument, "MESSAGE_TOO_LARGE").await;
}

#[tokio::test]
async fn a_file_declared_too_large_is_refused_before_its_first_chunk() {
    let started = start_with(|setup| setup.app(|app| app.limits.upload_bytes = 1_000)).await;
    let parts = vec![header_with("a", sized(1_001)), chunk(b"x"), finish()];
    let status = started.upload(parts).await.unwrap_err();
    let info = error_info(&status);
    assert_eq!(info.metadata["size_bytes"], "1001");
    assert_eq!(info.metadata["limit_bytes"], "1000");
    assert_refused(
        Err::<(), _>(status),
        Code::InvalidArgument,
        "FILE_TOO_LARGE",
    );
    for (file, thumbnail) in [(1_001, 1), (1, 1_001)] {
        let header = proto::MediaHeader {
            upload: Some(sized(file)),
            thumbnail_upload: Some(sized(thumbnail)),
            ..header_of(a_video())
        };
        refused(&started, header, Code::InvalidArgument, "FILE_TOO_LARGE").await;
    }
    let parts = vec![header_with("a", sized(1_000)), chunk(&[0; 1_000]), finish()];
    started.upload(parts).await.unwrap();
}

#[tokio::test]
async fn an_app_that_is_not_there_takes_no_file() {
    let started = start().await;
    let header = proto::MediaHeader {
        app: "other".into(),
        ..header_of(a_file())
    };
    refused(&started, header, Code::NotFound, "APP_NOT_CONFIGURED").await;
    let header = Part::Header(proto::UploadFileHeader {
        app: "other".into(),
        filename: "a".into(),
        ..Default::default()
    });
    let uploaded = started.upload(vec![header, chunk(b"x"), finish()]).await;
    assert_refused(uploaded, Code::NotFound, "APP_NOT_CONFIGURED");
    started.assert_no_byte();
}

#[tokio::test]
async fn a_stream_begins_with_its_header() {
    let started = start().await;
    for parts in [vec![], vec![chunk(b"x"), finish()], vec![finish()]] {
        let uploaded = started.upload(parts).await;
        assert_refused(uploaded, Code::InvalidArgument, "STREAM_OUT_OF_ORDER");
    }
    for parts in [
        vec![],
        vec![SendPart::Chunk(b"x"[..].into())],
        vec![SendPart::ThumbnailChunk(b"x"[..].into())],
    ] {
        let sent = started.send(parts).await;
        assert_refused(sent, Code::InvalidArgument, "STREAM_OUT_OF_ORDER");
    }
    started.assert_no_byte();
}

#[tokio::test]
async fn a_chunk_that_is_too_large_is_refused_and_nothing_is_stored() {
    let started = start().await;
    for size in [256 * KIB + 1, 1_000 * KIB, 2_000 * KIB] {
        let parts = vec![header("a"), chunk(&vec![0; size]), finish()];
        let uploaded = started.upload(parts).await;
        assert_refused(uploaded, Code::InvalidArgument, "INVALID_REQUEST");
    }
    started.settled().await;
    started.assert_untouched();
    started.assert_works().await;
}

#[tokio::test]
async fn a_thumbnail_is_for_videos_without_one() {
    let started = start().await;
    let sent = started.send(media_with(header_of(a_file()), b"t", b"f"));
    assert_refused(sent.await, Code::InvalidArgument, "STREAM_OUT_OF_ORDER");
    let video = Content::Video(proto::VideoContent {
        filename: "cat.mp4".into(),
        thumbnail: Some(FileRef {
            location: Some(Location::Uuid("1-2".into())),
            ..Default::default()
        }),
        ..Default::default()
    });
    let sent = started.send(media_with(header_of(video), b"t", b"f"));
    assert_refused(sent.await, Code::InvalidArgument, "STREAM_OUT_OF_ORDER");
    started.assert_no_byte();
}
