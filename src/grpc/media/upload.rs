//! UploadFile: a file, for messages to come.

use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::{
    finished, header_first, new_upload,
    option::{Options, check_declared, check_options},
    parts::Parts,
    second_header, uploaded,
};
use crate::{
    caller::Caller,
    delivery::UploadOrder,
    grpc::{
        Messaging, Timeouts,
        send::{app, noted},
        status::Problem,
    },
    invalid::Violations,
    media::{Error, FileName, Frame, Section},
    proto::{self, upload_file_request::Part},
};

pub(in crate::grpc) async fn upload_file(
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
    let mut parts = Parts::of(request);
    let first = parts
        .next()
        .await
        .transpose()
        .map_err(|e| Problem::from(&e))?;
    let Some(Part::Header(header)) = first.and_then(|request| request.part) else {
        return Err(header_first());
    };
    let app = app(messaging, &caller, &header.app)?;
    let (name, options) = check_file(header)?;
    check_declared(options.declared, "file", &app)?;
    let frames = parts.map(|request| frame(request?.part));
    let upload = new_upload(messaging, frames, &app);
    upload.with(|upload| upload.begin(Section::File, options.declared));
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

fn frame(part: Option<Part>) -> Result<Frame, Error> {
    match part {
        Some(Part::Chunk(bytes)) => Ok(Frame::Chunk(bytes)),
        Some(Part::Finish(finish)) => finished(finish),
        Some(Part::Header(_)) => Err(second_header()),
        None => Err(Error::Invalid("part", "is required")),
    }
}
