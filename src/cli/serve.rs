//! `easemob-gateway serve`: the gateway, for production.

use std::path::PathBuf;

use tracing::{error, info, warn};

use crate::{
    caller::Mode,
    config::{Config, Errors, environment},
    server::{Gateway, Listener, on_hangup, on_signal},
    telemetry,
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
    let reload = on_hangup()?;
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
    for cause in checked.unusable.iter().flat_map(Errors::lines) {
        error!(
            cause,
            "an app cannot be used until this is put right; the others can"
        );
    }
    let in_the_clear =
        config.server.tls.cert_file.is_none() && !config.server.listen.ip().is_loopback();
    if in_the_clear && config.auth.mode == Mode::ApiKey {
        warn!(
            "there is no server.tls: callers' keys cross the network in the clear, unless a mesh encrypts it"
        );
    }
    let gateway = Gateway::new(
        checked.apps,
        (config.auth, checked.callers),
        config.server,
        config.delivery,
        config.media,
    )?;
    gateway
        .reload_when(reload)
        .serve(listener, shutdown)
        .await?;
    info!("the gateway ends");
    Ok(())
}
