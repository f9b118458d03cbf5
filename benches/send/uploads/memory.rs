//! How much memory uploads make the gateway take: the most it ever had, less what it had after its start.

use std::time::Duration;

use anyhow::ensure;

use super::{CHUNKS, KIB, Setting, file, gateway, way::uploads};
use crate::{gateway::Policies, peer::Peer, sink};

/// Uploads at once while Easemob stalls.
pub(crate) const STALLED: usize = 100;
/// The gateway gives a stalled upload up after this long: by far enough for all buffers to fill.
const STALL: Duration = Duration::from_secs(5);

/// Growth in KiB by one file, while the sink takes it in this manner.
pub(crate) async fn of_one(
    file: &file::Sample,
    chunk: usize,
    sink: &Peer,
    manner: &str,
) -> anyhow::Result<u64> {
    sink::ask(sink.address, &format!("/files/{manner}")).await?;
    let gateway = gateway(sink, &[])?;
    let before = gateway.memory()?;
    let outcome = uploads(&gateway, file, chunk, 1)?;
    ensure!(outcome.stored == 1, "refused: {:?}", outcome.refused);
    Ok((gateway.peak_memory()? - before) / KIB)
}

/// Growth in KiB by an upload, of a hundred that stall at once, each over its own connection.
pub(crate) async fn of_stalled(
    file: &file::Sample,
    chunk: usize,
    sink: &Peer,
    settings: &[Setting],
) -> anyhow::Result<u64> {
    sink::ask(sink.address, "/files/stall").await?;
    let mut settings = settings.to_vec();
    settings.push((
        "MEDIA__STALL_TIMEOUT",
        humantime::format_duration(STALL).to_string(),
    ));
    let gateway = gateway(sink, &settings)?;
    let before = gateway.memory()?;
    let outcome = uploads(&gateway, file, chunk, STALLED)?;
    let refused = outcome.refused.unwrap_or_default();
    ensure!(outcome.stored == 0, "the sink took {}", outcome.stored);
    ensure!(refused.contains("stopped taking"), "refused: {refused}");
    Ok((gateway.peak_memory()? - before) / KIB / STALLED as u64)
}

/// The most memory, in bytes, that the gateway with everything on has while a hundred upload at once.
pub(crate) async fn of_hundred(sink: &Peer, manner: &str) -> anyhow::Result<u64> {
    let file = file::Sample::of_mib(10)?;
    sink::ask(sink.address, &format!("/files/{manner}")).await?;
    let stall = humantime::format_duration(STALL).to_string();
    // The client of the uploads has no key.
    let policies = Policies::EVERYTHING.with_callers(0);
    let gateway = policies.start_with(sink, &[("MEDIA__STALL_TIMEOUT", stall)], None)?;
    uploads(&gateway, &file, CHUNKS[1], STALLED)?;
    gateway.peak_memory()
}
