//! One connection, from its first byte to its last: handshake, service, GOAWAY.

use std::{
    cell::RefCell,
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::BufReader,
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{Service, ServiceExt};
use tracing::debug;

use super::{
    Config, grpc_web,
    places::Place,
    preface::{self, Prefaced},
    request_body::RequestBody,
    tls::Tls,
};
use crate::{
    caller::Identity,
    grpc::Peer,
    metrics::{Handshake, Handshakes},
};

/// What answers the requests: in practice tonic's routes below the layers of the gateway. Always ready: nobody asks
/// whether it is before a call.
pub trait GrpcService:
    Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

impl<S> GrpcService for S where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// What all connections of the process go by.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) config: Config,
    /// None: plaintext.
    pub(super) tls: Option<Arc<Tls>>,
    /// A permit for each connection being served on the gRPC port.
    pub(super) served: Arc<Semaphore>,
    /// Cancelled when connections are to finish.
    pub(super) draining: CancellationToken,
    /// Cancelled when they are to end.
    pub(super) cut: CancellationToken,
    /// How the handshakes went.
    pub(super) handshakes: Handshakes,
}

/// Where a connection came in.
#[derive(Debug, Clone)]
pub(super) enum Port {
    Grpc,
    Web(Arc<grpc_web::Rules>),
}

/// A connection that nobody has looked at yet.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) port: Port,
    pub(super) socket: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    /// Among the handshakes.
    pub(super) place: Place,
    /// When its handshake must be over.
    pub(super) handshake_until: Instant,
}

/// Counts a connection on its shard for as long as it lives.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

impl Load {
    pub(super) fn on(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection to its end. `tasks` is where its calls run.
pub(super) async fn serve<S: GrpcService>(
    arrival: Arrival,
    _load: Load,
    service: S,
    rules: Arc<Rules>,
    tasks: TaskTracker,
) {
    let peer = arrival.peer;
    let socket = match TcpStream::from_std(arrival.socket) {
        Ok(socket) => socket,
        Err(error) => {
            debug!(%peer, %error, "a connection could not be taken over");
            return;
        }
    };
    let mut place = arrival.place;
    let (io, identity, _permit) = tokio::select! {
        shaken = timeout_at(arrival.handshake_until, handshake(socket, peer, &arrival.port, &rules)) => match shaken {
            Ok(Ok(ready)) => {
                rules.handshakes.ended(Handshake::Served);
                ready
            }
            Ok(Err(error)) => {
                rules.handshakes.ended(Handshake::Failed);
                debug!(%peer, %error, "a handshake failed");
                return;
            }
            Err(_) => {
                rules.handshakes.ended(Handshake::TimedOut);
                debug!(%peer, "a handshake took too long, or no place came free");
                return;
            }
        },
        () = place.lost() => {
            rules.handshakes.ended(Handshake::GaveWay);
            debug!(%peer, "a handshake gave way to a newer one");
            return;
        }
        () = rules.draining.cancelled() => return,
    };
    drop(place);

    let known = Arc::new(Peer::new(peer, identity));
    let told = Arc::clone(&known);
    let noting = move |mut request: http::Request<Body>| {
        request.extensions_mut().insert(Arc::clone(&told));
        request
    };
    match io {
        Opened::Grpc(io) => {
            // One for all calls: a clone has to count what all shards share, and so to wait for the other cores.
            let service = RefCell::new(service);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let request = noting(request.map(|body| Body::new(RequestBody(body))));
                service.borrow_mut().call(request)
            });
            let builder = builder(&rules.config, tasks);
            let connection = builder.serve_connection(TokioIo::new(io), service);
            to_its_end(connection, &rules, &known).await;
        }
        Opened::Web(io, web) => {
            let service = web.pages.serve(service);
            let service = service_fn(move |request: http::Request<Incoming>| {
                service.clone().oneshot(noting(request.map(Body::new)))
            });
            let connection = web.http.serve_connection(TokioIo::new(io), service);
            to_its_end(connection, &rules, &known).await;
        }
    }
}

/// Serves until the peer ends it, it is too old, or we are to end.
async fn to_its_end(
    connection: impl GracefulConnection<Error = hyper::Error>,
    rules: &Rules,
    known: &Peer,
) {
    let peer = known.address;
    let mut connection = pin!(connection);
    let grace = tokio::select! {
        ended = connection.as_mut() => return tell(peer, ended),
        () = sleep(with_jitter(rules.config.connection_age)) => {
            Some(rules.config.connection_age_grace)
        }
        // The drain has a time limit of its own, and cuts what is left.
        () = rules.draining.cancelled() => None,
        () = rules.cut.cancelled() => return,
    };
    connection.as_mut().graceful_shutdown();
    // GOAWAY is for new calls; a stream of sends would go on for ever.
    known.ending.cancel();
    tokio::select! {
        ended = connection => tell(peer, ended),
        () = after(grace) => debug!(%peer, "an old connection is cut with calls still running"),
        () = rules.cut.cancelled() => debug!(%peer, "a connection is cut with calls still running"),
    }
}

/// A connection as its peer wanted it.
type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection whose peer has said its first words.
enum Opened {
    Grpc(Prefaced<Io>),
    Web(BufReader<Io>, Arc<grpc_web::Rules>),
}

/// All that a peer has to get right before it is served: TLS and whom its certificate names, if there is
/// any, the first bytes of HTTP, and a place.
async fn handshake(
    socket: TcpStream,
    peer: SocketAddr,
    port: &Port,
    rules: &Rules,
) -> std::io::Result<(Opened, Option<Identity>, OwnedSemaphorePermit)> {
    let (io, identity) = match &rules.tls {
        None => (Either::Left(socket), None),
        Some(tls) => {
            let (stream, identity) = tls.accept(socket, peer, port).await?;
            (Either::Right(stream), identity)
        }
    };
    let (io, served) = match port {
        Port::Grpc => (Opened::Grpc(preface::read(io).await?), &rules.served),
        Port::Web(web) => {
            let io = grpc_web::first_byte(io).await?;
            (Opened::Web(io, Arc::clone(web)), &web.served)
        }
    };
    let permit = Arc::clone(served)
        .acquire_owned()
        .await
        .expect("nobody closes the semaphore");
    Ok((io, identity, permit))
}

fn builder(config: &Config, tasks: TaskTracker) -> http2::Builder<Executor> {
    let http2 = &config.http2;
    let mut builder = http2::Builder::new(Executor(tasks));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(http2.max_concurrent_streams)
        .initial_stream_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes)
        .max_frame_size(http2.max_frame_bytes)
        .max_header_list_size(http2.header_list_bytes)
        .max_send_buf_size(http2.send_buffer_bytes)
        .max_pending_accept_reset_streams(http2.max_pending_resets)
        .max_local_error_reset_streams(http2.max_error_resets)
        .keep_alive_interval(http2.keepalive_interval)
        .keep_alive_timeout(http2.keepalive_timeout)
        // gRPC has no use for it.
        .auto_date_header(false);
    builder
}

/// Runs calls on the shard, and lets the drain wait for them.
#[derive(Debug, Clone)]
struct Executor(TaskTracker);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// A tenth more or less, so that connections opened together do not come back together.
fn with_jitter(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}

async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn tell(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended");
    }
}
