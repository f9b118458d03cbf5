//! The server in a process of its own, for what belongs to a process: memory, processor time,
//! files, signals, the exit code.
//!
//! The process is this test binary over again, told by a variable to be a server.

use std::{
    env, fs,
    io::{Read, Write},
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use easemob_gateway::{
    metrics::Registry,
    server::{Listener, Readiness, on_signal, serve},
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::server::{Notes, routes};

/// The settings of a server to be, as TOML. Where it is set, this binary is that server.
const CONFIG: &str = "TEST_SERVER_CONFIG";
/// How many files that server may have open.
const FILES: &str = "TEST_SERVER_FILES";

/// Not a test of anything: what [`Process`] runs. By itself it does nothing.
#[test]
fn server_process() {
    let Some(config) = env::var_os(CONFIG) else {
        return;
    };
    let config = toml::from_str(config.to_str().unwrap()).unwrap();
    if let Some(files) = env::var_os(FILES) {
        limit_files(files.to_str().unwrap().parse().unwrap());
    } else {
        allow_files();
    }
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let shutdown = on_signal().unwrap();
        let listener = Listener::bind(&config).await.unwrap();
        println!("\nlistening {}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        let (readiness, notes) = (Readiness::new(), Arc::new(Notes::default()));
        let service = {
            let readiness = readiness.clone();
            move |shard: &_| Ok(routes(&readiness, shard, &notes))
        };
        let registry = Registry::unexported().unwrap();
        let report = serve(listener, &config, &readiness, &registry, service, shutdown).await;
        println!("\ndrained {}", report.unwrap().in_time);
    });
}

/// The other end of standard input is with the parent, and closes with it, however it ends.
fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}

/// Lets this process have as many files as it may: some tests open a thousand connections.
pub fn allow_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
}

fn limit_files(count: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(count),
            maximum,
        },
    )
    .unwrap();
}

/// A server in a process of its own; it ends with this value.
pub struct Process {
    pub grpc: SocketAddr,
    child: Child,
    /// Its end of life: closed with this value, and not already when the child is waited for.
    _stdin: ChildStdin,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one with these settings, in TOML, beside the free ports.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, |_| ()).await
    }

    /// The same with no more than so many files.
    pub async fn start_with_files(config: &str, files: u64) -> Self {
        Self::start_with(config, |command| {
            command.env(FILES, files.to_string());
        })
        .await
    }

    async fn start_with(config: &str, more: impl FnOnce(&mut Command)) -> Self {
        let ports = "listen = '127.0.0.1:0'\noperations_listen = '127.0.0.1:0'\nshards = 2\n";
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "support::process::server_process", "--nocapture"])
            .env(CONFIG, format!("{ports}{config}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        more(&mut command);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            grpc: next_word(&mut lines, "listening").await.parse().unwrap(),
            _stdin: child.stdin.take().unwrap(),
            child,
            lines,
        }
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs until it is waited for")
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits for its end: whether everything had ended in time, and what its parent sees.
    pub async fn ended(&mut self) -> (bool, ExitStatus) {
        let in_time = next_word(&mut self.lines, "drained").await.parse().unwrap();
        (in_time, self.child.wait().await.unwrap())
    }

    /// Waits for its end when it leaves without a word.
    pub async fn exit(&mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }

    /// The most memory it has had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        peak_memory_of(self.pid())
    }

    /// The processor time it has had so far.
    pub fn processor_time(&self) -> Duration {
        processor_time_of(self.pid())
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        files_of(self.pid())
    }
}

/// The processor time that a process has had so far.
pub fn processor_time_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may have spaces in it; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// The most memory that a process has had so far, in bytes.
pub fn peak_memory_of(pid: u32) -> u64 {
    status_of(pid, "VmHWM") * 1024
}

/// The memory that a process has, in bytes.
pub fn memory_of(pid: u32) -> u64 {
    status_of(pid, "VmRSS") * 1024
}

/// How many threads a process has.
pub fn threads_of(pid: u32) -> u64 {
    status_of(pid, "Threads")
}

/// How many files a process has open.
pub fn files_of(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files.unwrap().count()
}

/// A number that the kernel tells of a process; of memory in KiB.
fn status_of(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let value = line.expect(what).trim().trim_end_matches(" kB");
    value.parse().unwrap()
}

async fn next_word(lines: &mut tokio::io::Lines<BufReader<ChildStdout>>, key: &str) -> String {
    super::soon(&format!("the server to say {key}"), async {
        loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("the server ended early");
            if let Some(word) = line.strip_prefix(key) {
                return word.trim().to_owned();
            }
        }
    })
    .await
}
