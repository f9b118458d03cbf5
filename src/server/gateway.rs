//! The gateway's parts, each built once and handed to the floor above it: apps and tokens for the
//! process, connections to Easemob and the service for each shard.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Semaphore, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Config, DrainReport, GrpcService, Listener, Readiness, Shard, serve};
use crate::{
    app::Apps,
    delivery::{self, Delivery, Transfers, Upstream},
    easemob,
    grpc::{self, Bounds, Messaging, Timeouts},
    media,
    store::{self, Store},
};

/// A gateway, ready to be served.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    delivery: delivery::Config,
    apps: Arc<Apps>,
    upstreams: Vec<Arc<Upstream>>,
    bounds: Bounds,
    streams: Arc<Semaphore>,
    transfers: Transfers,
    store: Arc<Store>,
    readiness: Readiness,
}

impl Gateway {
    /// Builds what the shards share. Must be called on the runtime that is to fetch the tokens: not
    /// a shard's, so that a busy shard does not let them expire.
    pub fn new(
        apps: Apps,
        config: Config,
        delivery: delivery::Config,
        media: media::Config,
        store: &store::Config,
    ) -> anyhow::Result<Self> {
        let runtime = Handle::try_current()?;
        let upstreams: Result<Vec<_>, easemob::SetupError> = apps
            .iter()
            .map(|app| {
                let tokens = easemob::tokens(app, runtime.clone())?;
                Ok(Upstream::new(Arc::clone(app), tokens))
            })
            .collect();
        Ok(Self {
            upstreams: upstreams?,
            apps: Arc::new(apps),
            bounds: Bounds {
                in_flight: Arc::new(Semaphore::new(config.max_requests_in_flight)),
                max_request_bytes: config.max_request_bytes,
                timeouts: Timeouts {
                    default: config.default_deadline,
                    max: config.max_deadline,
                },
            },
            streams: Arc::new(Semaphore::new(config.max_send_streams)),
            transfers: Transfers::new(media),
            store: Arc::new(Store::open(store, &runtime)?),
            readiness: Readiness::new(),
            config,
            delivery,
        })
    }

    /// Serves until `shutdown` is cancelled and what was then under way has ended.
    pub async fn serve(
        self,
        listener: Listener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<DrainReport> {
        let config = self.config.clone();
        let readiness = self.readiness.clone();
        let service = move |shard: &Shard| self.service(shard);
        serve(listener, &config, &readiness, service, shutdown).await
    }

    /// The service of one shard, with connections to Easemob of its own.
    fn service(&self, shard: &Shard) -> anyhow::Result<impl GrpcService + use<>> {
        // What waits for its turn still has a whole call before it; a transfer has only to be told.
        let longest_call = self.apps.iter().map(|app| app.timeouts.call).max();
        let longest_call = longest_call.unwrap_or_default();
        let delivery = Delivery::new(
            self.upstreams.iter().cloned(),
            &self.delivery,
            shard.tasks.clone(),
            self.closing(shard, longest_call),
            self.transfers
                .until(self.closing(shard, Duration::from_secs(2))),
            Arc::clone(&self.store),
        )?;
        let messaging = Messaging {
            apps: Arc::clone(&self.apps),
            delivery: Arc::new(delivery),
            timeouts: self.bounds.timeouts,
            streams: Arc::clone(&self.streams),
            in_flight: Arc::clone(&self.bounds.in_flight),
            requests_per_stream: self.config.requests_per_send_stream,
        };
        let health = self.readiness.health_service();
        Ok(grpc::service(messaging, &self.bounds, health))
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
