//! Where the instruments live, and how they are read.

use std::{fmt, sync::Arc, time::Duration};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{PeriodicReader, SdkMeterProvider},
};
use prometheus::TextEncoder;

use super::Metrics;

/// The instruments of one gateway. Clones share them.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    provider: SdkMeterProvider,
    text: prometheus::Registry,
    metrics: Metrics,
}

impl Registry {
    /// Instruments that are read as Prometheus text, and by this reader if there is one.
    pub fn new(
        resource: Resource,
        push: Option<PeriodicReader<MetricExporter>>,
    ) -> anyhow::Result<Self> {
        let text = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(text.clone())
            // All are of one scope.
            .scope_info_enabled(false)
            .build()?;
        let mut builder = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(exporter);
        if let Some(push) = push {
            builder = builder.with_reader(push);
        }
        let provider = builder.build();
        let metrics = Metrics::new(&provider.meter("easemob-gateway"));
        Ok(Self(Arc::new(Inner {
            provider,
            text,
            metrics,
        })))
    }

    /// The same, read as text alone, of a process without a name.
    pub fn unexported() -> anyhow::Result<Self> {
        Self::new(Resource::builder_empty().build(), None)
    }

    /// What is recorded.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// All of it as Prometheus text.
    pub fn text(&self) -> anyhow::Result<String> {
        Ok(TextEncoder::new().encode_to_string(&self.0.text.gather())?)
    }

    /// Pushes a last time, for at most this long. Blocks.
    pub fn shutdown(&self, limit: Duration) -> OTelSdkResult {
        self.0.provider.shutdown_with_timeout(limit)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
