//! An `ErrorInfo` for what the framework refuses by itself, and an answer in
//! place of a panic.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;
use pin_project_lite::pin_project;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{GRPC_STATUS, GRPC_STATUS_DETAILS, in_flight::is_ours};
use crate::{grpc::status::Problem, proto::ErrorReason};

/// Longest text of the framework in one of ours, in bytes.
const MAX_CAUSE_BYTES: usize = 250;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorsLayer;

impl<S> Layer<S> for ErrorsLayer {
    type Service = Errors<S>;

    fn layer(&self, inner: S) -> Errors<S> {
        Errors { inner }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Errors<S> {
    inner: S,
}

impl<S> Service<http::Request<Body>> for Errors<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Response<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let is_ours = is_ours(request.uri().path());
        let response = catch_unwind(AssertUnwindSafe(|| self.inner.call(request)));
        Response {
            response: response.ok(),
            is_ours,
        }
    }
}

pin_project! {
    /// The answer, if making it did not panic.
    pub(crate) struct Response<F> {
        #[pin]
        response: Option<F>,
        is_ours: bool,
    }
}

impl<F, E> Future for Response<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(response) = this.response.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(panicked().into_http()));
        };
        let result = match catch_unwind(AssertUnwindSafe(|| response.poll(cx))) {
            Ok(poll) => ready!(poll),
            Err(_panic) => {
                // What has panicked is in no state to be polled again.
                this.response.set(None);
                return Poll::Ready(Ok(panicked().into_http()));
            }
        };
        // Our own methods explain themselves to the end.
        let is_ours = *this.is_ours;
        Poll::Ready(result.map(|response| match explained(response) {
            response if is_ours => response,
            response => explained_at_end(response),
        }))
    }
}

// A part that panics tells by itself what became of it (`delivery/under_way.rs`): a panic that arrives here happened
// before it or beside it.
fn panicked() -> Status {
    Problem::new(ErrorReason::Internal, "a fault of the gateway").into()
}

/// The answer with an `ErrorInfo`, where it is an error without details.
fn explained(response: http::Response<Body>) -> http::Response<Body> {
    let headers = response.headers();
    let is_error = headers
        .get(GRPC_STATUS)
        .is_some_and(|code| code.as_bytes() != b"0");
    let explained = match explain(headers) {
        Some(explained) if is_error => explained,
        _ => return response,
    };
    let mut answer = http::Response::new(Body::default());
    *answer.headers_mut() = explained;
    answer
}

/// The same for errors that come after the answer has begun: reflection has such.
fn explained_at_end(response: http::Response<Body>) -> http::Response<Body> {
    response.map(|body| {
        Body::new(body.map_frame(|frame| match frame.into_trailers() {
            Ok(trailers) => {
                let mut trailers = explain(&trailers).unwrap_or(trailers);
                trailers.remove(http::header::CONTENT_TYPE);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        }))
    })
}

/// The headers of an error without details, with an `ErrorInfo`.
fn explain(headers: &HeaderMap) -> Option<HeaderMap> {
    if headers.contains_key(GRPC_STATUS_DETAILS) {
        return None;
    }
    let status = Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)?;
    let mut explained = Status::from(of_framework(&status))
        .into_http::<()>()
        .headers()
        .clone();
    // What else it says stays, such as the compressions that could have been used.
    for (name, value) in headers {
        if !explained.contains_key(name) {
            explained.insert(name, value.clone());
        }
    }
    Some(explained)
}

/// What the framework refuses, it refuses before anything was sent.
pub(crate) fn of_framework(status: &Status) -> Problem {
    let text = status.message().to_owned();
    match status.code() {
        // tonic has one code for requests that are too large and another for those that are once
        // decompressed; gRPC has one.
        Code::OutOfRange | Code::ResourceExhausted => {
            let what = format!("the request is larger than the gateway reads ({text})");
            Problem::new(ErrorReason::MessageTooLarge, what).with_code(Code::ResourceExhausted)
        }
        Code::Unimplemented if text.is_empty() => {
            Problem::new(ErrorReason::InvalidRequest, "there is no such method")
                .with_code(Code::Unimplemented)
        }
        Code::Unimplemented => {
            Problem::new(ErrorReason::InvalidRequest, text).with_code(Code::Unimplemented)
        }
        Code::Internal | Code::InvalidArgument => Problem::new(
            ErrorReason::InvalidRequest,
            format!("the request cannot be read ({})", end_of(&text)),
        ),
        Code::NotFound => Problem::new(ErrorReason::InvalidRequest, text).with_code(Code::NotFound),
        Code::DeadlineExceeded => Problem::new(ErrorReason::DeadlineExceeded, text),
        // The caller broke off and reads no answer.
        Code::Cancelled | Code::Aborted => {
            Problem::new(ErrorReason::InvalidRequest, text).with_code(Code::Aborted)
        }
        _ => Problem::new(ErrorReason::Internal, text),
    }
}

/// The end of a long text: a decoder names the fields on its way in before it says what is wrong.
fn end_of(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(MAX_CAUSE_BYTES))..]
}
