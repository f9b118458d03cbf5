//! What stands in Easemob's place: answers every token request and every send at once, with the same
//! bytes. It keeps count of the sends, so that a figure can show that each was made, and of the bytes
//! of files.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    files::{self, Files},
    message::MESSAGE_ID,
    peer::{self, Peer},
};

/// Path of the page that tells how many sends there were.
const COUNT: &str = "/count";

/// The answer to a send to one.
const SENT: &str = r#"{"path":"/messages/users","uri":"https://a1.easemob.com/acme/shop/messages/users","timestamp":1542601518137,"organization":"acme","application":"8be024f0-e978-11e8-b697-5d598d5f8402","action":"post","data":{"bob":"1029457500870543736"},"duration":0,"applicationName":"shop"}"#;

const TOKEN: &str = r#"{"access_token":"YWMtbench","expires_in":5184000}"#;

/// How sends are answered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Not before this has passed.
    pub(crate) delay: Duration,
    /// With an ID for each recipient of the request, which costs the sink a look at it.
    pub(crate) each: bool,
}

/// Starts it in a process of its own.
pub(crate) fn start() -> anyhow::Result<Peer> {
    start_with(Manner::default())
}

/// The same, for one that takes its time or answers for many.
pub(crate) fn start_with(manner: Manner) -> anyhow::Result<Peer> {
    let delay = manner.delay.as_millis().to_string();
    Peer::of_bench(&["--role=sink", &delay, &manner.each.to_string()], None)
}

/// What it knows.
#[derive(Debug)]
struct Sink {
    delay: Duration,
    each: bool,
    sent: AtomicU64,
    files: Files,
}

/// Serves until the process is ended. On one thread: its share of a core tells how near it is to
/// being the bottleneck.
pub(crate) async fn serve(delay: &str, each: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    peer::announce(listener.local_addr()?);
    let sink = Arc::new(Sink {
        delay: Duration::from_millis(delay.parse()?),
        each: each.parse()?,
        sent: AtomicU64::new(0),
        files: Files::default(),
    });
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let sink = Arc::clone(&sink);
        let service = service_fn(move |request| {
            let sink = Arc::clone(&sink);
            async move { Ok::<_, Infallible>(sink.answer(request).await) }
        });
        tokio::spawn(async move {
            // A client that closes its connection is no error.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

/// Sends that the sink at this address has answered.
pub(crate) async fn count(sink: SocketAddr) -> anyhow::Result<u64> {
    Ok(ask(sink, COUNT).await?.parse()?)
}

/// Reads one of the sink's own pages.
pub(crate) async fn ask(sink: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(sink).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {sink}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    socket.read_to_string(&mut response).await?;
    let (_, body) = response.split_once("\r\n\r\n").context("an odd answer")?;
    Ok(body.to_owned())
}

impl Sink {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let is_post = request.method() == Method::POST;
        let is_send = is_post && path.ends_with("/messages/users");
        let has_token = request.headers().contains_key(header::AUTHORIZATION);
        if is_post && path.ends_with("/chatfiles") && has_token {
            return self.files.take(request).await;
        }
        if is_send && has_token {
            self.sent.fetch_add(1, Ordering::Relaxed);
            return self.send(request).await;
        }
        let (status, body) = if is_post && path.ends_with("/token") {
            (StatusCode::OK, Bytes::from_static(TOKEN.as_bytes()))
        } else if path == COUNT {
            let sent = self.sent.load(Ordering::Relaxed).to_string();
            (StatusCode::OK, Bytes::from(sent))
        } else if let Some(word) = path.strip_prefix(files::PAGE) {
            (StatusCode::OK, Bytes::from(self.files.tell(word)))
        } else {
            (StatusCode::BAD_REQUEST, Bytes::new())
        };
        json(status, body)
    }

    async fn send(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // To the end, as whoever stores the message has to.
        let Ok(body) = request.into_body().collect().await else {
            return json(StatusCode::BAD_REQUEST, Bytes::new());
        };
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let answer = match self.each {
            false => Bytes::from_static(SENT.as_bytes()),
            true => match serde_json::from_slice(&body.to_bytes()) {
                Ok(message) => sent_to_each(&message).into(),
                Err(_) => return json(StatusCode::BAD_REQUEST, Bytes::new()),
            },
        };
        json(StatusCode::OK, answer)
    }
}

/// What there is of interest in a message.
#[derive(Debug, Deserialize)]
struct Sent<'m> {
    #[serde(borrow)]
    to: Vec<&'m str>,
}

fn sent_to_each(message: &Sent<'_>) -> String {
    let ids = message
        .to
        .iter()
        .map(|id| format!(r#""{id}":"{MESSAGE_ID}""#));
    let ids = ids.collect::<Vec<_>>().join(",");
    format!(r#"{{"action":"post","data":{{{ids}}},"timestamp":1542601518137,"duration":0}}"#)
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
