//! The way to the collector: one set of settings for all signals, and an exporter for each.
//!
//! What the settings say goes first, then the standard variables (`OTEL_EXPORTER_OTLP_*`, the one of
//! the signal before the general one), then our defaults.

use std::{env, fs, path::Path, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_otlp::{
    self as otlp, MetricExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use percent_encoding::percent_decode_str;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{Compression, Config, Protocol, http_client::HttpClient};
use crate::invalid::{Field, Violations};

/// Time for a connection to the collector.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is exported, and the word for it in variables and paths.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// Where it goes, over HTTP.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }

    /// A standard variable: the one of the signal, or the one for all.
    fn variable(self, name: &str) -> Option<String> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{name}", self.word());
        variable(&own).or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }
}

/// Whether this signal is exported at all.
pub(super) fn is_on(config: &Config, signal: Signal) -> bool {
    let off = variable("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"))
        || variable(&format!("OTEL_{}_EXPORTER", signal.word())).is_some_and(|v| v == "none");
    !off && (config.otlp_endpoint.is_some() || signal.variable("ENDPOINT").is_some())
}

/// Where traces are exported to, and how; none where they are not.
pub fn collector(config: &Config) -> Option<(String, Protocol)> {
    let signal = Signal::Traces;
    if !is_on(config, signal) {
        return None;
    }
    let endpoint = config.otlp_endpoint.clone();
    let endpoint = endpoint.or_else(|| signal.variable("ENDPOINT"))?;
    Some((endpoint, protocol(config, signal)))
}

/// Where it goes, whole.
fn endpoint(config: &Config, signal: Signal, protocol: Protocol) -> String {
    let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.word());
    let is_whole = config.otlp_endpoint.is_none() && variable(&own).is_some();
    let url = config.otlp_endpoint.clone();
    let url = url.or_else(|| signal.variable("ENDPOINT"));
    let url = url.unwrap_or_default();
    match protocol {
        Protocol::Http if is_whole => url,
        Protocol::Http => format!("{}/{}", url.trim_end_matches('/'), signal.path()),
        Protocol::Grpc if url.contains("://") => url,
        Protocol::Grpc => {
            let plain = signal.variable("INSECURE");
            let plain = plain.is_some_and(|plain| plain.eq_ignore_ascii_case("true"));
            format!("{}://{url}", if plain { "http" } else { "https" })
        }
    }
}

fn compression(config: &Config, signal: Signal) -> Compression {
    let variable = || signal.variable("COMPRESSION");
    config
        .otlp_compression
        .unwrap_or_else(|| match variable().as_deref() {
            Some("gzip") => Compression::Gzip,
            _ => Compression::None,
        })
}

fn timeout(config: &Config, signal: Signal) -> Duration {
    let variable = || {
        let ms = signal.variable("TIMEOUT")?.trim().parse().ok()?;
        Some(Duration::from_millis(ms))
    };
    let timeout = config.otlp_timeout.or_else(variable);
    timeout.unwrap_or(Duration::from_secs(10))
}

fn protocol(config: &Config, signal: Signal) -> Protocol {
    let variable = || signal.variable("PROTOCOL");
    config
        .otlp_protocol
        .unwrap_or_else(|| match variable().as_deref() {
            Some("http/protobuf" | "http/json") => Protocol::Http,
            _ => Protocol::Grpc,
        })
}

/// Share of the traces that begin here and are recorded.
pub(super) fn sample_ratio(config: &Config) -> f64 {
    let argument = || variable("OTEL_TRACES_SAMPLER_ARG")?.trim().parse().ok();
    config.sample_ratio.unwrap_or_else(|| {
        // A caller's decision goes first whichever of them it is.
        match variable("OTEL_TRACES_SAMPLER").as_deref() {
            Some("always_off" | "parentbased_always_off") => 0.0,
            Some("traceidratio" | "parentbased_traceidratio") => argument().unwrap_or(1.0),
            _ => 1.0,
        }
    })
}

