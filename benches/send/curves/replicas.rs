//! Cost of a send with a request ID where replicas share one Redis: theirs, and Redis's.

use std::time::Duration;

use tokio::time::sleep;

use super::{Curve, Growth, Series, redis::Redis};
use crate::{
    gateway::Policies, load::Shape, peer::Peer, sample::Pace, server::Server, sink, spread::Spread,
};

const REPLICAS: [usize; 4] = [1, 2, 4, 8];
/// Calls at once of each replica: with fewer, each call would cost more, however many replicas there are.
const STREAMS: usize = 10;

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) async fn measure(pace: Pace, quick: bool) -> anyhow::Result<Vec<Curve>> {
    let mut series = ["replicas", "Redis"].map(|name| Series {
        name: name.to_owned(),
        points: Vec::new(),
    });
    let most = if quick { 2 } else { REPLICAS.len() };
    for replicas in &REPLICAS[..most] {
        let redis = Redis::start()?;
        let sink = sink::start()?;
        let policies = Policies::PLAIN.on_one_shard().with_request_ids();
        let settings = [
            ("STORE__KIND", "redis".to_owned()),
            ("STORE__URL", redis.url()),
            // A busy machine is not a broken Redis.
            ("STORE__ANSWER_TIMEOUT", "5s".to_owned()),
        ];
        let gateways = (0..*replicas).map(|_| policies.start_with(&sink, &settings, None));
        let gateways = gateways.collect::<anyhow::Result<Vec<_>>>()?;
        let mut rounds = Vec::new();
        for _ in 0..pace.rounds {
            rounds.push(round(&gateways, &redis, Server::Gateway(policies), pace).await?);
        }
        for (at, series) in series.iter_mut().enumerate() {
            let median = Spread::of(rounds.iter().map(|round| round[at])).median;
            series.points.push((*replicas as f64, median));
        }
    }
    Ok(vec![Curve {
        file: "replicas",
        x: "replicas over one Redis",
        y: "CPU of a send with a request ID, µs",
        growth: Growth::Flat,
        series: series.into(),
    }])
}

/// Microseconds of a send: of the replicas together, and of Redis.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn round(
    gateways: &[Peer],
    redis: &Redis,
    server: Server,
    pace: Pace,
) -> anyhow::Result<[f64; 2]> {
    let mut loads = Vec::new();
    let shape = Shape {
        connections: 1,
        streams: STREAMS,
    };
    for gateway in gateways {
        loads.push(server.load(gateway, shape).await?);
    }
    sleep(pace.warm_up).await;
    let reading = |loads: &[crate::load::Load]| {
        let cpu = gateways
            .iter()
            .map(Peer::cpu)
            .sum::<anyhow::Result<Duration>>();
        let answered: u64 = loads.iter().map(crate::load::Load::answered).sum();
        anyhow::Ok((answered, [cpu?, redis.cpu()?]))
    };
    let (answered, before) = reading(&loads)?;
    sleep(pace.measure).await;
    let (answered_then, after) = reading(&loads)?;
    for load in &mut loads {
        load.stop().await?;
    }
    let sends = (answered_then - answered).max(1) as f64;
    Ok([0, 1].map(|at| (after[at] - before[at]).as_secs_f64() * 1e6 / sends))
}
