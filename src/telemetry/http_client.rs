//! The HTTP client of exporters. It works from any thread: its connections belong to the runtime on
//! which it was made.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use opentelemetry_http::{HttpError, Request, Response};
use tokio::runtime::Handle;

use super::otlp::{CONNECT_TIMEOUT, Pem};

/// Longest that an export may take, whatever the settings say.
const LONGEST: Duration = Duration::from_secs(120);
/// Largest answer in bytes. One that is taken in full is a few.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct HttpClient {
    client: reqwest::Client,
    runtime: Handle,
    headers: HeaderMap,
}

impl HttpClient {
    /// A client that trusts and shows these certificates, and adds these headers. Made on the
    /// runtime that is to run it.
    pub(super) fn new(pem: &Pem, headers: HeaderMap) -> anyhow::Result<Self> {
        // reqwest is built without a TLS provider of its own. An error means that there is one already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(LONGEST)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(ca) = &pem.ca {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(ca)?);
        }
        if let Some((cert, key)) = &pem.identity {
            let both = [cert.as_slice(), b"\n", key].concat();
            builder = builder.identity(reqwest::Identity::from_pem(&both)?);
        }
        Ok(Self {
            client: builder.build()?,
            runtime: Handle::try_current()?,
            headers,
        })
    }
}

#[tonic::async_trait]
impl opentelemetry_http::HttpClient for HttpClient {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().extend(self.headers.clone());
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let mut response = client.execute(request).await?;
            let mut body = BytesMut::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                    return Err(HttpError::from("the collector's answer is too long"));
                }
                body.extend_from_slice(&chunk);
            }
            let mut answer = Response::new(body.freeze());
            *answer.status_mut() = response.status();
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            Ok(answer)
        });
        sent.await?
    }
}
