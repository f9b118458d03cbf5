//! An HTTP proxy that opens the way to a host.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    finding::{Check, Fault, Finding},
    way::{Host, STEP},
};

/// Largest answer of a proxy, in bytes.
const MAX_ANSWER: usize = 8 * 1024;

/// Asks an HTTP proxy for a connection to the target. `setting` names the proxy.
pub(super) async fn tunnel(
    mut socket: TcpStream,
    proxy: &Url,
    target: &Host<'_>,
    setting: &str,
    found: &mut Vec<Finding>,
) -> Option<TcpStream> {
    let Host { host, port, .. } = target;
    let at = format!(
        "{}:{}",
        proxy.host_str().unwrap_or_default(),
        proxy.port_or_known_default().unwrap_or_default()
    );
    let tried = format!("to have the proxy {at} open a connection to {host}:{port}");
    let check = Check::new(target.subject, "proxy", tried);
    let answer = timeout(STEP, ask(&mut socket, proxy, target)).await;
    let (what, change) = match answer {
        Ok(Ok(200)) => {
            found.push(check.ok(format!("the proxy {at} lets us through to {host}:{port}")));
            return Some(socket);
        }
        Ok(Ok(407)) => (
            format!("the proxy {at} wants a user name and password (HTTP 407)"),
            format!("put them into {setting}: http://USER:PASSWORD@{at}"),
        ),
        Ok(Ok(status)) => (
            format!("the proxy {at} refuses to connect to {host}:{port} (HTTP {status})"),
            format!("have its operator allow {host}:{port}, or correct {setting}"),
        ),
        Ok(Err(error)) => (
            format!("what listens at {at} does not answer as an HTTP proxy does: {error}"),
            format!("correct {setting}"),
        ),
        Err(_late) => (
            format!("the proxy {at} gave no answer within {} s", STEP.as_secs()),
            format!("ask its operator, or correct {setting}"),
        ),
    };
    found.push(check.problem(what, Fault::Network, change));
    None
}

async fn ask(socket: &mut TcpStream, proxy: &Url, target: &Host<'_>) -> io::Result<u16> {
    let to = format!("{}:{}", target.host, target.port);
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if !proxy.username().is_empty() {
        let decode = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy();
        let user = decode(proxy.username());
        let password = decode(proxy.password().unwrap_or_default());
        let both = STANDARD.encode(format!("{user}:{password}"));
        request += &format!("Proxy-Authorization: Basic {both}\r\n");
    }
    request += "\r\n";
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    // Byte by byte: what comes after the head is the target's.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_ANSWER {
            return Err(io::Error::other("its answer is too long"));
        }
        head.push(socket.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&head);
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    status.ok_or_else(|| io::Error::other("its answer is not HTTP"))
}
