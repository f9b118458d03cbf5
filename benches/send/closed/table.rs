//! The samples as text: medians, and in brackets the least and the most of all rounds.

use super::{Figure, Samples};
use crate::{load::Shape, report::Report, sample::Sample, server::Server, spread::Spread};

/// From this share of a core on, what runs on one thread may be what limits a figure.
const BUSY: f64 = 0.85;
/// More of the cores than this, for anything else, disturbs.
const FOREIGN: f64 = 0.2;

type Column = fn(&Sample) -> f64;

/// What is compared, by its name.
const RATIOS: &[(&str, Column)] = &[
    ("sends/s", |s| s.sends_per_second),
    ("CPU", |s| s.cpu_us),
    ("p99", |s| s.p99_ms),
];

/// Writes the table of a figure under one load, and its ratios.
pub(super) fn write(report: &mut Report, figure: &Figure, shape: Shape, samples: &Samples) {
    report.line(format!("\nconnections × streams = {shape}\n"));
    report.columns(&[
        "",
        "sends/s",
        "CPU µs/send",
        "of it kernel",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "cores: server, load, sink, others",
    ]);
    for (row, samples) in figure.rows.iter().zip(samples) {
        let column = |of: Column| Spread::of(samples.iter().map(of));
        report.row(&[
            row.name.to_owned(),
            column(|s| s.sends_per_second).text(0),
            column(|s| s.cpu_us).text(1),
            match row.server {
                Server::Straight => String::new(),
                _ => format!("{:.0} %", 100.0 * column(|s| s.kernel).median),
            },
            column(|s| s.p50_ms).text(2),
            column(|s| s.p99_ms).text(2),
            column(|s| s.p999_ms).text(2),
            format!(
                "{:.2}, {:.2}, {:.2}, {:.2}{}",
                column(|s| s.cores.server).median,
                column(|s| s.cores.load).median,
                column(|s| s.cores.sink).median,
                column(|s| s.cores.others).median,
                limited(row.server, samples),
            ),
        ]);
    }
    report.line("");
    ratios(report, figure, samples);
    judge(report, figure, shape, samples);
    let others = samples.iter().flatten().map(|s| s.cores.others);
    if Spread::of(others).most > FOREIGN {
        report
            .line("\nOthers had a share of the machine: trust CPU/send before sends/s and times.");
    }
}

/// Each round's own ratio: what slowed both does not show.
fn ratio(samples: &Samples, of: Column, row: usize, over: usize) -> Spread {
    let rounds = samples[row].iter().zip(&samples[over]);
    Spread::of(rounds.map(|(ours, theirs)| of(ours) / of(theirs)))
}

fn ratios(report: &mut Report, figure: &Figure, samples: &Samples) {
    let Some(base) = figure.place(figure.base) else {
        return;
    };
    report.columns(&["in relation to", "sends/s", "CPU/send", "p99"]);
    for (place, row) in figure.rows.iter().enumerate() {
        // What goes another way costs something else.
        if place == base || matches!(row.server, Server::Echo | Server::Straight) {
            continue;
        }
        let mut cells = vec![format!("{} / {}", row.name, figure.base)];
        cells.extend(
            RATIOS
                .iter()
                .map(|(_, of)| ratio(samples, *of, place, base).text(2)),
        );
        report.row(&cells);
    }
}

fn judge(report: &mut Report, figure: &Figure, shape: Shape, samples: &Samples) {
    for rule in figure.rules {
        let places = (figure.place(rule.row), figure.place(rule.over));
        let column = RATIOS.iter().find(|(name, _)| *name == rule.column);
        if let ((Some(row), Some(over)), Some((name, of))) = (places, column) {
            let what = format!("{shape}: {} / {}, {name}", rule.row, rule.over);
            let aim = format!("{} ({})", rule.bound.text(), rule.aim);
            report.judge(what, aim, ratio(samples, *of, row, over).median, rule.bound);
        }
    }
}

impl Figure {
    fn place(&self, name: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.name == name)
    }
}

/// Says so where not the server, but what surrounds it may have been the limit.
fn limited(server: Server, samples: &[Sample]) -> &'static str {
    let median = |of: Column| Spread::of(samples.iter().map(of)).median;
    if matches!(server, Server::Straight) {
        // The point of it.
        ""
    } else if median(|s| s.cores.sink) > BUSY {
        " (the sink is the limit)"
    } else if median(|s| s.cores.load) > BUSY {
        " (the load generator is the limit)"
    } else {
        ""
    }
}
