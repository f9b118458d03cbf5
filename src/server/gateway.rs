//! The gateway's parts, each built once and handed to the floor above it: apps and tokens for the
//! process, connections to Easemob and the service for each shard.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute::ERROR_TYPE;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, DrainReport, GrpcService, Listener, Readiness, Shard, Watch, serve, serve::shard_count,
};
use crate::{
    app::{App, Apps},
    caller::{self, Callers},
    delivery::{self, Delivery, Shares, Transfers, Upstream},
    easemob::{self, Tokens},
    grpc::{self, Auth, Bounds, Messaging, Timeouts},
    media,
    metrics::{Gauge, Gauges, Metrics, Registry},
    quota,
    store::{self, Health, Link, Store},
    trace::{Fate, Queue, Tracer},
};

/// A gateway, ready to be served.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    delivery: delivery::Config,
    apps: Arc<Apps>,
    auth: Auth,
    callers: caller::Config,
    upstreams: Vec<Arc<Upstream>>,
    bounds: Bounds,
    streams: Arc<Semaphore>,
    requests: Shares,
    transfers: Transfers,
    store: Arc<Store>,
    readiness: Readiness,
    registry: Registry,
    reload: Arc<Notify>,
}

impl Gateway {
    /// Builds what the shards share, for callers who prove who they are as the section `auth` says. Must be called on the runtime that is to fetch the tokens: not
    /// a shard's, so that a busy shard does not let them expire.
    pub fn new(
        apps: Apps,
        (callers, known): (caller::Config, Callers),
        config: Config,
        delivery: delivery::Config,
        media: media::Config,
        store: &store::Config,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let runtime = Handle::try_current()?;
        let shards = shard_count(&config);
        let records = Arc::new(Store::open(store, &runtime)?);
        let upstreams: Result<Vec<_>, easemob::SetupError> = apps
            .iter()
            .map(|app| {
                let Metrics { calls, gauges, .. } = registry.metrics();
                let tokens = easemob::tokens(app, runtime.clone(), calls, gauges)?;
                let shared = shared_quotas(app, &records, store);
                Ok(Upstream::new(
                    Arc::clone(app),
                    tokens,
                    (&delivery, shards),
                    &runtime,
                    shared.as_ref(),
                    gauges,
                ))
            })
            .collect();
        let names = || apps.iter().map(|app| Arc::clone(&app.name));
        let gateway = Self {
            upstreams: upstreams?,
            requests: Shares::new(request_places(&config, names().count()), names()),
            transfers: Transfers::new(media, names()),
            apps: Arc::new(apps),
            auth: Auth::new(&callers, known),
            callers,
            bounds: Bounds {
                in_flight: Arc::new(Semaphore::new(config.max_requests_in_flight)),
                max_request_bytes: config.max_request_bytes,
                timeouts: Timeouts {
                    default: config.default_deadline,
                    max: config.max_deadline,
                },
                tracer: Arc::default(),
            },
            streams: Arc::new(Semaphore::new(config.max_send_streams)),
            store: records,
            readiness: Readiness::new(),
            reload: Arc::default(),
            config,
            delivery,
            registry,
        };
        gateway.observe();
        Ok(gateway)
    }

    /// The same, with traces of this tracer. Without one, requests have IDs, and nothing is recorded.
    pub fn with_tracer(mut self, tracer: Arc<Tracer>) -> Self {
        observe_spans(&self.registry.metrics().gauges, tracer.queue());
        self.bounds.tracer = tracer;
        self
    }

    /// Reads its files again whenever this is notified, and not only every few seconds.
    pub fn reload_when(mut self, asked: Arc<Notify>) -> Self {
        self.reload = asked;
        self
    }

