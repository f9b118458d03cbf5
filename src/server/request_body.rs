//! A request's body, which ends cleanly only if the caller ended it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;

/// Tells a stream that the caller finished from one that it broke off.
///
/// The libraries below and above do not: hyper ends the body cleanly on `RST_STREAM(NO_ERROR)`, and
/// tonic does on an error that means `CANCEL`. Half a file would look like a whole one. Here both
/// are `ABORTED`, as is every other way to lose the caller.
#[derive(Debug)]
pub(super) struct RequestBody(pub(super) Incoming);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            // The end, without the mark that the caller sets at its end.
            None if !self.0.is_end_stream() => Some(Err(broken_off())),
            None => None,
            Some(Err(error)) => {
                let mut status = broken_off();
                status.set_source(std::sync::Arc::new(error));
                Some(Err(status))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn broken_off() -> Status {
    Status::aborted("the caller broke off its request")
}
