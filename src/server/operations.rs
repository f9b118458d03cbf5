//! The operations port: pages for probes and people, on a listener of their own.
//!
//! It has to answer when nothing else does, so its connections are few, short, and their oldest
//! gives way to the newest: a crowd of silent peers cannot make a liveness probe fail.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    response::IntoResponse,
    routing::get,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tower::ServiceExt;

use super::{
    health::{Phase, Readiness},
    listener::accept,
    places::{Place, Places},
};

/// A few scrapers and probes are all that come here.
const MAX_CONNECTIONS: usize = 64;
/// For a request's head, so also for the pause between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole connection, however slowly its peer reads.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// No request here has a head anywhere near this, in bytes.
const MAX_HEAD: usize = 16 * 1024;

const PAGES: &str = "/livez   200 while the process runs\n\
                     /readyz  200 while it takes calls, else 503\n";

/// The pages.
pub(super) fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .with_state(readiness)
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn not_found(uri: Uri) -> impl IntoResponse {
    let path = uri.path();
    (
        StatusCode::NOT_FOUND,
        format!("there is no {path} here; there are\n\n{PAGES}"),
    )
}

/// Serves the pages until dropped.
pub(super) async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let places = Places::new(MAX_CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (socket, _) = accept(&listener) => {
                connections.spawn(serve_connection(socket, router.clone(), places.take()));
            }
            // What has ended is let go.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(socket: TcpStream, router: Router, mut place: Place) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(
            TokioIo::new(socket),
            service_fn(move |request| router.clone().oneshot(request)),
        );
    tokio::select! {
        // Whatever ends it concerns only the peer, which notices by itself.
        _ = timeout(CONNECTION_TIMEOUT, connection) => {}
        () = place.lost() => {}
    }
}
