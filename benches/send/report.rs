//! The figures as text: medians, and in brackets the least and the most of all rounds.

use crate::figure::{Figure, Sample, Server};

/// From this share of a core on, what runs on one thread may be what limits a figure.
const BUSY: f64 = 0.85;
/// More of the cores than this, for anything else, disturbs.
const FOREIGN: f64 = 0.2;

/// Prints the table of a figure, and its ratios to the pass-through.
pub(crate) fn print(figure: &Figure, samples: &[Vec<Sample>]) {
    println!(
        "\n{}: connections × streams = {} × {}\n",
        figure.name, figure.shape.connections, figure.shape.streams
    );
    row([
        "",
        "sends/s",
        "CPU µs/send",
        "p50 ms",
        "p99 ms",
        "cores: server, load, sink, others",
    ]);
    row(["---"; 6]);
    for (server, samples) in figure.servers.iter().zip(samples) {
        let column = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
        row([
            &server.to_string(),
            &column(|s| s.sends_per_second).text(0),
            &column(|s| s.cpu_us).text(1),
            &column(|s| s.p50_ms).text(2),
            &column(|s| s.p99_ms).text(2),
            &format!(
                "{:.2}, {:.2}, {:.2}, {:.2}{}",
                column(|s| s.cores.server).median,
                column(|s| s.cores.load).median,
                column(|s| s.cores.sink).median,
                column(|s| s.cores.others).median,
                limited(samples),
            ),
        ]);
    }
    println!();
    ratios(figure, samples);
    let others = samples.iter().flatten().map(|s| s.cores.others);
    if Spread::of(others).most > FOREIGN {
        println!("others had a share of the machine: trust CPU/send before sends/s and times");
    }
}

/// A row of a Markdown table, which reads well in a terminal too.
fn row(cells: [&str; 6]) {
    let [server, sends, cpu, p50, p99, cores] = cells;
    println!("| {server:<17} | {sends:>21} | {cpu:>16} | {p50:>18} | {p99:>20} | {cores:<33} |");
}

/// Each round's own ratio: what slowed both does not show.
fn ratios(figure: &Figure, samples: &[Vec<Sample>]) {
    let servers = || figure.servers.iter().zip(samples);
    // What there is to compare with: a bare server, or the gateway without traces.
    let is_base = |server: &Server| matches!(server, Server::PassThrough | Server::Gateway(None));
    let Some((base_server, base)) = servers().find(|(server, _)| is_base(server)) else {
        return;
    };
    for (server, samples) in servers() {
        if server == base_server || *server == Server::Echo {
            continue;
        }
        let ratio = |of: fn(&Sample) -> f64| {
            let rounds = samples.iter().zip(base);
            Spread::of(rounds.map(|(ours, base)| of(ours) / of(base))).text(2)
        };
        println!(
            "{server} to {}: sends/s {}, CPU/send {}, p99 {}",
            base_server,
            ratio(|s| s.sends_per_second),
            ratio(|s| s.cpu_us),
            ratio(|s| s.p99_ms),
        );
    }
}

/// Says so where not the server, but what surrounds it may have been the limit.
fn limited(samples: &[Sample]) -> &'static str {
    let median = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of)).median;
    if median(|s| s.cores.sink) > BUSY {
        " (the sink is the limit)"
    } else if median(|s| s.cores.load) > BUSY {
        " (the load generator is the limit)"
    } else {
        ""
    }
}

/// The middle and the ends of what was measured.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            least: at(0),
            median: at(values.len() / 2),
            most: at(values.len().saturating_sub(1)),
        }
    }

    pub(crate) fn text(&self, digits: usize) -> String {
        let Self {
            least,
            median,
            most,
        } = self;
        format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
    }
}
