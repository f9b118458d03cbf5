//! The trace of a call, as the gateway names it in `x-trace-id`: what its operator can look it up by.

use std::{
    future::Future,
    io::{self, Write},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use tonic::{body::Body, transport::Channel};
use tower::Service;

use super::output::printable;

/// The ID of the trace, once the gateway has answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<OnceLock<String>>);

impl Trace {
    /// The ID, if the gateway has told it.
    pub(super) fn id(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Writes it, if there is one: beside what a script reads, and not in it.
    pub(super) fn write(&self, err: &mut impl Write) -> io::Result<()> {
        match self.id() {
            Some(id) => writeln!(err, "trace  {}", printable(id)),
            None => Ok(()),
        }
    }

    /// A connection whose answers are looked at for it.
    pub(super) fn note(&self, channel: Channel) -> Noting {
        Noting {
            channel,
            trace: self.clone(),
        }
    }
}

/// See [`Trace::note`].
#[derive(Debug, Clone)]
pub(super) struct Noting {
    channel: Channel,
    trace: Trace,
}

impl Service<http::Request<Body>> for Noting {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.channel.call(request);
        let trace = self.trace.clone();
        Box::pin(async move {
            let answer = answer.await?;
            let id = answer.headers().get("x-trace-id");
            if let Some(id) = id.and_then(|id| id.to_str().ok()) {
                // A command makes one call.
                let _second = trace.0.set(id.to_owned());
            }
            Ok(answer)
        })
    }
}
