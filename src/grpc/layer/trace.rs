//! The outermost layer: the span of a request, from its headers to the end of its answer, and its
//! trace's ID in the answer, whoever made it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};
use opentelemetry_semantic_conventions::attribute::{
    RPC_METHOD, RPC_RESPONSE_STATUS_CODE, RPC_SYSTEM_NAME,
};
use pin_project_lite::pin_project;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{GRPC_STATUS, in_flight::is_ours};
use crate::{
    grpc::status::code_name,
    trace::{self, Scope, Span, Tracer},
};

/// Where an answer has the ID of its trace.
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// The methods that have a span, by their paths; and those of one answer, which need no span while
/// that is being sent.
const METHODS: [(&str, bool); 5] = [
    ("easemob.messaging.v1.MessagingService/SendMessage", true),
    (
        "easemob.messaging.v1.MessagingService/SendMediaMessage",
        true,
    ),
    ("easemob.messaging.v1.MessagingService/UploadFile", true),
    ("easemob.messaging.v1.MessagingService/SendMessages", false),
    ("easemob.messaging.v1.MessagingService/DownloadFile", false),
];

/// What any other is called: names that callers make up are not ours to spread.
const OTHER: &str = "_OTHER";

/// Gives every request its span.
#[derive(Debug, Clone)]
pub(crate) struct TraceLayer {
    tracer: Arc<Tracer>,
}

impl TraceLayer {
    /// Spans of this tracer.
    pub(crate) fn new(tracer: Arc<Tracer>) -> Self {
        Self { tracer }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced {
            inner,
            tracer: Arc::clone(&self.tracer),
        }
    }
}

/// See [`TraceLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Traced<S> {
    inner: S,
    tracer: Arc<Tracer>,
}

impl<S> Service<http::Request<Body>> for Traced<S>
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
        let path = request.uri().path();
        let method = METHODS
            .iter()
            .find(|(name, _)| path.get(1..) == Some(*name));
        let (name, one_answer) = *method.unwrap_or(&(OTHER, true));
        // Probes and reflection have IDs, and no spans: they would outnumber all others.
        let mut span = match is_ours(path) {
            true => self.tracer.serve(request.headers(), name),
            false => self.tracer.identify(request.headers()),
        };
        span.record(|span| {
            span.add(RPC_SYSTEM_NAME, "grpc");
            span.add(RPC_METHOD, name);
        });
        let rpc = Rpc(Some(span.clone()));
        let response = trace::in_scope(&mut span, || self.inner.call(request));
        Response {
            response: span.scope(response),
            rpc,
            one_answer,
        }
    }
}

/// An RPC that is recorded until it has a code. One whose caller leaves first has none of ours.
struct Rpc(Option<Span>);

impl Rpc {
    fn end(&mut self, code: Code) {
        let Some(span) = self.0.take() else { return };
        span.record(|span| {
            let name = code_name(code);
            span.add(RPC_RESPONSE_STATUS_CODE, name);
            // As the conventions have it: what is the server's fault.
            if matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ) {
                span.fail(name);
            }
        });
    }

    fn end_by(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(GRPC_STATUS) {
            self.end(Code::from_bytes(code.as_bytes()));
        }
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

pin_project! {
    /// The answer, with its trace's ID.
    pub(crate) struct Response<F> {
        #[pin]
        response: Scope<F>,
        rpc: Rpc,
        one_answer: bool,
    }
}

impl<F, E> Future for Response<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        let rpc = this.rpc;
        if let Some(ids) = rpc.0.as_ref().and_then(Span::ids) {
            response.headers_mut().insert(TRACE_ID, ids.trace_id());
        }
        rpc.end_by(response.headers());
        let recording = rpc.0.as_ref().is_some_and(Span::is_recording);
        Poll::Ready(Ok(match rpc.0.take() {
            // Its end is still to come.
            Some(span) if recording || !*this.one_answer => response.map(|body| {
                Body::new(TracedBody {
                    body,
                    span: span.clone(),
                    rpc: Rpc(Some(span)),
                })
            }),
            _ => response,
        }))
    }
}

/// The rest of an answer, within its span.
struct TracedBody {
    body: Body,
    span: Span,
    rpc: Rpc,
}

impl http_body::Body for TracedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, span, rpc } = self.get_mut();
        let frame = trace::in_scope(span, || Pin::new(body).poll_frame(cx));
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            rpc.end_by(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::messaging_service_server::SERVICE_NAME;

    #[test]
    fn the_methods_are_those_of_the_service() {
        let descriptor = crate::proto::FILE_DESCRIPTOR_SET;
        let descriptors: prost_types::FileDescriptorSet =
            prost::Message::decode(descriptor).unwrap();
        let methods = descriptors.file.iter().flat_map(|file| &file.service);
        let methods: Vec<_> = methods
            .filter(|service| SERVICE_NAME.ends_with(service.name()))
            .flat_map(|service| &service.method)
            .map(|method| {
                (
                    format!("{SERVICE_NAME}/{}", method.name()),
                    !method.server_streaming(),
                )
            })
            .collect();
        assert_eq!(methods.len(), METHODS.len());
        for (name, one_answer) in METHODS {
            assert!(methods.contains(&(name.to_owned(), one_answer)), "{name}");
        }
    }
}
