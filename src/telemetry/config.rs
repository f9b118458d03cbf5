//! The `[telemetry]` section: what the process tells about itself, and to whom.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::{otlp, resource};
use crate::{invalid::Field, trace::Propagate};

/// What the process tells about itself. The standard variables of OpenTelemetry (`OTEL_*`) say what
/// these settings leave out.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Form of the log lines.
    pub log_format: LogFormat,
    /// What is logged: the least level, "error", "warn", "info", "debug" or "trace"; also module by
    /// module, as in "warn,easemob_gateway=debug".
    pub log_filter: String,
    /// Lines of a kind, by place in the code and reason, that are written within 10 s; the next one
    /// says how many were left out. Of the levels "info" and above; 0: all.
    pub log_repeats: u64,
    /// Where an OpenTelemetry collector listens: `http://127.0.0.1:4317`; https for TLS. Left out:
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, or no export.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"http://127.0.0.1:4317")]
    pub otlp_endpoint: Option<String>,
    /// How to speak to it. Left out: `OTEL_EXPORTER_OTLP_PROTOCOL`, or "grpc".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"grpc")]
    pub otlp_protocol: Option<Protocol>,
    /// File with headers for the collector, such as its API key: `name=value`, one a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/secrets/otlp-headers")]
    pub otlp_headers_file: Option<PathBuf>,
    /// Name of the environment variable that holds such headers, separated by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"COLLECTOR_HEADERS")]
    pub otlp_headers_env: Option<String>,
    /// Compression on the way. Left out: `OTEL_EXPORTER_OTLP_COMPRESSION`, or "none".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"gzip")]
    pub otlp_compression: Option<Compression>,
    /// PEM file of the only certificate authorities to trust. Left out:
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`, or the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/ssl/collector-ca.pem")]
    pub otlp_ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show. Left out: `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, or
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/tls/tls.crt")]
    pub otlp_cert_file: Option<PathBuf>,
    /// PEM file of its private key. Left out: `OTEL_EXPORTER_OTLP_CLIENT_KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/tls/tls.key")]
    pub otlp_key_file: Option<PathBuf>,
    /// Time for one export with its repeats. Left out: `OTEL_EXPORTER_OTLP_TIMEOUT`, or 10s.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", example = &"10s")]
    pub otlp_timeout: Option<Duration>,
    /// How often metrics are pushed. Left out: `OTEL_METRIC_EXPORT_INTERVAL`, or 60s.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", example = &"15s")]
    pub metrics_interval: Option<Duration>,
    /// Share of the traces that begin here and are recorded, from 0 to 1. A caller's own decision
    /// goes first. Left out: what `OTEL_TRACES_SAMPLER` says, or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.01)]
    pub sample_ratio: Option<f64>,
    /// Finished spans that wait for their export, at most; a span takes about 0.5 KiB. What comes on
    /// top is dropped and counted. Left out: `OTEL_BSP_MAX_QUEUE_SIZE`, or 8192.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), example = 8192)]
    pub span_queue: Option<usize>,
    /// Time for the last export when the process ends.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub flush_timeout: Duration,
    /// What Easemob is told of a trace with each call: nothing by default, since it is another
    /// company's system.
    pub trace_easemob: Propagate,
    /// Keys of the callers' baggage whose values are recorded on the span of the request, as
    /// `baggage.KEY`. Nothing else of it is read.
    #[schemars(example = ["tenant"])]
    pub baggage_keys: Vec<String>,
    /// Name of this service. Left out: `OTEL_SERVICE_NAME`, or "easemob-gateway".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"easemob-gateway")]
    pub service_name: Option<String>,
    /// What else describes this process, each as `name=value`; before those of
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    #[schemars(example = ["deployment.environment.name=production"])]
    pub resource_attributes: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            otlp_protocol: None,
            otlp_headers_file: None,
            otlp_headers_env: None,
            otlp_compression: None,
            otlp_ca_file: None,
            otlp_cert_file: None,
            otlp_key_file: None,
            otlp_timeout: None,
            metrics_interval: None,
            sample_ratio: None,
            span_queue: None,
            flush_timeout: Duration::from_secs(3),
            trace_easemob: Propagate::None,
            baggage_keys: Vec::new(),
            log_repeats: 10,
            service_name: None,
            resource_attributes: Vec::new(),
        }
    }
}

impl Config {
    /// Notes at `field` what telemetry cannot be started with. Files are read once here, so that
    /// one that is missing shows before the start.
    pub fn check(&self, field: Field<'_>) -> Option<()> {
        if let Err(error) = EnvFilter::try_new(&self.log_filter) {
            field
                .child("log_filter")
                .refuse::<()>(format!("is not a log filter: {error}"));
        }
        if self.sample_ratio.is_some_and(|r| !(0.0..=1.0).contains(&r)) {
            field
                .child("sample_ratio")
                .refuse::<()>("is not within 0 to 1");
        }
        if self
            .span_queue
            .is_some_and(|spans| !(1..=1_000_000).contains(&spans))
        {
            field
                .child("span_queue")
                .refuse::<()>("is not within 1 to 1000000");
        }
        if self.metrics_interval.is_some_and(|every| every.is_zero()) {
            let what = "must be longer than zero";
            field.child("metrics_interval").refuse::<()>(what);
        }
        resource::check(&self.resource_attributes, field);
        otlp::check(self, field)
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

/// How OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// gRPC; collectors listen on port 4317.
    Grpc,
    /// Protobuf over HTTP; collectors listen on port 4318.
    Http,
}

/// Compression of what is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is.
    None,
    /// Smaller, for more of our CPU.
    Gzip,
}
