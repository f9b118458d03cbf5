//! `easemob-gateway key`: keys for callers.

use std::io::{self, Write as _};

use anyhow::anyhow;
use clap::Subcommand;
use secrecy::ExposeSecret;

use crate::caller::key;

const NEW: &str = "\
Examples:
  easemob-gateway key new --name billing
  easemob-gateway key new --name billing > billing.key    # the lines for the settings stay on the terminal";

/// Makes keys for callers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a key, and the digest of it that the settings hold. The key is printed once and kept nowhere:
    /// it alone goes to standard output, so that it can be piped to where secrets are kept.
    #[command(after_help = NEW)]
    New {
        /// Name of the caller in the settings.
        #[arg(long, value_name = "NAME", default_value = "NAME")]
        name: String,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Command::New { name } = &args.command;
    let key = key::generate().map_err(|_| anyhow!("the system gives no random numbers"))?;
    let key = key.expose_secret();
    let digest = key::hex(&key::sha256(key.as_bytes()));
    writeln!(io::stdout(), "{key}")?;
    // What is to be read, and not to be piped.
    writeln!(
        io::stderr(),
        "\n\
         The line above is the key. Give it to the caller, as a secret; nobody can print it again. The caller\n\
         sends it with each call, in the metadata:\n\
         \n  \
           authorization: Bearer KEY\n\
         \n\
         These lines are for the gateway's settings, or without \"auth.callers.\" for the file of callers. To\n\
         exchange a key, add its digest to the list, and take the old one out once the caller uses the new one:\n\
         \n  \
           [auth.callers.{name}]\n  \
           key_sha256 = [\"{digest}\"]\n  \
           apps = [\"APP\"]"
    )?;
    Ok(())
}
