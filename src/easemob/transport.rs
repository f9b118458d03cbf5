//! One call: a request out, an answer in. The only file that sends to Easemob, and that knows the first
//! byte.

use std::{error::Error as StdError, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body;
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use super::{
    endpoint::{Attempt, Endpoint},
    error::{self, Error, Kind},
    first_byte::{FirstByte, NotedBody},
    pool::{AnswerBody, Pool, USER_AGENT, answer},
};
use crate::app::{App, Outside};

/// Largest answer in bytes.
const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// Connections to one app's host.
#[derive(Debug)]
pub(super) struct Transport {
    app: Arc<App>,
    /// None while none can be made: the certificates that the settings name may be missing.
    pool: ArcSwapOption<Pool>,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// When the other side sent it, by its own clock.
    pub(super) date: Option<HeaderValue>,
    pub(super) body: Bytes,
}

/// A call without a complete answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// What happened, in words.
    pub(super) what: String,
    /// The status, where the answer began before it broke.
    pub(super) http_status: Option<u16>,
}

/// A request to send.
pub(super) struct Call<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) json: Vec<u8>,
    pub(super) first_byte: FirstByte,
    /// Now: whoever calls has just looked.
    pub(super) began: Instant,
    /// Time for the whole call.
    pub(super) timeout: Duration,
}

impl Transport {
    /// A pool of connections for one app. Connections belong to the runtime that first uses them.
    pub(super) fn new(app: &Arc<App>) -> Self {
        let transport = Self {
            app: Arc::clone(app),
            pool: ArcSwapOption::empty(),
        };
        // Here, so that no call has to wait for it. A failure is logged, and calls try anew.
        let _pool = transport.pool(Instant::now());
        transport
    }

    /// Sends the call and reads its answer to the end.
    pub(super) async fn post(&self, call: Call<'_>) -> Result<Reply, Broken> {
        let (began, timeout) = (call.began, call.timeout);
        let mut attempt = Attempt::begin(call.endpoint);
        // Out of the call before anything is waited for: what is held meanwhile is moved about with all that holds it.
        let request = request(call, &attempt);
        let posted = {
            // Pinned here: it is large, and a timer would move it about.
            let posted = pin!(self.post_untimed(request, began));
            timeout_at(began + timeout, posted).await
        };
        match posted {
            Ok(Ok(reply)) => {
                attempt.answered(reply.status);
                Ok(reply)
            }
            Ok(Err(broken)) => {
                attempt.broken("connection", broken.http_status);
                Err(broken)
            }
            Err(_elapsed) => {
                attempt.broken("timeout", None);
                // In milliseconds at the most: it may be what was left of a longer time.
                let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                let seconds = Duration::from_millis(ms).as_secs_f32();
                Err(Broken {
                    what: format!("no answer within {seconds} s"),
                    http_status: None,
                })
            }
        }
    }

    async fn post_untimed(
        &self,
        request: Request<NotedBody>,
        began: Instant,
    ) -> Result<Reply, Broken> {
        let broken = |what| Broken {
            what,
            http_status: None,
        };
        let pool = self.pool(began).map_err(broken)?;
        let response = pool.post(request).await.map_err(broken)?;
        read(response).await
    }

    /// Sends an upload and reads its answer to the end. Its time limits are the caller's: what takes
    /// long and makes progress is no failure.
    pub(super) async fn upload<B>(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        body: B,
    ) -> Result<Reply, String>
    where
        B: Body<Data = Bytes, Error: StdError + Send + Sync> + Send + Sync + 'static,
    {
        let mut attempt = Attempt::begin(endpoint);
        let mut request = reqwest::Request::new(http::Method::POST, endpoint.url.clone());
        *request.headers_mut() = headers;
        attempt.inject(request.headers_mut());
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let uploaded = async {
            let response = self.execute(request).await?;
            read(answer(response)).await.map_err(|broken| broken.what)
        };
        let uploaded = uploaded.await;
        match &uploaded {
            Ok(reply) => attempt.answered(reply.status),
            Err(_) => attempt.broken("connection", None),
        }
        uploaded
    }