/// Finished spans that wait, at most.
pub(super) fn span_queue(config: &Config) -> usize {
    let variable = || variable("OTEL_BSP_MAX_QUEUE_SIZE")?.trim().parse().ok();
    config.span_queue.or_else(variable).unwrap_or(8192)
}

/// How long spans wait for others to go with them. Shorter than elsewhere: whoever looks for a trace
/// has just made it.
pub(super) fn span_delay() -> Duration {
    let variable = variable("OTEL_BSP_SCHEDULE_DELAY").and_then(|ms| ms.trim().parse().ok());
    Duration::from_millis(variable.unwrap_or(1_000))
}

/// The exporter of metrics. Must be built on the runtime that is to run its connections.
pub(super) fn metric_exporter(config: &Config) -> anyhow::Result<MetricExporter> {
    let way = Way::new(config, Signal::Metrics)?;
    let builder = MetricExporter::builder();
    Ok(match way.protocol {
        Protocol::Grpc => way.grpc(builder.with_tonic()).build()?,
        Protocol::Http => way.http(builder.with_http())?.build()?,
    })
}

/// Notes at `field` what no exporter can be built with.
pub(super) fn check(config: &Config, field: Field<'_>) -> Option<()> {
    if let Some(endpoint) = &config.otlp_endpoint {
        let url = reqwest::Url::parse(endpoint).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            let what = "is no URL of a collector: it looks like http://127.0.0.1:4317";
            field.child("otlp_endpoint").refuse::<()>(what);
        }
    }
    let _headers = headers(config, field);
    Pem::read(config, Signal::Traces, field).map(drop)
}

/// The settings for one signal, resolved.
pub(super) struct Way {
    pub(super) endpoint: String,
    pub(super) protocol: Protocol,
    pub(super) compression: Compression,
    pub(super) timeout: Duration,
    pub(super) pem: Pem,
    /// Those of the settings.
    headers: HeaderMap,
    signal: Signal,
}

impl Way {
    pub(super) fn new(config: &Config, signal: Signal) -> anyhow::Result<Self> {
        let violations = Violations::default();
        let field = violations.root();
        let protocol = protocol(config, signal);
        let way = Self {
            endpoint: endpoint(config, signal, protocol),
            protocol,
            headers: headers(config, field).unwrap_or_default(),
            compression: compression(config, signal),
            pem: Pem::read(config, signal, field).unwrap_or_default(),
            timeout: timeout(config, signal),
            signal,
        };
        match violations.into_vec().first() {
            None => Ok(way),
            Some(violation) => anyhow::bail!("telemetry.{violation}"),
        }
    }

    /// The headers of the settings, and those of the variables that they leave.
    pub(super) fn all_headers(&self) -> HeaderMap {
        let text = self.signal.variable("HEADERS").unwrap_or_default();
        let lines = text.split(',').map(str::trim);
        let mut headers: HeaderMap = lines.filter_map(encoded_header).collect();
        headers.extend(self.headers.clone());
        headers
    }

    /// How to trust it, where it is to be encrypted.
    pub(super) fn tls_for_grpc(&self) -> Option<ClientTlsConfig> {
        let scheme = self.endpoint.split(':').next()?;
        scheme
            .eq_ignore_ascii_case("https")
            .then(|| self.pem.for_grpc())
    }

