//! Every call as its caller sees it: how long it took, how it ended, and whose fault that was.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use prost::Message as _;
use tonic::{Code, Status, body::Body};
use tonic_types::pb;
use tower::{Layer, Service};

use super::GRPC_STATUS;
use crate::{
    grpc::reason::Fault,
    metrics::{Method, Rpc},
    proto::ErrorReason,
};

/// Our methods, and whether their answers are streams: those end when their body does.
const METHODS: [(&str, bool); 5] = [
    ("easemob.messaging.v1.MessagingService/SendMessage", false),
    ("easemob.messaging.v1.MessagingService/SendMessages", true),
    (
        "easemob.messaging.v1.MessagingService/SendMediaMessage",
        false,
    ),
    ("easemob.messaging.v1.MessagingService/UploadFile", false),
    ("easemob.messaging.v1.MessagingService/DownloadFile", true),
];

/// Measures every call.
#[derive(Debug, Clone)]
pub(crate) struct MetricsLayer {
    methods: [Arc<Method>; METHODS.len()],
    other: Arc<Method>,
}

impl MetricsLayer {
    /// Records with these.
    pub(crate) fn new(rpc: &Rpc) -> Self {
        Self {
            methods: METHODS.map(|(name, _)| rpc.method(Some(name))),
            other: rpc.method(None),
        }
    }

    /// The method of a path, and whether to wait for the end of its answer's body. Health and
    /// reflection have streams too, and no paths that callers could not make up: they are one.
    fn method(&self, path: &str) -> (&Arc<Method>, bool) {
        let path = path.strip_prefix('/').unwrap_or(path);
        match METHODS.iter().position(|(name, _)| *name == path) {
            Some(index) => (&self.methods[index], METHODS[index].1),
            None => (&self.other, true),
        }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics {
            inner,
            layer: self.clone(),
        }
    }
}

/// See [`MetricsLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Metrics<S> {
    inner: S,
    layer: MetricsLayer,
}

impl<S> Service<http::Request<Body>> for Metrics<S>
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
        let (method, to_the_end) = self.layer.method(request.uri().path());
        let call = Call {
            method: Arc::clone(method),
            began: Instant::now(),
            ended: false,
        };
        Response {
            response: self.inner.call(request),
            call: Some(call),
            to_the_end,
        }
    }
}

/// A call under way. Its caller may leave at any time.
struct Call {
    method: Arc<Method>,
    began: Instant,
    ended: bool,
}

impl Call {
    /// Ends with what these headers or trailers say; those of an answer that goes on say nothing.
    fn end(&mut self, headers: &HeaderMap) {
        self.ended = true;
        let took = self.began.elapsed();
        match headers.get(GRPC_STATUS).map(|code| code.as_bytes()) {
            None | Some(b"0") => self.method.ok(took),
            Some(code) => {
                self.method.failed(took, name(Code::from_bytes(code)));
                let reason = reason(headers);
                self.method.error(reason.name(), Fault::of(reason).name());
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            let took = self.began.elapsed();
            self.method.failed(took, name(Code::Cancelled));
        }
    }
}

pin_project! {
    /// The answer, measured.
    pub(crate) struct Response<F> {
        #[pin]
        response: F,
        call: Option<Call>,
        to_the_end: bool,
    }
}

impl<F, E> Future for Response<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx))?;
        let Some(mut call) = this.call.take() else {
            return Poll::Ready(Ok(response));
        };
        if *this.to_the_end && !response.headers().contains_key(GRPC_STATUS) {
            return Poll::Ready(Ok(response.map(|body| Body::new(Measured { body, call }))));
        }
        call.end(response.headers());
        Poll::Ready(Ok(response))
    }
}

/// The body of an answer that takes its time.
struct Measured {
    body: Body,
    call: Call,
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.end(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The reason that an error gives. Each has one; the outermost layer of errors sees to it.
fn reason(headers: &HeaderMap) -> ErrorReason {
    let named = || {
        let status = Status::from_header_map(headers)?;
        let status = pb::Status::decode(status.details()).ok()?;
        let info = status
            .details
            .iter()
            .find(|detail| detail.type_url == "type.googleapis.com/google.rpc.ErrorInfo")?;
        let info = pb::ErrorInfo::decode(&*info.value).ok()?;
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))
    };
    named().unwrap_or(ErrorReason::Internal)
}

/// gRPC's own name of a code.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
