//! `easemob-gateway upload`: stores a file, and tells what messages name it by.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use tonic::Code;

use super::{
    field,
    file::{Broken, Piece, Source, Store, Stored, ThumbnailSize, Upload},
    gateway::{self, Gateway},
    output::{printable, write_json, write_problem},
    problem::Problem,
};
use crate::proto::{self, upload_file_request::Part};

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the command itself failed: a file cannot be read or written
  2  wrong arguments
  4  not done: correct what is wrong, or try again";

const EXAMPLES: &str = "\
Examples:
  easemob-gateway upload ./cat.jpg
  easemob-gateway upload ./contract.pdf --restrict-access --json
  tar -c photos | easemob-gateway upload - --filename photos.tar";

/// Arguments of `upload`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// The file.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Name of the file at Easemob. Left out: its own.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
    /// Name of an app in the gateway's settings. Left out: its default app.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    app: String,
    #[command(flatten)]
    store: Store,
    #[command(flatten)]
    thumbnail_size: ThumbnailSize,
    #[command(flatten)]
    gateway: Gateway,
    /// Writes one JSON object to standard output, errors included (docs/cli.md has its shape).
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Uploads the file. An error: it cannot be read, or nobody can be told what it is called now.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (json, trace) = (args.json, args.gateway.trace.clone());
    let stored = upload(args).await?;
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    if !json {
        let _unread = trace.write(&mut err);
    }
    match stored {
        Ok(stored) => {
            let written = match json {
                true => write_json(&stored, &trace, &mut out),
                false => write_stored(&stored, &mut out),
            };
            written.context("the file is stored, and its uuid cannot be written")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problem) => {
            // The exit code tells it also where nobody reads the rest.
            let _ = match json {
                true => write_json(&Refused { error: &problem }, &trace, &mut out),
                false => write_problem("not uploaded", "upload", &problem, field::UPLOAD, &mut err),
            };
            Ok(ExitCode::from(problem.exit_code()))
        }
    }
}

/// An error, in the shape of `--json`.
#[derive(serde::Serialize)]
pub(super) struct Refused<'a> {
    pub(super) error: &'a Problem,
}

/// Uploads the file, or tells why not.
async fn upload(args: Args) -> anyhow::Result<Result<Stored, Problem>> {
    let file = Source::open(&args.path)?;
    let filename = match args.filename.is_empty() {
        true => file.name(),
        false => args.filename,
    };
    let header = proto::UploadFileHeader {
        app: args.app,
        filename,
        upload: Some(args.store.options(&args.thumbnail_size, &file)),
    };
    let upload = Upload {
        thumbnail: None,
        file,
    };
    let gateway = &args.gateway;
    let answer = upload.run(
        part(Part::Header(header)),
        |piece| {
            part(match piece {
                Piece::Thumbnail(bytes) | Piece::Chunk(bytes) => Part::Chunk(bytes),
                Piece::Finish(finish) => Part::Finish(finish),
            })
        },
        gateway,
        !args.json,
        async |mut client, request| client.upload_file(request).await,
    );
    let problem = match answer.await {
        Ok(response) => {
            let stored = response.file.and_then(Stored::new);
            let stored =
                stored.context("the gateway answered without a uuid: tell its operator")?;
            return Ok(Ok(stored));
        }
        Err(Broken::File(error)) => return Err(error.context("nothing was uploaded")),
        Err(Broken::Refused(problem)) => *problem,
        Err(Broken::Silent(status)) => untold(status.code(), &gateway::untold(&status)),
        Err(Broken::Late) => {
            let what = format!(
                "{} gave no answer within {}",
                gateway.name(),
                gateway.time(gateway::TRANSFER)
            );
            untold(Code::DeadlineExceeded, &what)
        }
        Err(Broken::Interrupted) => untold(Code::Cancelled, "interrupted after the last byte"),
    };
    Ok(Err(problem.without_send_state()))
}

fn part(part: Part) -> proto::UploadFileRequest {
    proto::UploadFileRequest { part: Some(part) }
}

/// It may be stored, and nobody knows by what name.
fn untold(code: Code, what: &str) -> Problem {
    let what = format!("{what}. Nobody told the uuid of the file: upload it again.");
    Problem::not_sent(code, what)
}

/// One line for each value, its name before it.
fn write_stored(stored: &Stored, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "uuid    {}", printable(&stored.uuid))?;
    if let Some(secret) = &stored.secret {
        writeln!(out, "secret  {}", printable(secret))?;
    }
    writeln!(out, "size    {}", stored.size_bytes)?;
    writeln!(out, "sha256  {}", stored.sha256)?;
    out.flush()
}
