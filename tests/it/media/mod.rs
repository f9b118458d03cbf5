//! SendMediaMessage, UploadFile and DownloadFile through the real server: what Easemob sees of a file,
//! and what the caller is told.

mod broken;
mod download;
mod drain;
mod easemob;
mod limits;
mod memory;
mod name;
mod refused;
mod round_trip;
mod traced;
mod unsent;

use std::time::Duration;

use bytes::Bytes;
use easemob_gateway::{
    proto::{
        self, FileRef, file_ref::Location, message::Content,
        send_media_message_request::Part as SendPart, upload_file_request::Part,
    },
    sandbox::{self, Endpoint, Sandbox, UploadState},
};
use tokio_stream::Stream;
use tonic::{Code, Status};

use crate::support::{
    gateway::{Setup, TestGateway},
    ledger::Client,
    request::{error_info, message, users},
};

const UPLOAD: &str = "/easemob.messaging.v1.MessagingService/UploadFile";
const SEND: &str = "/easemob.messaging.v1.MessagingService/SendMediaMessage";
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A gateway in front of a sandbox of its own, and a client of it.
struct Started {
    easemob: Sandbox,
    gateway: TestGateway,
    client: Client,
}

async fn start() -> Started {
    start_with(|setup| setup).await
}

/// With a gateway that is set up in another way.
async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Started {
    start_at(sandbox::Config::for_tests(), change).await
}

/// With another sandbox, too.
async fn start_at(config: sandbox::Config, change: impl FnOnce(Setup) -> Setup) -> Started {
    let easemob = Sandbox::start(config).unwrap();
    let gateway = change(Setup::at(easemob.base_url())).start().await;
    let client = gateway.client().await;
    Started {
        easemob,
        gateway,
        client,
    }
}

impl Started {
    async fn upload(&self, parts: Vec<Part>) -> Result<proto::UploadedFile, Status> {
        upload(&self.client, parts).await
    }

    async fn send(&self, parts: Vec<SendPart>) -> Result<proto::SendMediaMessageResponse, Status> {
        send(&self.client, parts).await
    }

    async fn download(&self, request: proto::DownloadFileRequest) -> Result<Downloaded, Status> {
        download(&self.client, request).await
    }

    /// Easemob stored nothing and sent nothing, nor has seen the end of any form.
    #[track_caller]
    fn assert_untouched(&self) {
        let uploads = self.easemob.uploads();
        let whole = |upload: &&sandbox::Upload| upload.closed || upload.uuid.is_some();
        assert_eq!(uploads.iter().filter(whole).count(), 0, "{uploads:?}");
        assert_eq!(self.easemob.messages().len(), 0);
    }

    /// Not even the beginning of an upload reached Easemob.
    #[track_caller]
    fn assert_no_byte(&self) {
        assert_eq!(self.easemob.uploads().len(), 0);
        assert_eq!(self.easemob.messages().len(), 0);
    }

    /// Waits until every upload that reached Easemob has ended.
    async fn settled(&self) {
        let count = self.easemob.uploads().len();
        let ended = |upload: &sandbox::Upload| upload.state != UploadState::UnderWay;
        let wait = self.easemob.wait_for_uploads(count, ended, LONG);
        assert!(wait.await, "{:?}", self.easemob.uploads());
    }

    /// Waits until Easemob has read so many bytes of an upload.
    async fn reached(&self, bytes: u64) {
        let reached = move |upload: &sandbox::Upload| upload.body_bytes >= bytes;
        assert!(self.easemob.wait_for_uploads(1, reached, LONG).await);
    }

    /// A small upload succeeds: the place of the one before was given back.
    async fn assert_works(&self) {
        let file = self.upload(file("next.txt", b"next")).await.unwrap();
        assert_eq!(file.size_bytes, 4);
    }

    fn uploads(&self) -> u64 {
        self.easemob.call_count(Endpoint::Upload)
    }
}

const LONG: Duration = Duration::from_secs(20);

async fn upload(client: &Client, parts: Vec<Part>) -> Result<proto::UploadedFile, Status> {
    upload_stream(client, tokio_stream::iter(parts)).await
}

async fn upload_stream(
    client: &Client,
    parts: impl Stream<Item = Part> + Send + 'static,
) -> Result<proto::UploadedFile, Status> {
    use tokio_stream::StreamExt;
    let parts = parts.map(|part| proto::UploadFileRequest { part: Some(part) });
    let response = client.clone().upload_file(parts).await?.into_inner();
    Ok(response.file.expect("an upload has a file"))
}

async fn send(
    client: &Client,
    parts: Vec<SendPart>,
) -> Result<proto::SendMediaMessageResponse, Status> {
    let parts = parts
        .into_iter()
        .map(|part| proto::SendMediaMessageRequest { part: Some(part) });
    let response = client
        .clone()
        .send_media_message(tokio_stream::iter(parts.collect::<Vec<_>>()))
        .await?;
    Ok(response.into_inner())
}

