//! BESIDE: process-wide logs, traces and the export of metrics; set up by the commands alone.

mod config;
mod http_client;
mod metrics;
mod otlp;
mod resource;

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::{
    config::{Compression, Config, LogFormat, Protocol},
    metrics::{push_last, registry},
};

/// Starts the logs of this process, on standard error. Called once, by a command.
pub fn start(config: &Config) -> anyhow::Result<()> {
    log_panics();
    let filter = EnvFilter::try_new(&config.log_filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    match config.log_format {
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init()?,
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init()?,
    }
    Ok(())
}

/// A panic is a line in the log like any other, and without its text: that may quote a value.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload().downcast_ref::<&'static str>();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(what, place, "a fault of the gateway: a panic");
    }));
}
