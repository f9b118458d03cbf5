//! SendMediaMessage: a file, and then the message that carries it.

use std::sync::Arc;

use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::{
    finished, header_first, new_upload,
    option::{check_declared, check_options},
    parts::Parts,
    second_header, uploaded,
};
use crate::{
    app::App,
    caller::Caller,
    delivery::{MediaOrder, MediaSent, UploadOrder},
    easemob::Store,
    grpc::{
        Messaging, Timeouts,
        send::{answer, app, check_size, log, noted},
        status::Problem,
    },
    id::RequestId,
    invalid::Violations,
    media::{Error, Frame},
    message::MediaMessage,
    proto::{self, send_media_message_request::Part},
};

pub(in crate::grpc) async fn send_media_message(
    messaging: &Messaging,
    request: Request<Streaming<proto::SendMediaMessageRequest>>,
) -> Result<Response<proto::SendMediaMessageResponse>, Status> {
    let deadline = Timeouts::deadline_of_transfer(request.metadata().as_ref());
    let caller: Caller = noted(&request)?;
    let mut parts = Parts::of(request);
    let first = parts
        .next()
        .await
        .transpose()
        .map_err(|e| Problem::from(&e))?;
    let Some(Part::Header(header)) = first.and_then(|request| request.part) else {
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
    let frames = parts.map(|request| frame(request?.part));
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

fn frame(part: Option<Part>) -> Result<Frame, Error> {
    match part {
        Some(Part::ThumbnailChunk(bytes)) => Ok(Frame::ThumbnailChunk(bytes)),
        Some(Part::Chunk(bytes)) => Ok(Frame::Chunk(bytes)),
        Some(Part::Finish(finish)) => finished(finish),
        Some(Part::Header(_)) => Err(second_header()),
        None => Err(Error::Invalid("part", "is required")),
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
