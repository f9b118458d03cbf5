//! The exporter of spans. The library's own takes spans apart and puts them together again three times; ours
//! puts the head of a request in front of what the queue holds.

use std::{
    error::Error,
    io::{self, Write as _},
    time::Duration,
};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::{StatusCode, header};
use opentelemetry_http::HttpClient as _;
use opentelemetry_proto::{
    tonic::{
        collector::trace::v1::ExportTraceServiceResponse,
        common::v1::InstrumentationScope,
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans},
    },
    transform::common::tonic::ResourceAttributesWithSchema,
};
use prost::{Message, encoding::encoded_len_varint};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code, Extensions, Status,
    client::Grpc,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::{
    Compression, Config, Protocol,
    http_client::HttpClient,
    otlp::{CONNECT_TIMEOUT, Signal, Way},
};
use crate::trace::{Batch, Fate};

/// How often an export is repeated.
const REPEATS: u32 = 3;
/// The pause before the first repeat; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

const METHOD: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");

/// `ExportTraceServiceRequest`, with a message in it that is bytes already.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(bytes = "bytes", tag = "1")]
    resource_spans: Bytes,
}

/// Takes spans to the collector.
pub(super) struct SpanExporter {
    transport: Transport,
    timeout: Duration,
    /// What stands before the spans of every request: `ResourceSpans` and `ScopeSpans` without them.
    resource: Vec<u8>,
    scope: Vec<u8>,
}

enum Transport {
    Grpc(Grpc<Channel>, MetadataMap),
    Http {
        client: HttpClient,
        url: String,
        gzip: bool,
    },
}

/// Why spans did not get there.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fate: Fate,
    /// In words, and none of the collector's: it may quote what it was sent.
    pub(super) cause: String,
    /// Whether it may go better the next time, and how long the collector wants to be left alone.
    again: Option<Duration>,
}

