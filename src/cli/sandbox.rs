//! `easemob-gateway sandbox`: the sandbox alone.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;

use crate::{
    sandbox::{Config, Sandbox},
    server::on_signal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen. It asks nobody who they are, and is no place for real messages.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8025)))]
    listen: SocketAddr,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = on_signal()?;
    let config = Config {
        listen: args.listen,
        ..Config::default()
    };
    let sandbox =
        Sandbox::start(config).with_context(|| format!("cannot listen on {}", args.listen))?;
    let account = sandbox.config();
    println!(
        "sandbox        {base}/{org}/{app}\n\
         client_id      {id}\n\
         client_secret  {secret}\n\
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
