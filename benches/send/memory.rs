//! Memory of the gateway: at rest, at saturation, and with many uploads at once.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    gateway::Policies,
    load::Shape,
    report::{Bound, Report},
    sample::{self, Pace},
    server::Server,
    sink, uploads,
};

/// Name of the figure.
pub(crate) const NAME: &str = "memory";

/// What is made when it is first needed is there after this time.
const SETTLE: Duration = Duration::from_secs(3);
/// Loads at saturation.
const SHAPES: [Shape; 2] = [
    Shape {
        connections: 10,
        streams: 10,
    },
    Shape {
        connections: 50,
        streams: 10,
    },
];

/// Writes the table.
pub(crate) async fn measure(report: &mut Report, pace: Pace) -> anyhow::Result<()> {
    report.heading(format!("{NAME} of the gateway (RSS), everything on"));
    report.columns(&["", "MB"]);
    let sink = sink::start()?;
    let gateway = Policies::EVERYTHING.start(&sink, None)?;
    sleep(SETTLE).await;
    tell(report, "idle", gateway.memory()?, 20.0);
    drop(gateway);
    for shape in SHAPES {
        let gateway = Policies::EVERYTHING.start(&sink, None)?;
        let server = Server::Gateway(Policies::EVERYTHING);
        let pace = Pace {
            measure: 2 * pace.measure,
            ..pace
        };
        sample::take(server, &gateway, &sink, shape, pace).await?;
        let what = format!("the most at saturation, {shape}");
        tell(report, &what, gateway.peak_memory()?, 45.0);
    }
    for (manner, what) in [("count", "taken at once"), ("stall", "that stall")] {
        let most = uploads::memory::of_hundred(&sink, manner).await?;
        let what = format!("the most with 100 uploads of 10 MiB {what}");
        tell(report, &what, most, 80.0);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn tell(report: &mut Report, what: &str, bytes: u64, most: f64) {
    let megabytes = bytes as f64 / 1e6;
    report.row(&[what, &format!("{megabytes:.1}")]);
    let aim = format!("≤ {most}");
    report.judge(
        format!("RSS, MB: {what}"),
        aim,
        megabytes,
        Bound::AtMost(most),
    );
}
