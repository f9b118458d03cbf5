//! The ways by which a file gets into the sink, and what one upload costs each process on the way.

use std::{
    env, fmt,
    process::{Command, Output, Stdio},
    time::Instant,
};

use anyhow::{Context, bail, ensure};

use super::{client::Outcome, file};
use crate::{machine, peer, peer::Peer, sink};

/// How a file gets to the sink.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'p> {
    /// curl, straight to it.
    Curl,
    /// Not at all: in chunks of so many bytes to a bare tonic server, which lets them fall.
    Bare(&'p Peer, usize),
    /// Through this gateway, in chunks of so many bytes.
    Gateway(&'p Peer, usize),
}

/// One upload.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) mib_per_second: f64,
    /// Processor seconds for a GiB.
    pub(crate) server: f64,
    pub(crate) client: f64,
    pub(crate) sink: f64,
}

impl Way<'_> {
    /// Uploads the file, so many times at once.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    pub(crate) async fn upload(
        self,
        file: &file::Sample,
        times: usize,
        sink: &Peer,
    ) -> anyhow::Result<Sample> {
        let cpu = || {
            let server = match self {
                Self::Curl => Ok(std::time::Duration::ZERO),
                Self::Bare(server, _) | Self::Gateway(server, _) => server.cpu(),
            };
            anyhow::Ok([server?, machine::cpu_of_children()?, sink.cpu()?])
        };
        let before = cpu()?;
        let seconds = match self {
            Self::Curl => curl(file, times, sink)?,
            Self::Bare(server, chunk) | Self::Gateway(server, chunk) => {
                let outcome = uploads(server, file, chunk, times)?;
                if let Some(refused) = outcome.refused {
                    bail!("an upload was refused: {refused}");
                }
                outcome.seconds
            }
        };
        let after = cpu()?;
        let gib = times as f64 * file.size as f64 / f64::from(1 << 30);
        let cost = |at: usize| (after[at] - before[at]).as_secs_f64() / gib;
        Ok(Sample {
            mib_per_second: 1024.0 * gib / seconds,
            server: cost(0),
            client: cost(1),
            sink: cost(2),
        })
    }

    /// Whether the sink sees the file.
    pub(crate) fn reaches_sink(self) -> bool {
        !matches!(self, Self::Bare(..))
    }

    /// Uploads the file once, and has the sink hash what comes.
    pub(crate) async fn prove(self, file: &file::Sample, sink: &Peer) -> anyhow::Result<()> {
        sink::ask(sink.address, "/files/hash").await?;
        self.upload(file, 1, sink).await?;
        if !self.reaches_sink() {
            return Ok(());
        }
        let came = sink::ask(sink.address, "/files/").await?;
        let file::Sample { size, sha256, .. } = file;
        ensure!(came == format!("1 {size} {sha256}"), "other bytes came");
        Ok(())
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Curl => f.write_str("curl"),
            Self::Bare(_, chunk) => write!(f, "bare tonic, chunks of {} KiB", chunk / 1024),
            Self::Gateway(_, chunk) => write!(f, "gateway, chunks of {} KiB", chunk / 1024),
        }
    }
}

/// Uploads in a process of their own, so many at once.
pub(crate) fn uploads(
    gateway: &Peer,
    file: &file::Sample,
    chunk: usize,
    times: usize,
) -> anyhow::Result<Outcome> {
    let mut client = peer::command(env::current_exe()?, None);
    client.args(["--role=upload", &gateway.address.to_string()]);
    client.args([&times.to_string(), &chunk.to_string()]);
    client.args([&file.path(), &file.sha256]);
    Ok(serde_json::from_str(&said(
        "the client",
        &client.output()?,
    )?)?)
}

/// Seconds that it takes curl, from the first one's start to the last one's end where there are several.
fn curl(file: &file::Sample, times: usize, sink: &Peer) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let curls = (0..times).map(|_| curl_once(file, sink).spawn());
    let curls = curls.collect::<Result<Vec<_>, _>>();
    let curls = curls.context("cannot start curl: tools/install.sh curl")?;
    let mut seconds = 0.0;
    for curl in curls {
        seconds = said("curl", &curl.wait_with_output()?)?.parse()?;
    }
    match times {
        // Without the time of its own start.
        1 => Ok(seconds),
        _ => Ok(begin.elapsed().as_secs_f64()),
    }
}

fn curl_once(file: &file::Sample, sink: &Peer) -> Command {
    let mut curl = peer::command("curl", None);
    curl.args(["-q", "--silent", "--show-error", "--fail"]);
    curl.args(["--output", "/dev/null", "--write-out", "%{time_total}"]);
    curl.args(["--header", "authorization: Bearer YWMtbench"]);
    curl.args(["--form", &format!("file=@{}", file.path())]);
    curl.arg(format!("http://{}/acme/shop/chatfiles", sink.address));
    curl.stdout(Stdio::piped()).stderr(Stdio::piped());
    curl
}

/// What a program printed that has ended well.
fn said(name: &str, output: &Output) -> anyhow::Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {errors}");
    Ok(String::from_utf8(output.stdout.clone())?)
}
