//! Cost of an upload by its size, and by how many go at once; and the gateway's memory meanwhile.

use anyhow::ensure;

use super::{Curve, Growth, Series};
use crate::{
    sink,
    uploads::{file, gateway, way::uploads},
};

/// In KiB.
const SIZES: [u64; 5] = [64, 1024, 16 << 10, 128 << 10, 1 << 20];
const AT_ONCE: [usize; 4] = [1, 10, 30, 100];
/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;
/// So much is uploaded at least, in KiB, that the clock of processor time is fine enough.
const AT_LEAST: u64 = 512 << 10;

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) async fn measure(quick: bool) -> anyhow::Result<Vec<Curve>> {
    let sink = sink::start()?;
    let ours = gateway(&sink, &[])?;
    let mut by_size = Vec::new();
    for kib in SIZES.into_iter().take(if quick { 3 } else { 5 }) {
        let file = file::Sample::of_kib(kib)?;
        // At most a hundred at once; the more of them, the less the client's own start counts.
        let times = usize::try_from((AT_LEAST / kib).clamp(1, 100))?;
        let rounds = (AT_LEAST / kib / 100).clamp(1, 20);
        let before = ours.cpu()?;
        for _ in 0..rounds {
            let outcome = uploads(&ours, &file, CHUNK, times)?;
            ensure!(outcome.stored == times, "refused: {:?}", outcome.refused);
        }
        let uploads = rounds as f64 * times as f64;
        let cpu = (ours.cpu()? - before).as_secs_f64() * 1e3 / uploads;
        by_size.push((kib as f64 / 1024.0, cpu));
    }

    let (mut by_count, mut memory) = (Vec::new(), Vec::new());
    let file = file::Sample::of_kib(10 << 10)?;
    for times in AT_ONCE.into_iter().take(if quick { 2 } else { 4 }) {
        let ours = gateway(&sink, &[])?;
        let rounds = 100 / times;
        let before = ours.cpu()?;
        for _ in 0..rounds {
            let outcome = uploads(&ours, &file, CHUNK, times)?;
            ensure!(outcome.stored == times, "refused: {:?}", outcome.refused);
        }
        let uploads = (rounds * times) as f64;
        let cpu = (ours.cpu()? - before).as_secs_f64() * 1e3 / uploads;
        by_count.push((times as f64, cpu));
        memory.push((times as f64, ours.peak_memory()? as f64 / 1e6));
    }
    let curve = |file, x, y, growth, points| Curve {
        file,
        x,
        y,
        growth,
        series: vec![Series {
            name: "gateway".to_owned(),
            points,
        }],
    };
    Ok(vec![
        curve(
            "upload-size",
            "size of an upload, MiB",
            "CPU of an upload, ms",
            Growth::Linear,
            by_size,
        ),
        curve(
            "upload-count",
            "uploads of 10 MiB at once",
            "CPU of an upload, ms",
            Growth::Flat,
            by_count,
        ),
        curve(
            "upload-memory",
            "uploads of 10 MiB at once",
            "most memory (RSS), MB",
            Growth::Linear,
            memory,
        ),
    ])
}
