//! Uploads are read as they come, and not message by message as the framework reads: it would
//! hold a whole chunk of each, and as much again while that buffer grows.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http::HeaderMap;
use tonic::body::Body;
use tower::{Layer, Service};

/// Methods that a file is uploaded by.
const UPLOADS: [&str; 2] = [
    "/easemob.messaging.v1.MessagingService/SendMediaMessage",
    "/easemob.messaging.v1.MessagingService/UploadFile",
];

/// Puts the body of an upload among the request's extensions, and an empty one in its place.
/// Compressed messages have to be whole before they can be read: the framework gets these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadBodyLayer {
    max_message_bytes: usize,
}

impl UploadBodyLayer {
    /// For messages of at most so many bytes.
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self { max_message_bytes }
    }
}

impl<S> Layer<S> for UploadBodyLayer {
    type Service = UploadBodies<S>;

    fn layer(&self, inner: S) -> UploadBodies<S> {
        UploadBodies {
            inner,
            max_message_bytes: self.max_message_bytes,
        }
    }
}

/// See [`UploadBodyLayer`].
#[derive(Debug, Clone)]
pub(crate) struct UploadBodies<S> {
    inner: S,
    max_message_bytes: usize,
}

/// The body of an upload. There is one, however often it is cloned.
#[derive(Debug, Clone)]
pub(crate) struct UploadBody {
    body: Arc<Mutex<Option<Body>>>,
    /// Largest message in bytes.
    pub(crate) max_message_bytes: usize,
}

impl UploadBody {
    /// The body, for the first who asks.
    pub(crate) fn take(&self) -> Option<Body> {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.take()
    }
}

impl<S> Service<http::Request<Body>> for UploadBodies<S>
where
    S: Service<http::Request<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> S::Future {
        if UPLOADS.contains(&request.uri().path()) && !is_compressed(request.headers()) {
            let body = std::mem::take(request.body_mut());
            request.extensions_mut().insert(UploadBody {
                body: Arc::new(Mutex::new(Some(body))),
                max_message_bytes: self.max_message_bytes,
            });
        }
        self.inner.call(request)
    }
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers
        .get("grpc-encoding")
        .is_some_and(|encoding| encoding != "identity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::messaging_service_server::SERVICE_NAME;

    #[test]
    fn the_methods_are_those_of_the_service() {
        for path in UPLOADS {
            let method = path.strip_prefix('/').and_then(|path| path.split_once('/'));
            assert_eq!(method.map(|(service, _)| service), Some(SERVICE_NAME));
        }
    }
}
