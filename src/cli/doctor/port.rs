//! The ports that the gateway listens on.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpListener;

use super::finding::{Check, Fault, Finding};
use crate::server;

/// Whether the ports are free. Those of a gateway that runs already are in good hands.
pub(super) async fn check(config: &server::Config) -> Vec<Finding> {
    let runs = is_gateway(config.operations_listen).await;
    let mut found = Vec::new();
    let ports = [
        Some(("server.listen", config.listen)),
        Some(("server.operations_listen", config.operations_listen)),
        config
            .grpc_web
            .listen
            .map(|listen| ("server.grpc_web.listen", listen)),
    ];
    for (setting, address) in ports.into_iter().flatten() {
        let check = Check::new(
            "gateway",
            "port",
            format!("to listen on {address} ({setting})"),
        );
        // Closed again at once.
        let error = match TcpListener::bind(address).await {
            Ok(_free) => {
                found.push(check.ok(format!("{address} is free, for {setting}")));
                continue;
            }
            Err(error) => error,
        };
        found.push(match error.kind() {
            io::ErrorKind::AddrInUse if runs => {
                check.ok(format!("a gateway runs here already, and has {address}"))
            }
            io::ErrorKind::AddrInUse => check.problem(
                format!("another process listens on {address} ({setting})"),
                Fault::Machine,
                format!(
                    "end that process (`ss -ltnp 'sport = :{}'` names it), or choose another port in {setting}",
                    address.port()
                ),
            ),
            io::ErrorKind::AddrNotAvailable => check.problem(
                format!("this machine has no address {} ({setting})", address.ip()),
                Fault::Settings,
                format!("set {setting} to an address of this machine, or to 0.0.0.0:{}", address.port()),
            ),
            _ => check.problem(
                format!("cannot listen on {address} ({setting}): {error}"),
                Fault::Machine,
                format!("choose a port above 1023 in {setting}, or give the process the right to this one"),
            ),
        });
    }
    found
}

/// Whether a gateway answers at this operations port.
async fn is_gateway(address: SocketAddr) -> bool {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build();
    let Ok(client) = client else { return false };
    match client.get(format!("http://{address}/livez")).send().await {
        Ok(answer) => answer.text().await.is_ok_and(|text| text == "alive\n"),
        Err(_nobody) => false,
    }
}
