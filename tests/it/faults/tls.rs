//! Whom the gateway trusts to be Easemob: nobody else hears a byte of a request.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    thread,
};

use rcgen::date_time_ymd;
use tonic::Code;

use super::{assert_arrived, assert_worth_waiting, one_place, says};
use crate::support::{
    easemob::Easemob,
    tls::{Authority, self_signed},
};

#[tokio::test]
async fn an_authority_of_the_settings_is_trusted() {
    let authority = Authority::new();
    let easemob = Easemob::start_tls(authority.server());
    let gateway = one_place(easemob.url())
        .app(|app| app.ca_file = Some(authority.file()))
        .start()
        .await;
    let mut client = gateway.client().await;

    client.send_message(says("hello")).await.unwrap();

    assert_arrived(&easemob, &["hello"]);
}

#[tokio::test]
async fn who_is_not_easemob_hears_nothing() {
    let authority = Authority::new();
    let expired = authority.server_with("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = authority.server_with("127.0.0.1", |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    let trusted = Some(authority.file());
    hears_nothing("expired", expired, trusted.clone()).await;
    hears_nothing("not yet valid", early, trusted.clone()).await;
    for host in ["127.0.0.2", "localhost", "a1.easemob.com"] {
        let server = authority.server_with(host, |_| ());
        hears_nothing(host, server, trusted.clone()).await;
    }
    hears_nothing("self-signed", self_signed(), trusted.clone()).await;
    hears_nothing("self-signed, to the system", self_signed(), None).await;
    // What the settings name is trusted alone.
    let other = Authority::new().server();
    hears_nothing("another authority", other, trusted).await;
    hears_nothing(
        "a private authority, to the system",
        authority.server(),
        None,
    )
    .await;
}

async fn hears_nothing(name: &str, server: Arc<rustls::ServerConfig>, ca_file: Option<PathBuf>) {
    let easemob = Easemob::start_tls(server);
    let gateway = one_place(easemob.url())
        .app(|app| app.ca_file = ca_file)
        .start()
        .await;
    let mut client = gateway.client().await;

    let status = client.send_message(says("hello")).await.unwrap_err();

    println!("{name}: {}", status.message());
    assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
    let seen = easemob.until("it is tried", |seen| seen.ended > 0).await;
    assert_eq!(seen.bytes_in, 0, "{name}");
    assert_arrived(&easemob, &[]);
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || answer_tls_1_1(&listener));
    let gateway = one_place(url).start().await;
    let mut client = gateway.client().await;

    let status = client.send_message(says("hello")).await.unwrap_err();

    assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
    let heard = tokio::task::spawn_blocking(|| server.join().unwrap())
        .await
        .unwrap();
    // One alert record, fatal: protocol_version. And then the end.
    let [21, 3, _, 0, 2, 2, 70] = heard[..] else {
        panic!("{heard:?}");
    };
}

/// Agrees to TLS 1.1, and gives what comes back.
fn answer_tls_1_1(listener: &TcpListener) -> Vec<u8> {
    let (mut socket, _) = listener.accept().unwrap();
    let mut head = [0; 5];
    socket.read_exact(&mut head).unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    socket.read_exact(&mut hello).unwrap();

    const TLS_1_1: [u8; 2] = [3, 2];
    let mut body = TLS_1_1.to_vec();
    // A random number, no session, ECDHE with AES in CBC mode, no compression.
    body.extend([7; 32]);
    body.extend([0, 0xc0, 0x13, 0]);
    let mut handshake = vec![2, 0, 0, u8::try_from(body.len()).unwrap()];
    handshake.extend(body);
    let mut record = vec![22];
    record.extend(TLS_1_1);
    record.extend(u16::try_from(handshake.len()).unwrap().to_be_bytes());
    record.extend(handshake);
    socket.write_all(&record).unwrap();

    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).unwrap();
    heard
}
