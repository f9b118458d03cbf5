//! `easemob-gateway serve`: the gateway, for production.

use std::path::PathBuf;

use tracing::info;

use crate::{
    config::{Config, environment},
    server::{Gateway, Listener, on_signal},
    store, telemetry,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File with the settings, TOML. Left out: the environment alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    // First, so that a signal during the start is not lost.
    let shutdown = on_signal()?;
    let checked = Config::load(args.config.as_deref(), environment())?.check()?;
    let config = checked.config;
    telemetry::start(&config.telemetry)?;
    let listener = Listener::bind(&config.server).await?;
    info!(
        grpc = %listener.local_addr()?,
        operations = %listener.operations_addr()?,
        apps = config.apps.len(),
        version = env!("CARGO_PKG_VERSION"),
        "the gateway starts"
    );
    let gateway = Gateway::new(
        checked.apps,
        config.server,
        config.delivery,
        config.media,
        &config.store,
    )?;
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
    gateway.serve(listener, shutdown).await?;
    info!("the gateway ends");
    Ok(())
}
