//! DownloadFile: a file, back from Easemob.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::disposition::filename;
use crate::{
    caller::Caller,
    delivery::Download,
    grpc::{
        Messaging,
        send::{app, noted},
        status::Problem,
    },
    id::FileId,
    invalid::Violations,
    media::MAX_CHUNK_BYTES,
    proto::{self, download_file_response::Part, file_ref::Location},
};

/// A download as tonic sends it.
pub(in crate::grpc) type DownloadStream =
    Pin<Box<dyn Stream<Item = Result<proto::DownloadFileResponse, Status>> + Send>>;

pub(in crate::grpc) async fn download_file(
    messaging: &Messaging,
    request: Request<proto::DownloadFileRequest>,
) -> Result<Response<DownloadStream>, Status> {
    let download = download_checked(messaging, request).await;
    let download = download.map_err(Problem::without_send_state)?;
    let header = proto::DownloadFileResponse {
        part: Some(Part::Header(download_header(&download))),
    };
    let chunks = async_stream::try_stream! {
        let mut download = download;
        yield header;
        while let Some(mut bytes) = download.next().await.map_err(|failure| {
            Status::from(Problem::from(&failure).without_send_state())
        })? {
            // As large as callers' own chunks may be, and no larger.
            while !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(MAX_CHUNK_BYTES));
                yield proto::DownloadFileResponse {
                    part: Some(Part::Chunk(chunk)),
                };
            }
        }
    };
    Ok(Response::new(Box::pin(chunks)))
}

async fn download_checked(
    messaging: &Messaging,
    request: Request<proto::DownloadFileRequest>,
) -> Result<Download, Problem> {
    let caller: Caller = noted(&request)?;
    let request = request.into_inner();
    let app = app(messaging, &caller, &request.app)?;
    let (id, secret) = check_file_ref(request.file)?;
    let secret = Some(&*secret).filter(|secret| !secret.is_empty());
    messaging
        .delivery
        .download((&app, &caller), &id, secret, request.thumbnail)
        .await
        .map_err(|failure| Problem::from(&failure))
}

/// ID and secret of a file that can be downloaded: one of the app's own.
fn check_file_ref(file: Option<proto::FileRef>) -> Result<(FileId, String), Problem> {
    let violations = Violations::default();
    let root = violations.root();
    let field = root.child("file");
    let (id, secret) = match field.required(file) {
        Some(proto::FileRef {
            location: Some(Location::Uuid(uuid)),
            secret,
        }) => (FileId::check(uuid, field.child("uuid")), secret),
        Some(proto::FileRef {
            location: Some(Location::Url(_)),
            ..
        }) => (
            field.child("url").refuse(
                "cannot be downloaded through the gateway: name a file of the app by its uuid",
            ),
            String::new(),
        ),
        Some(_) => (field.child("uuid").refuse("is required"), String::new()),
        None => (None, String::new()),
    };
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        field
            .child("secret")
            .refuse::<()>("is not a share secret of Easemob's");
    }
    let Some(id) = id.filter(|_| violations.is_empty()) else {
        return Err(Problem::invalid(violations.into_vec()));
    };
    Ok((id, secret))
}

/// What Easemob tells of a file, as far as it does.
fn download_header(download: &Download) -> proto::DownloadHeader {
    let text = |name| {
        let value = download.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    proto::DownloadHeader {
        content_type: text(http::header::CONTENT_TYPE).unwrap_or_default(),
        filename: text(http::header::CONTENT_DISPOSITION)
            .and_then(|disposition| filename(&disposition))
            .unwrap_or_default(),
        size_bytes: download.size_bytes(),
    }
}
