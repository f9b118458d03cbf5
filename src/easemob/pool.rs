//! The connections to one app's host, and how they are made.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tokio_util::either::Either;

use super::{
    direct::{Direct, innermost},
    first_byte::NotedBody,
    tls,
};
use crate::app::App;

/// Idle connections are closed before Easemob might close them under our next request.
pub(super) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections kept a pool.
pub(super) const POOL_MAX_IDLE: usize = 32;
/// Unanswered TCP segments for this long break the connection.
pub(super) const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Who calls, as Easemob is told.
pub(super) const USER_AGENT: &str = concat!("easemob-gateway/", env!("CARGO_PKG_VERSION"));

/// Connections to one app's host.
#[derive(Debug)]
pub(super) struct Pool {
    client: reqwest::Client,
    /// For posts; none where a proxy is in between.
    direct: Option<Direct>,
    born: Instant,
    /// The certificate authorities that it trusts, where the settings name them.
    ca: Option<Arc<SecretString>>,
}

impl Pool {
    pub(super) fn new(app: &App, ca: Option<Arc<SecretString>>) -> Result<Self, &'static str> {
        if app.ca.is_some() && ca.is_none() {
            return Err("the gateway cannot read the certificate authorities for this app");
        }
        let pem = ca.as_deref().map(|ca| ca.expose_secret().as_bytes());
        let unusable = "the gateway cannot use its settings for this app";
        let tls = tls::config(pem).map_err(|_what| unusable)?;
        let direct = || Direct::new(tls.clone(), app.timeouts.connect);
        Ok(Self {
            direct: app.proxy_url.is_none().then(direct),
            client: client(app, tls).map_err(|_error| unusable)?,
            born: Instant::now(),
            ca,
        })
    }

    /// Whether it is young enough, and trusts just these.
    pub(super) fn serves(
        &self,
        ca: Option<&Arc<SecretString>>,
        age: Duration,
        now: Instant,
    ) -> bool {
        let trusts = self.ca.as_ref().map(Arc::as_ptr) == ca.map(Arc::as_ptr);
        trusts && now.saturating_duration_since(self.born) < age
    }

    /// Sends a request whose body is at hand. The head of the answer; else what went wrong, in words.
    // No `async fn`: that would have room for the request as well, and whatever holds it would be moved with it.
    pub(super) fn post(
        &self,
        request: Request<NotedBody>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, String>> {
        match &self.direct {
            Some(direct) => Either::Left(direct.request(request)),
            None => Either::Right(Box::pin(self.post_by_proxy(request))),
        }
    }

    async fn post_by_proxy(
        &self,
        request: Request<NotedBody>,
    ) -> Result<Response<AnswerBody>, String> {
        let request = request.map(reqwest::Body::wrap);
        let request = reqwest::Request::try_from(request).map_err(describe)?;
        Ok(answer(self.execute(request).await?))
    }

    /// Sends any other.
    pub(super) async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, String> {
        self.client.execute(request).await.map_err(describe)
    }
}

/// The same answer, as all have it.
pub(super) fn answer(response: reqwest::Response) -> Response<AnswerBody> {
    Response::from(response).map(AnswerBody::Other)
}

/// The body of an answer, whichever client it came through.
#[derive(Debug)]
pub(super) enum AnswerBody {
    Direct(hyper::body::Incoming),
    Other(reqwest::Body),
}

impl AnswerBody {
    /// The next bytes; none at the end. What went wrong, in words.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            let frame = match self {
                Self::Direct(body) => body.frame().await?.map_err(|error| told(&error)),
                Self::Other(body) => body.frame().await?.map_err(describe),
            };
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(_trailers)) => {}
                Err(what) => return Some(Err(what)),
            }
        }
    }
}

fn told(error: &dyn StdError) -> String {
    format!("connection lost: {}", innermost(error))
}

fn client(app: &App, tls: rustls::ClientConfig) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(app.timeouts.connect)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_MAX_IDLE)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .tcp_nodelay(true)
        // One stalled HTTP/2 connection would stall every call; HTTP/1.1 fails one at a time.
        .http1_only()
        // A redirect would carry the client secret and the message to wherever it points.
        .redirect(redirect::Policy::none())
        .referer(false)
        // A repeat is decided where its effect is known, never down here.
        .retry(reqwest::retry::never())
        // HTTP_PROXY in the environment is no decision of ours.
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .https_only(app.base_url.starts_with("https:"));
    if let Some(proxy) = &app.proxy_url {
        builder = builder.proxy(reqwest::Proxy::all(&proxy.0)?);
    }
    builder.build()
}

/// The innermost cause, which says most. Without the URL: it belongs to no error text.
fn describe(error: reqwest::Error) -> String {
    let kind = match () {
        () if error.is_dns() => "host name not found",
        () if error.is_connect() && error.is_timeout() => "no connection in time",
        () if error.is_connect() => "no connection",
        () => "connection lost",
    };
    let error = error.without_url();
    format!("{kind}: {}", innermost(&error))
}
