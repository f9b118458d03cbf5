//! How cost grows with what there is more of: as tables, and as plots beside the report.

mod ledger;
mod plot;
mod redis;
mod replicas;
mod sends;
mod uploads;

use crate::{
    report::{Bound, Report},
    sample::Pace,
};

/// Name of the figure.
pub(crate) const NAME: &str = "curves";

/// A line of a plot.
#[derive(Debug)]
pub(crate) struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// How a curve may grow.
#[derive(Debug, Clone, Copy)]
enum Growth {
    /// Not, but for what larger memory costs.
    Flat,
    /// With the first power of what there is more of.
    Linear,
}

/// Axes, and what is drawn.
#[derive(Debug)]
pub(crate) struct Curve {
    file: &'static str,
    x: &'static str,
    y: &'static str,
    growth: Growth,
    series: Vec<Series>,
}

/// Measures all curves. One that fails loses none of the others.
pub(crate) async fn measure(report: &mut Report, pace: Pace, quick: bool) -> anyhow::Result<()> {
    let pace = pace.brief();
    report.heading(format!("{NAME}: how cost grows"));
    let mut failed = Ok(());
    let mut write = |curves: anyhow::Result<Vec<Curve>>| {
        let written = curves.and_then(|curves| {
            let mut curves = curves.iter();
            curves.try_for_each(|curve| curve.write(report))
        });
        if let Err(error) = written {
            report.line(format!("\nA curve is missing: {error:#}"));
            failed = Err(error);
        }
    };
    write(sends::recipients(pace, quick).await);
    write(sends::apps(pace, quick).await);
    write(sends::callers(pace, quick).await);
    write(sends::in_flight(pace).await);
    write(ledger::measure(quick).await);
    write(replicas::measure(pace, quick).await);
    write(uploads::measure(quick).await);
    failed
}

impl Curve {
    fn write(&self, report: &mut Report) -> anyhow::Result<()> {
        let file = plot::draw(self)?;
        report.line(format!("\n![{}, by {}]({file})\n", self.y, self.x));
        let mut columns = vec![self.x];
        columns.extend(self.series.iter().map(|series| &*series.name));
        report.columns(&columns);
        let longest = self.series.iter().max_by_key(|series| series.points.len());
        for (x, _) in longest.map_or(&[][..], |series| &series.points) {
            let mut cells = vec![plot::number(*x)];
            for series in &self.series {
                let point = series.points.iter().find(|point| point.0 == *x);
                cells.push(point.map_or(String::new(), |(_, y)| plot::number(*y)));
            }
            report.row(&cells);
        }
        // What the gateway is compared with is nobody's aim.
        let is_bare = |series: &&Series| series.name.starts_with("bare");
        for series in self.series.iter().filter(|series| !is_bare(series)) {
            self.judge(report, series);
        }
        Ok(())
    }

    /// Whether it grows as it may, over the upper half of what was measured: where cost is large, what
    /// costs the same anyway hides nothing.
    fn judge(&self, report: &mut Report, series: &Series) {
        let points = &series.points;
        let (Some(last), Some(middle)) = (
            points.last(),
            points.get(points.len().saturating_sub(1) / 2),
        ) else {
            return;
        };
        let what = format!("{}, {}, by {}", self.y, series.name, self.x);
        match self.growth {
            Growth::Flat => {
                let least = points.iter().map(|(_, y)| *y).fold(f64::MAX, f64::min);
                report.judge(
                    what + ": last / least",
                    "≤ 1.5: flat",
                    last.1 / least,
                    Bound::AtMost(1.5),
                );
            }
            Growth::Linear => {
                let power = (last.1 / middle.1).ln() / (last.0 / middle.0).ln();
                report.judge(what + ": power", "≤ 1.1: linear", power, Bound::AtMost(1.1));
            }
        }
    }
}
