//! Windows and sizes of frames side by side, to choose the defaults by: throughput beside curl, and what a
//! stalled upload holds.

use super::{CHUNKS, Sample, Setting, Way, file, gateway, memory, take_turns, to_curl};
use crate::{report::Report, sink, spread::Spread};

/// Name of the figure.
pub(crate) const NAME: &str = "windows";

/// Stream window, connection window, frame, in KiB.
const CHOICES: &[[u64; 3]] = &[
    [64, 256, 16],
    [64, 256, 64],
    [128, 256, 16],
    [128, 256, 64],
    [128, 512, 16],
    [256, 512, 16],
    [256, 512, 64],
    [512, 1024, 64],
];

/// Writes a row for each choice.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (mib, rounds) = if quick { (128, 3) } else { (256, 7) };
    let file = file::Sample::of_mib(mib)?;
    let small = file::Sample::of_mib(10)?;
    let sink = sink::start()?;
    let gateways = CHOICES
        .iter()
        .map(|choice| gateway(&sink, &settings(*choice)));
    let gateways = gateways.collect::<anyhow::Result<Vec<_>>>()?;
    let of_gateways = CHUNKS.iter().flat_map(|chunk| {
        let gateways = gateways.iter();
        gateways.map(move |gateway| Way::Gateway(gateway, *chunk))
    });
    let ways: Vec<_> = std::iter::once(Way::Curl).chain(of_gateways).collect();
    report.heading(format!("{NAME}: one file of {mib} MiB at a time"));
    let samples = take_turns(&ways, 1, &file, &sink, rounds).await?;
    let (curl, samples) = samples.split_first().expect("curl is the first way");
    report.columns(&[
        "stream, connection, frame: KiB",
        "chunk",
        "MiB/s",
        "to curl",
        "CPU s/GiB",
        "KiB stalled",
    ]);
    for (chunk, samples) in CHUNKS.iter().zip(samples.chunks(CHOICES.len())) {
        for (choice, samples) in CHOICES.iter().zip(samples) {
            let column = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
            let stalled = memory::of_stalled(&small, *chunk, &sink, &settings(*choice)).await?;
            let [stream, connection, frame] = choice;
            report.row(&[
                format!("{stream}, {connection}, {frame}"),
                (chunk / 1024).to_string(),
                column(|s| s.mib_per_second).text(0),
                to_curl(samples, curl).text(2),
                column(|s| s.server).text(2),
                stalled.to_string(),
            ]);
        }
    }
    Ok(())
}

fn settings(choice: [u64; 3]) -> Vec<Setting> {
    let keys = [
        "SERVER__HTTP2__STREAM_WINDOW_BYTES",
        "SERVER__HTTP2__CONNECTION_WINDOW_BYTES",
        "SERVER__HTTP2__MAX_FRAME_BYTES",
    ];
    let bytes = choice.map(|kib| (kib * 1024).to_string());
    keys.into_iter().zip(bytes).collect()
}
