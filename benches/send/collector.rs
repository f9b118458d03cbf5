//! What stands in an OpenTelemetry Collector's place: takes every export over gRPC and answers at once
//! that all is well, without a look at the spans.

use std::{convert::Infallible, net::Ipv4Addr};

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

/// Starts it in a process of its own.
pub(crate) fn start() -> anyhow::Result<Peer> {
    Peer::of_bench(&["--role=collector"], None)
}

/// Serves until the process is ended.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    peer::announce(listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that closes its connection is no error.
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service_fn(take))
                .await;
        });
    }
}

type Answer =
    StreamBody<tokio_stream::Iter<std::array::IntoIter<Result<Frame<Bytes>, Infallible>, 2>>>;

async fn take(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let _whole = request.into_body().collect().await;
    let ok = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let frames = [
        Ok(Frame::data(Bytes::from_static(&EMPTY))),
        Ok(Frame::trailers(ok)),
    ];
    let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    Ok(response)
}
