//! Uploads and downloads, chunk by chunk.

use ring::digest::{Context, SHA256, digest};
use tokio_stream::Stream;
use tonic::Status;

use crate::{
    gateway::Client,
    v1::{
        DownloadFileRequest, FileContent, FileRef, MediaHeader, Message, SendMediaMessageRequest,
        UploadFileHeader, UploadFileRequest, UploadFinish, UploadOptions, Users,
        download_file_response, message, send_media_message_request as media,
        upload_file_request as upload,
    },
};

pub const CHUNK: usize = 64 * 1024;
pub const SIZE: usize = 256 * 4096;

pub fn content() -> Vec<u8> {
    (0..=255).cycle().take(SIZE).collect()
}

pub fn sha256() -> Vec<u8> {
    digest(&SHA256, &content()).as_ref().to_vec()
}

fn finish(sha256: Vec<u8>) -> UploadFinish {
    UploadFinish {
        size_bytes: Some(SIZE as u64),
        sha256,
    }
}

/// Header, chunks, finish. tonic takes the next part when there is room for it.
pub fn upload_parts(
    sha256: Vec<u8>,
    progress: impl Fn(usize) + Send + 'static,
) -> impl Stream<Item = UploadFileRequest> + Send + 'static {
    let header = UploadFileHeader {
        filename: "cat.bin".into(),
        upload: Some(UploadOptions {
            size_bytes: Some(SIZE as u64),
            ..Default::default()
        }),
        ..Default::default()
    };
    let content = content();
    let chunks = (0..SIZE).step_by(CHUNK).map(move |start| {
        progress((start + CHUNK) * 100 / SIZE);
        upload::Part::Chunk(content[start..start + CHUNK].to_vec())
    });
    let parts = std::iter::once(upload::Part::Header(header)).chain(chunks);
    let parts = parts.chain([upload::Part::Finish(finish(sha256))]);
    tokio_stream::iter(parts.map(|part| UploadFileRequest { part: Some(part) }))
}

/// The same, and the message that carries the file.
pub fn media_parts(user: &str) -> Vec<SendMediaMessageRequest> {
    let content = content();
    let header = MediaHeader {
        message: Some(Message {
            target: Some(message::Target::Users(Users {
                user_ids: vec![user.into()],
            })),
            content: Some(message::Content::File(FileContent {
                filename: "cat.bin".into(),
                ..Default::default()
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let chunks = content.chunks(CHUNK);
    let chunks = chunks.map(|chunk| media::Part::Chunk(chunk.to_vec()));
    let parts = std::iter::once(media::Part::Header(header)).chain(chunks);
    let parts = parts.chain([media::Part::Finish(finish(sha256()))]);
    parts
        .map(|part| SendMediaMessageRequest { part: Some(part) })
        .collect()
}

/// Size and SHA-256 of what comes back.
pub async fn download(client: &mut Client, file: FileRef) -> Result<(usize, Vec<u8>), Status> {
    let request = DownloadFileRequest {
        file: Some(file),
        ..Default::default()
    };
    let mut parts = client.download_file(request).await?.into_inner();
    let (mut size, mut sum) = (0, Context::new(&SHA256));
    while let Some(part) = parts.message().await? {
        if let Some(download_file_response::Part::Chunk(chunk)) = part.part {
            size += chunk.len();
            sum.update(&chunk);
        }
    }
    Ok((size, sum.finish().as_ref().to_vec()))
}
