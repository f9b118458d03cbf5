//! `easemob-gateway serve`: the gateway, for production.

use std::{path::PathBuf, sync::Arc};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    caller::Mode,
    config::{Config, Errors, Loaded, environment},
    server::{Gateway, Listener, on_hangup, on_signal},
    store,
    telemetry::{self, Telemetry},
};

const EXAMPLES: &str = "\
Examples:
  easemob-gateway serve --config gateway.toml
  EASEMOB_GATEWAY__SERVER__LISTEN=127.0.0.1:6000 easemob-gateway serve --config gateway.toml

SIGTERM ends it once what is under way has finished; SIGHUP has it read secrets, certificates, callers
and the log filter again.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// File with the settings, TOML. Left out: the environment alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    // First, so that a signal during the start is not lost.
    let shutdown = on_signal()?;
    let hangup = on_hangup()?;
    let checked = Config::load(args.config.as_deref(), environment())?.check()?;
    let config = checked.config;
    let telemetry = Arc::new(telemetry::start(&config.telemetry)?);
    let reloading = tokio::spawn(reload(args.config, Arc::clone(&telemetry)));
    let listener = Listener::bind(&config.server).await?;
    info!(
        grpc = %listener.local_addr()?,
        operations = %listener.operations_addr()?,
        grpc_web = listener.web_addr()?.map(tracing::field::display),
        apps = config.apps.len(),
        version = env!("CARGO_PKG_VERSION"),
        "the gateway starts"
    );
    for cause in checked.unusable.iter().flat_map(Errors::lines) {
        error!(
            cause,
            "an app cannot be used until this is put right; the others can"
        );
    }
    let in_the_clear =
        config.server.tls.cert_file.is_none() && config.server.beyond_loopback().is_some();
    if in_the_clear && config.auth.mode == Mode::ApiKey {
        warn!(
            "there is no server.tls: callers' keys cross the network in the clear, unless a mesh encrypts it"
        );
    }
    let registry = telemetry::registry(&config.telemetry)?;
    let gateway = Gateway::new(
        checked.apps,
        (config.auth, checked.callers),
        config.server,
        config.delivery,
        config.media,
        &config.store,
        registry.clone(),
    )?
    .with_tracer(telemetry.tracer())
    .reload_when(hangup);
    let ttl = humantime::format_duration(config.store.ttl());
    match config.store.kind {
        store::Kind::Memory => info!(
            %ttl,
            "request IDs are remembered in memory: a repeat is safe if it comes to this replica, and until it ends"
        ),
        store::Kind::Redis => info!(
            %ttl,
            "request IDs are remembered in Redis: a repeat is safe at every replica that shares it"
        ),
    }
    let served = gateway.serve(listener, shutdown).await;
    info!("the gateway ends");
    reloading.abort();
    tokio::join!(
        telemetry.stop(),
        telemetry::push_last(registry, config.telemetry.flush_timeout)
    );
    served?;
    Ok(())
}

/// On each SIGHUP reads the settings again, for what may be logged. One that cannot be read leaves
/// everything as it is.
async fn reload(file: Option<PathBuf>, telemetry: Arc<Telemetry>) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return warn!(%error, "SIGHUP cannot be listened to"),
    };
    while hangups.recv().await.is_some() {
        let reloaded = Config::load(file.as_deref(), environment())
            .and_then(Loaded::check)
            .map_err(anyhow::Error::from)
            .and_then(|checked| {
                let filter = checked.config.telemetry.log_filter;
                telemetry.set_log_filter(&filter).map(|()| filter)
            });
        match reloaded {
            Ok(filter) => info!(filter, "SIGHUP: what is logged was read again"),
            Err(error) => error!(%error, "SIGHUP: the settings cannot be used: nothing changed"),
        }
    }
}
