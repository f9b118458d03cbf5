//! A Redis of one's own: the real server, on a free port, with nothing kept on disk.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::machine;

const START: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A Redis; it ends with this value.
#[derive(Debug)]
pub(super) struct Redis {
    address: SocketAddr,
    child: Child,
}

impl Redis {
    pub(super) fn start() -> anyhow::Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = free.local_addr()?;
        drop(free);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new(root.join(".tools/bin/redis-server"))
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server cannot be started: tools/install.sh redis")?;
        let redis = Self { address, child };
        let until = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until {
                bail!("redis-server does not listen");
            }
            thread::sleep(LOOK);
        }
        Ok(redis)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu_of(self.child.id())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Fails for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
