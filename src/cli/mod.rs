//! ROOF: the command line, one file or folder a command; `credentials`, `field`, `file`, `gateway`,
//! `output`, `problem` and `trace` are what those that call a gateway share.

mod completions;
pub mod config;
mod credentials;
mod dev;
mod doctor;
mod download;
mod field;
mod file;
mod gateway;
mod key;
mod output;
mod problem;
mod sandbox;
mod secure;
mod send;
mod serve;
mod trace;
mod upload;

use std::{future::Future, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::Errors;

const FIRST_STEPS: &str = "\
First steps, with no account and nothing to configure:
  easemob-gateway dev                             a gateway and a local Easemob; open http://127.0.0.1:8025/
  easemob-gateway send text --to bob \"你好\"       in another terminal; the page shows it

For real:
  easemob-gateway config reference > gateway.toml     every setting, with its meaning
  easemob-gateway config check --config gateway.toml  what is wrong with yours, and where
  easemob-gateway doctor --config gateway.toml        whether Easemob and all else can be reached with them
  easemob-gateway serve --config gateway.toml

`easemob-gateway COMMAND --help` has examples of each command.";

/// One door between a company's services and Easemob IM.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = FIRST_STEPS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Gateway and sandbox in one process: nothing to configure, no Easemob account.
    Dev(dev::Args),
    /// The gateway, for production.
    Serve(serve::Args),
    /// The sandbox alone: a local Easemob to develop and test against.
    Sandbox(sandbox::Args),
    /// Sends a message through a gateway, as a client of its gRPC API.
    Send(send::Args),
    /// Uploads a file through a gateway, for use in any number of messages.
    Upload(upload::Args),
    /// Downloads an uploaded file through a gateway.
    Download(download::Args),
    /// Checks, prints and explains the settings.
    Config(config::Args),
    /// Tries everything that the settings rely on, and says in words what to change.
    Doctor(doctor::Args),
    /// Makes a key for a caller, and its digest for the settings.
    Key(key::Args),
    /// Writes completions for a shell.
    Completions(completions::Args),
    /// Writes man pages, one for each command.
    Man(completions::ManArgs),
}

/// What to do about settings that cannot be used.
const SETTINGS: &str = "Settings come from the file that --config names, and from the environment. `easemob-gateway config check` \
     looks at all of them, and `easemob-gateway config reference > gateway.toml` makes a file to start from.";

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Dev(args) => told(block_on(dev::run(args))),
        Command::Serve(args) => told(block_on(serve::run(args))),
        Command::Sandbox(args) => told(block_on(sandbox::run(args))),
        Command::Send(args) => block_on(send::run(args)).unwrap_or_else(|error| told(Err(error))),
        Command::Upload(args) => {
            block_on(upload::run(args)).unwrap_or_else(|error| told(Err(error)))
        }
        Command::Download(args) => {
            block_on(download::run(args)).unwrap_or_else(|error| told(Err(error)))
        }
        Command::Config(args) => config::run(&args),
        Command::Doctor(args) => {
            bounded(doctor::run(args)).unwrap_or_else(|error| told(Err(error)))
        }
        Command::Key(args) => told(key::run(&args)),
        Command::Completions(args) => told(completions::run(&args, Cli::command())),
        Command::Man(args) => told(completions::man(&args, Cli::command())),
    }
}

/// Runs on one thread: the shards of a gateway bring their own.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// The same, and waits for nothing beyond: a resolver that does not answer blocks a thread of its own.
fn bounded<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

fn told(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.downcast_ref::<Errors>() {
                // They say `error:` themselves, each of them.
                Some(errors) => eprintln!("{errors}\n\n{SETTINGS}"),
                None => eprintln!("error: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    /// Every command that does something, with its path.
    fn leaves(command: &Command, path: &str) -> Vec<(String, Command)> {
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        let below: Vec<_> = command.get_subcommands().collect();
        match below.is_empty() {
            true => vec![(path, command.clone())],
            false => below
                .iter()
                .flat_map(|below| leaves(below, &path))
                .collect(),
        }
    }

    /// The words of an example, as a shell has them, up to where another command begins.
    fn words(example: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for character in example.chars() {
            match character {
                '"' => quoted = !quoted,
                '|' | '>' | '<' | '#' if !quoted => break,
                ' ' if !quoted => words.push(String::new()),
                _ => words.last_mut().unwrap().push(character),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_command_teaches_by_examples_that_are_right() {
        let root = Cli::command();
        root.clone().debug_assert();
        let all = leaves(&root, "");
        assert!(all.len() >= 20, "{}", all.len());
        for (path, command) in all {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(help.contains("Examples:\n"), "{path} has no examples");
            let own = help
                .lines()
                .filter_map(|line| Some(&line[line.find(&path)?..]));
            let own: Vec<_> = own.map(words).collect();
            assert!(!own.is_empty(), "{path} has no example of its own");
            for example in own {
                if let Err(error) = Cli::try_parse_from(&example) {
                    panic!("{example:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_option_says_what_it_is_for() {
        for (path, command) in leaves(&Cli::command(), "") {
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {}",
                    argument.get_id()
                );
            }
        }
    }
}