    fn common<B: WithExportConfig>(&self, builder: B) -> B {
        builder
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout)
    }

    fn grpc<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        let headers = self.headers.clone();
        let mut builder = self
            .common(builder)
            .with_protocol(otlp::Protocol::Grpc)
            // After the library's own, which come from the variables.
            .with_interceptor(move |mut request: tonic::Request<()>| {
                let metadata = std::mem::take(request.metadata_mut());
                let mut all = metadata.into_headers();
                all.extend(headers.clone());
                *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(all);
                Ok(request)
            });
        if self.compression == Compression::Gzip {
            builder = builder.with_compression(otlp::Compression::Gzip);
        }
        if let Some(tls) = self.tls_for_grpc() {
            builder = builder.with_tls_config(tls);
        }
        builder
    }

    fn http<B: WithExportConfig + WithHttpConfig>(&self, builder: B) -> anyhow::Result<B> {
        let client = HttpClient::new(&self.pem, self.headers.clone())?;
        let mut builder = self
            .common(builder)
            .with_protocol(otlp::Protocol::HttpBinary)
            .with_http_client(client);
        if self.compression == Compression::Gzip {
            builder = builder.with_compression(otlp::Compression::Gzip);
        }
        Ok(builder)
    }
}

/// Certificates and key, as the files have them.
#[derive(Default)]
pub(super) struct Pem {
    pub(super) ca: Option<Vec<u8>>,
    /// Certificate, and its key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    fn read(config: &Config, signal: Signal, field: Field<'_>) -> Option<Self> {
        let read = |path: &Option<std::path::PathBuf>, key: &str, name: &str| match path {
            Some(path) => read(path, field.child(key)),
            None => match signal.variable(name) {
                Some(path) => read(Path::new(&path), field.child(key)),
                None => Some(None),
            },
        };
        let ca = read(&config.otlp_ca_file, "otlp_ca_file", "CERTIFICATE");
        let cert = read(
            &config.otlp_cert_file,
            "otlp_cert_file",
            "CLIENT_CERTIFICATE",
        );
        let key = read(&config.otlp_key_file, "otlp_key_file", "CLIENT_KEY");
        let identity = match (cert?, key?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => field
                .child("otlp_key_file")
                .refuse("is required where otlp_cert_file is given")?,
            (None, Some(_)) => field
                .child("otlp_cert_file")
                .refuse("is required where otlp_key_file is given")?,
        };
        Some(Self { ca: ca?, identity })
    }

    fn for_grpc(&self) -> ClientTlsConfig {
        let tls = match &self.ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        match &self.identity {
            Some((cert, key)) => tls.identity(Identity::from_pem(cert, key)),
            None => tls,
        }
    }
}

fn read(path: &Path, field: Field<'_>) -> Option<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(pem) => Some(Some(pem)),
        Err(error) => field.refuse(format!("cannot be read: {error}")),
    }
}

/// The headers of file and variable. Their values are secret.
fn headers(config: &Config, field: Field<'_>) -> Option<HeaderMap> {
    let (text, field) = match (&config.otlp_headers_file, &config.otlp_headers_env) {
        (None, None) => return Some(HeaderMap::new()),
        (Some(path), None) => {
            let field = field.child("otlp_headers_file");
            let text = read(path, field)??;
            (
                String::from_utf8_lossy(&text).replace(['\n', '\r'], ","),
                field,
            )
        }
        (None, Some(name)) => {
            let field = field.child("otlp_headers_env");
            match variable(name) {
                Some(text) => (text, field),
                None => return field.refuse("names a variable that is not set"),
            }
        }
        (Some(_), Some(_)) => {
            let what = "is given beside otlp_headers_file: one of them is enough";
            return field.child("otlp_headers_env").refuse(what);
        }
    };
    let lines = text.split(',').map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .try_fold(HeaderMap::new(), |mut headers, line| match header(line) {
            Some((name, value)) => {
                headers.insert(name, value);
                Some(headers)
            }
            None => field.refuse("holds something that is not of the form name=value"),
        })
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once('=')?;
    let name = HeaderName::try_from(name.trim()).ok()?;
    let mut value = HeaderValue::try_from(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// One of a variable: its value may be percent-encoded. What is none is left out.
fn encoded_header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    header(&format!("{name}={value}"))
}

/// A variable of the environment. One that is empty counts as not set, as OpenTelemetry has it.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
