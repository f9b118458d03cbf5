//! Cost of a send by recipients, apps, callers and calls at once.

use anyhow::Context;

use super::{Curve, Growth, Series};
use crate::{
    bare::Build,
    gateway::Policies,
    load::Shape,
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

pub(super) async fn measure(pace: Pace, quick: bool) -> anyhow::Result<Vec<Curve>> {
    let many = if quick { 2 } else { 3 };
    let powers = |most: u32| (0..=most).map(|power| 10_usize.pow(power));
    let curve = |file, x, y, growth, series| Curve {
        file,
        x,
        y,
        growth,
        series,
    };

    let plain = Policies::PLAIN;
    let servers = powers(many + 1).map(|n| (n, Server::Gateway(plain.with_recipients(n)), FEW));
    let series = vec![points("gateway", servers, pace, |s| s.cpu_us / 1e3).await?];
    let recipients = curve(
        "recipients",
        "recipients",
        "CPU of a message, ms",
        Growth::Linear,
        series,
    );

    // Each app first fetches its token and opens its connections.
    let long = Pace {
        warm_up: 6 * pace.warm_up,
        ..pace
    };
    let servers = powers(many).map(|n| (n, Server::Gateway(plain.with_apps(n)), CALLERS));
    let series = vec![points("gateway", servers, long, |s| s.cpu_us).await?];
    let apps = curve("apps", "apps", "CPU of a send, µs", Growth::Flat, series);

    let servers = powers(many).map(|n| (n, Server::Gateway(plain.with_callers(n)), CALLERS));
    let series = vec![points("gateway", servers, pace, |s| s.cpu_us).await?];
    let callers = curve(
        "callers",
        "callers",
        "CPU of a send, µs",
        Growth::Flat,
        series,
    );

    let (mut cpu, mut waiting) = (Vec::new(), Vec::new());
    let everything = Server::Gateway(Policies::EVERYTHING);
    let bare = Server::PassThrough(Build::Plain);
    for (name, server) in [
        ("gateway, everything on", everything),
        ("bare pass-through", bare),
    ] {
        let servers = AT_ONCE.map(|(connections, streams)| {
            let shape = Shape {
                connections,
                streams,
            };
            (shape.calls(), server, shape)
        });
        let samples = samples(servers, pace).await?;
        cpu.push(series_of(name, &samples, |s| s.cpu_us));
        waiting.push(series_of(name, &samples, |s| s.p99_ms));
    }
    let at_once = curve(
        "in-flight",
        "calls at once",
        "CPU of a send, µs",
        Growth::Flat,
        cpu,
    );
    let waiting = curve(
        "in-flight-p99",
        "calls at once",
        "p99, ms",
        Growth::Linear,
        waiting,
    );
    Ok(vec![recipients, apps, callers, at_once, waiting])
}

type Samples = Vec<(usize, Vec<Sample>)>;

async fn points(
    name: &str,
    servers: impl IntoIterator<Item = (usize, Server, Shape)>,
    pace: Pace,
    of: fn(&Sample) -> f64,
) -> anyhow::Result<Series> {
    Ok(series_of(name, &samples(servers, pace).await?, of))
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn series_of(name: &str, samples: &Samples, of: fn(&Sample) -> f64) -> Series {
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
        let mut samples = Vec::new();
        for _ in 0..pace.rounds {
            let sample = sample::take(server, &peer, &sink, shape, pace).await;
            samples.push(sample.with_context(|| format!("{server:?}"))?);
        }
        all.push((x, samples));
    }
    Ok(all)
}
