//! A Redis of one's own: the real server, on a free port, with nothing kept on disk. Alone, with TLS and users, as nodes
//! of a Cluster, or watched by a Sentinel.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::sleep,
};

use super::tls::TlsFiles;

/// What it says when it takes connections; the second as a Sentinel.
const READY: [&str; 2] = ["Ready to accept connections", "Sentinel ID is"];

/// A Redis; it ends with this value.
pub struct Redis {
    addr: SocketAddr,
    arguments: Vec<String>,
    folder: TempDir,
    child: Child,
}

impl Redis {
    /// Starts one, and returns when it answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more settings, as its command line takes them.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let port = |addr: SocketAddr| vec!["--port".into(), addr.port().to_string()];
        Self::start_at(port, arguments).await
    }

    /// One that speaks TLS alone, with these files.
    pub async fn start_tls(files: &TlsFiles, arguments: &[&str]) -> Self {
        let path = |name| files.path(name).into_os_string().into_string().unwrap();
        let (certificate, key, ca) = (path("tls.crt"), path("tls.key"), path("ca.crt"));
        let tls = [
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "no",
        ];
        let port = |addr: SocketAddr| {
            let port = addr.port().to_string();
            vec!["--port".into(), "0".into(), "--tls-port".into(), port]
        };
        Self::start_at(port, &[&tls, arguments].concat()).await
    }

    /// A node for a Cluster, which knows no other yet.
    async fn start_node() -> Self {
        let cluster = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-replica-validity-factor",
            "0",
        ];
        let ports = |addr: SocketAddr| {
            let (port, bus) = (addr.port().to_string(), free_addr().port().to_string());
            vec!["--port".into(), port, "--cluster-port".into(), bus]
        };
        Self::start_at(ports, &cluster).await
    }

    async fn start_at(ports: impl Fn(SocketAddr) -> Vec<String>, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut said = String::new();
        // What was free may be taken by now.
        for _ in 0..5 {
            let addr = free_addr();
            let mut all = ports(addr);
            all.extend(arguments.iter().map(|text| (*text).to_owned()));
            match spawn(folder.path(), &all).await {
                Ok(child) => {
                    return Self {
                        addr,
                        arguments: all,
                        folder,
                        child,
                    };
                }
                Err(last) => said = last,
            }
        }
        panic!("Redis does not start: {said}");
    }

    /// What this copies from that one from now on.
    pub async fn start_copy(of: &Self) -> Self {
        let (host, port) = (of.addr.ip().to_string(), of.addr.port().to_string());
        let copy = Self::start_with(&["--replicaof", &host, &port]).await;
        copy.until_it_says("replication", "master_link_status:up")
            .await;
        copy
    }

    /// A Sentinel that watches it, under the name `mymaster`.
    pub async fn start_sentinel(master: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It writes down there what it comes to know.
        let file = folder.path().join("sentinel.conf");
        let (ip, port) = (master.addr.ip(), master.addr.port());
        let settings = format!(
            "sentinel monitor mymaster {ip} {port} 1\n\
             sentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 3000\n"
        );
        std::fs::write(&file, settings).unwrap();
        let file = file.into_os_string().into_string().unwrap();
        let port = |addr: SocketAddr| {
            let port = addr.port().to_string();
            vec![file.clone(), "--sentinel".into(), "--port".into(), port]
        };
        let sentinel = Self::start_at(port, &[]).await;
        sentinel.until_it_says("sentinel", "slaves=1").await;
        sentinel
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Asks it something.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &str) -> T {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        let mut client = self.client().await;
        command.query_async(&mut client).await.unwrap()
    }

    /// Waits until a section of its `INFO` has these words.
    pub async fn until_it_says(&self, section: &str, words: &str) {
        super::soon(&format!("{section}: {words}"), async {
            while !self
                .ask::<String>(&format!("INFO {section}"))
                .await
                .contains(words)
            {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// A connection past everything under test.
    pub async fn client(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Loses all that it has.
    pub async fn flush(&self) {
        let mut client = self.client().await;
        let flush = redis::cmd("FLUSHALL");
        flush.query_async::<()>(&mut client).await.unwrap();
    }

    /// How many commands it has had from scripts' callers, by their name.
    pub async fn calls(&self, command: &str) -> u64 {
        let mut info = redis::cmd("INFO");
        let answer = info.arg("commandstats");
        let stats: String = answer.query_async(&mut self.client().await).await.unwrap();
        let name = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// Stops it where it stands: it holds its connections and answers nobody.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts again at the same place, with nothing in it.
    pub async fn restart(&mut self) {
        let child = spawn(self.folder.path(), &self.arguments).await;
        self.child = child.expect("nobody else is where it was");
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs until it is waited for");
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

/// Three masters that share the slots, and a copy of the first.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts it, and returns when all of it agrees.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..4 {
            nodes.push(Redis::start_node().await);
        }
        for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            node.ask::<()>(&format!("CLUSTER ADDSLOTSRANGE {slots}"))
                .await;
        }
        for node in &nodes[1..] {
            let [_, _, _, bus, ..] = &node.arguments[..] else {
                unreachable!("each has its ports first");
            };
            let (ip, port) = (node.addr.ip(), node.addr.port());
            let meet = format!("CLUSTER MEET {ip} {port} {bus}");
            nodes[0].ask::<()>(&meet).await;
        }
        let first: String = nodes[0].ask("CLUSTER MYID").await;
        let cluster = Self { nodes };
        cluster.agrees("cluster_known_nodes:4").await;
        let copy = &cluster.nodes[3];
        copy.ask::<()>(&format!("CLUSTER REPLICATE {first}")).await;
        copy.until_it_says("replication", "master_link_status:up")
            .await;
        cluster.agrees("cluster_state:ok").await;
        cluster
    }

    async fn agrees(&self, words: &str) {
        super::soon(words, async {
            for node in &self.nodes {
                while !node.ask::<String>("CLUSTER INFO").await.contains(words) {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        })
        .await;
    }

    /// Where its nodes are.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Redis::url).collect();
        urls.join(",")
    }
}

/// An address that is free now; not of those that the kernel gives out, which others have at any moment.
fn free_addr() -> SocketAddr {
    loop {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(20_000..32_768)));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// Starts one, and returns when it takes connections; what it said, if it ends before.
async fn spawn(folder: &Path, arguments: &[String]) -> Result<Child, String> {
    let mut arguments = arguments.iter().peekable();
    let mut command = Command::new(binary());
    // A file of settings comes first.
    command.args(arguments.next_if(|first| !first.starts_with("--")));
    let mut child = command
        .args(["--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut says = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    super::soon("Redis is ready, or ends", async {
        while !READY.iter().any(|ready| said.contains(ready)) {
            if says.read_line(&mut said).await.unwrap() == 0 {
                return Err(());
            }
        }
        Ok(())
    })
    .await
    .map_err(|()| said)?;
    // It goes on to speak, and is to find a listener.
    tokio::spawn(async move { tokio::io::copy(&mut says, &mut tokio::io::sink()).await });
    Ok(child)
}

/// The one that `tools/install.sh redis` puts there, or else the system's.
fn binary() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/redis-server");
    let path = env::var_os("PATH").unwrap_or_default();
    let of_system = env::split_paths(&path).map(|folder| folder.join("redis-server"));
    let mut found = std::iter::once(ours)
        .chain(of_system)
        .filter(|path| path.is_file());
    found
        .next()
        .expect("there is no redis-server: run tools/install.sh redis")
}
