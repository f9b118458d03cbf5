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
    process::{Child, Command},
    time::sleep,
};

use super::tls::TlsFiles;

/// A Redis; it ends with this value.
pub struct Redis {
    addr: SocketAddr,
    arguments: Vec<String>,
    folder: TempDir,
    child: Child,
    tls: bool,
}

impl Redis {
    /// Starts one, and returns when it answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more settings, as its command line takes them.
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::start_at(free_addr(), arguments, false).await
    }

    /// One that speaks TLS alone, with these files.
    pub async fn start_tls(files: &TlsFiles, arguments: &[&str]) -> Self {
        let addr = free_addr();
        let port = addr.port().to_string();
        let path = |name| files.path(name).into_os_string().into_string().unwrap();
        let (certificate, key, ca) = (path("tls.crt"), path("tls.key"), path("ca.crt"));
        let tls = [
            "--port",
            "0",
            "--tls-port",
            &port,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "no",
        ];
        Self::start_at(addr, &[&tls, arguments].concat(), true).await
    }

    async fn start_at(addr: SocketAddr, arguments: &[&str], tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let child = spawn(addr, folder.path(), &arguments);
        let redis = Self {
            addr,
            arguments,
            folder,
            child,
            tls,
        };
        redis.answers().await;
        redis
    }

    /// A node for a Cluster, which knows no other yet.
    async fn start_node() -> Self {
        let bus = free_addr().port().to_string();
        let cluster = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "1000",
            "--cluster-replica-validity-factor",
            "0",
        ];
        Self::start_with(&cluster).await
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
        let addr = free_addr();
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
        let child = Command::new(binary())
            .arg(&file)
            .args(["--sentinel", "--bind", "127.0.0.1"])
            .args(["--port", &addr.port().to_string()])
            .arg("--dir")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let sentinel = Self {
            addr,
            arguments: Vec::new(),
            folder,
            child,
            tls: false,
        };
        sentinel.answers().await;
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
        self.child = spawn(self.addr, self.folder.path(), &self.arguments);
        self.answers().await;
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs until it is waited for");
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn answers(&self) {
        super::soon("Redis answers", async {
            loop {
                if self.tls {
                    if tokio::net::TcpStream::connect(self.addr).await.is_ok() {
                        return;
                    }
                    tokio::task::yield_now().await;
                    continue;
                }
                let client = redis::Client::open(self.url()).unwrap();
                let connected = client.get_multiplexed_async_connection().await;
                // It listens before it is ready, and asks for a password where the test says so.
                let asks_for_password = self.arguments.iter().any(|a| a == "--requirepass");
                if (connected.is_ok() || asks_for_password)
                    && tokio::net::TcpStream::connect(self.addr).await.is_ok()
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
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
            let bus = &node.arguments[3];
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

/// An address that is free now.
fn free_addr() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap()
}

fn spawn(addr: SocketAddr, folder: &Path, arguments: &[String]) -> Child {
    Command::new(binary())
        .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
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
