//! What goes in comes out: at Easemob, in the message and at the next download.

use easemob_gateway::{
    proto::{self, message::Content},
    sandbox::{Endpoint, Filter},
};
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;

use super::{
    KIB, LONG, MIB, Started, a_file, a_video, file, file_ref, file_with, get, header_of,
    header_with, hex, media, media_with, noise, sha256, sized, start, upload_stream, uuid,
};
use crate::support::request::{message, request, users};

async fn round_trip(started: &Started, bytes: &[u8]) {
    let stored = started.upload(file("report.pdf", bytes)).await.unwrap();
    assert_eq!(stored.size_bytes, bytes.len() as u64);
    assert_eq!(&stored.sha256[..], sha256(bytes));

    let content = Content::File(proto::FileContent {
        file: stored.r#ref.clone(),
        filename: "report.pdf".into(),
    });
    let mut client = started.client.clone();
    let sent = client.send_message(request(message(users(&["bob"]), content)));
    assert_eq!(sent.await.unwrap().into_inner().accepted.len(), 1);

    let filter = Filter::user("bob");
    let arrived = started.easemob.next_message(&filter, LONG).await;
    let body = arrived.unwrap().body();
    let url = body["url"].as_str().unwrap();
    assert!(url.ends_with(uuid(&file_ref(&stored))), "{url}");
    assert_eq!(body["filename"], "report.pdf");
    started.easemob.clear_messages();

    let back = started.download(get(&file_ref(&stored))).await.unwrap();
    assert_eq!(back.bytes.len(), bytes.len());
    assert_eq!(sha256(&back.bytes), sha256(bytes));
    assert_eq!(back.header.filename, "report.pdf");
    assert_eq!(back.header.size_bytes, Some(bytes.len() as u64));
}

#[tokio::test]
async fn a_file_is_uploaded_sent_and_downloaded() {
    let started = start().await;
    for size in [0, 1, 100 * KIB, 10 * MIB] {
        round_trip(&started, &noise(size)).await;
    }
    assert_eq!(started.uploads(), 4);
}

#[tokio::test]
async fn compressed_uploads_are_read() {
    let started = start().await;
    let bytes = noise(300 * KIB);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let client = started.client.clone().send_compressed(encoding);
        let chunks: Vec<_> = bytes.chunks(100 * KIB).map(super::chunk).collect();
        let parts = [&[super::header("x")], &chunks[..], &[super::finish()]].concat();
        let stored = super::upload(&client, parts).await.unwrap();
        assert_eq!(&stored.sha256[..], sha256(&bytes));
    }
}

#[tokio::test]
async fn chunks_may_have_any_size_up_to_the_limit() {
    let started = start().await;
    let bytes = noise(3 * 256 * KIB + 5);
    for size in [1_000, 256 * KIB] {
        let chunks: Vec<_> = bytes.chunks(size).map(super::chunk).collect();
        let parts = tokio_stream::once(super::header("x"))
            .chain(tokio_stream::iter(chunks))
            .chain(tokio_stream::once(super::finish()));
        let stored = upload_stream(&started.client, parts).await.unwrap();
        assert_eq!(&stored.sha256[..], sha256(&bytes));
    }
}

#[tokio::test]
async fn every_kind_of_media_message_carries_its_file() {
    let started = start().await;
    let bytes = noise(200 * KIB);
    let image = Content::Image(proto::ImageContent {
        filename: "cat.png".into(),
        width: 4,
        height: 3,
        ..Default::default()
    });
    let audio = Content::Audio(proto::AudioContent {
        filename: "cat.amr".into(),
        duration_seconds: Some(3),
        ..Default::default()
    });
    for (content, kind) in [
        (image, "img"),
        (audio, "audio"),
        (a_video(), "video"),
        (a_file(), "file"),
    ] {
        let sent = started.send(media(content, &bytes)).await.unwrap();
        assert_eq!(sent.sent.unwrap().accepted.len(), 1);
        assert_eq!(sent.thumbnail, None);
        let stored = sent.file.unwrap();
        assert_eq!(&stored.sha256[..], sha256(&bytes));

        let filter = Filter::user("bob");
        let arrived = started.easemob.next_message(&filter, LONG).await.unwrap();
        assert_eq!(arrived.kind, kind);
        let body = arrived.body();
        let url = body["url"].as_str().unwrap();
        assert!(url.ends_with(uuid(&file_ref(&stored))), "{url}");
        assert_eq!(body.get("secret"), None);
        match kind {
            "img" => assert_eq!(body["size"]["width"], 4),
            "audio" => assert_eq!(body["length"], 3),
            "video" => {
                assert_eq!(body["file_length"], 200 * KIB);
                assert_eq!(body["length"], 7);
                assert_eq!(body.get("thumb"), None);
            }
            _ => {}
        }
        let back = started.download(get(&file_ref(&stored))).await.unwrap();
        assert_eq!(sha256(&back.bytes), sha256(&bytes));
        started.easemob.clear_messages();
    }
}

