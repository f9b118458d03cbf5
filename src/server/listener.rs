//! Listening sockets, and an accept loop's one step that survives a full file table.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use super::{Config, tls::Tls};

/// After a failure to accept. Nearly always the process has no file left; the connection stays in
/// the kernel's queue, and asking again at once would burn a core until one is free.
const PAUSE: Duration = Duration::from_millis(50);

/// The ports of the gateway, open: whoever connects from here on waits in the kernel's queue
/// until [`serve`](super::serve) takes it.
#[derive(Debug)]
pub struct Listener {
    pub(super) grpc: TcpListener,
    pub(super) operations: TcpListener,
    pub(super) web: Option<TcpListener>,
    pub(super) tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Opens the ports, and reads the certificates.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let web = match config.grpc_web.listen {
            Some(listen) => Some(bind(listen, "server.grpc_web.listen").await?),
            None => None,
        };
        Ok(Self {
            web,
            tls: Tls::load(&config.tls)?,
            grpc: bind(config.listen, "server.listen").await?,
            operations: bind(config.operations_listen, "server.operations_listen").await?,
        })
    }

    /// Where the gRPC service listens: tells the port where the settings left it to the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Where gRPC-Web is, if it is anywhere.
    pub fn web_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.web.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Where the operations pages are.
    pub fn operations_addr(&self) -> io::Result<SocketAddr> {
        self.operations.local_addr()
    }
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => ": end what listens there, or set another port",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address} ({key}){advice}"))
    })
}

/// The next connection. Does not fail: it pauses and asks again.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                // Answers are small and complete; waiting to fill a segment only delays them.
                // Fails only for a peer that is gone, which reading will find out.
                let _ = socket.set_nodelay(true);
                return (socket, peer);
            }
            Err(error) => {
                if !told {
                    warn!(%error, "cannot accept connections; trying again");
                    told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
