//! The instruments of this process, and the push of what they measure.

use std::time::Duration;

use opentelemetry_sdk::metrics::PeriodicReader;

use super::{
    Config,
    otlp::{self, Signal},
    resource,
};
use crate::metrics::Registry;

/// The instruments, pushed to the collector where there is one. Must be called on the runtime that is
/// to run the exporter's connections.
pub fn registry(config: &Config) -> anyhow::Result<Registry> {
    let push = match otlp::is_on(config, Signal::Metrics) {
        true => Some(push(config)?),
        false => None,
    };
    Registry::new(resource::resource(config), push)
}

/// Pushes what was measured since, for at most this long, as the process ends.
pub async fn push_last(registry: Registry, limit: Duration) {
    let pushed = tokio::task::spawn_blocking(move || registry.shutdown(limit));
    // The reader stops waiting by itself; that it does is not left to it.
    let pushed = tokio::time::timeout(limit, pushed).await;
    if !matches!(pushed, Ok(Ok(Ok(())))) {
        tracing::warn!("the last metrics did not reach the collector");
    }
}

/// On a thread of its own: a collector that is slow or away keeps nobody but itself.
fn push(config: &Config) -> anyhow::Result<PeriodicReader<opentelemetry_otlp::MetricExporter>> {
    let mut reader = PeriodicReader::builder(otlp::metric_exporter(config)?);
    if let Some(interval) = config.metrics_interval {
        reader = reader.with_interval(interval);
    }
    Ok(reader.build())
}
