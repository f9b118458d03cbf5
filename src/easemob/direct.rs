//! Posts that go through no proxy, by hyper's own client: the same that is inside of reqwest, whose
//! redirects, cookies and reading of URLs cost a send a tenth, and have no use here.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tower::Service;

use super::{
    first_byte::NotedBody,
    pool::{AnswerBody, POOL_IDLE_TIMEOUT, POOL_MAX_IDLE, TCP_USER_TIMEOUT},
};

/// Connections that posts go over.
#[derive(Debug)]
pub(super) struct Direct(Client<Connector, NotedBody>);

impl Direct {
    /// Connections that are made within this time.
    pub(super) fn new(tls: ClientConfig, connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            // The endpoint has it ready.
            .set_host(false)
            .build(Connector(Arc::new((https, connect_timeout))));
        Self(client)
    }

    /// The head of the answer. What went wrong, in words.
    pub(super) fn request(
        &self,
        request: Request<NotedBody>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, String>> + use<> {
        let response = self.0.request(request);
        async {
            let response = response.await.map_err(|error| describe(&error))?;
            Ok(response.map(AnswerBody::Direct))
        }
    }
}

/// Makes a connection: name, TCP and TLS, all within its time. Cheap to clone: the client does with
/// every request.
#[derive(Debug, Clone)]
struct Connector(Arc<(HttpsConnector<HttpConnector>, Duration)>);

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    // None of them is ever busy.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (mut https, limit) = (self.0.0.clone(), self.0.1);
        Box::pin(async move {
            match timeout(limit, https.call(to)).await {
                Ok(connected) => connected,
                Err(_elapsed) => Err(format!("not within {} s", limit.as_secs_f32()).into()),
            }
        })
    }
}

/// The innermost cause says most.
fn describe(error: &Error) -> String {
    let kind = match error.is_connect() {
        true => "no connection",
        false => "connection lost",
    };
    format!("{kind}: {}", innermost(error))
}

/// What an error comes from.
pub(super) fn innermost(error: &dyn StdError) -> &dyn StdError {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