    /// Serves until `shutdown` is cancelled and what was then under way has ended.
    pub async fn serve(
        self,
        listener: Listener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<DrainReport> {
        let config = self.config.clone();
        let readiness = self.readiness.clone();
        let registry = self.registry.clone();
        let watch = self.watch(&listener);
        let service = move |shard: &Shard| self.service(shard);
        tokio::select! {
            report = serve(listener, &config, &readiness, &registry, service, shutdown) => report,
            never = watch.run() => match never {},
        }
    }

    /// The files that may change while it is served.
    fn watch(&self, listener: &Listener) -> Watch {
        let mut watch = Watch::new(self.config.reload_interval, Arc::clone(&self.reload));
        if let Some(tls) = listener.tls.clone() {
            let files = self.config.tls.files();
            watch.add("server.tls", files, move |files| tls.replace(files));
        }
        if let Some(file) = self.callers.callers_file.clone() {
            let (callers, auth) = (self.callers.clone(), self.auth.clone());
            let apps = Arc::clone(&self.apps);
            watch.add("auth.callers_file", [file], move |files| {
                let contents = files.first().map_or(&[][..], Vec::as_slice);
                let known = |app: &str| apps.iter().any(|known| *known.name == *app);
                auth.replace(callers.reload(contents, &known)?);
                Ok(())
            });
        }
        for upstream in &self.upstreams {
            let (app, tokens) = (upstream.app(), upstream.tokens());
            watch_app(&mut watch, app, tokens);
        }
        watch
    }

    /// The service of one shard, with connections to Easemob of its own.
    fn service(&self, shard: &Shard) -> anyhow::Result<impl GrpcService + use<>> {
        // What waits for its turn still has a whole call before it; a transfer has only to be told.
        let longest_call = self.apps.iter().map(|app| app.timeouts.call).max();
        let longest_call = longest_call.unwrap_or_default();
        let metrics = self.registry.metrics();
        observe_tasks(&metrics.gauges);
        let delivery = Delivery::new(
            self.upstreams.iter().cloned(),
            &self.delivery,
            shard.tasks.clone(),
            &self.closing(shard, longest_call),
            self.requests.clone(),
            self.transfers
                .until(self.closing(shard, Duration::from_secs(2))),
            Arc::clone(&self.store),
            metrics,
        )?;
        let messaging = Messaging {
            apps: Arc::clone(&self.apps),
            auth: self.auth.clone(),
            delivery: Arc::new(delivery),
            timeouts: self.bounds.timeouts,
            streams: Arc::clone(&self.streams),
            in_flight: Arc::clone(&self.bounds.in_flight),
            requests_per_stream: self.config.requests_per_send_stream,
        };
        let health = self.readiness.health_service();
        Ok(grpc::service(messaging, &self.bounds, &metrics.rpc, health))
    }

    /// Has metrics tell what all shards share.
    fn observe(&self) {
        let gauges = &self.registry.metrics().gauges;
        let version = KeyValue::new("version", env!("CARGO_PKG_VERSION"));
        gauges.observe(Gauge::Build, &[version], || Some(1.0));
        observe_tasks(gauges);
        let began = Instant::now();
        gauges.observe(Gauge::Uptime, &[], move || {
            Some(began.elapsed().as_secs_f64())
        });
        let requests = Arc::clone(&self.bounds.in_flight);
        let limit = self.config.max_requests_in_flight;
        gauges.observe_places(
            (Gauge::RequestsActive, Gauge::RequestsLimit),
            &[],
            limit,
            move || limit.saturating_sub(requests.available_permits()),
        );
        let store = Arc::clone(&self.store);
        gauges.observe(Gauge::RecordsActive, &[], move || {
            u32::try_from(store.usage().records).ok().map(f64::from)
        });
        let (store, limit) = (Arc::clone(&self.store), self.store.usage().max_bytes);
        gauges.observe_places(
            (Gauge::RecordBytes, Gauge::RecordBytesLimit),
            &[],
            limit,
            move || store.usage().bytes,
        );
        if let Some(link) = self.store.link() {
            observe_redis(gauges, link);
        }
        let transfers = self.transfers.clone();
        gauges.observe_places(
            (Gauge::TransfersActive, Gauge::TransfersLimit),
            &[],
            transfers.config().transfers_in_flight,
            move || transfers.active(),
        );
    }

    /// Cancelled when this much is left of the drain. Until then a drain goes on with what there is, so
    /// that callers see no error.
    fn closing(&self, shard: &Shard, reserve: Duration) -> CancellationToken {
        let closing = CancellationToken::new();
        let (token, draining) = (closing.clone(), shard.draining.clone());
        let reserve = reserve + Duration::from_secs(1);
        let wait = self.config.drain_timeout.saturating_sub(reserve);
        // Not among the tasks that the drain waits for.
        tokio::spawn(async move {
            draining.cancelled().await;
            sleep(wait).await;
            token.cancel();
        });
        closing
    }
}

/// How many tasks the current runtime has; those of all runtimes are added up.
fn observe_tasks(gauges: &Gauges) {
    let runtime = Handle::current().metrics();
    gauges.observe(Gauge::TasksActive, &[], move || {
        u32::try_from(runtime.num_alive_tasks()).ok().map(f64::from)
    });
}

/// What becomes of spans. Without a queue there are none: 0 of each, so that a dashboard has something to
/// show.
fn observe_spans(gauges: &Gauges, queue: Option<&Arc<Queue>>) {
    let places = (Gauge::SpanQueueSize, Gauge::SpanQueueCapacity);
    let capacity = queue.map_or(0, |queue| queue.capacity());
    let spans = queue.cloned();
    gauges.observe_places(places, &[], capacity, move || {
        spans.as_ref().map_or(0, |queue| queue.len())
    });
    for fate in Fate::ALL {
        let gauge = match fate {
            Fate::Taken | Fate::QueueFull => Gauge::SpansProcessed,
            _ => Gauge::SpansExported,
        };
        let queue = queue.cloned();
        let error = fate
            .error_type()
            .map(|error| KeyValue::new(ERROR_TYPE, error));
        gauges.observe(gauge, error.as_slice(), move || {
            let spans = queue.as_ref().map_or(0, |queue| queue.count(fate));
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 spans")]
            Some(spans as f64)
        });
    }
}

fn observe_redis(gauges: &Gauges, link: &Arc<Link>) {
    let health = Arc::clone(link);
    gauges.observe(Gauge::RedisUp, &[], move || {
        Some(f64::from(u8::from(health.health().up)))
    });
    let health = Arc::clone(link);
    gauges.observe(Gauge::RedisFailures, &[], move || {
        u32::try_from(health.health().failed).ok().map(f64::from)
    });
    let health = Arc::clone(link);
    gauges.observe_each(Gauge::RedisLost, &[], move |tell| {
        let health = health.health();
        for (what, lost) in [
            ("record", health.lost_records),
            ("quota", health.lost_quotas),
        ] {
            let lost = u32::try_from(lost).unwrap_or(u32::MAX);
            tell(&[KeyValue::new("what", what)], f64::from(lost));
        }
    });
    let (health, last) = (Arc::clone(link), Mutex::new((0, Duration::ZERO)));
    gauges.observe(Gauge::RedisAnswerTime, &[], move || {
        let Health {
            answered, waited, ..
        } = health.health();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, waited_before) = std::mem::replace(&mut *last, (answered, waited));
        let answers = u32::try_from(answered - before)
            .ok()
            .filter(|answers| *answers > 0)?;
        Some((waited - waited_before).as_secs_f64() / f64::from(answers))
    });
}

