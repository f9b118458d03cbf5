//! The accept loop, and the drain that ends it.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{self, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Config, Listener,
    connection::{Arrival, GrpcService, Port, Rules},
    grpc_web,
    health::{Phase, Readiness},
    listener::accept,
    operations,
    places::Places,
    shard::{Shard, Shards},
    tls::Tls,
};
use crate::metrics::{Gauge, Gauges, Metrics, Registry};

/// Has metrics tell who is connected.
fn observe(
    gauges: &Gauges,
    config: &Config,
    readiness: &Readiness,
    rules: &Arc<Rules>,
    handshakes: &Places,
) {
    let readiness = readiness.clone();
    gauges.observe(Gauge::Ready, &[], move || {
        let ready = readiness.phase() == Phase::Ready;
        Some(f64::from(u8::from(ready)))
    });
    let (served, limit) = (Arc::clone(&rules.served), config.max_connections);
    gauges.observe_places(
        (Gauge::ConnectionsActive, Gauge::ConnectionsLimit),
        &[],
        limit,
        move || limit.saturating_sub(served.available_permits()),
    );
    let handshakes = handshakes.clone();
    gauges.observe_places(
        (Gauge::HandshakesActive, Gauge::HandshakesLimit),
        &[],
        config.max_handshakes,
        move || handshakes.taken(),
    );
}

/// The same for those of browsers.
fn observe_web(gauges: &Gauges, config: &Config, rules: &grpc_web::Rules, handshakes: &Places) {
    let port = [KeyValue::new("port", "grpc_web")];
    let (served, limit) = (Arc::clone(&rules.served), config.grpc_web.max_connections);
    gauges.observe_places(
        (Gauge::ConnectionsActive, Gauge::ConnectionsLimit),
        &port,
        limit,
        move || limit.saturating_sub(served.available_permits()),
    );
    let handshakes = handshakes.clone();
    gauges.observe_places(
        (Gauge::HandshakesActive, Gauge::HandshakesLimit),
        &port,
        config.max_handshakes,
        move || handshakes.taken(),
    );
}

/// After the connections were cut: for their calls to notice and end.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Everything ended by itself within `drain_timeout`.
    pub in_time: bool,
    /// Connections that were cut.
    pub connections_cut: usize,
    /// Tasks that were still running when the process gave up.
    pub tasks_lost: usize,
    /// How long it took.
    pub took: Duration,
}

/// Serves until `shutdown` is cancelled, and then drains: not ready first, then no new
/// connections, then GOAWAY on those there are, and at `drain_timeout` the end of what is left.
///
/// `factory` is called once for each shard, on its thread and inside its runtime, and `readiness`
/// says yes as soon as all of them are there. The operations pages are served from the start of the
/// call to its end. Dropping the future ends everything at once.
pub async fn serve<S, F>(
    listener: Listener,
    config: &Config,
    readiness: &Readiness,
    registry: &Registry,
    factory: F,
    shutdown: CancellationToken,
) -> anyhow::Result<DrainReport>
where
    S: GrpcService,
    F: Fn(&Shard) -> anyhow::Result<S> + Send + Sync + 'static,
{
    let Listener {
        grpc,
        operations,
        web,
        tls,
    } = listener;
    let pages = operations::router(readiness.clone(), registry.clone());
    let metrics = registry.metrics();
    tokio::select! {
        report = serve_grpc((grpc, web), tls, config, readiness, metrics, factory, shutdown) => report,
        never = operations::serve(operations, pages) => match never {},
    }
}

async fn serve_grpc<S, F>(
    (grpc, web): (TcpListener, Option<TcpListener>),
    tls: Option<Arc<Tls>>,
    config: &Config,
    readiness: &Readiness,
    metrics: &Metrics,
    factory: F,
    shutdown: CancellationToken,
) -> anyhow::Result<DrainReport>
where
    S: GrpcService,
    F: Fn(&Shard) -> anyhow::Result<S> + Send + Sync + 'static,
{
    let rules = Arc::new(Rules {
        config: config.clone(),
        tls,
        served: Arc::new(Semaphore::new(config.max_connections)),
        draining: CancellationToken::new(),
        cut: CancellationToken::new(),
        handshakes: metrics.handshakes.clone(),
    });
    let web = web.map(|listener| (listener, Arc::new(grpc_web::Rules::new(config))));
    let mut shards = Shards::start(shard_count(config), &rules, factory).await?;
    let handshakes = Places::new(config.max_handshakes);
    observe(&metrics.gauges, config, readiness, &rules, &handshakes);
    // Of its own, so that silent peers of one port push out nobody of the other.
    let web_handshakes = Places::new(config.max_handshakes);
    if let Some((_, rules)) = &web {
        observe_web(&metrics.gauges, config, rules, &web_handshakes);
    }

    readiness.enter(Phase::Ready);
    loop {
        let (port, handshakes, (socket, peer)) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&grpc) => (Port::Grpc, &handshakes, accepted),
            (rules, accepted) = accept_web(web.as_ref()) => {
                (Port::Web(rules), &web_handshakes, accepted)
            }
        };
        // Off this runtime's reactor; the shard puts it on its own.
        let Ok(socket) = socket.into_std() else {
            continue;
        };
        shards.deal(Arrival {
            port,
            socket,
            peer,
            place: handshakes.take(),
            handshake_until: time::Instant::now() + config.handshake_timeout,
        });
    }

    readiness.enter(Phase::Draining);
    drop((grpc, web));
    Ok(drain(shards, &rules).await)
}

/// The next connection of a browser, if there are to be any.
async fn accept_web(
    web: Option<&(TcpListener, Arc<grpc_web::Rules>)>,
) -> (Arc<grpc_web::Rules>, (TcpStream, SocketAddr)) {
    match web {
        Some((listener, rules)) => (Arc::clone(rules), accept(listener).await),
        None => std::future::pending().await,
    }
}

async fn drain(shards: Shards, rules: &Rules) -> DrainReport {
    let begin = Instant::now();
    rules.draining.cancel();
    let in_time = timeout(rules.config.drain_timeout, shards.ended())
        .await
        .is_ok();
    let mut connections_cut = 0;
    if !in_time {
        connections_cut = rules.config.max_connections - rules.served.available_permits();
        rules.cut.cancel();
        // Whether it was enough shows in the number of tasks.
        let _ = timeout(LAST_MOMENT, shards.ended()).await;
    }
    let report = DrainReport {
        in_time,
        connections_cut,
        tasks_lost: shards.tasks(),
        took: begin.elapsed(),
    };
    let DrainReport {
        took, tasks_lost, ..
    } = report;
    if in_time {
        info!(?took, "drained");
    } else {
        warn!(
            ?took,
            connections_cut, tasks_lost, "the drain ran out of time"
        );
    }
    report
}

pub(super) fn shard_count(config: &Config) -> usize {
    config
        .shards
        // Unknown on odd systems only; one always works.
        .or_else(|| available_parallelism().ok())
        .map_or(1, NonZeroUsize::get)
}
