//! Cost of a send by recipients, apps, callers and calls at once.

use anyhow::Context;

use super::{Curve, Growth, Series};
use crate::{
    bare::Build,
    call::Calls,
    gateway::Policies,
    load::{Load, Shape},
    sample::{self, Pace, Sample},
    server::Server,
    sink,
    spread::Spread,
};

const CALLERS: Shape = Shape {
    connections: 10,
    streams: 10,
};

/// A few calls at once: one alone may keep all parts of its message busy.
const FEW: Shape = Shape {
    connections: 2,
    streams: 2,
};

/// Calls at once: connections, and streams on each.
const AT_ONCE: [(usize, usize); 7] = [
    (1, 1),
    (2, 1),
    (2, 5),
    (10, 5),
    (10, 10),
    (10, 50),
    (10, 100),
];

/// By the recipients of a message.
pub(super) async fn recipients(pace: Pace, quick: bool) -> anyhow::Result<Vec<Curve>> {
    let servers = powers(if quick { 3 } else { 4 });
    let servers = servers.map(|n| (n, Server::Gateway(Policies::PLAIN.with_recipients(n)), FEW));
    Ok(vec![Curve {
        file: "recipients",
        x: "recipients",
        y: "CPU of a message, ms",
        growth: Growth::Linear,
        series: vec![series("gateway", &samples(servers, pace).await?, |s| {
            s.cpu_us / 1e3
        })],
    }])
}

/// By the apps that sends are for, by turns.
pub(super) async fn apps(pace: Pace, quick: bool) -> anyhow::Result<Vec<Curve>> {
    // Each first fetches its token and opens its connections.
    let pace = Pace {
        warm_up: 6 * pace.warm_up,
        ..pace
    };
    by_turns("apps", Policies::with_apps, pace, quick).await
}

/// By the callers that send, by turns, each with its key.
pub(super) async fn callers(pace: Pace, quick: bool) -> anyhow::Result<Vec<Curve>> {
    by_turns("callers", Policies::with_callers, pace, quick).await
}

async fn by_turns(
    name: &'static str,
    of: impl Fn(Policies, usize) -> Policies,
    pace: Pace,
    quick: bool,
) -> anyhow::Result<Vec<Curve>> {
    let numbers = powers(if quick { 2 } else { 3 });
    let servers = numbers.map(|n| (n, Server::Gateway(of(Policies::PLAIN, n)), CALLERS));
    Ok(vec![Curve {
        file: name,
        x: name,
        y: "CPU of a send, µs",
        growth: Growth::Flat,
        series: vec![series("gateway", &samples(servers, pace).await?, |s| {
            s.cpu_us
        })],
    }])
}

/// By the calls that are under way at once, beside the pass-through.
pub(super) async fn in_flight(pace: Pace) -> anyhow::Result<Vec<Curve>> {
    let (mut cpu, mut waiting) = (Vec::new(), Vec::new());
    for (name, server) in [
        (
            "gateway, everything on",
            Server::Gateway(Policies::EVERYTHING),
        ),
        ("bare pass-through", Server::PassThrough(Build::Plain)),
    ] {
        let servers = AT_ONCE.map(|(connections, streams)| {
            let shape = Shape {
                connections,
                streams,
            };
            (shape.calls(), server, shape)
        });
        let samples = samples(servers, pace).await?;
        cpu.push(series(name, &samples, |s| s.cpu_us));
        waiting.push(series(name, &samples, |s| s.p99_ms));
    }
    Ok(vec![
        Curve {
            file: "in-flight",
            x: "calls at once",
            y: "CPU of a send, µs",
            growth: Growth::Flat,
            series: cpu,
        },
        Curve {
            file: "in-flight-p99",
            x: "calls at once",
            y: "p99, ms",
            growth: Growth::Linear,
            series: waiting,
        },
    ])
}

/// 1, 10 and so on.
fn powers(most: u32) -> impl Iterator<Item = usize> {
    (0..=most).map(|power| 10_usize.pow(power))
}

type Samples = Vec<(usize, Vec<Sample>)>;

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn series(name: &str, samples: &Samples, of: fn(&Sample) -> f64) -> Series {
    let point = |(x, samples): &(usize, Vec<Sample>)| {
        (*x as f64, Spread::of(samples.iter().map(of)).median)
    };
    Series {
        name: name.to_owned(),
        points: samples.iter().map(point).collect(),
    }
}

async fn samples(
    servers: impl IntoIterator<Item = (usize, Server, Shape)>,
    pace: Pace,
) -> anyhow::Result<Samples> {
    let mut all = Vec::new();
    for (x, server, shape) in servers {
        let sink = sink::start_with(sink::Manner {
            each: server.options().recipients > 1,
            ..sink::Manner::default()
        })?;
        let peer = server.start(&sink, None)?.context("a server")?;
        let calls = Calls::new(peer.address, server.options())?;
        Load::wait(peer.address, CALLERS.connections, &calls).await?;
        let mut samples = Vec::new();
        for _ in 0..pace.rounds {
            let sample = sample::take(server, &peer, &sink, shape, pace).await;
            samples.push(sample.with_context(|| format!("{server:?}"))?);
        }
        all.push((x, samples));
    }
    Ok(all)
}
