//! TLS on the gRPC port: what is spoken, whose certificates are good, and that TLS is no way to hold places.

use std::{net::SocketAddr, time::Duration};

use easemob_gateway::{
    caller::Mode,
    proto::messaging_service_client::MessagingServiceClient,
    sandbox::Sandbox,
    server::{Config, Http2},
};
use rustls::version::{TLS12, TLS13};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tonic::{Code, transport::ClientTlsConfig};

use super::{AMY_ID, BEN_ID, sandbox, send_with, setup};
use crate::support::{
    gateway::TestGateway,
    http2::{Connection, PREFACE, kind},
    process::allow_files,
    request::{text_to, verdict},
    server::{ECHO, Server, config},
    soon,
    tls::{Authority, TlsFiles, client, dns, tunnel, uri},
};

/// A ClientHello of TLS as far as its length.
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// A gateway that asks callers for certificates, with the sandbox behind it.
async fn mutual(change: impl FnOnce(&mut easemob_gateway::caller::Config)) -> Mutual {
    let files = TlsFiles::new();
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::Mtls)
        .auth(change)
        .server(|server| server.tls = files.config(true))
        .start()
        .await;
    Mutual {
        files,
        easemob,
        gateway,
    }
}

struct Mutual {
    files: TlsFiles,
    easemob: Sandbox,
    gateway: TestGateway,
}

impl Mutual {
    /// A send for `shop`: what the gateway answers, or the failure to connect.
    async fn send(&self, tls: ClientTlsConfig) -> Result<Result<(), tonic::Status>, String> {
        let channel = self.gateway.tls_channel(tls).await;
        let channel = channel.map_err(|error| format!("{error:?}"))?;
        let mut request = text_to(&["bob"]);
        request.app = "shop".into();
        let mut client = MessagingServiceClient::new(channel);
        let sent = soon("an answer", client.send_message(request)).await;
        Ok(sent.map(|_| ()))
    }

    /// That nobody with this certificate gets as far as an RPC.
    async fn refuses(&self, what: &str, tls: ClientTlsConfig) {
        // With TLS 1.3 a client has connected before it hears that its certificate is not good.
        match self.send(tls).await {
            Err(_) => {}
            Ok(sent) => {
                let status = sent.expect_err(what);
                assert!(
                    status.details().is_empty(),
                    "{what}: answered by the gateway: {status:?}"
                );
            }
        }
        assert_eq!(self.easemob.messages().len(), 0, "{what}");
    }
}

#[tokio::test]
async fn a_certificate_names_its_caller() {
    let gateway = mutual(|_| ()).await;
    let authority = &gateway.files.authority;
    let amy = authority.issue([uri(AMY_ID)], |_| ());
    gateway
        .send(gateway.files.showing(&amy))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(gateway.easemob.messages().len(), 1);

    // Another caller's app, and a certificate that is good and names nobody.
    let ben = authority.issue([uri(BEN_ID)], |_| ());
    let refused = gateway.send(gateway.files.showing(&ben)).await.unwrap();
    assert_eq!(verdict(&refused.unwrap_err()).0, "APP_FORBIDDEN");
    for names in [
        vec![uri("spiffe://evil.example/amy")],
        vec![dns("amy")],
        vec![uri(AMY_ID), uri(BEN_ID)],
    ] {
        let other = authority.issue(names, |_| ());
        let refused = gateway.send(gateway.files.showing(&other)).await.unwrap();
        assert_eq!(verdict(&refused.unwrap_err()).0, "CALLER_UNAUTHENTICATED");
    }
    assert_eq!(gateway.easemob.messages().len(), 1);
}

#[tokio::test]
async fn a_dns_name_is_an_identity_as_well() {
    let gateway = mutual(|auth| {
        let amy = auth.callers.get_mut("amy").unwrap();
        amy.identity = Some("amy.acme.internal".into());
    })
    .await;
    let amy = gateway
        .files
        .authority
        .issue([dns("amy.acme.internal")], |_| ());
    gateway
        .send(gateway.files.showing(&amy))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn bad_certificates_are_refused_before_any_rpc() {
    let gateway = mutual(|_| ()).await;
    let files = &gateway.files;
    gateway.refuses("no certificate", files.trusting()).await;
    let foreign = Authority::new().issue([uri(AMY_ID)], |_| ());
    gateway
        .refuses("a foreign one", files.showing(&foreign))
        .await;
    let expired = files.authority.issue([uri(AMY_ID)], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    gateway
        .refuses("an expired one", files.showing(&expired))
        .await;
    let early = files.authority.issue([uri(AMY_ID)], |params| {
        params.not_before = rcgen::date_time_ymd(2100, 1, 1);
        params.not_after = rcgen::date_time_ymd(2101, 1, 1);
    });
    gateway.refuses("an early one", files.showing(&early)).await;
}

/// The list of authorities changes like everything else: new connections go by the new one.
#[tokio::test]
async fn authorities_of_callers_change_without_a_restart() {
    let gateway = mutual(|_| ()).await;
    let files = &gateway.files;
    let old = files.authority.issue([uri(AMY_ID)], |_| ());
    gateway.send(files.showing(&old)).await.unwrap().unwrap();
    let next = Authority::new();
    let new = next.issue([uri(AMY_ID)], |_| ());
    files.write("ca.crt", &next.pem());
    gateway.gateway.reload();
    soon("the new authority to be good", async {
        while !matches!(gateway.send(files.showing(&new)).await, Ok(Ok(()))) {}
    })
    .await;
    let refused = gateway.send(files.showing(&old)).await;
    if let Ok(sent) = refused {
        assert!(sent.expect_err("a refusal").details().is_empty());
    }
}

/// A key is asked for on top of the certificate, where both are set up.
#[tokio::test]
async fn keys_work_over_tls() {
    let files = TlsFiles::new();
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::ApiKey)
        .server(|server| server.tls = files.config(false))
        .start()
        .await;
    let channel = gateway.tls_channel(files.trusting()).await.unwrap();
    let mut client = MessagingServiceClient::new(channel);
    client
        .send_message(send_with(super::AMY, "shop"))
        .await
        .unwrap();
    let error = client.send_message(send_with("other", "shop")).await;
    assert_eq!(error.unwrap_err().code(), Code::Unauthenticated);
}

/// A session that is resumed would go by the certificates of its beginning.
#[tokio::test]
async fn every_connection_is_a_whole_handshake() {
    let (server, files) = server(|_| ()).await;
    for version in [&TLS12, &TLS13] {
        let config = std::sync::Arc::new(client(files.roots(), &[version]));
        for _ in 0..3 {
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(&config));
            let socket = TcpStream::connect(server.grpc).await.unwrap();
            let name = server.grpc.ip().into();
            let mut stream = connector.connect(name, socket).await.unwrap();
            stream.write_all(PREFACE).await.unwrap();
            // Tickets, were there any, would come before the first SETTINGS.
            soon("SETTINGS", stream.read_u8()).await.unwrap();
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            assert_eq!(kind, rustls::HandshakeKind::Full, "{version:?}");
        }
    }
}

