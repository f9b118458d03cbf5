//! BESIDE: process-wide logs, traces and the export of metrics; set up by the commands alone.

mod config;
mod export;
mod http_client;
mod log;
mod metrics;
mod otlp;
mod resource;
mod spans;

use std::sync::Arc;

pub use self::{
    config::{Compression, Config, LogFormat, Protocol},
    metrics::{push_last, registry},
    otlp::collector,
};
use self::{export::Exports, log::Filter, otlp::Signal, spans::SpanExporter};
use crate::trace::{Batch, Queue, Tracer};

/// The telemetry of this process, running.
#[derive(Debug)]
pub struct Telemetry {
    filter: Option<Filter>,
    tracer: Arc<Tracer>,
    exports: Option<Exports>,
}

/// Starts the telemetry of this process: logs on standard error, and exports where the settings say.
/// Called once, by a command.
pub fn start(config: &Config) -> anyhow::Result<Telemetry> {
    let filter = log::start(config)?;
    Ok(Telemetry {
        filter: Some(filter),
        ..export(config)?
    })
}

/// Starts the exports alone: for several gateways in one process.
pub fn export(config: &Config) -> anyhow::Result<Telemetry> {
    let mut exports = None;
    let mut queue = None;
    if otlp::is_on(config, Signal::Traces) {
        let runtime = export::runtime()?;
        let entered = runtime.enter();
        let exporter = SpanExporter::new(config, &resource::resource(config))?;
        drop(entered);
        let spans = Arc::new(Queue::new(otlp::span_queue(config)));
        queue = Some(Arc::clone(&spans));
        let timeout = config.flush_timeout;
        exports = Some(Exports::start(spans, exporter, runtime, timeout)?);
    }
    let tracer = Tracer::new(queue, otlp::sample_ratio(config))
        .propagating(config.trace_easemob)
        .with_baggage_keys(config.baggage_keys.iter().cloned());
    Ok(Telemetry {
        filter: None,
        tracer: Arc::new(tracer),
        exports,
    })
}

/// Exports no span at all: whether the collector takes what we would export.
pub async fn probe(config: &Config) -> anyhow::Result<()> {
    let exporter = SpanExporter::new(config, &resource::resource(config))?;
    let exported = exporter.export(&Batch::default()).await;
    exported
        .map(drop)
        .map_err(|failure| anyhow::anyhow!(failure.cause))
}

impl Telemetry {
    /// What begins traces.
    pub fn tracer(&self) -> Arc<Tracer> {
        Arc::clone(&self.tracer)
    }

    /// Changes what is logged.
    pub fn set_log_filter(&self, filter: &str) -> anyhow::Result<()> {
        match &self.filter {
            Some(logs) => logs.set(filter),
            None => Ok(()),
        }
    }

    /// Exports what still waits, within `flush_timeout`.
    pub async fn stop(&self) {
        if let Some(exports) = &self.exports {
            exports.stop().await;
        }
    }
}
