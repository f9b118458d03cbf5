//! `easemob-gateway send`: sends one message through a gateway, as any other client of its gRPC API
//! does. For people at a terminal, and for scripts by `--json` and the exit code.

mod client;
mod content;
mod file;
mod media;
mod option;
mod outcome;
mod output;

use std::{
    fmt,
    io::{self, Read},
    process::ExitCode,
};

use anyhow::Context;

use self::{
    content::{Content, Media},
    outcome::Outcome,
};
use crate::{
    cli::{gateway::Gateway, output::write_json},
    proto,
};

const EXAMPLES: &str = "\
Examples:
  easemob-gateway send text --to bob \"你好\"
  date | easemob-gateway send text --to bob,carol -
  easemob-gateway send image --to bob ./cat.jpg
  easemob-gateway send image --group 1001 --url https://files.example.com/cat.jpg
  easemob-gateway send text --help";

const EXIT_CODES: &str = "\
Exit codes:
  0  accepted for every recipient
  1  the command itself failed, and nothing was sent
  2  wrong arguments, and nothing was sent
  3  accepted for some recipients, and not for others
  4  not sent: to send it again makes no duplicate
  5  maybe sent: to send it again may make a duplicate";

/// Arguments of `send`.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Args {
    // Boxed: it has many options, and the other commands few.
    #[command(subcommand)]
    content: Box<Content>,
}

// They hold what the message says, and perhaps a share secret.
impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Args([REDACTED])")
    }
}

/// Sends the message and tells what became of it, in words or as JSON, and in the exit code. An error:
/// there was no message to send.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Prepared {
        request,
        media,
        gateway,
        json,
    } = prepare(args, io::stdin().lock())
        .context("cannot read the text from standard input, so nothing was sent")?;
    let outcome = match media {
        Some(media) => media::send(request, media, &gateway, !json)
            .await
            .context("nothing was sent")?,
        None => match client::send(request, &gateway).await {
            Ok(response) => Outcome::from(response),
            Err(problem) => Outcome::from(problem),
        },
    };
    let written = if json {
        write_json(&outcome, &gateway.trace, &mut io::stdout().lock())
    } else {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        let written = output::write_text(&outcome, &mut out, &mut err);
        written.and(gateway.trace.write(&mut err))
    };
    // The exit code tells what became of the message, also where nobody reads the rest: a script
    // that took a broken pipe for a failed send would send twice.
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!(
            "error: cannot write what became of the message ({error}); the exit code tells it"
        );
    }
    Ok(ExitCode::from(outcome.exit_code()))
}

/// What the arguments say.
struct Prepared {
    request: proto::SendMessageRequest,
    /// What has to be uploaded for it.
    media: Option<Media>,
    gateway: Gateway,
    /// Whether the answer is to be JSON.
    json: bool,
}

fn prepare(args: Args, stdin: impl Read) -> io::Result<Prepared> {
    let ((content, media), options) = args.content.into_parts(stdin)?;
    let option::Options {
        recipients,
        delivery,
        gateway,
        json,
    } = options;
    Ok(Prepared {
        request: delivery.into_request(recipients, content),
        media,
        gateway,
        json,
    })
}

#[cfg(test)]
mod tests;