async fn server(change: impl FnOnce(&mut Config)) -> (Server, TlsFiles) {
    let files = TlsFiles::new();
    let mut config = Config {
        tls: files.config(false),
        ..config()
    };
    change(&mut config);
    (Server::start(config).await, files)
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken_and_nothing_else() {
    let (server, files) = server(|_| ()).await;
    for version in [&TLS12, &TLS13] {
        let config = client(files.roots(), &[version]);
        let mut peer = Connection::open(tunnel(server.grpc, config).await).await;
        let answer = soon("an answer", peer.call(1, ECHO, b"hello")).await;
        assert_eq!(answer.unwrap().status(), Some(0), "{version:?}");
    }
    // Plaintext, HTTP/1.1 by ALPN, TLS 1.1.
    let mut plain = Connection::open(server.grpc).await;
    soon("the end", plain.rest()).await;
    let mut http1 = client(files.roots(), &[&TLS13]);
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(http1));
    let socket = TcpStream::connect(server.grpc).await.unwrap();
    let name = server.grpc.ip().into();
    assert!(connector.connect(name, socket).await.is_err());
    // A whole ClientHello of TLS 1.1: random, no session, one cipher suite, no compression.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 47, 1, 0]);
    let mut socket = TcpStream::connect(server.grpc).await.unwrap();
    socket.write_all(&hello).await.unwrap();
    let mut heard = Vec::new();
    let _ = soon("the end of TLS 1.1", socket.read_to_end(&mut heard)).await;
    // An alert: fatal, and the reason (protocol version, or a hello that cannot be one).
    assert_eq!(
        (heard.first(), heard.get(5)),
        (Some(&21), Some(&2)),
        "{heard:?}"
    );
}

/// C1 with TLS: those who begin a handshake and fall silent, and those who finish it and do.
#[tokio::test]
async fn silent_tls_peers_do_not_keep_a_good_one_out() {
    allow_files();
    let (server, files) = server(|config| {
        config.max_handshakes = 100;
        config.handshake_timeout = Duration::from_secs(600);
    })
    .await;
    let good = tunnel(server.grpc, client(files.roots(), &[&TLS13])).await;
    let mut crowd = JoinSet::new();
    for number in 0..2_000 {
        let grpc = server.grpc;
        crowd.spawn(async move { say(grpc, CLIENT_HELLO).await });
        while crowd.len() > 200 {
            soon("a silent one to give way", crowd.join_next()).await;
        }
        if number % 200 == 0 {
            let mut good = Connection::open(good).await;
            let answer = soon("an answer", good.call(1, ECHO, b"hello")).await;
            assert_eq!(answer.unwrap().status(), Some(0));
        }
    }
    assert_eq!(server.notes.calls.lock().unwrap().len(), 10);
}

/// C1 with TLS: a time limit holds for handshake and preface together.
#[tokio::test]
async fn silent_tls_peers_are_closed() {
    let (server, files) = server(|config| {
        config.handshake_timeout = Duration::from_millis(500);
    })
    .await;
    soon("the end of half a hello", say(server.grpc, CLIENT_HELLO)).await;
    soon("the end of silence", say(server.grpc, b"")).await;
    let shaken = tunnel(server.grpc, client(files.roots(), &[&TLS13])).await;
    soon("the end of silence after a handshake", say(shaken, b"")).await;
    soon("the end of half a preface", say(shaken, b"PRI * HTT")).await;
}

/// C2 with TLS.
#[tokio::test]
async fn a_tls_peer_that_leaves_pings_unanswered_is_closed() {
    let (server, files) = server(|config| {
        config.http2 = Http2 {
            keepalive_interval: Duration::from_millis(100),
            keepalive_timeout: Duration::from_millis(100),
            ..Http2::default()
        };
    })
    .await;
    let tunnel = tunnel(server.grpc, client(files.roots(), &[&TLS13])).await;
    let mut good = Connection::open(tunnel).await;
    let mut mute = Connection::open(tunnel).await;
    mute.mute = true;
    let (_, ()) = tokio::join!(soon("the end of the mute one", mute.rest()), async {
        for _ in 0..3 {
            soon("a PING", good.next_of(kind::PING)).await.unwrap();
        }
    });
    let answer = soon("an answer", good.call(1, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));
}

/// Connects, says `words`, and waits until the server closes.
async fn say(server: SocketAddr, words: &[u8]) {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(words).await.unwrap();
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut heard).await;
}
