//! SendMediaMessage, UploadFile, DownloadFile.

mod disposition;
mod download;
mod head;
mod option;
mod parts;
mod send;
mod upload;

use bytes::Bytes;
use tokio_stream::Stream;

pub(super) use self::{
    download::{DownloadStream, download_file},
    send::send_media_message,
    upload::upload_file,
};
use super::{Messaging, status::Problem};
use crate::{
    app::App,
    delivery::StoredFile,
    easemob::SharedUpload,
    media::{Error, Finish, Frame, Upload},
    proto::{self, ErrorReason},
};

fn header_first() -> Problem {
    Problem::new(
        ErrorReason::StreamOutOfOrder,
        "the stream does not begin with a header",
    )
}

fn second_header() -> Error {
    Error::OutOfOrder("the stream has a second header")
}

fn finished(finish: proto::UploadFinish) -> Result<Frame, Error> {
    let proto::UploadFinish { size_bytes, sha256 } = finish;
    if !matches!(sha256.len(), 0 | 32) {
        return Err(Error::Invalid(
            "finish.sha256",
            "must have 32 bytes, or none",
        ));
    }
    Ok(Frame::Finish(Finish { size_bytes, sha256 }))
}

fn new_upload(
    messaging: &Messaging,
    frames: impl Stream<Item = Result<Frame, Error>> + Send + 'static,
    app: &App,
) -> SharedUpload {
    let config = messaging.delivery.transfers().config();
    SharedUpload::new(Upload::new(frames, app.limits.upload_bytes, config))
}

fn uploaded(stored: &StoredFile) -> proto::UploadedFile {
    proto::UploadedFile {
        r#ref: Some(stored.file_ref()),
        size_bytes: stored.summary.size_bytes,
        sha256: Bytes::copy_from_slice(&stored.summary.sha256),
    }
}
