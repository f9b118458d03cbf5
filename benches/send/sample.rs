//! One server in one round: how fast it was, what it cost, and who used the machine meanwhile.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::time::sleep;

use crate::{load::Shape, machine, peer::Peer, server::Server, sink};

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

impl Pace {
    /// For what many points are measured of.
    pub(crate) fn brief(self) -> Self {
        Self {
            rounds: self.rounds.div_ceil(2).max(3),
            measure: self.measure / 2,
            ..self
        }
    }
}

/// One server in one round.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) sends_per_second: f64,
    /// Processor time of the server for a send, in microseconds.
    pub(crate) cpu_us: f64,
    /// What of it is the kernel's, as a share.
    pub(crate) kernel: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// Cores that each had, on average: 1.0 is one core all the time.
    pub(crate) cores: Cores,
}

/// Who used the machine meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    pub(crate) server: f64,
    pub(crate) load: f64,
    pub(crate) sink: f64,
    /// Everybody else on the machine.
    pub(crate) others: f64,
}

/// Measures a server under a load of this shape.
pub(crate) async fn take(
    server: Server,
    peer: &Peer,
    sink: &Peer,
    shape: Shape,
    pace: Pace,
) -> anyhow::Result<Sample> {
    let sent_before = sink::count(sink.address).await?;
    let mut load = server.load(peer, shape).await?;
    sleep(pace.warm_up).await;
    load.measure();
    let begin = Reading::take(load.answered(), Some(peer), sink)?;
    sleep(pace.measure).await;
    let end = Reading::take(load.answered(), Some(peer), sink)?;
    let latencies = load.stop().await?;

    let sent = sink::count(sink.address).await? - sent_before;
    let answered = if server.reaches_sink() {
        load.answered()
    } else {
        0
    };
    // With many recipients, a send goes out in parts.
    let in_parts = server.options().recipients > 1 && sent > answered;
    ensure!(
        sent == answered || in_parts,
        "{answered} sends were answered, and the sink had {sent}"
    );
    Ok(begin.to(&end, &latencies))
}

/// All counters at one instant.
#[derive(Debug)]
pub(crate) struct Reading {
    at: Instant,
    answered: u64,
    server: Duration,
    kernel: Duration,
    load: Duration,
    sink: Duration,
    machine: Duration,
}

impl Reading {
    /// The load generator is this process, and so are programs that it started and that have ended.
    pub(crate) fn take(answered: u64, server: Option<&Peer>, sink: &Peer) -> anyhow::Result<Self> {
        let load = machine::cpu_of(std::process::id())? + machine::cpu_of_children()?;
        Ok(Self {
            at: Instant::now(),
            answered,
            server: server.map_or(Ok(Duration::ZERO), Peer::cpu)?,
            kernel: server.map_or(Ok(Duration::ZERO), Peer::kernel)?,
            load,
            sink: sink.cpu()?,
            machine: machine::busy()?,
        })
    }

    /// What happened from here to there.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a few seconds are far below 2^52"
    )]
    pub(crate) fn to(&self, end: &Self, latencies: &[Duration]) -> Sample {
        let seconds = (end.at - self.at).as_secs_f64();
        let sends = (end.answered - self.answered).max(1) as f64;
        let cores = |begin: Duration, end: Duration| (end - begin).as_secs_f64() / seconds;
        let server = cores(self.server, end.server);
        let load = cores(self.load, end.load);
        let sink = cores(self.sink, end.sink);
        let all = cores(self.machine, end.machine);
        Sample {
            sends_per_second: sends / seconds,
            cpu_us: server * seconds * 1e6 / sends,
            kernel: cores(self.kernel, end.kernel) / server.max(f64::MIN_POSITIVE),
            p50_ms: percentile(latencies, 500),
            p99_ms: percentile(latencies, 990),
            p999_ms: percentile(latencies, 999),
            cores: Cores {
                server,
                load,
                sink,
                others: (all - server - load - sink).max(0.0),
            },
        }
    }
}

/// Of latencies in rising order, in milliseconds.
pub(crate) fn percentile(latencies: &[Duration], per_mille: usize) -> f64 {
    let index = latencies.len() * per_mille / 1000;
    let latency = latencies.get(index).copied().unwrap_or_default();
    latency.as_secs_f64() * 1e3
}
