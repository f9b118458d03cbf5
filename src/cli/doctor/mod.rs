//! `easemob-gateway doctor`: tries everything that the settings rely on, and says what to change.

mod app;
mod certificate;
mod collector;
mod distrust;
mod file;
mod finding;
mod gateway;
mod noting;
mod output;
mod port;
mod proxy;
mod redis;
mod tls;
mod token;
mod way;

use std::{io, path::PathBuf, process::ExitCode, sync::Arc};

use tokio::task::JoinSet;

use self::finding::{Check, Fault, Finding, Verdict};
use crate::{
    app::App,
    caller::Callers,
    config::{Config, Errors, Loaded, environment},
    invalid::Violations,
    metrics::Registry,
};

const ABOUT: &str = "\
Tries, for each app: its secret, DNS, the connection, the proxy, TLS, a token, the clock. For the gateway:
its ports, certificate, callers and files, the collector of traces, and Redis. Of all that, Easemob sees one
request for a token per app: no message is sent. It takes some seconds, 35 at worst.

Examples:
  easemob-gateway doctor --config gateway.toml
  easemob-gateway doctor --config gateway.toml --json | jq '.findings[] | select(.verdict == \"problem\")'
  kubectl exec deploy/easemob-gateway -- easemob-gateway doctor --config /etc/easemob-gateway/gateway.toml

Exit codes:
  0  the gateway can work; there may be warnings
  1  there are problems
  2  wrong arguments, or settings that cannot be read";

/// Tries everything that the settings rely on.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct Args {
    /// File with the settings, TOML. Left out: the environment alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Writes one line of JSON in place of text.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let loaded = match Config::load(args.config.as_deref(), environment()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(ExitCode::from(2));
        }
    };
    let findings = examine(loaded).await?;
    let written = match args.json {
        true => output::write_json(&findings, &mut io::stdout().lock()),
        false => output::write_text(&findings, &mut anstream::stdout().lock()),
    };
    match written {
        // Whoever stops reading has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(match output::count(&findings, Verdict::Problem) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Everything at once, since most of it waits for somebody; told in one order.
async fn examine(loaded: Loaded) -> anyhow::Result<Vec<Finding>> {
    // reqwest is built without a TLS provider of its own. An error means that there is one already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let config = loaded.config.clone();
    let (settings, callers) = match loaded.check() {
        Ok(checked) => (None, Some(checked.callers)),
        Err(errors) => (Some(errors), None),
    };
    let metrics = Registry::unexported()?;
    let mut apps = JoinSet::new();
    for app in apps_of(&config) {
        apps.spawn(app::check(Arc::new(app), metrics.metrics().clone()));
    }
    let of_apps = async {
        let mut found = Vec::new();
        while let Some(findings) = apps.join_next().await {
            found.extend(findings.unwrap_or_default());
        }
        found.sort_by(|one: &Finding, other| one.subject.cmp(&other.subject));
        found
    };
    let (of_apps, of_ports, of_collector, of_redis) = tokio::join!(
        of_apps,
        port::check(&config.server),
        collector::check(&config.telemetry),
        redis::check(&config.store),
    );
    let mut found = settings_findings(settings.as_ref());
    found.extend(of_apps);
    found.extend(of_gateway(&config, callers.as_ref()));
    found.extend(of_ports);
    found.extend(of_collector);
    found.extend(of_redis);
    Ok(found)
}

/// Those that can be made of the settings. What is wrong with the others is among the errors.
fn apps_of(config: &Config) -> Vec<App> {
    let told_already = Violations::default();
    let root = told_already.root();
    let apps = config.apps.iter();
    apps.filter_map(|(name, app)| App::new(name, app, root.child("apps").child(name)))
        .collect()
}

fn settings_findings(errors: Option<&Errors>) -> Vec<Finding> {
    let check = || {
        Check::new(
            "gateway",
            "settings",
            "to read the settings as `serve` does",
        )
    };
    let Some(errors) = errors else {
        return vec![check().ok("the settings make sense together")];
    };
    let lines = errors.lines();
    lines
        // Told at length with the certificate.
        .filter(|line| !line.starts_with("server.tls.cert_file cannot be used"))
        .map(|line| {
            let change = "correct it: the gateway would not start";
            check().problem(line, Fault::Settings, change)
        })
        .collect()
}

fn of_gateway(config: &Config, callers: Option<&Callers>) -> Vec<Finding> {
    let mut found = gateway::certificate(&config.server.tls);
    found.extend(file::check(config));
    found.push(gateway::callers(config, callers));
    found
}
