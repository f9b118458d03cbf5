//! A fault of ours: the gateway's service knows an app that its delivery does not, which no settings can make.

use std::sync::Arc;

use easemob_gateway::{
    app::{App, Apps},
    caller::{self, Callers},
    delivery::{self, Delivery, Shares, Transfers},
    grpc::{self, Auth, Bounds, Messaging, Timeouts},
    invalid::Violations,
    media,
    metrics::Registry,
    server::{Listener, Readiness, Shard, serve},
    store::{self, Store},
    trace::Tracer,
};
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use super::{Provoked, chinese};
use crate::support::{gateway::Setup, request::text_to, server::config};

pub(super) async fn panicked() -> Vec<Provoked> {
    let config = config();
    let listener = Listener::bind(&config).await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = Registry::unexported().unwrap();
    let readiness = Readiness::new();
    let (health, metrics) = (readiness.clone(), registry.clone());
    let runtime = Handle::current();
    let service = move |shard: &Shard| {
        let (messaging, bounds) = broken(shard, &metrics, &runtime);
        let health = health.health_service();
        let rpc = &metrics.metrics().rpc;
        Ok(grpc::service(messaging, &bounds, rpc, health))
    };
    let serving = tokio::spawn(async move {
        let never = CancellationToken::new();
        serve(listener, &config, &readiness, &registry, service, never).await
    });
    let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut client = chinese(endpoint.connect().await.unwrap());
    let sent = client.send_message(text_to(&["bob"])).await;
    serving.abort();
    vec![Provoked::send("a panic", sent)]
}

fn broken(shard: &Shard, registry: &Registry, runtime: &Handle) -> (Messaging, Bounds) {
    let metrics = registry.metrics();
    let (name, app) = &Setup::at("http://127.0.0.1:1").apps[0];
    let app = App::new(name, app, Violations::default().root()).unwrap();
    let store = Store::open(&store::Config::default(), runtime).unwrap();
    let never = CancellationToken::new();
    let delivery = Delivery::new(
        [],
        &delivery::Config::default(),
        shard.tasks.clone(),
        &never,
        Shares::new(1, []),
        Transfers::new(media::Config::default(), []),
        Arc::new(store),
        metrics,
    );
    let timeouts = Timeouts {
        default: std::time::Duration::from_secs(15),
        max: std::time::Duration::from_secs(15),
    };
    let places = Arc::new(Semaphore::new(9));
    let bounds = Bounds {
        in_flight: Arc::clone(&places),
        max_request_bytes: 1 << 20,
        timeouts,
        tracer: Arc::<Tracer>::default(),
    };
    let messaging = Messaging {
        apps: Arc::new(Apps::new([app], None)),
        auth: Auth::new(&caller::Config::default(), Callers::default()),
        delivery: Arc::new(delivery.unwrap()),
        timeouts,
        streams: Arc::clone(&places),
        in_flight: places,
        requests_per_stream: 1,
    };
    (messaging, bounds)
}
