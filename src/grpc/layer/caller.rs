//! Who calls, as a value in the request's extensions.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::caller::Caller;

/// Gives every request its caller.
#[derive(Debug, Clone)]
pub(crate) struct CallerLayer {
    caller: Caller,
}

impl CallerLayer {
    /// Every request comes from this caller.
    pub(crate) fn new(caller: Caller) -> Self {
        Self { caller }
    }
}

impl<S> Layer<S> for CallerLayer {
    type Service = CallerService<S>;

    fn layer(&self, inner: S) -> CallerService<S> {
        CallerService {
            inner,
            caller: self.caller.clone(),
        }
    }
}

/// See [`CallerLayer`].
#[derive(Debug, Clone)]
pub(crate) struct CallerService<S> {
    inner: S,
    caller: Caller,
}

impl<S, B> Service<http::Request<B>> for CallerService<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        request.extensions_mut().insert(self.caller.clone());
        self.inner.call(request)
    }
}