/// Places for requests that the apps share. Where there are several, some of the process's places are left
/// for requests of which nobody knows yet to which app they go, and for those that are being refused.
fn request_places(config: &Config, apps: usize) -> usize {
    let places = config.max_requests_in_flight;
    if apps > 1 {
        places - places / 8
    } else {
        places
    }
}

/// The secret and the certificates of an app. The token that there is serves until there is another.
fn watch_app(watch: &mut Watch, app: &Arc<App>, tokens: &Arc<Tokens>) {
    for (setting, outside) in app.outside() {
        let Some(file) = outside.file() else { continue };
        let (app, tokens) = (Arc::clone(app), Arc::clone(tokens));
        let what = format!("apps.{}.{setting}", app.name);
        watch.add(what, [file.to_owned()], move |contents| {
            let content = contents.first().map(Vec::as_slice).unwrap_or_default();
            let outside = app.outside().find(|(name, _)| *name == setting);
            let taken = outside.map(|(_, outside)| outside.take(content));
            if taken.transpose().map_err(anyhow::Error::msg)? == Some(true) {
                tokens.renew();
            }
            Ok(())
        });
    }
}

/// What the replicas of an app share of its quotas, where there is a store that they share.
fn shared_quotas(app: &App, records: &Store, config: &store::Config) -> Option<quota::Shared> {
    Some(quota::Shared {
        link: Arc::clone(records.link()?),
        prefix: config.prefix.clone(),
        app: Arc::clone(&app.name),
        fallback_share: config.fallback_share,
        longest_call: app.timeouts.call,
    })
}
