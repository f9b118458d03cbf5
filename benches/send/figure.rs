//! The figures, and how each is measured: its servers take turns, round by round, so that what else
//! happens on the machine meets all of them alike.

use std::{
    fmt,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::sleep;

use crate::{
    collector::Manner,
    load::{Load, Shape},
    machine,
    peer::Peer,
    sink,
};

/// A server to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Echo,
    PassThrough,
    /// The gateway with this many shards; left out, as many as it takes by itself.
    Gateway(Option<usize>),
    /// The same with traces: so many of a thousand sends are recorded, and exported to such a collector.
    Traced(Option<usize>, u16, Manner),
}

/// A table of the report.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) servers: &'static [Server],
}

/// Every figure in time.
pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: "callers",
        shape: Shape {
            connections: 10,
            streams: 10,
        },
        servers: &[Server::Echo, Server::PassThrough, Server::Gateway(None)],
    },
    Figure {
        name: "tracing",
        shape: Shape {
            connections: 10,
            streams: 10,
        },
        servers: &[
            Server::Gateway(None),
            Server::Traced(None, 10, Manner::Prompt),
            Server::Traced(None, 1000, Manner::Prompt),
        ],
    },
    // Every send recorded, whatever becomes of the spans.
    Figure {
        name: "collector",
        shape: Shape {
            connections: 10,
            streams: 10,
        },
        servers: &[
            Server::Gateway(None),
            Server::Traced(None, 1000, Manner::Prompt),
            Server::Traced(None, 1000, Manner::Slow),
            Server::Traced(None, 1000, Manner::Refusing),
            Server::Traced(None, 1000, Manner::Gone),
        ],
    },
    // What a mesh sidecar looks like. A connection stays on its shard, so fewer connections than
    // cores are the worst case of that shape.
    Figure {
        name: "mesh",
        shape: Shape {
            connections: 1,
            streams: 100,
        },
        servers: &[
            Server::PassThrough,
            Server::Gateway(Some(1)),
            Server::Gateway(Some(2)),
        ],
    },
];

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

/// One server in one round.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) sends_per_second: f64,
    /// Processor time of the server for a send, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
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

impl Server {
    /// Starts it in front of a sink; `under` another program, such as valgrind.
    pub(crate) fn start(self, sink: SocketAddr, under: Option<Command>) -> anyhow::Result<Peer> {
        match self {
            Self::Echo => Peer::of_bench(&["--role=echo"], under),
            Self::PassThrough => {
                let base_url = format!("http://{sink}/acme/shop");
                Peer::of_bench(&["--role=pass-through", &base_url], under)
            }
            Self::Gateway(shards) => Peer::gateway(sink, shards, under),
            Self::Traced(shards, per_mille, manner) => {
                Peer::traced_gateway(sink, shards, (per_mille, manner), under)
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.pad("bare echo"),
            Self::PassThrough => f.pad("bare pass-through"),
            Self::Gateway(None) => f.pad("gateway"),
            Self::Gateway(Some(1)) => f.pad("gateway, 1 shard"),
            Self::Gateway(Some(shards)) => f.pad(&format!("gateway, {shards} shards")),
            Self::Traced(_, _, Manner::Slow) => f.pad("collector slow"),
            Self::Traced(_, _, Manner::Refusing) => f.pad("collector refuses"),
            Self::Traced(_, _, Manner::Gone) => f.pad("collector gone"),
            Self::Traced(_, 1000, _) => f.pad("all sends traced"),
            Self::Traced(_, per_mille, _) => f.pad(&format!("{per_mille} in 1000 traced")),
        }
    }
}

impl Figure {
    /// Measures it: for each server, a sample a round.
    pub(crate) async fn measure(&self, pace: Pace) -> anyhow::Result<Vec<Vec<Sample>>> {
        let sink = sink::start()?;
        let servers = self.servers.iter();
        let peers = servers.map(|server| server.start(sink.address, None));
        let peers = peers.collect::<anyhow::Result<Vec<_>>>()?;
        let mut samples = vec![Vec::new(); peers.len()];
        for _ in 0..pace.rounds {
            for ((server, peer), samples) in self.servers.iter().zip(&peers).zip(&mut samples) {
                let sample = self.sample(*server, peer, &sink, pace).await;
                samples.push(sample.with_context(|| format!("{}: {server}", self.name))?);
            }
        }
        Ok(samples)
    }

    async fn sample(
        &self,
        server: Server,
        peer: &Peer,
        sink: &Peer,
        pace: Pace,
    ) -> anyhow::Result<Sample> {
        let sent_before = sink::count(sink.address).await?;
        let mut load = Load::start(peer.address, self.shape).await?;
        sleep(pace.warm_up).await;
        load.measure();
        let begin = Reading::take(&load, peer, sink)?;
        sleep(pace.measure).await;
        let end = Reading::take(&load, peer, sink)?;
        let latencies = load.stop().await?;

        let sent = sink::count(sink.address).await? - sent_before;
        let answered = match server {
            Server::Echo => 0,
            _ => load.answered(),
        };
        ensure!(
            sent == answered,
            "{answered} sends were answered, and the sink had {sent}"
        );
        Ok(begin.to(&end, &latencies))
    }
}

/// All counters at one instant.
struct Reading {
    at: Instant,
    answered: u64,
    server: Duration,
    load: Duration,
    sink: Duration,
    machine: Duration,
}

impl Reading {
    fn take(load: &Load, peer: &Peer, sink: &Peer) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            answered: load.answered(),
            server: peer.cpu()?,
            load: machine::cpu_of(std::process::id())?,
            sink: sink.cpu()?,
            machine: machine::busy()?,
        })
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a few seconds are far below 2^52"
    )]
    fn to(&self, end: &Self, latencies: &[Duration]) -> Sample {
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
            p50_ms: percentile(latencies, 50),
            p99_ms: percentile(latencies, 99),
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
fn percentile(latencies: &[Duration], percent: usize) -> f64 {
    let index = latencies.len() * percent / 100;
    let latency = latencies.get(index).copied().unwrap_or_default();
    latency.as_secs_f64() * 1e3
}
