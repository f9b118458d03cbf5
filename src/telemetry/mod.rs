//! BESIDE: process-wide logs; set up by the commands alone.

use std::io::IsTerminal as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::invalid::Field;

/// What the process tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Form of the log lines.
    pub log_format: LogFormat,
    /// What is logged: the least level, "error", "warn", "info", "debug" or "trace"; also module by
    /// module, as in "warn,easemob_gateway=debug".
    pub log_filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_filter: "info".to_owned(),
        }
    }
}

impl Config {
    /// Notes at `field` what the logs cannot be started with.
    pub fn check(&self, field: Field<'_>) -> Option<()> {
        match EnvFilter::try_new(&self.log_filter) {
            Ok(_) => Some(()),
            Err(error) => field
                .child("log_filter")
                .refuse(format!("is not a log filter: {error}")),
        }
    }
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// One line of text an event, for people.
    Text,
}

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
