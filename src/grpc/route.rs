//! Which service answers a request.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::either::Either;
use tonic::{body::Body, service::Routes};
use tower::Service;

use super::layer::is_ours;

/// `MessagingService` by a look at the path, and what else there is by tonic's router: that one costs a send
/// more than its checks.
#[derive(Debug, Clone)]
pub(super) struct Route<S> {
    ours: S,
    others: Routes,
}

impl<S> Route<S> {
    pub(super) fn new(ours: S, others: Routes) -> Self {
        Self { ours, others }
    }
}

impl<S> Service<http::Request<Body>> for Route<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    // Boxed: it is large, and every send would have the room for it, which moves from layer to layer.
    type Future = Either<S::Future, Pin<Box<<Routes as Service<http::Request<Body>>>::Future>>>;

    // Neither of them is ever busy.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match is_ours(request.uri().path()) {
            true => Either::Left(self.ours.call(request)),
            false => Either::Right(Box::pin(self.others.call(request))),
        }
    }
}
