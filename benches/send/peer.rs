//! The servers, each in a process of its own, so that its processor time can be told apart.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::machine;

/// Longest time from start to listening; under valgrind, nothing is quick.
const START: Duration = Duration::from_secs(60);
/// Longest time from SIGTERM to the end.
const END: Duration = Duration::from_secs(60);
/// Longest time for one that is not needed any more: what it has counted for a profile, it writes at its end.
const SOON: Duration = Duration::from_secs(3);
/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A server in a process of its own. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    child: Child,
    lines: mpsc::Receiver<String>,
    /// Where it exports to; ends with it.
    pub(crate) collector: Option<Box<Peer>>,
}

/// Tells the process that started this one where it listens, as the gateway does.
pub(crate) fn announce(address: SocketAddr) {
    eprintln!("{}", json!({ "grpc": address }));
}

impl Peer {
    /// One of the servers in this binary; `under` another program, such as valgrind.
    pub(crate) fn of_bench(role: &[&str], under: Option<Command>) -> anyhow::Result<Self> {
        let mut command = command(env::current_exe()?, under);
        command.args(role);
        Self::start(command)
    }

    /// Starts a program that tells where it listens.
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let program = Path::new(command.get_program()).display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let output = child.stderr.take().context("it was asked for")?;
        let (sender, lines) = mpsc::channel();
        // To the end, so that the process never waits for a reader.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let until = Instant::now() + START;
        let mut said = Vec::new();
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if let Some(address) = announced(&line) {
                return Ok(Self {
                    address,
                    child,
                    lines,
                    collector: None,
                });
            }
            said.push(line);
        }
        end(&mut child);
        bail!("{program} does not listen:\n{}", said.join("\n"))
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu_of(self.child.id())
    }

    /// What of it was spent in the kernel.
    pub(crate) fn kernel(&self) -> anyhow::Result<Duration> {
        machine::kernel_of(self.child.id())
    }

    /// Memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        machine::memory_of(self.child.id(), "VmRSS:")
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        machine::memory_of(self.child.id(), "VmHWM:")
    }

    /// Ends it as an orchestrator would, and gives what it said from its start on.
    pub(crate) fn terminate(mut self) -> anyhow::Result<String> {
        if !ended(&mut self.child, END)? {
            bail!("process {} does not end", self.child.id());
        }
        // The reader ends with the process.
        Ok(self.lines.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A program, and nothing in its environment that could change it: no proxy, no settings.
pub(crate) fn command(program: impl AsRef<OsStr>, under: Option<Command>) -> Command {
    let mut command = match under {
        Some(mut under) => {
            under.arg(program);
            under
        }
        None => Command::new(program),
    };
    let path = env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path);
    command
}

fn announced(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line.get("grpc")?.as_str()?.parse().ok()
}

/// Asks it to end, and tells whether it did within this time.
fn ended(child: &mut Child, within: Duration) -> anyhow::Result<bool> {
    let until = Instant::now() + within;
    if child.try_wait()?.is_none() {
        kill_process(Pid::from_child(child), Signal::TERM)?;
    }
    while child.try_wait()?.is_none() {
        if Instant::now() > until {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
    Ok(true)
}

fn end(child: &mut Child) {
    let _ = ended(child, SOON);
    // Fails for one that has ended.
    let _ = child.kill();
    let _ = child.wait();
}
