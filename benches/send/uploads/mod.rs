//! What an upload through the gateway costs, beside curl that sends the same file straight to the
//! sink; and how much memory it takes.

pub(crate) mod client;
mod file;
mod memory;
mod way;
pub(crate) mod windows;

use anyhow::{Context, ensure};

use self::way::{Sample, Way, uploads};
use crate::{peer::Peer, report::Spread, sink};

/// Name of the figure.
pub(crate) const NAME: &str = "uploads";

const KIB: u64 = 1024;
/// Sizes of chunks: the least and the most that the contract asks for.
const CHUNKS: [usize; 2] = [64 * 1024, 256 * 1024];
/// More than the contract allows.
const TOO_LARGE: usize = 1024 * 1024;

/// A setting of the gateway: key and value.
type Setting = (&'static str, String);

/// Prints the figures.
pub(crate) async fn measure(quick: bool) -> anyhow::Result<()> {
    let (mib, rounds) = if quick { (256, 3) } else { (1024, 7) };
    let file = file::Sample::of_mib(mib)?;
    let sink = sink::start()?;
    let gateway = gateway(&sink, &[])?;
    let bare = Peer::of_bench(&["--role=echo"], None)?;
    let ways = [
        Way::Curl,
        Way::Bare(&bare, CHUNKS[1]),
        Way::Gateway(&gateway, CHUNKS[0]),
        Way::Gateway(&gateway, CHUNKS[1]),
    ];
    println!("\n{NAME}: one file of {mib} MiB at a time, {rounds} rounds\n");
    let samples = take_turns(&ways, &file, &sink, rounds).await?;
    println!("| | MiB/s | to curl | CPU s/GiB: server | client | sink |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (way, samples_of_way) in ways.iter().zip(&samples) {
        let column = |of: fn(&Sample) -> f64| Spread::of(samples_of_way.iter().map(of));
        println!(
            "| {way} | {} | {} | {} | {} | {} |",
            column(|s| s.mib_per_second).text(0),
            to_curl(samples_of_way, &samples[0]).text(2),
            column(|s| s.server).text(2),
            column(|s| s.client).text(2),
            column(|s| s.sink).text(2),
        );
    }
    let refused = uploads(&gateway, &file, TOO_LARGE, 1)?.refused;
    let refused = refused.context("a chunk that is too large was taken")?;
    println!(
        "\nchunks of {} KiB are refused: {refused}",
        TOO_LARGE / 1024
    );
    drop(gateway);

    println!("\ngrowth of the gateway's memory, in KiB\n");
    println!(
        "| chunks | {mib} MiB, fast sink | {mib} MiB, slow sink | an upload of {} that stall |",
        memory::STALLED
    );
    println!("| ---: | ---: | ---: | ---: |");
    let small = file::Sample::of_mib(10)?;
    for chunk in CHUNKS {
        println!(
            "| {} KiB | {} | {} | {} |",
            chunk / 1024,
            memory::of_one(&file, chunk, &sink, "count").await?,
            memory::of_one(&file, chunk, &sink, "slow").await?,
            memory::of_stalled(&small, chunk, &sink, &[]).await?,
        );
    }
    Ok(())
}

/// The gateway in front of a sink, for an app that takes large files.
fn gateway(sink: &Peer, settings: &[Setting]) -> anyhow::Result<Peer> {
    let mut all = vec![(
        "APPS__SHOP__LIMITS__UPLOAD_BYTES",
        (4_u64 << 30).to_string(),
    )];
    all.extend_from_slice(settings);
    Peer::gateway_with(sink.address, &all)
}

/// One upload a round by each way; before that, one that the sink hashes. For each way, a sample a
/// round.
async fn take_turns(
    ways: &[Way<'_>],
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
            samples.push(way.upload(file, sink).await?);
        }
    }
    let files = rounds * ways.iter().filter(|way| way.reaches_sink()).count();
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
