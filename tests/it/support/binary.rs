//! The real binary: `easemob-gateway serve`, with all that it says.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};
use tonic::transport::Endpoint;

use super::{
    ledger::Client,
    metrics::Page,
    process::{files_of, memory_of, peak_memory_of, processor_time_of, threads_of},
};

/// Where it is.
pub const BINARY: &str = env!("CARGO_BIN_EXE_easemob-gateway");

/// A command of the binary, with no environment but what is added to it.
pub fn command() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().kill_on_drop(true);
    command
}

/// A file with settings; free ports and the rest are up to the test.
pub fn settings(toml: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("settings-{}-{number}.toml", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, toml).unwrap();
    path
}

/// A gateway that is a process; it ends with this value.
pub struct Binary {
    pub grpc: SocketAddr,
    operations: SocketAddr,
    toml: String,
    child: Child,
    said: JoinHandle<String>,
}

impl Binary {
    /// Starts the process, and returns when it listens. Its settings have to log at `info` at least.
    pub async fn serve(toml: &str, env: &[(&str, &str)]) -> Self {
        Self::serve_by(command(), toml, env).await
    }

    /// The same by another command that runs the binary.
    pub async fn serve_by(mut command: Command, toml: &str, env: &[(&str, &str)]) -> Self {
        let ports = "[server]\nlisten = '127.0.0.1:0'\noperations_listen = '127.0.0.1:0'\n";
        command.arg("serve").arg("--config");
        command.arg(settings(&format!("{ports}{toml}")));
        command.envs(env.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let listens = async {
            loop {
                let before = said.len();
                let count = stderr.read_line(&mut said).await.unwrap();
                assert!(count > 0, "it ended: {said}");
                let line = serde_json::from_str::<serde_json::Value>(&said[before..]);
                let line = line.unwrap_or_default();
                let listens = |port: &str| Some(line[port].as_str()?.parse().unwrap());
                if let (Some(grpc), Some(operations)) = (listens("grpc"), listens("operations")) {
                    break (grpc, operations);
                }
            }
        };
        let (grpc, operations) = super::soon("the gateway listens", listens).await;
        let said = tokio::spawn(async move {
            stderr.read_to_string(&mut said).await.unwrap();
            said
        });
        Self {
            grpc,
            operations,
            toml: toml.to_owned(),
            child,
            said,
        }
    }

    /// A client on a connection of its own, for a gateway with one Easemob.
    pub async fn client(&self) -> Client {
        let endpoint = Endpoint::try_from(format!("http://{}", self.grpc)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let quoted = || self.toml.split(['\'', '"']);
        let redis = quoted().find(|text| text.starts_with("redis://"));
        let memory = redis.map_or_else(|| self.grpc.to_string(), str::to_owned);
        Client::new(channel, quoted().map(|url| ("", url)), memory)
    }

    /// Its metrics, as Prometheus reads them.
    pub async fn metrics(&self) -> String {
        super::page(self.operations, "metrics").await.1
    }

    /// The same, read.
    pub async fn page(&self) -> Page {
        Page::parse(&self.metrics().await)
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs until it is waited for")
    }

    /// The most memory it has had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        peak_memory_of(self.pid())
    }

    /// The memory that it has, in bytes.
    pub fn memory(&self) -> u64 {
        memory_of(self.pid())
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        files_of(self.pid())
    }

    /// How many threads it has.
    pub fn threads(&self) -> u64 {
        threads_of(self.pid())
    }

    /// The processor time that it has had so far.
    pub fn processor_time(&self) -> Duration {
        processor_time_of(self.pid())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// SIGKILL: it ends where it stands.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end, and gives all that it said.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let status = super::soon("the process ends", self.child.wait()).await;
        (status.unwrap(), self.said.await.unwrap())
    }
}
