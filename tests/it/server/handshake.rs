//! Connections before they are served: silent ones, slow ones, and those who speak another language.

use std::{net::SocketAddr, time::Duration};

use easemob_gateway::server::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{
    http2::{Connection, PREFACE},
    process::allow_files,
    server::{ECHO, HOLD, Server, config},
    soon, within,
};

/// Time enough for the machine to be busy, and short enough to wait for.
const TIMEOUT: Duration = Duration::from_millis(500);

/// A TLS 1.2 ClientHello as far as its length.
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

async fn start() -> Server {
    Server::start(Config {
        handshake_timeout: TIMEOUT,
        ..config()
    })
    .await
}

/// Connects, says `words`, and waits until the server closes: all that it said.
async fn say(server: SocketAddr, words: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(words).await.unwrap();
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut heard).await;
    heard
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_closed() {
    let server = start().await;
    let heard = soon("the end of a silent connection", say(server.grpc, b"")).await;
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn a_peer_that_stops_in_mid_preface_is_closed() {
    let server = start().await;
    soon("the end of half a preface", say(server.grpc, &PREFACE[..9])).await;
}

#[tokio::test]
async fn a_peer_that_speaks_tls_to_the_plain_port_is_closed_at_once() {
    let server = Server::start(config()).await;
    let limit = config().handshake_timeout / 2;
    within(
        limit,
        "the end of a TLS handshake",
        say(server.grpc, CLIENT_HELLO),
    )
    .await;
}

#[tokio::test]
async fn a_preface_in_pieces_is_taken() {
    let server = start().await;
    let mut socket = TcpStream::connect(server.grpc).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for byte in PREFACE {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut settings = [0; 9];
    soon("the server's SETTINGS", socket.read_exact(&mut settings))
        .await
        .unwrap();
    assert_eq!(settings[3], 4);
}

#[tokio::test]
async fn a_peer_that_speaks_http1_is_told_what_the_port_speaks() {
    let server = Server::start(config()).await;
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let limit = config().handshake_timeout * 2;
    let mut socket = TcpStream::connect(server.grpc).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = String::new();
    within(limit, "an answer", socket.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(answer.contains("gRPC over HTTP/2"), "{answer}");
}

/// C1: silent peers push out each other, and not those who speak.
#[tokio::test]
async fn crowds_of_silent_peers_do_not_keep_a_good_one_out() {
    allow_files();
    // No end of patience, so that it is the crowd that ends them.
    let server = Server::start(Config {
        max_handshakes: 100,
        handshake_timeout: Duration::from_secs(600),
        ..config()
    })
    .await;
    for words in [&b""[..], &PREFACE[..9], CLIENT_HELLO] {
        let mut crowd = JoinSet::new();
        for number in 0..2_000 {
            let grpc = server.grpc;
            crowd.spawn(async move { say(grpc, words).await });
            // As many as have a place, and as many again that are about to take it.
            while crowd.len() > 200 {
                soon("a silent one to give way", crowd.join_next()).await;
            }
            if number % 200 == 0 {
                let mut good = Connection::open(server.grpc).await;
                let answer = soon("an answer", good.call(1, ECHO, b"hello")).await;
                assert_eq!(answer.unwrap().status(), Some(0), "among {words:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_served_when_another_ends() {
    let server = Server::start(Config {
        max_connections: 1,
        ..config()
    })
    .await;
    let mut first = Connection::open(server.grpc).await;
    soon("a round trip", first.round_trip()).await.unwrap();
    let mut second = Connection::open(server.grpc).await;
    let call = second.call(1, ECHO, b"");
    let mut call = std::pin::pin!(call);
    tokio::select! {
        _ = &mut call => panic!("served beyond the limit"),
        // The first one is still served, which takes a while: so much for the second one's chance.
        answer = first.call(1, ECHO, b"") => assert_eq!(answer.unwrap().status(), Some(0)),
    }
    drop(first);
    let answer = soon("the place of the first", call).await.unwrap();
    assert_eq!(answer.status(), Some(0));
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed_when_no_other_ends() {
    let server = Server::start(Config {
        max_connections: 1,
        handshake_timeout: TIMEOUT,
        ..config()
    })
    .await;
    let mut first = Connection::open(server.grpc).await;
    first
        .send(&crate::support::http2::headers(1, HOLD, &[]))
        .await;
    server.notes.running(1).await;
    let mut second = Connection::open(server.grpc).await;
    assert_eq!(
        soon("its end", second.next()).await.map(|frame| frame.kind),
        None
    );
    // The one being served has noticed nothing.
    server.notes.release.notify_one();
    assert_eq!(
        soon("an answer", first.answer(1)).await.unwrap().status(),
        Some(0)
    );
}
