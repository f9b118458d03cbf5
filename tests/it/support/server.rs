//! The server with a small service in it, which does on request what the tests need of a handler.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use easemob_gateway::{
    grpc::Peer,
    metrics::Registry,
    server::{Config, DrainReport, Listener, Readiness, Shard, serve},
};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::health_client::HealthClient;

/// Answers with what it was sent.
pub const ECHO: &str = "/test.Echo/Echo";
/// Answers once [`Notes::release`] is notified, and does not read its request.
pub const HOLD: &str = "/test.Echo/Hold";
/// Panics.
pub const PANIC: &str = "/test.Echo/Panic";
/// Answers at once, and leaves a task behind that ends once [`Notes::release`] is notified.
pub const OUTLIVE: &str = "/test.Echo/Outlive";

/// A configuration for tests: free ports, two shards.
pub fn config() -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        operations_listen: ([127, 0, 0, 1], 0).into(),
        shards: 2.try_into().ok(),
        ..Config::default()
    }
}

/// The server, on the runtime of the test; it ends with the test.
pub struct Server {
    pub grpc: SocketAddr,
    pub operations: SocketAddr,
    pub readiness: Readiness,
    pub notes: Arc<Notes>,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<anyhow::Result<DrainReport>>,
}

impl Server {
    pub async fn start(config: Config) -> Self {
        let listener = Listener::bind(&config).await.unwrap();
        let (grpc, operations) = (
            listener.local_addr().unwrap(),
            listener.operations_addr().unwrap(),
        );
        let (readiness, notes) = (Readiness::new(), Arc::new(Notes::default()));
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (readiness, notes) = (readiness.clone(), Arc::clone(&notes));
            let shutdown = shutdown.clone();
            async move {
                let registry = Registry::unexported()?;
                let routes = {
                    let readiness = readiness.clone();
                    move |shard: &Shard| Ok(routes(&readiness, shard, &notes))
                };
                serve(listener, &config, &readiness, &registry, routes, shutdown).await
            }
        });
        Self {
            grpc,
            operations,
            readiness,
            notes,
            shutdown,
            serving,
        }
    }

    /// Drains the server.
    pub async fn stop(self) -> DrainReport {
        self.shutdown.cancel();
        super::soon("the end of the drain", self.serving)
            .await
            .unwrap()
            .unwrap()
    }

    /// A proper client.
    pub async fn client(&self) -> HealthClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        HealthClient::new(endpoint.connect().await.unwrap())
    }
}

/// What is served on a shard.
pub fn routes(readiness: &Readiness, shard: &Shard, notes: &Arc<Notes>) -> Routes {
    Routes::new(readiness.health_service()).add_service(Echo {
        shard: shard.clone(),
        notes: Arc::clone(notes),
    })
}

/// What the handlers have seen, and what they wait for.
#[derive(Default)]
pub struct Notes {
    /// Calls so far, with shard and peer.
    pub calls: Mutex<Vec<(usize, Option<SocketAddr>)>>,
    /// Calls that have begun and not ended, finished or dropped.
    pub running: watch::Sender<usize>,
    /// How the requests ended that ECHO read: their length, or the error.
    pub requests: watch::Sender<Vec<Result<usize, Status>>>,
    /// Lets the waiting ones go on.
    pub release: Notify,
}

impl Notes {
    /// Waits for so many calls to be running.
    pub async fn running(&self, count: usize) {
        let mut running = self.running.subscribe();
        let what = format!("{count} calls running");
        super::soon(&what, running.wait_for(|now| *now == count))
            .await
            .unwrap();
    }
}

struct Running(Arc<Notes>);

impl Running {
    fn on(notes: &Arc<Notes>) -> Self {
        notes.running.send_modify(|running| *running += 1);
        Self(Arc::clone(notes))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

#[derive(Clone)]
struct Echo {
    shard: Shard,
    notes: Arc<Notes>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Echo {
    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let peer = request.extensions().get::<Arc<Peer>>();
        let peer = peer.map(|peer| peer.address);
        self.notes
            .calls
            .lock()
            .unwrap()
            .push((self.shard.index, peer));
        let running = Running::on(&self.notes);
        match request.uri().path() {
            ECHO => {
                let read = request.into_body().collect().await;
                let read = read.map(|body| body.to_bytes());
                let ended = read.as_ref().map(Bytes::len).map_err(Status::clone);
                self.notes
                    .requests
                    .send_modify(|requests| requests.push(ended));
                match read {
                    Ok(bytes) => ok(Full::new(bytes)),
                    Err(status) => status.into_http(),
                }
            }
            HOLD => {
                self.notes.release.notified().await;
                drop(request);
                ok(Full::default())
            }
            OUTLIVE => {
                let notes = Arc::clone(&self.notes);
                self.shard.tasks.spawn(async move {
                    notes.release.notified().await;
                    drop(running);
                });
                ok(Full::default())
            }
            PANIC => panic!("as asked"),
            _ => Status::unimplemented("no such method").into_http(),
        }
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(echo.answer(request).await) })
    }
}

fn ok(body: Full<Bytes>) -> http::Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = body.with_trailers(async { Some(Ok(trailers)) });
    let mut response = http::Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}
