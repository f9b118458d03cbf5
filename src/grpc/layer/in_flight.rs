//! How many requests are under way at once. What comes on top is refused at once, and says so: a queue
//! in front of the queue would only hide the overload.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    grpc::status::Problem,
    proto::{ErrorReason, messaging_service_server::SERVICE_NAME},
};

/// How long a caller is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bounds the requests of `MessagingService`; health and reflection always have a place.
#[derive(Debug, Clone)]
pub(crate) struct InFlightLayer {
    places: Arc<Semaphore>,
}

impl InFlightLayer {
    /// As many requests at once as there are permits.
    pub(crate) fn new(places: Arc<Semaphore>) -> Self {
        Self { places }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight {
            inner,
            places: Arc::clone(&self.places),
        }
    }
}

/// See [`InFlightLayer`].
#[derive(Debug, Clone)]
pub(crate) struct InFlight<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> Service<http::Request<Body>> for InFlight<S>
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
        let bounded = is_ours(request.uri().path());
        let place = match bounded.then(|| Arc::clone(&self.places).try_acquire_owned()) {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(_full)) => return Response::Refused,
        };
        Response::Admitted {
            response: self.inner.call(request),
            place,
        }
    }
}

/// Whether it is a method of `MessagingService`.
pub(in crate::grpc) fn is_ours(path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(SERVICE_NAME))
        .is_some_and(|method| method.starts_with('/'))
}

pin_project! {
    /// The answer of a request that had a place, or the refusal.
    #[project = ResponseProjection]
    pub(crate) enum Response<F> {
        Admitted { #[pin] response: F, place: Option<OwnedSemaphorePermit> },
        Refused,
    }
}

impl<F, E> Future for Response<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseProjection::Admitted { response, place } => {
                let result = ready!(response.poll(cx));
                drop(place.take());
                Poll::Ready(result)
            }
            ResponseProjection::Refused => Poll::Ready(Ok(overloaded().into_http())),
        }
    }
}

fn overloaded() -> Status {
    Problem::new(
        ErrorReason::Overloaded,
        "the gateway has too many requests under way",
    )
    .with_retry_after(RETRY_AFTER)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_methods_of_the_service_are_counted() {
        assert!(is_ours(
            "/easemob.messaging.v1.MessagingService/SendMessage"
        ));
        assert!(!is_ours("/grpc.health.v1.Health/Check"));
        assert!(!is_ours(
            "/easemob.messaging.v1.MessagingServiceX/SendMessage"
        ));
        assert!(!is_ours("*"));
    }
}
