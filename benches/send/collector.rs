//! What stands in an OpenTelemetry Collector's place: takes every export over gRPC, without a look at
//! the spans, and answers as it is told.

use std::{convert::Infallible, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::peer::{self, Peer};

/// A message of no bytes, in gRPC's frame.
const EMPTY: [u8; 5] = [0; 5];

/// How long a slow one takes for an answer: so long that the gateway's queue is always full.
const SLOW: Duration = Duration::from_secs(5);

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It answers at once that all is well.
    Prompt,
    /// It takes its time.
    Slow,
    /// It is overloaded, and says so.
    Refusing,
    /// It ends before the first export.
    Gone,
}

impl Manner {
    const ROLES: [(Self, &str); 4] = [
        (Self::Prompt, "--role=collector"),
        (Self::Slow, "--role=slow-collector"),
        (Self::Refusing, "--role=refusing-collector"),
        (Self::Gone, "--role=lost-collector"),
    ];

    fn role(self) -> &'static str {
        let role = Self::ROLES.iter().find(|(manner, _)| *manner == self);
        role.map_or("", |(_, role)| role)
    }

    /// What a process of this bench was told to be, if it is a collector.
    pub(crate) fn of_role(role: &str) -> Option<Self> {
        let found = Self::ROLES.iter().find(|(_, known)| *known == role);
        found.map(|(manner, _)| *manner)
    }
}

/// Starts it in a process of its own.
pub(crate) fn start(manner: Manner) -> anyhow::Result<Peer> {
    Peer::of_bench(&[manner.role()], None)
}

/// Serves until the process is ended.
pub(crate) async fn serve(manner: Manner) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    peer::announce(listener.local_addr()?);
    if manner == Manner::Gone {
        return Ok(());
    }
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that closes its connection is no error.
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(
                    TokioIo::new(socket),
                    service_fn(move |request| take(request, manner)),
                )
                .await;
        });
    }
}

type Answer =
    StreamBody<tokio_stream::Iter<std::array::IntoIter<Result<Frame<Bytes>, Infallible>, 2>>>;

async fn take(request: Request<Incoming>, manner: Manner) -> Result<Response<Answer>, Infallible> {
    let _whole = request.into_body().collect().await;
    if manner == Manner::Slow {
        tokio::time::sleep(SLOW).await;
    }
    let unavailable = manner == Manner::Refusing;
    let status = if unavailable { "14" } else { "0" };
    let status = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(status),
    )]);
    let frames = [
        Ok(Frame::data(Bytes::from_static(&EMPTY))),
        Ok(Frame::trailers(status)),
    ];
    let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    Ok(response)
}
