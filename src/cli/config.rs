//! `easemob-gateway config`: looks at settings without starting anything.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;

use crate::config::{Config, Errors, environment, reference};

/// Exit code for settings that cannot be used.
const UNUSABLE: u8 = 2;

const CHECK: &str = "\
Examples:
  easemob-gateway config check --config gateway.toml
  easemob-gateway config check                          # the environment alone

Exit code 0 if they can be used, 2 if not. It asks nobody; `easemob-gateway doctor` does.";

const PRINT: &str = "\
Examples:
  easemob-gateway config print --config gateway.toml
  easemob-gateway config print --config gateway.toml | grep listen";

const REFERENCE: &str = "\
Examples:
  easemob-gateway config reference > gateway.toml
  easemob-gateway config reference | grep -B 9 proxy_url";

/// Looks at settings.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Checks the settings, secrets and certificates included, and lists everything that is wrong. It is
    /// stricter than `serve`, which starts without an app's secret and leaves that app out of use.
    #[command(after_help = CHECK)]
    Check(Source),
    /// Prints the effective settings as TOML, each with its origin; secrets are hidden.
    #[command(after_help = PRINT)]
    Print(Source),
    /// Prints every setting with its meaning, type, default and environment variable, as a file to
    /// start from.
    #[command(after_help = REFERENCE)]
    Reference,
}

/// Where the settings come from.
#[derive(Debug, Clone, clap::Args)]
struct Source {
    /// File with the settings, TOML. Left out: the environment alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command: 0 if the settings can be used, 2 if not.
pub fn run(args: &Args) -> ExitCode {
    match answer(&args.command, environment()) {
        // Whoever stops reading has read enough.
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        },
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn answer(
    command: &Command,
    env: impl Iterator<Item = (String, String)>,
) -> Result<String, Errors> {
    match command {
        Command::Check(source) => check(source.config.as_deref(), env),
        Command::Print(source) => Ok(Config::load(source.config.as_deref(), env)?.print()),
        Command::Reference => Ok(reference()),
    }
}

fn check(
    path: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<String, Errors> {
    let loaded = Config::load(path, env)?;
    let mut sources: Vec<_> = path.iter().map(|path| path.display().to_string()).collect();
    match loaded.origins.from_environment() {
        0 => {}
        1 => sources.push("1 environment variable".to_owned()),
        several => sources.push(format!("{several} environment variables")),
    }
    let checked = loaded.check()?;
    if let Some(unusable) = checked.unusable {
        return Err(unusable);
    }
    let apps: Vec<_> = checked.apps.iter().map(|app| &*app.name).collect();
    let server = &checked.config.server;
    Ok(format!(
        "ok: {}: {} ({}), gRPC on {}, operations on {}\n",
        sources.join(" and "),
        match apps.len() {
            1 => "1 app".to_owned(),
            several => format!("{several} apps"),
        },
        apps.join(", "),
        server.listen,
        server.operations_listen,
    ))
}
