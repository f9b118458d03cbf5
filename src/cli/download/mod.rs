//! `easemob-gateway download`: a file from Easemob, whole or not at all.

mod target;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::error::ErrorKind;
use ring::digest::{self, SHA256};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tonic::{Code, Request, Status, Streaming};

use self::target::{Sink, Target};
use super::{
    field,
    file::{Progress, hex},
    gateway::{self, Gateway},
    output::{printable, write_json, write_problem},
    problem::{Problem, is_from_gateway},
    upload::{EXIT_CODES, Refused},
};
use crate::{
    proto::{self, download_file_response::Part, file_ref::Location},
    server::on_signal,
};

const EXAMPLES: &str = "\
Examples:
  easemob-gateway download 11111111-2222-3333-4444-555555555555
  easemob-gateway download 11111111-2222-3333-4444-555555555555 --thumbnail -o small.jpg
  easemob-gateway download 11111111-2222-3333-4444-555555555555 -o - | sha256sum";

/// Arguments of `download`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// ID of the file.
    uuid: String,
    /// Share secret of a file with restricted access. Others on this machine can read command
    /// lines: the variable is the safer way.
    #[arg(
        long,
        value_name = "SECRET",
        env = "EASEMOB_FILE_SECRET",
        hide_env_values = true,
        value_parser = secret
    )]
    secret: Option<SecretString>,
    /// The thumbnail of an image in place of the image.
    #[arg(long)]
    thumbnail: bool,
    /// Name of an app in the gateway's settings. Left out: its default app.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    app: String,
    #[command(flatten)]
    gateway: Gateway,
    /// Where to write: a file, a folder, or - for standard output. Left out: a file in this folder, under
    /// the name that it was uploaded with.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = ".",
        hide_default_value = true,
        help_heading = "Output"
    )]
    output: PathBuf,
    /// Replaces a file that is there already.
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Writes one JSON object to standard output, errors included (docs/cli.md has its shape). Not with
    /// -o -.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

fn secret(text: &str) -> Result<SecretString, &'static str> {
    Ok(SecretString::from(text))
}

/// A file that is there.
#[derive(Debug, Serialize)]
struct Saved {
    /// None: it went to standard output.
    path: Option<PathBuf>,
    filename: Option<String>,
    content_type: Option<String>,
    size_bytes: u64,
    sha256: String,
}

/// Why there is no file.
enum Broken {
    /// It cannot be written.
    Output(anyhow::Error),
    /// Whoever read it wants no more.
    Unread,
    /// It did not come, or not whole.
    Refused(Box<Problem>),
}

impl From<Problem> for Broken {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem.without_send_state()))
    }
}

/// Downloads the file. An error: it cannot be written.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (json, trace) = (args.json, args.gateway.trace.clone());
    if json && args.output == Path::new("-") {
        let what = "--json writes to standard output, and so does -o -: leave one out\n";
        clap::Error::raw(ErrorKind::ArgumentConflict, what).exit();
    }
    let saved = match download(args).await {
        Ok(saved) => Ok(saved),
        Err(Broken::Refused(problem)) => Err(problem),
        Err(Broken::Output(error)) => return Err(error),
        Err(Broken::Unread) => return Ok(ExitCode::FAILURE),
    };
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    // The exit code tells it also where nobody reads the rest.
    if !json {
        let _unread = trace.write(&mut err);
    }
    match saved {
        Ok(saved) => {
            let _ = match (&saved.path, json) {
                (_, true) => write_json(&saved, &trace, &mut out),
                (Some(path), false) => {
                    let path = printable(&path.display().to_string());
                    writeln!(out, "saved  {path}  {} bytes", saved.size_bytes)
                }
                (None, false) => Ok(()),
            };
            Ok(ExitCode::SUCCESS)
        }
        Err(problem) => {
            let _ = match json {
                true => write_json(&Refused { error: &problem }, &trace, &mut out),
                false => write_problem(
                    "not downloaded",
                    "download",
                    &problem,
                    field::DOWNLOAD,
                    &mut err,
                ),
            };
            Ok(ExitCode::from(problem.exit_code()))
        }
    }
}