#[tokio::test]
async fn a_videos_thumbnail_is_an_upload_of_its_own() {
    let started = start().await;
    let (picture, video) = (noise(70 * KIB), noise(MIB));
    let header = proto::MediaHeader {
        upload: Some(proto::UploadOptions {
            restrict_access: true,
            content_type: "video/mp4".into(),
            ..sized(video.len() as u64)
        }),
        thumbnail_upload: Some(proto::UploadOptions {
            restrict_access: true,
            content_type: "image/jpeg".into(),
            ..sized(picture.len() as u64)
        }),
        ..header_of(a_video())
    };
    let sent = started.send(media_with(header, &picture, &video)).await;
    let sent = sent.unwrap();
    let (file, thumbnail) = (sent.file.unwrap(), sent.thumbnail.unwrap());
    assert_eq!(&thumbnail.sha256[..], sha256(&picture));
    assert_eq!(&file.sha256[..], sha256(&video));

    let uploads = started.easemob.uploads();
    assert_eq!(uploads.len(), 2);
    let part = |index: usize| uploads[index].part.as_ref().unwrap();
    assert_eq!(part(0).sha256.as_deref(), Some(&*hex(&sha256(&picture))));
    assert_eq!(part(0).content_type.as_deref(), Some("image/jpeg"));
    assert_eq!(part(1).sha256.as_deref(), Some(&*hex(&sha256(&video))));
    assert_eq!(part(1).content_type.as_deref(), Some("video/mp4"));

    let body = started.easemob.messages()[0].body();
    let (file, thumbnail) = (file_ref(&file), file_ref(&thumbnail));
    assert!(body["url"].as_str().unwrap().ends_with(uuid(&file)));
    assert!(body["thumb"].as_str().unwrap().ends_with(uuid(&thumbnail)));
    assert_eq!(body["secret"], file.secret.as_str());
    assert_eq!(body["thumb_secret"], thumbnail.secret.as_str());
    assert!(!file.secret.is_empty() && !thumbnail.secret.is_empty());
    assert_eq!(body["file_length"], video.len());
    let back = started.download(get(&thumbnail)).await.unwrap();
    assert_eq!(back.bytes, picture);
}

#[tokio::test]
async fn a_restricted_file_opens_with_its_secret() {
    let started = start().await;
    let options = proto::UploadOptions {
        restrict_access: true,
        ..Default::default()
    };
    let parts = file_with("a.txt", b"secret", options);
    let stored = file_ref(&started.upload(parts).await.unwrap());
    assert!(!stored.secret.is_empty());
    let back = started.download(get(&stored)).await.unwrap();
    assert_eq!(back.bytes, b"secret");
}

/// A picture of noise, as PNG: no compression makes it so small that it is its own thumbnail.
fn png(width: u32, height: u32) -> Vec<u8> {
    let pixels = noise(usize::try_from(width * height * 3).unwrap());
    let picture = image::RgbImage::from_raw(width, height, pixels).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[tokio::test]
async fn the_thumbnail_of_an_image_is_a_smaller_image() {
    let started = start().await;
    let options = proto::UploadOptions {
        content_type: "image/png".into(),
        thumbnail_width: 40,
        thumbnail_height: 30,
        ..Default::default()
    };
    let picture = png(400, 300);
    let parts = file_with("noise.png", &picture, options);
    let stored = file_ref(&started.upload(parts).await.unwrap());

    let request = proto::DownloadFileRequest {
        thumbnail: true,
        ..get(&stored)
    };
    let thumbnail = started.download(request).await.unwrap();
    let decoded = image::load_from_memory(&thumbnail.bytes).unwrap();
    assert_eq!((decoded.width(), decoded.height()), (40, 30));
    let back = started.download(get(&stored)).await.unwrap();
    assert_eq!(back.bytes, picture);
    assert_eq!(back.header.content_type, "image/png");
}

#[tokio::test]
async fn the_headers_of_an_upload_are_those_that_were_asked_for() {
    let started = start().await;
    let bytes = noise(100);
    let plain = started.upload(file("a", &bytes)).await.unwrap();
    assert_eq!(plain.r#ref.unwrap().secret, "");
    let options = proto::UploadOptions {
        restrict_access: true,
        thumbnail_width: 1_000,
        thumbnail_height: 20,
        ..sized(100)
    };
    let restricted = vec![
        header_with("a", options),
        super::chunk(&bytes),
        super::finish(),
    ];
    started.upload(restricted).await.unwrap();

    let uploads = started.easemob.uploads();
    let header = |index: usize, name: &str| {
        let value = uploads[index].headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(header(0, "transfer-encoding"), is("chunked"));
    assert_eq!(header(0, "content-length"), None);
    for name in ["restrict-access", "thumbnail-width", "thumbnail-height"] {
        assert_eq!(header(0, name), None, "{name}");
    }
    assert_eq!(header(1, "transfer-encoding"), None);
    assert_eq!(
        header(1, "content-length"),
        Some(uploads[1].body_bytes.to_string())
    );
    assert_eq!(header(1, "restrict-access"), is("true"));
    assert_eq!(header(1, "thumbnail-width"), is("1000"));
    assert_eq!(header(1, "thumbnail-height"), is("20"));
    for index in [0, 1] {
        let part = uploads[index].part.as_ref().unwrap();
        let content_type = part.content_type.as_deref();
        assert_eq!(content_type, Some("application/octet-stream"));
        assert!(uploads[index].path.ends_with("/sandbox/demo/chatfiles"));
    }
    assert_eq!(started.easemob.call_count(Endpoint::Token), 1);
}
