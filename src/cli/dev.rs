//! `easemob-gateway dev`: gateway and sandbox in one process, and what to try next.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context, bail};

use super::secure::Secure;
use crate::{
    app::{self, App, Apps},
    delivery,
    invalid::Violations,
    media,
    sandbox::{self, Sandbox},
    server::{self, Gateway, Listener, on_signal},
    store, telemetry,
    trace::Propagate,
};

/// Name of the app in the gateway.
const APP: &str = "demo";

const EXAMPLES: &str = "\
Examples:
  easemob-gateway dev
  easemob-gateway dev --data ./messages
  easemob-gateway dev --listen 127.0.0.1:0 --operations-listen 127.0.0.1:0 --sandbox-listen 127.0.0.1:0

Then open http://127.0.0.1:8025/, and in another terminal:
  easemob-gateway send text --to bob \"你好\"";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Address of the gRPC port.
    #[arg(long, value_name = "ADDRESS", default_value_t = loopback(50051))]
    listen: SocketAddr,
    /// Address of the operations port: /livez, /readyz, /metrics.
    #[arg(long, value_name = "ADDRESS", default_value_t = loopback(9090))]
    operations_listen: SocketAddr,
    /// Address of the sandbox.
    #[arg(long, value_name = "ADDRESS", default_value_t = loopback(8025))]
    sandbox_listen: SocketAddr,
    /// Address of gRPC-Web, which is served where there is a --web-origin.
    #[arg(long, value_name = "ADDRESS", default_value_t = loopback(8081))]
    web_listen: SocketAddr,
    /// Origin of a page that may call by gRPC-Web, such as http://localhost:5173; several may be given.
    #[arg(long = "web-origin", value_name = "ORIGIN")]
    web_origins: Vec<String>,
    /// Serves with TLS and asks callers for a key, as in production. Certificate, authority and key are
    /// made in this folder the first time, for this machine alone.
    #[arg(long, value_name = "DIR")]
    secure: Option<PathBuf>,
    /// A folder that keeps the sandbox's messages and files until the next time; made if it is not there.
    /// Without it they end with the process.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What is logged, on standard error.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = on_signal()?;
    let config = telemetry::Config {
        log_format: telemetry::LogFormat::Text,
        log_filter: args.log.clone(),
        // The sandbox is ours.
        trace_easemob: Propagate::Trace,
        ..telemetry::Config::default()
    };
    let flush_timeout = config.flush_timeout;
    let registry = telemetry::registry(&config)?;
    let telemetry = telemetry::start(&config)?;
    for (flag, address) in [
        ("--listen", args.listen),
        ("--operations-listen", args.operations_listen),
        ("--sandbox-listen", args.sandbox_listen),
        ("--web-listen", args.web_listen),
    ] {
        if !address.ip().is_loopback() {
            bail!(
                "{flag} {address} can be reached from other machines, and dev asks nobody who they are: \
                 use an address of this machine, such as 127.0.0.1"
            );
        }
    }

    let sandbox = sandbox::Config {
        listen: args.sandbox_listen,
        data: args.data.clone(),
        ..sandbox::Config::default()
    };
    let sandbox = Sandbox::start(sandbox).with_context(|| {
        let kept = args.data.as_ref().map_or(String::new(), |folder| {
            format!(", or cannot keep its messages in {}", folder.display())
        });
        format!(
            "the sandbox cannot listen on {}{}{kept}",
            args.sandbox_listen,
            hint("--sandbox-listen takes another address")
        )
    })?;
    let secure = args.secure.as_deref().map(Secure::prepare).transpose()?;
    let config = server::Config {
        listen: args.listen,
        operations_listen: args.operations_listen,
        tls: secure.as_ref().map(Secure::tls).unwrap_or_default(),
        grpc_web: server::grpc_web::Config {
            listen: (!args.web_origins.is_empty()).then_some(args.web_listen),
            allowed_origins: args.web_origins,
            ..server::grpc_web::Config::default()
        },
        ..server::Config::default()
    };
    let violations = Violations::default();
    config.grpc_web.check(violations.root());
    if let Some(violation) = violations.into_vec().first() {
        bail!("--web-origin: {violation}");
    }
    let listener = Listener::bind(&config).await.with_context(|| {
        format!(
            "dev cannot start{}",
            hint("--listen, --operations-listen and --web-listen take other addresses")
        )
    })?;
    let (grpc, operations) = (listener.local_addr()?, listener.operations_addr()?);
    let web = listener.web_addr()?;
    let apps = Apps::new([app(&sandbox)?], Some(APP));
    // Without it, anybody on this machine.
    let auth = secure.as_ref().map(|secure| secure.auth(APP)).transpose()?;
    let auth = auth.unwrap_or_default();
    let violations = Violations::default();
    let Some(callers) = auth.check(&|app| apps.get(app).is_some(), violations.root()) else {
        bail!("the caller of dev: {:?}", violations.into_vec());
    };
    let gateway = Gateway::new(
        apps,
        (auth, callers),
        config,
        delivery::Config::default(),
        media::Config::default(),
        &store::Config::default(),
        registry.clone(),
    )?
    .with_tracer(telemetry.tracer());
    // Callers wait in the listener's queue from here on.
    print!(
        "{}",
        welcome(grpc, operations, web, &sandbox, secure.as_ref())
    );
    let served = gateway.serve(listener, shutdown).await;
    tokio::join!(
        telemetry.stop(),
        telemetry::push_last(registry, flush_timeout)
    );
    served?;
    Ok(())
}

