//! `easemob-gateway sandbox`: the sandbox alone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::Context;

use crate::{
    sandbox::{Config, Sandbox},
    server::on_signal,
};

const EXAMPLES: &str = "\
Examples:
  easemob-gateway sandbox
  easemob-gateway sandbox --data ./messages
  easemob-gateway sandbox --listen 0.0.0.0:8025 --allow-host sandbox.example.com

It prints the base URL and the credentials that a client of Easemob's REST API needs.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where to listen. It asks nobody who they are, and is no place for real messages.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8025)))]
    listen: SocketAddr,
    /// A folder that keeps messages and files until the next time; made if it is not there. Without it
    /// they end with the process.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A further name by which browsers may open the inbox page and programs may call /sandbox/…; addresses,
    /// names of one word and names under .localhost, .local, .internal and .test may at any time.
    #[arg(long = "allow-host", value_name = "NAME")]
    hosts: Vec<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = on_signal()?;
    let config = Config {
        listen: args.listen,
        data: args.data,
        hosts: args.hosts,
        ..Config::default()
    };
    let sandbox =
        Sandbox::start(config).with_context(|| {
            format!(
                "cannot listen on {} (is another one running? --listen takes another address; port 0 takes a free one)",
                args.listen
            )
        })?;
    let account = sandbox.config();
    println!(
        "sandbox        {base}/{org}/{app}\n\
         client_id      {id}\n\
         client_secret  {secret}\n\
         inbox          {base}/\n\
         messages       {base}/sandbox/messages",
        base = sandbox.base_url(),
        org = account.org,
        app = account.app,
        id = account.client_id,
        secret = account.client_secret,
    );
    shutdown.cancelled().await;
    Ok(())
}