async fn download(args: Args) -> Result<Saved, Broken> {
    // Told before anything is asked for, where that is possible already.
    let target = Target::new(&args.output, args.force).map_err(Broken::Output)?;
    let work = fetch(&args, &target);
    if target.is_stdout() {
        // Nothing to clear away: the signal ends the process, also while it waits for its reader.
        return work.await;
    }
    let interrupted = on_signal().map_err(|error| Broken::Output(error.into()))?;
    tokio::select! {
        biased;
        saved = work => saved,
        () = interrupted.cancelled() => {
            let what = "interrupted. Nothing is kept of what had come.".to_owned();
            Err(Problem::not_sent(Code::Cancelled, what).into())
        }
    }
}

async fn fetch(args: &Args, target: &Target) -> Result<Saved, Broken> {
    let mut connection = args.gateway.connect(gateway::TRANSFER).await?;
    let secret = args.secret.as_ref().map(ExposeSecret::expose_secret);
    let mut request = Request::new(proto::DownloadFileRequest {
        app: args.app.clone(),
        file: Some(proto::FileRef {
            location: Some(Location::Uuid(args.uuid.clone())),
            secret: secret.unwrap_or_default().to_owned(),
        }),
        thumbnail: args.thumbnail,
    });
    request.set_timeout(connection.left);
    let left = connection.left;
    let work = async {
        let answer = connection.client.download_file(request).await;
        let mut parts = answer.map_err(|status| broken(&status))?.into_inner();
        save(args, target, &mut parts).await
    };
    let saved = tokio::time::timeout(left, work).await;
    let late = matches!(&saved, Err(_) | Ok(Err(Broken::Refused(_)))) && connection.is_overdue();
    match saved {
        Ok(saved) if !late => saved,
        Ok(_) | Err(_) => Err(overdue(&args.gateway.time(gateway::TRANSFER)).into()),
    }
}

fn overdue(time: &str) -> Problem {
    let what =
        format!("the download took longer than {time} (give it more --timeout). Nothing is kept.");
    Problem::not_sent(Code::DeadlineExceeded, what)
}

fn broken(status: &Status) -> Broken {
    if is_from_gateway(status) {
        return Problem::from(status).into();
    }
    let what = format!(
        "{}. No easemob-gateway said this: the download broke off, and nothing is kept of it. Try again.",
        gateway::untold(status)
    );
    Problem::not_sent(status.code(), what).into()
}

async fn save(
    args: &Args,
    target: &Target,
    parts: &mut Streaming<proto::DownloadFileResponse>,
) -> Result<Saved, Broken> {
    let first = parts.message().await.map_err(|status| broken(&status))?;
    let Some(Part::Header(header)) = first.and_then(|first| first.part) else {
        return Err(not_whole("the gateway's answer has no header").into());
    };
    let mut sink = target
        .open(&header.filename, args)
        .map_err(Broken::Output)?;
    let progress = Progress::new(header.size_bytes, !args.json && sink.may_show());
    let (mut sum, mut count) = (digest::Context::new(&SHA256), 0);
    while let Some(next) = parts.message().await.map_err(|status| broken(&status))? {
        let Some(Part::Chunk(bytes)) = next.part else {
            return Err(not_whole("the gateway's answer has a second header").into());
        };
        write(&mut sink, &bytes)?;
        sum.update(&bytes);
        count += bytes.len() as u64;
        progress.add(bytes.len());
    }
    if let Some(size) = header.size_bytes
        && size != count
    {
        return Err(not_whole(&format!("{count} bytes came of {size}")).into());
    }
    drop(progress);
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Saved {
        path: sink.keep().map_err(Broken::Output)?,
        filename: some(header.filename),
        content_type: some(header.content_type),
        size_bytes: count,
        sha256: hex(sum.finish().as_ref()),
    })
}

fn not_whole(what: &str) -> Problem {
    Problem::not_sent(
        Code::DataLoss,
        format!("{what}. Nothing is kept: download it again."),
    )
}

fn write(sink: &mut Sink, bytes: &[u8]) -> Result<(), Broken> {
    match sink.write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Broken::Unread),
        written => written
            .with_context(|| format!("cannot write {}", sink.name()))
            .map_err(Broken::Output),
    }
}