    /// Opens a download: its head has arrived within the time, and says that the bytes follow.
    pub(super) async fn download(
        &self,
        endpoint: &Endpoint,
        url: Url,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<reqwest::Response, Error> {
        let unreachable =
            |what| Error::new(Kind::Unreachable, what).with_retry_after(Duration::from_secs(1));
        let mut attempt = Attempt::begin(endpoint);
        let mut request = reqwest::Request::new(http::Method::GET, url);
        *request.headers_mut() = headers;
        attempt.inject(request.headers_mut());
        let opened = async {
            let response = self.execute(request).await?;
            match response.status().as_u16() {
                200 => Ok(Ok(response)),
                _ => Ok(Err(read(answer(response))
                    .await
                    .map_err(|broken| broken.what)?)),
            }
        };
        match tokio::time::timeout(timeout, opened).await {
            Ok(Ok(Ok(response))) => {
                attempt.answered(response.status().as_u16());
                Ok(response)
            }
            Ok(Ok(Err(reply))) => {
                attempt.answered(reply.status);
                Err(error::of_download(&reply))
            }
            Ok(Err(what)) => {
                attempt.broken("connection", None);
                Err(unreachable(what))
            }
            Err(_elapsed) => {
                attempt.broken("timeout", None);
                let seconds = timeout.as_secs_f32();
                Err(unreachable(format!("no answer within {seconds} s")))
            }
        }
    }

    async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, String> {
        self.pool(Instant::now())?.execute(request).await
    }

    /// Made anew from time to time: it gives a connection no age, and a busy one would never learn that
    /// DNS has changed.
    fn pool(&self, now: Instant) -> Result<Arc<Pool>, String> {
        let ca = self.app.ca.as_ref().and_then(Outside::get);
        let pool = self.pool.load();
        if let Some(pool) = &*pool
            && pool.serves(ca.as_ref(), self.app.connection_age, now)
        {
            return Ok(Arc::clone(pool));
        }
        // Calls in flight keep the old pool alive until they end.
        match Pool::new(&self.app, ca) {
            Ok(new) => {
                let new = Arc::new(new);
                self.pool.store(Some(Arc::clone(&new)));
                Ok(new)
            }
            Err(what) => {
                tracing::warn!(
                    app = &*self.app.name,
                    "no new connections to Easemob: {what}"
                );
                match &*pool {
                    Some(pool) => Ok(Arc::clone(pool)),
                    None => Err(format!("no connection: {what}")),
                }
            }
        }
    }
}

/// The request of a call.
fn request(call: Call<'_>, attempt: &Attempt) -> Request<NotedBody> {
    let mut request = Request::new(NotedBody::new(Bytes::from(call.json), call.first_byte));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = call.endpoint.uri.clone();
    let headers = request.headers_mut();
    // As many as there may be, at once.
    headers.reserve(8);
    headers.insert(header::HOST, call.endpoint.host.clone());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if let Some(authorization) = call.authorization {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    attempt.inject(headers);
    request
}

/// Reads an answer to its end, up to its limit.
async fn read(response: Response<AnswerBody>) -> Result<Reply, Broken> {
    let (mut head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    let broken = |what| Broken {
        what,
        http_status: Some(status),
    };
    let mut read = Bytes::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|what| broken(format!("the answer broke off: {what}")))?;
        if read.len() + chunk.len() > MAX_REPLY_BYTES {
            return Err(broken("the answer is larger than 1 MiB".to_owned()));
        }
        // Most answers come in one piece.
        read = match read.is_empty() {
            true => chunk,
            false => {
                let mut longer = BytesMut::from(read);
                longer.extend_from_slice(&chunk);
                longer.freeze()
            }
        };
    }
    Ok(Reply {
        status,
        retry_after: retry_after(&head.headers),
        date: head.headers.remove(header::DATE),
        body: read,
    })
}

/// Easemob documents no such header; a proxy in front of it may send it. In seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.min(3_600)))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{app, invalid::Violations, message::Kind};

    /// Answers everything, and keeps connections open. Tells of each new one.
    async fn server() -> (String, tokio::sync::mpsc::UnboundedReceiver<()>) {
        let (connected, connections) = tokio::sync::mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                connected.send(()).unwrap();
                tokio::spawn(async move {
                    let mut bytes = [0; 4_096];
                    while socket.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                        socket.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        (url, connections)
    }

    /// Connections that so many calls take, one after the other.
    async fn connections(calls: usize, age: Duration) -> usize {
        let (url, mut connections) = server().await;
        let config = app::Config {
            base_url: url,
            org_name: Some("o".into()),
            app_name: Some("a".into()),
            client_id: "id".into(),
            client_secret: Some("secret".into()),
            ..app::Config::default()
        };
        let mut app = App::new("shop", &config, Violations::default().root()).unwrap();
        app.connection_age = age;
        let endpoint = Endpoint::send(&app, Kind::Users).unwrap();
        let transport = Transport::new(&Arc::new(app));
        for _ in 0..calls {
            let call = Call {
                endpoint: &endpoint,
                authorization: None,
                json: b"{}".to_vec(),
                first_byte: FirstByte::default(),
                began: Instant::now(),
                timeout: Duration::from_secs(10),
            };
            assert_eq!(transport.post(call).await.unwrap().status, 200);
        }
        let mut count = 0;
        while connections.try_recv().is_ok() {
            count += 1;
        }
        count
    }

    #[tokio::test]
    async fn a_busy_pool_is_made_anew_after_its_time_so_that_a_new_address_is_found() {
        assert_eq!(connections(5, Duration::from_secs(600)).await, 1);
        assert_eq!(connections(5, Duration::ZERO).await, 5);
    }
}
