//! Tells every step of a request in which language its caller would like to read errors.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::grpc::language::Language;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LanguageLayer;

impl<S> Layer<S> for LanguageLayer {
    type Service = LanguageService<S>;

    fn layer(&self, inner: S) -> LanguageService<S> {
        LanguageService { inner }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct LanguageService<S> {
    inner: S,
}

impl<S> Service<http::Request<Body>> for LanguageService<S>
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
        let language = Language::of(request.headers());
        Response {
            response: language.scope(|| self.inner.call(request)),
            language,
        }
    }
}

pin_project! {
    /// The answer on its way.
    pub(crate) struct Response<F> {
        #[pin]
        response: F,
        language: Language,
    }
}

impl<F, E> Future for Response<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let language = *this.language;
        let result = ready!(language.scope(|| this.response.poll(cx)));
        Poll::Ready(result.map(|response| match language {
            // What a status is made in without being told.
            Language::English => response,
            told => response.map(|body| {
                Body::new(Told {
                    body,
                    language: told,
                })
            }),
        }))
    }
}

pin_project! {
    /// An answer that goes on, and may still end in an error.
    struct Told {
        #[pin]
        body: Body,
        language: Language,
    }
}

impl http_body::Body for Told {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = self.project();
        this.language.scope(|| this.body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
