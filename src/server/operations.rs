//! The operations port: pages for probes and people, on a listener of their own.
//!
//! It has to answer when nothing else does, so its connections are few, short, and their oldest
//! gives way to the newest: a crowd of silent peers cannot make a liveness probe fail.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, Uri, header::CONTENT_TYPE},
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
use crate::metrics::Registry;

/// A few scrapers and probes are all that come here.
const MAX_CONNECTIONS: usize = 64;
/// For a request's head, so also for the pause between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole connection, however slowly its peer reads.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// No request here has a head anywhere near this, in bytes.
const MAX_HEAD: usize = 16 * 1024;

const PAGES: &str = "/livez    200 while the process runs\n\
                     /readyz   200 while it takes calls, else 503\n\
                     /metrics  what it measures, as Prometheus text\n";

/// Prometheus asks for the newest form that it knows; this is the one that every version reads.
const TEXT: [(HeaderName, &str); 1] = [(CONTENT_TYPE, prometheus::TEXT_FORMAT)];

/// The pages.
pub(super) fn router(readiness: Readiness, registry: Registry) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry))
        .fallback(not_found)
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn metrics(State(registry): State<Registry>) -> impl IntoResponse {
    match registry.text() {
        Ok(text) => (StatusCode::OK, TEXT, text),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            let text = "the metrics cannot be written: the log says why\n".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
        }
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
