//! The way to a host: its addresses, a connection, and a proxy that opens the rest.

use std::{io, net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::finding::{Check, Fault, Finding};

/// Time for each step.
pub(super) const STEP: Duration = Duration::from_secs(5);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;
/// Largest answer of a proxy, in bytes.
const MAX_ANSWER: usize = 8 * 1024;

/// Where a way leads, and the setting that says so.
pub(super) struct Host<'a> {
    pub(super) subject: &'a str,
    /// `apps.shop.base_url`.
    pub(super) setting: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl<'a> Host<'a> {
    /// The host of a URL; none in one that has no host or port.
    pub(super) fn of(url: &'a Url, subject: &'a str, setting: &'a str) -> Option<Self> {
        Some(Self {
            subject,
            setting,
            host: url.host_str()?,
            port: url.port_or_known_default()?,
        })
    }

    /// Looks the host up and connects to it.
    pub(super) async fn connect(&self, found: &mut Vec<Finding>) -> Option<TcpStream> {
        let addresses = self.look_up(found).await?;
        self.reach(&addresses, found).await
    }

    async fn look_up(&self, found: &mut Vec<Finding>) -> Option<Vec<SocketAddr>> {
        let Self { host, setting, .. } = self;
        let tried = format!("to look up {host}");
        let check = Check::new(self.subject, "dns", tried);
        // An IPv6 address stands in brackets in a URL.
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let looked_up = timeout(STEP, lookup_host((name, self.port))).await;
        let problem = |what: String| {
            let change = format!(
                "correct {setting}, or the resolver of this machine (/etc/resolv.conf) if the name is right"
            );
            Err((what, Fault::Settings, change))
        };
        let result = match looked_up {
            Ok(Ok(addresses)) => {
                let mut addresses: Vec<_> = addresses.collect();
                addresses.dedup();
                match addresses.is_empty() {
                    true => problem(format!("the name {host} has no address")),
                    false => Ok(addresses),
                }
            }
            Ok(Err(error)) => problem(format!("the name {host} is not known: {error}")),
            Err(_late) => Err((
                format!(
                    "no resolver answered for {host} within {} s",
                    STEP.as_secs()
                ),
                Fault::Machine,
                "correct the resolver of this machine (/etc/resolv.conf), or let DNS through to it"
                    .into(),
            )),
        };
        match result {
            Ok(addresses) => {
                let texts: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
                let texts = texts.join(", ");
                found.push(check.ok(match texts == name {
                    true => format!("{host} is an address, and nothing to look up"),
                    false => format!("{host} is {texts}"),
                }));
                Some(addresses)
            }
            Err((what, fault, change)) => {
                found.push(check.problem(what, fault, change));
                None
            }
        }
    }

    async fn reach(&self, addresses: &[SocketAddr], found: &mut Vec<Finding>) -> Option<TcpStream> {
        let Self {
            host,
            port,
            setting,
            ..
        } = self;
        let check = Check::new(self.subject, "tcp", format!("to connect to {host}:{port}"));
        let mut failures = Vec::new();
        for address in addresses.iter().take(MAX_ADDRESSES) {
            let error = match timeout(STEP / 2, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    found.push(match failures.last() {
                        None => check.ok(format!("{address} accepts connections")),
                        Some((bad, what)) => check.warning(
                            format!("{address} accepts connections, but {bad} does not: {what}"),
                            Fault::Network,
                            "have that address repaired, or taken out of DNS",
                        ),
                    });
                    return Some(socket);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    "refused: nothing listens there".to_owned()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_late) => "no answer: something on the way drops it".to_owned(),
            };
            failures.push((*address, error));
        }
        let (address, error) = failures.pop()?;
        found.push(check.problem(
            format!("no connection to {address}: {error}"),
            Fault::Network,
            format!(
                "correct host and port in {setting}; if they are right, let this machine out to {host}:{port} (firewall, \
                 network policy, proxy_url)"
            ),
        ));
        None
    }
}

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