/// A file that came back.
#[derive(Debug)]
struct Downloaded {
    header: proto::DownloadHeader,
    bytes: Vec<u8>,
}

async fn download(
    client: &Client,
    request: proto::DownloadFileRequest,
) -> Result<Downloaded, Status> {
    use proto::download_file_response::Part;
    let mut parts = client.clone().download_file(request).await?.into_inner();
    let (mut header, mut bytes) = (None, Vec::new());
    while let Some(part) = parts.message().await? {
        match part.part.expect("always set") {
            Part::Header(first) => {
                assert!(header.is_none() && bytes.is_empty(), "first and once");
                header = Some(first);
            }
            Part::Chunk(chunk) => {
                assert!(chunk.len() <= 256 * KIB);
                bytes.extend_from_slice(&chunk);
            }
        }
    }
    let header = header.expect("a download has a header");
    Ok(Downloaded { header, bytes })
}

/// A download of this file.
fn get(file: &FileRef) -> proto::DownloadFileRequest {
    proto::DownloadFileRequest {
        file: Some(file.clone()),
        ..Default::default()
    }
}

/// The reference of a stored file.
fn file_ref(file: &proto::UploadedFile) -> FileRef {
    file.r#ref.clone().expect("a stored file has a reference")
}

fn uuid(file: &FileRef) -> &str {
    match &file.location {
        Some(Location::Uuid(uuid)) => uuid,
        other => panic!("{other:?}"),
    }
}

fn header(name: &str) -> Part {
    header_with(name, proto::UploadOptions::default())
}

fn header_with(name: &str, options: proto::UploadOptions) -> Part {
    Part::Header(proto::UploadFileHeader {
        filename: name.into(),
        upload: Some(options),
        ..Default::default()
    })
}

fn sized(size_bytes: u64) -> proto::UploadOptions {
    proto::UploadOptions {
        size_bytes: Some(size_bytes),
        ..Default::default()
    }
}

fn chunk(bytes: &[u8]) -> Part {
    Part::Chunk(Bytes::copy_from_slice(bytes))
}

fn finish() -> Part {
    Part::Finish(proto::UploadFinish::default())
}

/// Finish with size and checksum.
fn finish_of(bytes: &[u8]) -> proto::UploadFinish {
    proto::UploadFinish {
        size_bytes: Some(bytes.len() as u64),
        sha256: Bytes::copy_from_slice(&sha256(bytes)),
    }
}

/// A whole upload.
fn file(name: &str, bytes: &[u8]) -> Vec<Part> {
    file_with(name, bytes, proto::UploadOptions::default())
}

fn file_with(name: &str, bytes: &[u8], options: proto::UploadOptions) -> Vec<Part> {
    let mut parts = vec![header_with(name, options)];
    parts.extend(bytes.chunks(64 * KIB).map(chunk));
    parts.push(Part::Finish(finish_of(bytes)));
    parts
}

/// A message with its file.
fn media(content: Content, bytes: &[u8]) -> Vec<SendPart> {
    media_with(header_of(content), &[], bytes)
}

fn media_with(header: proto::MediaHeader, thumbnail: &[u8], bytes: &[u8]) -> Vec<SendPart> {
    let mut parts = vec![SendPart::Header(header)];
    let chunks = |bytes: &[u8]| -> Vec<Bytes> {
        let chunks = bytes.chunks(64 * KIB);
        chunks.map(Bytes::copy_from_slice).collect()
    };
    parts.extend(chunks(thumbnail).into_iter().map(SendPart::ThumbnailChunk));
    parts.extend(chunks(bytes).into_iter().map(SendPart::Chunk));
    parts.push(SendPart::Finish(finish_of(bytes)));
    parts
}

/// A message to `bob`.
fn header_of(content: Content) -> proto::MediaHeader {
    proto::MediaHeader {
        message: Some(message(users(&["bob"]), content)),
        ..Default::default()
    }
}

fn a_file() -> Content {
    Content::File(proto::FileContent {
        filename: "report.pdf".into(),
        ..Default::default()
    })
}

fn a_video() -> Content {
    Content::Video(proto::VideoContent {
        filename: "cat.mp4".into(),
        duration_seconds: Some(7),
        ..Default::default()
    })
}

/// Bytes that repeat late, so that a piece lost or doubled changes the sum.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Code and reason of an error, and that nothing was sent, where the method sends.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, reason: &str) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    let info = error_info(&status);
    assert_eq!(info.reason, reason, "{status:?}");
    let state = info.metadata.get("send_state").map(String::as_str);
    assert!(matches!(state, None | Some("NOT_SENT")), "{status:?}");
}
