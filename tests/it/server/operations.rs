//! The operations port: the pages, also while starting and draining, and for nobody too much.

use std::{net::SocketAddr, sync::mpsc};

use easemob_gateway::{
    metrics::Registry,
    server::{Listener, Readiness, Shard, serve},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::support::{
    http2::{Connection, headers, kind},
    server::{HOLD, Server, config},
    soon,
};

/// Status and body of a page.
async fn get(server: SocketAddr, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("a page", socket.read_to_string(&mut answer))
        .await
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

fn page(status: &str, body: &str) -> (String, String) {
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_pages_follow_the_life_of_the_process() {
    let listener = Listener::bind(&config()).await.unwrap();
    let (grpc, operations) = (
        listener.local_addr().unwrap(),
        listener.operations_addr().unwrap(),
    );
    let (build, to_build) = mpsc::channel::<()>();
    let to_build = std::sync::Mutex::new(to_build);
    let factory = move |_: &Shard| {
        // Until the test lets go.
        let _ = to_build.lock().unwrap().recv();
        Ok(Routes::new(Readiness::new().health_service()))
    };
    let shutdown = CancellationToken::new();
    let server = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let (readiness, registry) = (Readiness::new(), Registry::unexported()?);
            serve(
                listener,
                &config(),
                &readiness,
                &registry,
                factory,
                shutdown,
            )
            .await
        }
    });
    assert_eq!(get(operations, "/readyz").await, page("503", "starting\n"));
    assert_eq!(get(operations, "/livez").await, page("200", "alive\n"));

    drop(build);
    let mut caller = Connection::open(grpc).await;
    soon("a round trip", caller.round_trip()).await.unwrap();
    assert_eq!(get(operations, "/readyz").await, page("200", "ready\n"));
    shutdown.cancel();
    soon("the end of the connection", caller.rest()).await;
    soon("the end", server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_draining_process_is_alive_and_not_ready() {
    let server = Server::start(config()).await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    server.notes.running(1).await;
    server.shutdown.cancel();
    soon("GOAWAY", caller.next_of(kind::GOAWAY)).await.unwrap();

    assert_eq!(
        get(server.operations, "/readyz").await,
        page("503", "draining\n")
    );
    assert_eq!(
        get(server.operations, "/livez").await,
        page("200", "alive\n")
    );
    server.notes.release.notify_one();
    tokio::join!(server.stop(), caller.rest());
}

#[tokio::test]
async fn another_page_is_not_found_and_the_answer_lists_those_there_are() {
    let server = Server::start(config()).await;
    let (status, body) = get(server.operations, "/health").await;
    assert_eq!(status, "404");
    for path in ["/health", "/livez", "/readyz"] {
        assert!(body.contains(path), "{body}");
    }
}

#[tokio::test]
async fn silent_peers_do_not_keep_a_probe_out() {
    let server = Server::start(config()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.operations).await.unwrap());
    }
    assert_eq!(
        get(server.operations, "/livez").await,
        page("200", "alive\n")
    );
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let server = Server::start(config()).await;
    let mut socket = TcpStream::connect(server.operations).await.unwrap();
    let request = b"POST /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = String::new();
    soon("an answer", socket.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}
