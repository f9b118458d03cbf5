//! The real Redis, and what it has done so far.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use easemob_gateway::store::{Config, Kind, RedisUrl};
use redis::InfoDict;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

pub(crate) struct Redis {
    addr: SocketAddr,
    _child: Child,
}

/// What it has done since its start.
pub(crate) struct Load {
    pub(crate) scripts: u64,
    pub(crate) cpu: Duration,
}

impl Redis {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/redis-server");
        let program = if ours.is_file() {
            ours.as_path()
        } else {
            Path::new("redis-server")
        };
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("there is no redis-server: run tools/install.sh redis")?;
        let redis = Self {
            addr,
            _child: child,
        };
        for _ in 0..500 {
            if redis.load().await.is_ok() {
                return Ok(redis);
            }
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("Redis does not answer")
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            kind: Kind::Redis,
            url: Some(RedisUrl(format!("redis://{}", self.addr))),
            ..Config::default()
        }
    }

    pub(crate) async fn load(&self) -> anyhow::Result<Load> {
        let client = redis::Client::open(format!("redis://{}", self.addr))?;
        let mut client = client.get_multiplexed_async_connection().await?;
        let mut info = redis::cmd("INFO");
        let info: InfoDict = info.arg("everything").query_async(&mut client).await?;
        let seconds = |name| info.get::<f64>(name).unwrap_or_default();
        let calls = info.get::<String>("cmdstat_evalsha").unwrap_or_default();
        let calls = calls.split([',', '=']).nth(1).unwrap_or("0");
        let cpu = seconds("used_cpu_user") + seconds("used_cpu_sys");
        Ok(Load {
            scripts: calls.parse()?,
            cpu: Duration::from_secs_f64(cpu),
        })
    }
}
