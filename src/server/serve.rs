//! The accept loop, and the drain that ends it.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{self, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Config, Listener,
    connection::{Arrival, GrpcService, Rules},
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
        tls,
    } = listener;
    let pages = operations::router(readiness.clone(), registry.clone());
    let metrics = registry.metrics();
    tokio::select! {
        report = serve_grpc(grpc, tls, config, readiness, metrics, factory, shutdown) => report,
        never = operations::serve(operations, pages) => match never {},
    }
}

async fn serve_grpc<S, F>(
    listener: TcpListener,
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
    let mut shards = Shards::start(shard_count(config), &rules, factory).await?;
    let handshakes = Places::new(config.max_handshakes);
    observe(&metrics.gauges, config, readiness, &rules, &handshakes);

    readiness.enter(Phase::Ready);
    loop {
        let (socket, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        // Off this runtime's reactor; the shard puts it on its own.
        let Ok(socket) = socket.into_std() else {
            continue;
        };
        shards.deal(Arrival {
            socket,
            peer,
            place: handshakes.take(),
            handshake_until: time::Instant::now() + config.handshake_timeout,
        });
    }

    readiness.enter(Phase::Draining);
    drop(listener);
    Ok(drain(shards, &rules).await)
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
