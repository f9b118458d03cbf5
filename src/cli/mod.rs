//! ROOF: the command line, one file or folder a command; `credentials`, `field`, `file`, `gateway`,
//! `output`, `problem` and `trace` are what those that call a gateway share.

pub mod config;
mod credentials;
mod dev;
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

use clap::{Parser, Subcommand};

/// One door between a company's services and Easemob IM.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
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
    /// Makes a key for a caller, and its digest for the settings.
    Key(key::Args),
}

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
        Command::Key(args) => told(key::run(&args)),
    }
}

/// Runs on one thread: the shards of a gateway bring their own.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn told(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
