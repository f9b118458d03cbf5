//! A Redis of one's own: the real server, on a free port, with nothing kept on disk.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

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
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let child = spawn(addr, folder.path(), &arguments);
        let redis = Self {
            addr,
            arguments,
            folder,
            child,
        };
        redis.answers().await;
        redis
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
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
