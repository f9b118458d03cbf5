//! h2load straight at the sink, over HTTP/1.1: the most that load generator and sink could do.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use tokio::{process::Command, time::timeout};

use crate::{
    load::Shape,
    message,
    peer::Peer,
    sample::{Pace, Reading, Sample},
    sink,
};

/// Longest time that it may take beyond what it was given.
const GRACE: Duration = Duration::from_secs(20);

/// As many calls at once as the load of this shape has, each on a connection of its own.
pub(crate) async fn take(sink: &Peer, shape: Shape, pace: Pace) -> anyhow::Result<Sample> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (body, log) = (folder.join("send.json"), folder.join("h2load.log"));
    fs::write(&body, message::JSON)?;
    // It adds to its log.
    let _ = fs::remove_file(&log);
    let before = sink::count(sink.address).await?;
    let begin = Reading::take(before, None, sink)?;
    let mut h2load = Command::new("h2load");
    h2load
        .args(["--h1", "-t", "1", "-c", &shape.calls().to_string()])
        .args(["-D", &pace.measure.as_secs_f64().ceil().to_string()])
        .args(["-H", "authorization: Bearer YWMtbench"])
        .args(["-H", "content-type: application/json"])
        .arg("-d")
        .arg(&body)
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("http://{}/acme/shop/messages/users", sink.address))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(pace.measure + GRACE, h2load.output()).await;
    let output = output
        .context("h2load does not end")?
        .context("h2load cannot be started: tools/install.sh h2load")?;
    let end = Reading::take(sink::count(sink.address).await?, None, sink)?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.contains(" 0 4xx, 0 5xx"),
        "h2load: {said}"
    );
    let mut sample = begin.to(&end, &latencies(&log)?);
    // Its own time, without its start; and the server is the sink.
    let rate = said
        .lines()
        .find_map(|line| line.split_once(" req/s")?.0.rsplit_once(' '));
    sample.sends_per_second = rate.context("no rate")?.1.parse()?;
    sample.cpu_us = sample.cores.sink * 1e6 / sample.sends_per_second;
    Ok(sample)
}

/// Of each request, in rising order: the third column, in microseconds.
fn latencies(log: &Path) -> anyhow::Result<Vec<Duration>> {
    let log = fs::read_to_string(log)?;
    let times = log.lines().filter_map(|line| line.split('\t').nth(2));
    let mut times = times
        .map(|time| Ok(Duration::from_micros(time.trim().parse()?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times)
}
