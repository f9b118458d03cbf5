//! Cost of a send with a request ID, and the gateway's memory, while more and more are remembered.

use std::time::Duration;

use tokio::time::sleep;

use super::{Curve, Growth, Series};
use crate::{gateway::Policies, load::Shape, sample::Reading, server::Server, sink};

const SHAPE: Shape = Shape {
    connections: 10,
    streams: 10,
};
/// Longest time, on a machine that is too slow for so many.
const LONGEST: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) async fn measure(quick: bool) -> anyhow::Result<Vec<Curve>> {
    // The more there are, the larger the steps: what comes first is over in an instant.
    let steps: &[u64] = match quick {
        true => &[10_000, 30_000],
        false => &[
            20_000, 50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000,
        ],
    };
    let policies = Policies::PLAIN.with_request_ids();
    let sink = sink::start()?;
    let gateway = policies.start(&sink, None)?;
    let mut load = Server::Gateway(policies).load(&gateway, SHAPE).await?;
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    let begin = std::time::Instant::now();
    let mut before = Reading::take(load.answered(), Some(&gateway), &sink)?;
    for step in steps {
        while load.answered() < *step && begin.elapsed() < LONGEST {
            sleep(LOOK).await;
        }
        let records = load.answered();
        if records < *step {
            break;
        }
        let now = Reading::take(records, Some(&gateway), &sink)?;
        cpu.push((records as f64, before.to(&now, &[]).cpu_us));
        memory.push((records as f64, gateway.memory()? as f64 / 1e6));
        before = now;
    }
    load.stop().await?;
    let one = |points| {
        vec![Series {
            name: "gateway".to_owned(),
            points,
        }]
    };
    Ok(vec![
        Curve {
            file: "ledger",
            x: "request IDs remembered",
            y: "CPU of a send with one, µs",
            growth: Growth::Flat,
            series: one(cpu),
        },
        Curve {
            file: "ledger-memory",
            x: "request IDs remembered",
            y: "memory (RSS), MB",
            growth: Growth::Linear,
            series: one(memory),
        },
    ])
}