impl SpanExporter {
    /// An exporter that speaks for this resource. Must be built on the runtime that is to run its
    /// connections.
    pub(super) fn new(
        config: &Config,
        resource: &opentelemetry_sdk::Resource,
    ) -> anyhow::Result<Self> {
        let way = Way::new(config, Signal::Traces)?;
        let resource = ResourceAttributesWithSchema::from(resource);
        let resource = ResourceSpans {
            resource: Some(Resource {
                attributes: resource.attributes.0,
                ..Resource::default()
            }),
            schema_url: resource.schema_url.unwrap_or_default(),
            ..ResourceSpans::default()
        };
        let scope = ScopeSpans {
            scope: Some(InstrumentationScope {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            ..ScopeSpans::default()
        };
        Ok(Self {
            timeout: way.timeout,
            transport: Transport::new(way)?,
            resource: resource.encode_to_vec(),
            scope: scope.encode_to_vec(),
        })
    }

    /// Exports these spans, with repeats where they may help, and tells how many the collector did not
    /// want.
    pub(super) async fn export(&self, batch: &Batch) -> Result<usize, Failure> {
        let request = self.request(&batch.bytes);
        let until = Instant::now() + self.timeout;
        let mut pause = PAUSE;
        for repeats in 0.. {
            let attempt = timeout_at(until, self.transport.send(&request)).await;
            let failure = match attempt {
                Ok(Ok(response)) => return Ok(rejected(&response)),
                Ok(Err(failure)) => failure,
                Err(_elapsed) => break,
            };
            let Some(wanted) = failure.again.filter(|_| repeats < REPEATS) else {
                return Err(failure);
            };
            let wait = wanted.max(pause.mul_f64(1.0 + fastrand::f64()));
            if wait >= until.saturating_duration_since(Instant::now()) {
                return Err(failure);
            }
            sleep(wait).await;
            pause *= 2;
        }
        Err(Failure {
            fate: Fate::TimedOut,
            cause: format!("no answer within {:?}", self.timeout),
            again: None,
        })
    }

    /// Puts their heads before the spans.
    fn request(&self, spans: &[u8]) -> Request {
        const SCOPE_SPANS: u8 = 2 << 3 | 2;
        let length = self.scope.len() + spans.len();
        let head = 1 + encoded_len_varint(length as u64);
        let mut bytes = Vec::with_capacity(self.resource.len() + head + length);
        bytes.extend_from_slice(&self.resource);
        bytes.push(SCOPE_SPANS);
        prost::encoding::encode_varint(length as u64, &mut bytes);
        bytes.extend_from_slice(&self.scope);
        bytes.extend_from_slice(spans);
        Request {
            resource_spans: bytes.into(),
        }
    }
}

fn rejected(response: &ExportTraceServiceResponse) -> usize {
    let rejected = response.partial_success.as_ref();
    rejected.map_or(0, |partial| {
        usize::try_from(partial.rejected_spans).unwrap_or(0)
    })
}

impl Transport {
    fn new(way: Way) -> anyhow::Result<Self> {
        let gzip = way.compression == Compression::Gzip;
        let headers = way.all_headers();
        match way.protocol {
            Protocol::Grpc => {
                let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
                let mut endpoint = Endpoint::from_shared(way.endpoint.clone())?
                    .connect_timeout(CONNECT_TIMEOUT)
                    .user_agent(agent)?;
                if let Some(tls) = way.tls_for_grpc() {
                    endpoint = endpoint.tls_config(tls)?;
                }
                let mut client = Grpc::new(endpoint.connect_lazy());
                if gzip {
                    // A collector answers in kind.
                    client = client
                        .send_compressed(CompressionEncoding::Gzip)
                        .accept_compressed(CompressionEncoding::Gzip);
                }
                Ok(Self::Grpc(client, MetadataMap::from_headers(headers)))
            }
            Protocol::Http => Ok(Self::Http {
                client: HttpClient::new(&way.pem, headers)?,
                url: way.endpoint,
                gzip,
            }),
        }
    }

    async fn send(&self, request: &Request) -> Result<ExportTraceServiceResponse, Failure> {
        match self {
            Self::Grpc(client, metadata) => {
                let mut client = client.clone();
                client.ready().await.map_err(|error| unreached(&error))?;
                let request = tonic::Request::from_parts(
                    metadata.clone(),
                    Extensions::default(),
                    request.clone(),
                );
                let codec = tonic_prost::ProstCodec::default();
                let response = client.unary(request, METHOD, codec).await;
                Ok(response.map_err(|status| refused(&status))?.into_inner())
            }
            Self::Http { client, url, gzip } => post(client, url, request, *gzip).await,
        }
    }
}

async fn post(
    client: &HttpClient,
    url: &str,
    request: &Request,
    gzip: bool,
) -> Result<ExportTraceServiceResponse, Failure> {
    let mut body = request.encode_to_vec();
    let mut post = http::Request::post(url).header(header::CONTENT_TYPE, "application/x-protobuf");
    if gzip {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        body = encoder
            .write_all(&body)
            .and_then(|()| encoder.finish())
            .map_err(|error| unreached(&error))?;
        post = post.header(header::CONTENT_ENCODING, "gzip");
    }
    let post = post.body(body.into()).map_err(|error| unreached(&error))?;
    let response = client.send_bytes(post).await;
    let response = response.map_err(|error| unreached(&*error))?;
    let status = response.status();
    if status == StatusCode::OK {
        // An answer that cannot be read says at least that it was taken.
        return Ok(Message::decode(response.body().clone()).unwrap_or_default());
    }
    let seconds = || {
        let told = response.headers().get(header::RETRY_AFTER)?;
        told.to_str().ok()?.parse().ok().map(Duration::from_secs)
    };
    Err(Failure {
        fate: Fate::Rejected,
        cause: format!("the collector answered {}", status.as_u16()),
        again: match status.as_u16() {
            429 | 502..=504 => Some(seconds().unwrap_or_default()),
            _ => None,
        },
    })
}

/// What an answer over gRPC says; or, where there was none, why.
fn refused(status: &Status) -> Failure {
    if let Some(source) = status.source() {
        return unreached(source);
    }
    let wanted = status.get_details_retry_info();
    let wanted = wanted.and_then(|info| info.retry_delay);
    Failure {
        fate: Fate::Rejected,
        cause: format!("the collector answered {:?}", status.code()),
        again: match status.code() {
            Code::ResourceExhausted => wanted,
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Some(wanted.unwrap_or_default()),
            _ => None,
        },
    }
}

/// Its innermost cause says most; but what HTTP says may be in the collector's words.
fn unreached(error: &(dyn Error + 'static)) -> Failure {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let is_ours = cause.is::<io::Error>() || cause.is::<rustls::Error>();
    Failure {
        fate: Fate::Unreachable,
        cause: if is_ours {
            cause.to_string()
        } else {
            "the connection broke".to_owned()
        },
        again: Some(Duration::ZERO),
    }
}
