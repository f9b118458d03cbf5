//! The way to a host: its addresses, and a connection.

use std::{io, net::SocketAddr, time::Duration};

use reqwest::Url;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::finding::{Check, Fault, Finding};

/// Time for each step.
pub(super) const STEP: Duration = Duration::from_secs(5);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

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
