//! Logs: lines on standard error, each with the trace that it belongs to.

mod line;
mod repeat;

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use self::{line::Line, repeat::Repeats};
use super::{Config, LogFormat};

/// What is logged, while the process runs.
#[derive(Debug, Clone)]
pub(super) struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Logs by this filter from now on.
    pub(super) fn set(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(EnvFilter::try_new(filter)?)?)
    }
}

/// Starts the logs. Once a process.
pub(super) fn start(config: &Config) -> anyhow::Result<Filter> {
    log_panics();
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&config.log_filter)?);
    let registry = tracing_subscriber::registry().with(filter);
    let repeats = Repeats::new(config.log_repeats);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => {
            let json = tracing_subscriber::fmt::format().json().flatten_event(true);
            registry
                .with(layer.json().event_format(Line::json(json, repeats)))
                .try_init()?;
        }
        LogFormat::Text => {
            let text = tracing_subscriber::fmt::format().with_ansi(std::io::stderr().is_terminal());
            registry
                .with(layer.event_format(Line::text(text, repeats)))
                .try_init()?;
        }
    }
    Ok(Filter(handle))
}

/// A panic is a line in the log like any other, and without its text: that may quote a value.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload().downcast_ref::<&'static str>();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(what, place, "a fault of the gateway: a panic");
    }));
}