fn hint(flags: &str) -> String {
    format!(" (is another one running? {flags}; port 0 takes a free one)")
}

/// The sandbox's app, as the gateway's settings would have it.
fn app(sandbox: &Sandbox) -> anyhow::Result<App> {
    let account = sandbox.config();
    let config = app::Config {
        base_url: sandbox.base_url(),
        org_name: Some(account.org.clone()),
        app_name: Some(account.app.clone()),
        client_id: account.client_id.clone(),
        client_secret: Some(account.client_secret.clone().into()),
        ..app::Config::default()
    };
    let violations = Violations::default();
    match App::new(APP, &config, violations.root()) {
        Some(app) => Ok(app),
        None => bail!("the sandbox's app: {:?}", violations.into_vec()),
    }
}

fn welcome(
    grpc: SocketAddr,
    operations: SocketAddr,
    web: Option<SocketAddr>,
    sandbox: &Sandbox,
    secure: Option<&Secure>,
) -> String {
    let command = env::args()
        .next()
        .unwrap_or_else(|| "easemob-gateway".into());
    let variables = secure.map(|secure| format!("  {}\n", secure.variables(grpc.port())));
    let to = match (grpc.port(), secure) {
        (50051, _) | (_, Some(_)) => String::new(),
        _ => format!(" --gateway http://{grpc}"),
    };
    let inbox = sandbox.addr();
    let kept = match &sandbox.config().data {
        Some(folder) => format!("in {}", folder.display()),
        None => "in memory".into(),
    };
    let web = web.map(|web| {
        let scheme = secure.map_or("http", |_| "https");
        format!("gRPC-Web    {scheme}://{web}\n")
    });
    format!(
        "gRPC        {grpc}\n\
         {web}\
         operations  http://{operations}/readyz\n\
         sandbox     http://{inbox}/  (app {org}#{app}: it keeps messages {kept}, and delivers none)\n\
         \n\
         Open http://{inbox}/ to see messages as they come, and try, in another terminal:\n\
         \n\
         {variables}  {command} send text --to bob \"你好\"{to}\n  \
           {command} send text --to fault-429 \"refused\"{to}\n  \
           {command} send location --group 1001 --latitude 39.966 --longitude 116.322 \"Zhongguancun\"{to}\n\
         \n\
         Ctrl-C ends it.\n",
        variables = variables.unwrap_or_default(),
        web = web.unwrap_or_default(),
        org = sandbox.config().org,
        app = sandbox.config().app,
    )
}
