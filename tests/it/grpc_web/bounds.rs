//! What a peer of the gRPC-Web port can cost: no more than one of the gRPC port, and never at its expense.

use std::{net::SocketAddr, time::Duration};

use easemob_gateway::proto::messaging_service_client::MessagingServiceClient;
use rustls::version::TLS13;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Code;

use super::{PAGE, SEND, framed, start, start_with, try_hear};
use crate::support::{
    gateway::Setup,
    process::allow_files,
    request::{error_info, text_to, verdict},
    soon,
    tls::{self, TlsFiles},
};

const SHORT: Duration = Duration::from_millis(500);

fn head(length: usize) -> String {
    format!(
        "POST /easemob.messaging.v1.MessagingService/{SEND} HTTP/1.1\r\nhost: gateway\r\norigin: {PAGE}\r\n\
         content-type: application/grpc-web+proto\r\ncontent-length: {length}\r\n"
    )
}

/// A whole send.
fn send() -> Vec<u8> {
    let body = framed(&[text_to(&["bob"])]);
    let head = head(body.len()) + "\r\n";
    [head.into_bytes(), body].concat()
}

async fn open(web: SocketAddr, words: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(web).await.unwrap();
    socket.write_all(words).await.unwrap();
    socket
}

/// All that the server says until it closes.
async fn rest(mut socket: TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = soon("the end of the connection", socket.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// The first bytes of an answer.
async fn status_line(socket: &mut TcpStream) -> String {
    let mut line = [0; 15];
    soon("an answer", socket.read_exact(&mut line))
        .await
        .unwrap();
    String::from_utf8(line.to_vec()).unwrap()
}

#[tokio::test]
async fn who_does_not_end_its_headers_is_closed() {
    let started = start_with(|setup| {
        setup.server(|server| {
            server.handshake_timeout = SHORT;
            server.grpc_web.idle_timeout = SHORT;
        })
    })
    .await;
    let web = started.gateway.web.unwrap();
    for words in ["", "POST /easemob", &head(5)] {
        rest(open(web, words.as_bytes()).await).await;
    }
    // Nor does one that has sent stay for ever.
    let heard = rest(open(web, &send()).await).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK"), "{heard}");
}

#[tokio::test]
async fn a_request_that_never_comes_whole_ends_with_its_deadline() {
    let started = start().await;
    let request = head(100) + "grpc-timeout: 300m\r\n\r\n\0\0\0\0\x5f";
    let mut socket = open(started.gateway.web.unwrap(), request.as_bytes()).await;
    let mut heard = vec![0; 4096];
    let count = soon("an answer", socket.read(&mut heard)).await.unwrap();
    let heard = String::from_utf8_lossy(&heard[..count]).to_lowercase();
    assert!(heard.contains("grpc-status: 4"), "{heard}");
    // What would follow belongs to no request any more.
    assert_eq!(rest(socket).await, "");
    assert_eq!(started.easemob.messages().len(), 0);
}

#[tokio::test]
async fn headers_and_messages_have_the_limits_of_grpc() {
    let started = start().await;
    let web = started.gateway.web.unwrap();
    let request = head(0) + &format!("x-large: {}\r\n\r\n", "x".repeat(20_000));
    let heard = rest(open(web, request.as_bytes()).await).await;
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");

    let mut large = text_to(&["bob"]);
    large.request_id = "x".repeat(2 << 20);
    // Answered before it is whole: who writes on may miss the answer, as with any server of HTTP/1.1.
    let heard = soon("an answer that is read in time", async {
        loop {
            if let Ok(heard) = try_hear(started.post(SEND, &[large.clone()])).await {
                break heard;
            }
        }
    })
    .await;
    assert_eq!(heard.status.code(), Code::ResourceExhausted);
    assert_eq!(error_info(&heard.status).reason, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn requests_in_flight_are_counted_with_those_of_grpc() {
    let started =
        start_with(|setup| setup.server(|server| server.max_requests_in_flight = 1)).await;
    let web = started.gateway.web.unwrap();
    // Half a request holds a place.
    let half = open(web, (head(100) + "\r\n\0\0\0\0\x5f").as_bytes()).await;
    let mut client = started.gateway.client().await;
    let taken = "easemob_gateway_requests_active 1";
    soon("the place to be taken", async {
        while !started.gateway.metrics().await.contains(taken) {}
    })
    .await;
    let status = client.send_message(text_to(&["bob"])).await.unwrap_err();
    assert_eq!(verdict(&status).0, "OVERLOADED");
    drop(half);
    soon("the place to be free", async {
        while client.send_message(text_to(&["bob"])).await.is_err() {}
    })
    .await;
}

/// Neither those who say nothing nor those who hold what they have.
#[tokio::test]
async fn crowds_of_browsers_keep_nobody_out() {
    allow_files();
    let started = start_with(|setup| {
        setup.server(|server| {
            server.max_connections = 3;
            server.max_handshakes = 20;
            server.handshake_timeout = Duration::from_secs(600);
            server.grpc_web.max_connections = 3;
        })
    })
    .await;
    let web = started.gateway.web.unwrap();
    let mut quiet = Vec::new();
    for _ in 0..10 {
        quiet.push(open(web, b"").await);
    }
    let mut served = Vec::new();
    for _ in 0..3 {
        let mut socket = open(web, &send()).await;
        assert_eq!(status_line(&mut socket).await, "HTTP/1.1 200 OK");
        served.push(socket);
    }
    let mut silent = JoinSet::new();
    for _ in 0..200 {
        silent.spawn(async move { rest(open(web, b"").await).await });
        while silent.len() > 40 {
            soon("a silent one to give way", silent.join_next()).await;
        }
    }
    silent.shutdown().await;
    // One more waits for a place among browsers, and a service for none.
    let mut waiting = open(web, &send()).await;
    let mut client = started.gateway.client().await;
    client.send_message(text_to(&["bob"])).await.unwrap();
    served.pop();
    assert_eq!(status_line(&mut waiting).await, "HTTP/1.1 200 OK");

    let metrics = started.gateway.metrics().await;
    let places = r#"easemob_gateway_connections_limit{port="grpc_web"} 3"#;
    assert!(metrics.contains(places), "{metrics}");
}

#[tokio::test]
async fn a_drain_ends_what_is_idle_and_lets_what_is_under_way_end() {
    // One shard, so that what came first is looked at first.
    let one = |setup: Setup| setup.server(|server| server.shards = 1.try_into().ok());
    let started = start_with(one).await;
    let web = started.gateway.web.unwrap();
    let mut idle = open(web, &send()).await;
    assert_eq!(status_line(&mut idle).await, "HTTP/1.1 200 OK");
    let request = send();
    let (begin, end) = request.split_at(request.len() - 5);
    let mut half = open(web, begin).await;
    // Whatever came before it is on its way.
    assert_eq!(
        status_line(&mut open(web, &send()).await).await,
        "HTTP/1.1 200 OK"
    );

    started.gateway.begin_drain();
    rest(idle).await;
    half.write_all(end).await.unwrap();
    let heard = rest(half).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK"), "{heard}");
    assert!(heard.contains("grpc-status:0"), "{heard}");
    assert!(started.gateway.drained().await.in_time);
}

#[tokio::test]
async fn it_has_the_tls_of_grpc_and_speaks_http_1_within() {
    let files = TlsFiles::new();
    let config = files.config(false);
    let started = start_with(|setup| setup.server(|server| server.tls = config)).await;
    let web = started.gateway.web.unwrap();
    let mut client = tls::client(files.roots(), &[&TLS13]);
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let through = tls::tunnel(web, client).await;
    let mut socket = open(through, &send()).await;
    assert_eq!(status_line(&mut socket).await, "HTTP/1.1 200 OK");

    // And in plaintext, nothing.
    assert!(!rest(open(web, &send()).await).await.contains("HTTP"));
    let channel = started.gateway.tls_channel(files.trusting()).await;
    let mut client = MessagingServiceClient::new(channel.unwrap());
    client.send_message(text_to(&["bob"])).await.unwrap();
}
