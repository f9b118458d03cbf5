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
};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    files::{self, Files},
    message::{MESSAGE_ID, RECIPIENT},
    peer::{self, Peer},
};

/// Path of the page that tells how many sends there were.
const COUNT: &str = "/count";

const TOKEN: &str = r#"{"access_token":"YWMtbench","expires_in":5184000}"#;

/// Starts it in a process of its own.
pub(crate) fn start() -> anyhow::Result<Peer> {
    Peer::of_bench(&["--role=sink"], None)
}

/// Serves until the process is ended. On one thread: its share of a core tells how near it is to
/// being the bottleneck.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    peer::announce(listener.local_addr()?);
    let sent = Bytes::from(format!(
        r#"{{"path":"/messages/users","uri":"https://a1.easemob.com/acme/shop/messages/users","timestamp":1542601518137,"organization":"acme","application":"8be024f0-e978-11e8-b697-5d598d5f8402","action":"post","data":{{"{RECIPIENT}":"{MESSAGE_ID}"}},"duration":0,"applicationName":"shop"}}"#
    ));
    let count = Arc::new(AtomicU64::new(0));
    let files = Arc::new(Files::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (sent, count, files) = (sent.clone(), Arc::clone(&count), Arc::clone(&files));
        let service = service_fn(move |request| {
            answer(
                request,
                sent.clone(),
                Arc::clone(&count),
                Arc::clone(&files),
            )
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

async fn answer(
    request: Request<Incoming>,
    sent: Bytes,
    count: Arc<AtomicU64>,
    files: Arc<Files>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let is_post = request.method() == Method::POST;
    let is_send = is_post && path.ends_with("/messages/users");
    let has_token = request.headers().contains_key(header::AUTHORIZATION);
    if is_post && path.ends_with("/chatfiles") && has_token {
        return Ok(files.take(request).await);
    }
    let (status, body) = if is_send && has_token {
        count.fetch_add(1, Ordering::Relaxed);
        (StatusCode::OK, sent)
    } else if is_post && path.ends_with("/token") {
        (StatusCode::OK, Bytes::from_static(TOKEN.as_bytes()))
    } else if path == COUNT {
        let count = count.load(Ordering::Relaxed).to_string();
        (StatusCode::OK, Bytes::from(count))
    } else if let Some(word) = path.strip_prefix(files::PAGE) {
        (StatusCode::OK, Bytes::from(files.tell(word)))
    } else {
        (StatusCode::BAD_REQUEST, Bytes::new())
    };
    // To the end, as whoever stores the message has to.
    let _whole = request.into_body().collect().await;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
