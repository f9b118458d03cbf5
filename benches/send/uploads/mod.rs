//! What an upload through the gateway costs, beside curl that sends the same file straight to the
//! sink; and how much memory it takes.

pub(crate) mod client;
pub(crate) mod file;
pub(crate) mod memory;
pub(crate) mod way;
pub(crate) mod windows;

use anyhow::{Context, ensure};

use self::way::{Sample, Way, uploads};
use crate::{
    bare::Build,
    gateway::Policies,
    peer::Peer,
    report::{Bound, Report},
    sink,
    spread::Spread,
};

/// Name of the figure.
pub(crate) const NAME: &str = "uploads";

const KIB: u64 = 1024;
/// Sizes of chunks: the least and the most that the contract asks for.
const CHUNKS: [usize; 2] = [64 * 1024, 256 * 1024];
/// More than the contract allows.
const TOO_LARGE: usize = 1024 * 1024;

/// A setting of the gateway: key and value.
type Setting = (&'static str, String);

/// Files of so many, and of so many MiB each, that go at once: a GiB in all.
const AT_ONCE: [(usize, u64); 3] = [(1, 1024), (10, 102), (100, 10)];

/// Writes the tables.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (mib, rounds) = if quick { (256, 3) } else { (1024, 5) };
    let file = file::Sample::of_mib(mib)?;
    let sink = sink::start()?;
    let gateway = gateway(&sink, &[])?;
    let bare = Build::Ours.start(&["echo"], None)?;
    let ways = [
        Way::Curl,
        Way::Bare(&bare, CHUNKS[1]),
        Way::Gateway(&gateway, CHUNKS[0]),
        Way::Gateway(&gateway, CHUNKS[1]),
    ];
    report.heading(format!("{NAME}: one file of {mib} MiB at a time"));
    let samples = take_turns(&ways, 1, &file, &sink, rounds).await?;
    table(report, &ways, &samples);
    let [curl, .., ours] = &samples[..] else {
        unreachable!("there are four ways");
    };
    let share = to_curl(ours, curl).median;
    report.judge(
        "an upload in chunks of 256 KiB / curl, speed",
        "≥ 0.5",
        share,
        Bound::AtLeast(0.5),
    );
    let refused = uploads(&gateway, &file, TOO_LARGE, 1)?.refused;
    let refused = refused.context("a chunk that is too large was taken")?;
    report.line(format!(
        "\nChunks of {} KiB are refused: {refused}",
        TOO_LARGE / 1024
    ));

    report.heading(format!("{NAME}: several at once, a GiB in all"));
    for (times, mib) in AT_ONCE {
        let mib = if quick { mib.div_ceil(4) } else { mib };
        let file = file::Sample::of_mib(mib)?;
        let ways = [Way::Curl, Way::Gateway(&gateway, CHUNKS[1])];
        report.line(format!("\n{times} of {mib} MiB\n"));
        let samples = take_turns(&ways, times, &file, &sink, rounds.div_ceil(2)).await?;
        table(report, &ways, &samples);
    }
    drop(gateway);
    growth(report, &file, &sink).await
}

fn table(report: &mut Report, ways: &[Way<'_>], samples: &[Vec<Sample>]) {
    report.columns(&[
        "",
        "MiB/s",
        "to curl",
        "CPU s/GiB: server",
        "client",
        "sink",
    ]);
    for (way, samples_of_way) in ways.iter().zip(samples) {
        let column = |of: fn(&Sample) -> f64| Spread::of(samples_of_way.iter().map(of));
        report.row(&[
            way.to_string(),
            column(|s| s.mib_per_second).text(0),
            to_curl(samples_of_way, &samples[0]).text(2),
            column(|s| s.server).text(2),
            column(|s| s.client).text(2),
            column(|s| s.sink).text(2),
        ]);
    }
}

async fn growth(report: &mut Report, file: &file::Sample, sink: &Peer) -> anyhow::Result<()> {
    let mib = file.size >> 20;
    report.heading(format!("{NAME}: growth of the gateway's memory, in KiB"));
    report.columns(&[
        "chunks",
        &format!("{mib} MiB, fast sink"),
        &format!("{mib} MiB, slow sink"),
        &format!("an upload of {} that stall", memory::STALLED),
    ]);
    let small = file::Sample::of_mib(10)?;
    for chunk in CHUNKS {
        let fast = memory::of_one(file, chunk, sink, "count").await?;
        let slow = memory::of_one(file, chunk, sink, "slow").await?;
        let stalled = memory::of_stalled(&small, chunk, sink, &[]).await?;
        let name = format!("{} KiB", chunk / 1024);
        for (kib, sink) in [(fast, "fast"), (slow, "slow")] {
            let what = format!("growth by {mib} MiB, {sink} sink, chunks of {name}, KiB");
            let kib = u32::try_from(kib)?.into();
            report.judge(what, "< 8192", kib, Bound::AtMost(8191.0));
        }
        report.row(&[
            name,
            fast.to_string(),
            slow.to_string(),
            stalled.to_string(),
        ]);
    }
    Ok(())
}

/// The gateway in front of a sink, for an app that takes large files.
pub(crate) fn gateway(sink: &Peer, settings: &[Setting]) -> anyhow::Result<Peer> {
    let mut all = vec![(
        "APPS__SHOP__LIMITS__UPLOAD_BYTES",
        (4_u64 << 30).to_string(),
    )];
    all.extend_from_slice(settings);
    Policies::PLAIN.start_with(sink, &all, None)
}

/// So many uploads at once in a round by each way; before that, one that the sink hashes. For each way, a
/// sample a round.
async fn take_turns(
    ways: &[Way<'_>],
    times: usize,
    file: &file::Sample,
    sink: &Peer,
    rounds: usize,
) -> anyhow::Result<Vec<Vec<Sample>>> {
    for way in ways {
        way.prove(file, sink).await?;
    }
    sink::ask(sink.address, "/files/count").await?;
    let mut samples = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, samples) in ways.iter().zip(&mut samples) {
            samples.push(way.upload(file, times, sink).await?);
        }
    }
    let files = times * rounds * ways.iter().filter(|way| way.reaches_sink()).count();
    let bytes = file.size * files as u64;
    let came = sink::ask(sink.address, "/files/").await?;
    ensure!(
        came.starts_with(&format!("{files} {bytes} ")),
        "came: {came}"
    );
    Ok(samples)
}

/// Throughput as a share of curl's in the same round.
fn to_curl(samples: &[Sample], curl: &[Sample]) -> Spread {
    let rounds = samples.iter().zip(curl);
    Spread::of(rounds.map(|(ours, curl)| ours.mib_per_second / curl.mib_per_second))
}
