//! SendMediaMessage, UploadFile, DownloadFile.

use std::sync::Arc;

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    Messaging, Timeouts,
    send::{answer, app, check_size, log, noted},
    status::Problem,
};
use crate::{
    app::App,
    caller::Caller,
    delivery::{Download, MediaOrder, MediaSent, StoredFile, UploadOrder},
    easemob::{SharedUpload, Store},
    id::{FileId, RequestId},
    invalid::{Field, Violations},
    media::{ContentType, Error, FileName, Finish, Frame, Upload},
    message::MediaMessage,
    proto::{
        self, ErrorReason, file_ref::Location, send_media_message_request as send,
        upload_file_request as upload,
    },
};

/// Largest side of a thumbnail in pixels.
const MAX_THUMBNAIL_PIXELS: u32 = 10_000;

pub(super) async fn send_media_message(
    messaging: &Messaging,
    request: Request<Streaming<proto::SendMediaMessageRequest>>,
) -> Result<Response<proto::SendMediaMessageResponse>, Status> {
    let deadline = Timeouts::deadline_of_transfer(request.metadata().as_ref());
    let caller: Caller = noted(&request)?;
    let mut stream = request.into_inner();
    let Some(send::Part::Header(header)) = first(&mut stream, |request| request.part).await? else {
        return Err(header_first().into());
    };
    let app = app(messaging, &caller, &header.app)?;
    let resend_maybe_sent = header.resend_maybe_sent;
    let checked = check_send(header, &app)?;
    check_size(checked.message.stand_in(), &app)?;
    for (size, what) in [
        (checked.declared, "file"),
        (checked.thumbnail.1, "thumbnail"),
    ] {
        check_declared(size, what, &app)?;
    }
    let frames = stream.map(|request| frame(request.map_err(|status| broken(&status))?.part));
    let order = MediaOrder {
        file: UploadOrder {
            upload: new_upload(messaging, frames, &app),
            store: checked.store,
            app: Arc::clone(&app),
            caller,
            deadline,
        },
        declared: checked.declared,
        thumbnail: checked.thumbnail,
        message: checked.message,
        request_id: checked.request_id,
        resend_maybe_sent,
        send_timeout: messaging.timeouts.default,
    };
    let sent = messaging.delivery.send_media(order).await;
    Ok(Response::new(answer_media(sent, &app)?))
}

pub(super) async fn upload_file(
    messaging: &Messaging,
    request: Request<Streaming<proto::UploadFileRequest>>,
) -> Result<Response<proto::UploadFileResponse>, Status> {
    let uploaded = upload_file_checked(messaging, request).await;
    Ok(uploaded.map_err(Problem::without_send_state)?)
}

async fn upload_file_checked(
    messaging: &Messaging,
    request: Request<Streaming<proto::UploadFileRequest>>,
) -> Result<Response<proto::UploadFileResponse>, Problem> {
    let deadline = Timeouts::deadline_of_transfer(request.metadata().as_ref());
    let caller: Caller = noted(&request)?;
    let mut stream = request.into_inner();
    let Some(upload::Part::Header(header)) = first(&mut stream, |request| request.part).await?
    else {
        return Err(header_first());
    };
    let app = app(messaging, &caller, &header.app)?;
    let (name, options) = check_file(header)?;
    check_declared(options.declared, "file", &app)?;
    let frames =
        stream.map(|request| frame_of_file(request.map_err(|status| broken(&status))?.part));
    let upload = new_upload(messaging, frames, &app);
    upload.with(|upload| upload.begin(crate::media::Section::File, options.declared));
    let order = UploadOrder {
        store: options.store(name),
        upload,
        app,
        caller,
        deadline,
    };
    let stored = messaging.delivery.upload(order).await;
    let stored = stored.map_err(|failure| Problem::from(&failure))?;
    Ok(Response::new(proto::UploadFileResponse {
        file: Some(uploaded(&stored)),
    }))
}

/// A download as tonic sends it.
pub(super) type DownloadStream =
    std::pin::Pin<Box<dyn Stream<Item = Result<proto::DownloadFileResponse, Status>> + Send>>;

