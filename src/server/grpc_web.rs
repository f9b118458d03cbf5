//! The `[server.grpc_web]` section, and what is special to connections of browsers: they speak HTTP/1.1.
//! What gRPC-Web is, and which pages may call, is in `grpc/web.rs`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader},
    sync::Semaphore,
};
use url::Url;

use super::config::{self, positive, within};
use crate::{grpc::Pages, invalid::Field};

/// gRPC-Web, for pages in browsers, on a port of its own. Left out: there is none.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of gRPC-Web over HTTP/1.1, with the same callers, bounds and TLS as the gRPC port.
    /// Put it behind what your users log in to. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "127.0.0.1:8081")]
    pub listen: Option<SocketAddr>,

    /// Origins of the pages that may call. There is no wildcard: a page of another origin would send with its
    /// reader's rights.
    #[schemars(example = ["https://console.acme.example"])]
    pub allowed_origins: Vec<String>,

    /// Connections served at once, apart from those of the gRPC port, so that browsers cannot take the
    /// places of services. A browser opens up to six.
    #[serde(deserialize_with = "within::<_, _, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,

    /// How long a connection may take to its next request's last header. Longer than a proxy in front keeps
    /// connections for later, or it will use one that is just being closed.
    #[serde(
        deserialize_with = "positive",
        serialize_with = "humantime_serde::serialize"
    )]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            allowed_origins: Vec::new(),
            max_connections: 256,
            idle_timeout: Duration::from_secs(75),
        }
    }
}

impl Config {
    /// Whether the origins are such as browsers tell.
    pub fn check(&self, field: Field<'_>) -> Option<()> {
        let origins = field.child("allowed_origins");
        if self.listen.is_some() && self.allowed_origins.is_empty() {
            return origins
                .refuse("names no page that may call: such as https://console.acme.example");
        }
        for (index, origin) in self.allowed_origins.iter().enumerate() {
            if !is_origin(origin) {
                origins.index(index).refuse::<()>(
                    "is not an origin, which is a scheme, a host and, unless it is the usual one, a port: \
                     https://console.acme.example",
                );
            }
        }
        Some(())
    }
}

/// Browsers tell an origin in one form only, and what is compared is text. A star could be in a host's name, but
/// who writes one means many hosts.
fn is_origin(text: &str) -> bool {
    let is_told = |url: Url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    };
    !text.contains('*') && Url::parse(text).is_ok_and(is_told)
}

/// What all connections of browsers go by.
#[derive(Debug)]
pub(super) struct Rules {
    /// A permit for each connection being served.
    pub(super) served: Arc<Semaphore>,
    pub(super) pages: Pages,
    pub(super) http: http1::Builder,
}

impl Rules {
    pub(super) fn new(config: &config::Config) -> Self {
        let (web, http2) = (&config.grpc_web, &config.http2);
        let origins = web.allowed_origins.iter();
        let header_bytes = http2.header_list_bytes.try_into().unwrap_or(usize::MAX);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(web.idle_timeout)
            .max_header_size(header_bytes)
            .max_buf_size(http2.send_buffer_bytes.max(header_bytes));
        Self {
            served: Arc::new(Semaphore::new(web.max_connections)),
            pages: Pages::new(origins.filter_map(|origin| HeaderValue::from_str(origin).ok())),
            http,
        }
    }
}

/// Waits for the first byte, and gives the connection back as if nothing had been read: who stays silent
/// takes no place of those who speak.
pub(super) async fn first_byte<IO>(io: IO) -> io::Result<BufReader<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut io = BufReader::with_capacity(1, io);
    if io.fill_buf().await?.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_tell_it() {
        for origin in [
            "https://console.acme.example",
            "http://localhost:5173",
            "http://127.0.0.1:8080",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "*",
            "null",
            "console.acme.example",
            "https://*.acme.example",
            "https://console.acme.example/",
            "https://console.acme.example:443",
            "https://Console.acme.example",
            "https://anna@console.acme.example",
            "file:///index.html",
            "",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }
}
