//! The gateway's parts, each built once and handed to the floor above it: apps and tokens for the
//! process, connections to Easemob and the service for each shard.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Config, DrainReport, GrpcService, Listener, Readiness, Shard, Watch, serve};
use crate::{
    app::{App, Apps},
    caller::{self, Callers},
    delivery::{self, Delivery, Shares, Transfers},
    easemob::{self, Tokens},
    grpc::{self, Auth, Bounds, Messaging, Timeouts},
    media,
};

/// A gateway, ready to be served.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    delivery: delivery::Config,
    apps: Arc<Apps>,
    auth: Auth,
    callers: caller::Config,
    tokens: Vec<(Arc<App>, Arc<Tokens>)>,
    bounds: Bounds,
    requests: Shares,
    transfers: Transfers,
    readiness: Readiness,
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
    ) -> anyhow::Result<Self> {
        let runtime = Handle::try_current()?;
        let tokens: Result<Vec<_>, easemob::SetupError> = apps
            .iter()
            .map(|app| Ok((Arc::clone(app), easemob::tokens(app, runtime.clone())?)))
            .collect();
        let names = || apps.iter().map(|app| Arc::clone(&app.name));
        Ok(Self {
            tokens: tokens?,
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
            },
            readiness: Readiness::new(),
            reload: Arc::default(),
            config,
            delivery,
        })
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
        let watch = self.watch(&listener);
        let service = move |shard: &Shard| self.service(shard);
        tokio::select! {
            report = serve(listener, &config, &readiness, service, shutdown) => report,
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
        for (app, tokens) in &self.tokens {
            watch_app(&mut watch, app, tokens);
        }
        watch
    }

    /// The service of one shard, with connections to Easemob of its own.
    fn service(&self, shard: &Shard) -> anyhow::Result<impl GrpcService + use<>> {
        // What waits for its turn still has a whole call before it; a transfer has only to be told.
        let longest_call = self.apps.iter().map(|app| app.timeouts.call).max();
        let longest_call = longest_call.unwrap_or_default();
        let delivery = Delivery::new(
            self.tokens.iter().cloned(),
            &self.delivery,
            shard.tasks.clone(),
            self.closing(shard, longest_call),
            self.requests.clone(),
            self.transfers
                .until(self.closing(shard, Duration::from_secs(2))),
        )?;
        let messaging = Messaging {
            apps: Arc::clone(&self.apps),
            auth: self.auth.clone(),
            delivery,
            default_deadline: self.config.default_deadline,
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
