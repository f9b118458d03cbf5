//! The open loop: calls begin when they are meant to, whatever became of those before, and a latency counts
//! from there. So a server that falls behind shows it. Beside the gateway: the same calls straight to
//! the sink, which takes its time as Easemob does.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    call::Calls,
    gateway::Policies,
    load::{self, Load},
    message,
    peer::Peer,
    report::{Bound, Report},
    sample::{Pace, percentile},
    sink,
    spread::Spread,
};

/// Name of the figure.
pub(crate) const NAME: &str = "open";

/// Sends a second. Two shards make 64 calls at once, so about 3,000 would be the most.
const RATES: [u32; 3] = [250, 1_000, 2_000];
/// The rate that is judged.
const JUDGED: u32 = 1_000;
/// How long the sink takes for an answer.
const EASEMOB: Duration = Duration::from_millis(20);
/// Connections to the gateway.
const CONNECTIONS: usize = 10;
/// Longest time that the calls under way may take to end.
const STRAGGLERS: Duration = Duration::from_secs(20);

/// Who is called.
#[derive(Clone)]
enum Way {
    Direct(reqwest::Client, String),
    Gateway(Vec<SendRequest<Bytes>>, Calls),
}

/// One way in one round, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    p50: f64,
    p99: f64,
    p999: f64,
    /// The 99th percentile of how much later than meant calls began.
    late: f64,
}

type Column = fn(&Sample) -> f64;
const COLUMNS: [(&str, Column, f64); 3] = [
    ("p50", |s| s.p50, 0.5),
    ("p99", |s| s.p99, 2.0),
    ("p99.9", |s| s.p999, 10.0),
];

/// Writes the tables.
pub(crate) async fn measure(report: &mut Report, pace: Pace) -> anyhow::Result<()> {
    report.heading(format!(
        "{NAME}: calls begin at a fixed rate; Easemob answers in {} ms",
        EASEMOB.as_millis()
    ));
    let sink = sink::start_with(sink::Manner {
        delay: EASEMOB,
        ..sink::Manner::default()
    })?;
    let gateway = Policies::EVERYTHING.start(&sink, None)?;
    report.columns(&["", "p50 ms", "p99 ms", "p99.9 ms", "begun late, p99 ms"]);
    for rate in RATES {
        let mut load = Load::idle();
        let ways = ways(&mut load, &gateway, &sink).await?;
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..pace.rounds {
            for (way, samples) in ways.iter().zip(&mut samples) {
                samples.push(sample(way, rate, pace).await?);
            }
        }
        let [direct, through] = &samples;
        row(report, format!("{rate}/s, directly"), direct);
        row(report, format!("{rate}/s, by the gateway"), through);
        let mut added = vec![format!("{rate}/s, added")];
        for (name, of, bound) in COLUMNS {
            let rounds = through.iter().zip(direct);
            let spread = Spread::of(rounds.map(|(through, direct)| of(through) - of(direct)));
            added.push(spread.text(2));
            if rate == JUDGED {
                let what = format!("{rate} sends/s, open loop: added {name}, ms");
                report.judge(
                    what,
                    format!("≤ {bound}"),
                    spread.median,
                    Bound::AtMost(bound),
                );
            }
        }
        added.push(String::new());
        report.row(&added);
    }
    Ok(())
}

fn row(report: &mut Report, name: String, samples: &[Sample]) {
    let mut cells = vec![name];
    for (_, of, _) in COLUMNS {
        cells.push(Spread::of(samples.iter().map(of)).text(2));
    }
    cells.push(Spread::of(samples.iter().map(|s| s.late)).text(2));
    report.row(&cells);
}

async fn ways(load: &mut Load, gateway: &Peer, sink: &Peer) -> anyhow::Result<[Way; 2]> {
    // Its build has no TLS of its own, and it wants one even for plain HTTP.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    // As in a caller's own service: without a proxy, whatever the environment says.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/acme/shop/messages/users", sink.address);
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(load.connect(gateway.address).await?);
    }
    let calls = Calls::new(gateway.address, Policies::EVERYTHING.calls)?;
    Ok([Way::Direct(client, url), Way::Gateway(senders, calls)])
}

async fn sample(way: &Way, rate: u32, pace: Pace) -> anyhow::Result<Sample> {
    let begin = Instant::now();
    let all = pace.warm_up + 2 * pace.measure;
    let mut ticks = clock(begin, rate, all);
    let mut calls = JoinSet::new();
    let mut number = 0;
    while let Some(meant) = ticks.recv().await {
        let way = way.clone();
        let is_warm = meant - begin >= pace.warm_up;
        calls.spawn(async move {
            let late = meant.elapsed();
            way.call(number).await?;
            anyhow::Ok(is_warm.then(|| (meant.elapsed(), late)))
        });
        number += 1;
    }
    let (mut latencies, mut late) = (Vec::new(), Vec::new());
    let stragglers = async {
        while let Some(call) = calls.join_next().await {
            if let Some((latency, begun)) = call?? {
                latencies.push(latency);
                late.push(begun);
            }
        }
        anyhow::Ok(())
    };
    timeout(STRAGGLERS, stragglers)
        .await
        .context("calls that never end")??;
    latencies.sort_unstable();
    late.sort_unstable();
    Ok(Sample {
        p50: percentile(&latencies, 500),
        p99: percentile(&latencies, 990),
        p999: percentile(&latencies, 999),
        late: percentile(&late, 990),
    })
}

/// Tells when each call is meant to begin. On a thread of its own, since the runtime's timers know milliseconds only.
fn clock(begin: Instant, rate: u32, all: Duration) -> mpsc::UnboundedReceiver<Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut meant = begin;
        while meant < begin + all {
            thread::sleep(meant.saturating_duration_since(Instant::now()));
            if sender.send(meant).is_err() {
                break;
            }
            meant += Duration::from_secs(1) / rate;
        }
    });
    receiver
}

impl Way {
    async fn call(&self, number: usize) -> anyhow::Result<()> {
        match self {
            Self::Direct(client, url) => {
                let request = client.post(url).bearer_auth("YWMtbench");
                let response = request.body(message::JSON).send().await?;
                let body = response.error_for_status()?.bytes().await?;
                serde_json::from_slice::<serde_json::Value>(&body)?;
            }
            Self::Gateway(senders, calls) => {
                let sender = senders[number % senders.len()].clone();
                load::call(sender, calls, number).await?;
            }
        }
        Ok(())
    }
}
