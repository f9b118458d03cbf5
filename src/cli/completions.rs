//! `easemob-gateway completions` and `man`: what shells and `man` read, from the definitions of the
//! commands themselves.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

const NAME: &str = "easemob-gateway";

const COMPLETIONS: &str = "\
Examples:
  easemob-gateway completions bash > /etc/bash_completion.d/easemob-gateway
  easemob-gateway completions zsh > /usr/local/share/zsh/site-functions/_easemob-gateway
  easemob-gateway completions fish > ~/.config/fish/completions/easemob-gateway.fish

A new shell has them.";

const MAN: &str = "\
Examples:
  easemob-gateway man /usr/local/share/man/man1
  man easemob-gateway-send-text";

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS)]
pub(super) struct Args {
    /// The shell to write them for, on standard output.
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = MAN)]
pub(super) struct ManArgs {
    /// The folder to write them to; made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the completions of a shell.
pub(super) fn run(args: &Args, mut command: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut script);
    // In bash the library takes the hyphen of our name for the border of a command, in one of two places.
    let script = String::from_utf8(script)?.replace("easemob__subcmd__gateway", "easemob__gateway");
    match io::stdout().write_all(script.as_bytes()) {
        // Whoever stops reading has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a man page for each command.
pub(super) fn man(args: &ManArgs, command: Command) -> anyhow::Result<()> {
    let folder = &args.folder;
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write the pages to {shown}"))?;
    Ok(())
}
