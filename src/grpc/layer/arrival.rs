//! When a request came, so when its answer is due; and that one which never comes whole does not keep
//! its place.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::grpc::timeout::Timeouts;

/// Methods whose request is a single message. The others are read as long as their handlers like.
const UNARY: [&str; 2] = [
    "/easemob.messaging.v1.MessagingService/SendMessage",
    "/easemob.messaging.v1.MessagingService/DownloadFile",
];

/// For a request to be there, however much time its caller grants for the answer.
const LONGEST: Duration = Duration::from_secs(15);

/// Gives every request its deadline.
#[derive(Debug, Clone)]
pub(crate) struct ArrivalLayer {
    timeouts: Timeouts,
}

impl ArrivalLayer {
    /// Deadlines within these bounds.
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts }
    }
}

impl<S> Layer<S> for ArrivalLayer {
    type Service = Arrival<S>;

    fn layer(&self, inner: S) -> Arrival<S> {
        Arrival {
            inner,
            timeouts: self.timeouts,
        }
    }
}

/// See [`ArrivalLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Arrival<S> {
    inner: S,
    timeouts: Timeouts,
}

impl<S> Service<http::Request<Body>> for Arrival<S>
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
        let now = Instant::now();
        let deadline = self.timeouts.deadline(request.headers(), now);
        request.extensions_mut().insert(deadline);
        if UNARY.contains(&request.uri().path()) && !request.body().is_end_stream() {
            let whole_by = deadline.answer_by().min(now + LONGEST);
            request = request.map(|body| Body::new(Arriving::new(body, whole_by)));
        }
        self.inner.call(request)
    }
}

/// A request's body that fails when it is not there in time.
struct Arriving {
    body: Body,
    whole_by: Instant,
    // Nearly every request is whole when it is looked at, and never needs a timer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    fn new(body: Body, whole_by: Instant) -> Self {
        Self {
            body,
            whole_by,
            timer: None,
        }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let whole_by = self.whole_by;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(whole_by)));
        timer.as_mut().poll(cx).map(|()| {
            let what = "the request had not arrived whole in time";
            Some(Err(Status::deadline_exceeded(what)))
        })
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
        for path in UNARY {
            let method = path.strip_prefix('/').and_then(|path| path.split_once('/'));
            assert_eq!(method.map(|(service, _)| service), Some(SERVICE_NAME));
        }
    }
}