pub(super) async fn download_file(
    messaging: &Messaging,
    request: Request<proto::DownloadFileRequest>,
) -> Result<Response<DownloadStream>, Status> {
    let download = download_checked(messaging, request).await;
    let download = download.map_err(Problem::without_send_state)?;
    let header = proto::DownloadFileResponse {
        part: Some(proto::download_file_response::Part::Header(
            download_header(&download),
        )),
    };
    let chunks = async_stream::try_stream! {
        let mut download = download;
        yield header;
        while let Some(mut bytes) = download.next().await.map_err(|failure| {
            Status::from(Problem::from(&failure).without_send_state())
        })? {
            // As large as callers' own chunks may be, and no larger.
            while !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(crate::media::MAX_CHUNK_BYTES));
                yield proto::DownloadFileResponse {
                    part: Some(proto::download_file_response::Part::Chunk(chunk)),
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
        .download(&app, &id, secret, request.thumbnail)
        .await
        .map_err(|failure| Problem::from(&failure))
}

fn check_file(header: proto::UploadFileHeader) -> Result<(FileName, Options), Problem> {
    let violations = Violations::default();
    let root = violations.root();
    let field = root.child("header");
    let name = FileName::check(&header.filename, field.child("filename"));
    let options = check_options(header.upload, field.child("upload"));
    match (name, options) {
        (Some(name), Some(options)) => Ok((name, options)),
        _ => Err(Problem::invalid(violations.into_vec())),
    }
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

/// The first part of a stream.
async fn first<T, P>(
    stream: &mut Streaming<T>,
    part: impl FnOnce(T) -> Option<P>,
) -> Result<Option<P>, Problem> {
    match stream.message().await {
        Ok(Some(request)) => Ok(part(request)),
        Ok(None) => Ok(None),
        Err(status) => Err(Problem::from(&broken(&status))),
    }
}

fn header_first() -> Problem {
    Problem::new(
        ErrorReason::StreamOutOfOrder,
        "the stream does not begin with a header",
    )
}

/// A stream that broke: what the caller did, in words of ours.
fn broken(status: &Status) -> Error {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            Error::Invalid("part", "is larger than the gateway reads")
        }
        Code::Internal | Code::InvalidArgument => {
            Error::Invalid("part", "is no message of this method")
        }
        Code::Unimplemented => Error::Invalid("part", "is compressed in a way that is not served"),
        _ => Error::Incomplete("the caller broke off before finish"),
    }
}

fn frame(part: Option<send::Part>) -> Result<Frame, Error> {
    match part {
        Some(send::Part::ThumbnailChunk(bytes)) => Ok(Frame::ThumbnailChunk(bytes)),
        Some(send::Part::Chunk(bytes)) => Ok(Frame::Chunk(bytes)),
        Some(send::Part::Finish(finish)) => finished(finish),
        Some(send::Part::Header(_)) => Err(second_header()),
        None => Err(Error::Invalid("part", "is required")),
    }
}

fn frame_of_file(part: Option<upload::Part>) -> Result<Frame, Error> {
    match part {
        Some(upload::Part::Chunk(bytes)) => Ok(Frame::Chunk(bytes)),
        Some(upload::Part::Finish(finish)) => finished(finish),
        Some(upload::Part::Header(_)) => Err(second_header()),
        None => Err(Error::Invalid("part", "is required")),
    }
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

/// A header that has passed every check.
struct Checked {
    message: MediaMessage,
    request_id: Option<RequestId>,
    store: Store,
    declared: Option<u64>,
    thumbnail: (Store, Option<u64>),
}

fn check_send(header: proto::MediaHeader, app: &App) -> Result<Checked, Problem> {
    let violations = Violations::default();
    let root = violations.root();
    let field = root.child("header");
    let request_id = RequestId::check(header.request_id, field.child("request_id"));
    let restricted = header.upload.as_ref().is_some_and(|o| o.restrict_access);
    let options = check_options(header.upload, field.child("upload"));
    let thumbnail = check_options(header.thumbnail_upload, field.child("thumbnail_upload"));
    let message = field
        .child("message")
        .required(header.message)
        .and_then(|message| MediaMessage::check(message, restricted, app, field.child("message")));
    let (Some(request_id), Some(options), Some(thumbnail), Some(message)) =
        (request_id, options, thumbnail, message)
    else {
        return Err(Problem::invalid(violations.into_vec()));
    };
    let name = message.name().clone();
    Ok(Checked {
        declared: options.declared,
        thumbnail: (thumbnail.clone().store(name.clone()), thumbnail.declared),
        store: options.store(name),
        message,
        request_id,
    })
}

#[derive(Clone)]
struct Options {
    declared: Option<u64>,
    content_type: ContentType,
    restrict_access: bool,
    thumbnail: Option<(u32, u32)>,
}

impl Options {
    fn store(self, name: FileName) -> Store {
        Store {
            name,
            content_type: self.content_type,
            restrict_access: self.restrict_access,
            thumbnail: self.thumbnail,
        }
    }
}

fn check_options(options: Option<proto::UploadOptions>, field: Field<'_>) -> Option<Options> {
    let proto::UploadOptions {
        size_bytes,
        content_type,
        restrict_access,
        thumbnail_width,
        thumbnail_height,
    } = options.unwrap_or_default();
    let content_type = ContentType::check(&content_type, field.child("content_type"));
    let thumbnail = match (thumbnail_width, thumbnail_height) {
        (0, 0) => Some(None),
        (0, _) => field
            .child("thumbnail_width")
            .refuse("is required where thumbnail_height is given"),
        (_, 0) => field
            .child("thumbnail_height")
            .refuse("is required where thumbnail_width is given"),
        (width, height) if width.max(height) > MAX_THUMBNAIL_PIXELS => field
            .child("thumbnail_width")
            .refuse("and thumbnail_height must be at most 10,000 pixels"),
        (width, height) => Some(Some((width, height))),
    };
    Some(Options {
        declared: size_bytes,
        content_type: content_type?,
        restrict_access,
        thumbnail: thumbnail?,
    })
}

/// A file that is declared too large is refused before its first chunk.
fn check_declared(declared: Option<u64>, what: &str, app: &App) -> Result<(), Problem> {
    let limit = app.limits.upload_bytes;
    match declared {
        Some(size) if limit != 0 && size > limit => Err(Problem::new(
            ErrorReason::FileTooLarge,
            format!("the {what} has {size} bytes, and the app's limit is {limit}"),
        )
        .with_metadata("size_bytes", size.to_string())
        .with_metadata("limit_bytes", limit.to_string())),
        _ => Ok(()),
    }
}

/// An error after a finished upload tells what need not be uploaded again.
fn answer_media(sent: MediaSent, app: &App) -> Result<proto::SendMediaMessageResponse, Problem> {
    let MediaSent {
        file,
        thumbnail,
        sent,
    } = sent;
    let (file, thumbnail) = (
        file.as_ref().map(uploaded),
        thumbnail.as_ref().map(uploaded),
    );
    let answered = match sent {
        Ok(sent) => {
            for failed in &sent.failures {
                log(&app.name, failed);
            }
            answer(sent)
        }
        Err(failure) => Err(Problem::from(&failure)),
    };
    match answered {
        Ok(sent) => Ok(proto::SendMediaMessageResponse {
            sent: Some(sent),
            file,
            thumbnail,
        }),
        Err(problem) if file.is_some() || thumbnail.is_some() => {
            Err(problem.with_uploaded(proto::UploadedMedia { file, thumbnail }))
        }
        Err(problem) => Err(problem),
    }
}

fn uploaded(stored: &StoredFile) -> proto::UploadedFile {
    proto::UploadedFile {
        r#ref: Some(stored.file_ref()),
        size_bytes: stored.summary.size_bytes,
        sha256: Bytes::copy_from_slice(&stored.summary.sha256),
    }
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

/// The name in a Content-Disposition: `filename*` (RFC 5987) before `filename`.
fn filename(disposition: &str) -> Option<String> {
    let parameter = |name: &str| {
        disposition.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            (key.trim().eq_ignore_ascii_case(name)).then(|| value.trim().to_owned())
        })
    };
    if let Some(extended) = parameter("filename*") {
        let (charset, rest) = extended.split_once('\'')?;
        let (_language, encoded) = rest.split_once('\'')?;
        if charset.eq_ignore_ascii_case("utf-8") {
            let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy();
            return Some(decoded.into_owned());
        }
    }
    let name = parameter("filename")?;
    let name = name
        .trim_matches('"')
        .replace("\\\"", "\"")
        .replace("\\\\", "\\");
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_both_forms() {
        let name = |text| filename(text).unwrap_or_default();
        assert_eq!(name("attachment; filename=\"cat.jpg\""), "cat.jpg");
        assert_eq!(name("attachment; filename=cat.jpg"), "cat.jpg");
        assert_eq!(name("attachment; filename=\"a\\\"b.jpg\""), "a\"b.jpg");
        assert_eq!(
            name("attachment; filename=\"x\"; filename*=UTF-8''%E7%8C%AB.jpg"),
            "猫.jpg"
        );
        assert_eq!(name("attachment"), "");
        assert_eq!(name("filename*=UTF-8"), "");
    }
}
