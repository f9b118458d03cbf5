//! One app: its secrets, the way to Easemob, TLS, and a token.

use std::sync::Arc;

use reqwest::Url;
use secrecy::ExposeSecret;

use super::{
    file,
    finding::{Check, Fault, Finding},
    proxy,
    tls::{self, Trust},
    token,
    way::Host,
};
use crate::{
    app::{App, Outside},
    metrics,
};

/// Tries everything that a send of this app needs, up to its token, in that order.
pub(super) async fn check(app: Arc<App>, metrics: metrics::Metrics) -> Vec<Finding> {
    let mut found = Vec::new();
    let subject = format!("app {}", app.name);
    let readable = secrets(&app, &subject, &mut found);
    let open = open(&app, &subject, &mut found).await;
    let check = Check::new(&subject, "credentials", token::tried(&app));
    match (readable, open) {
        (true, Some(())) => token::check(&app, &subject, &metrics, &mut found).await,
        (false, _) => found.push(check.skipped("not tried: a file above is missing")),
        (true, None) => found.push(check.skipped("not tried: there is no way to Easemob")),
    }
    found
}

/// Whether what the settings name can be read; and by whom else.
fn secrets(app: &App, subject: &str, found: &mut Vec<Finding>) -> bool {
    let mut readable = true;
    for (setting, outside) in app.outside() {
        let name = format!("apps.{}.{setting}", app.name);
        let check = Check::new(subject, "secret", format!("to read what {name} names"));
        match outside.reload() {
            Err(what) => {
                readable = false;
                found.push(check.problem(
                    format!("{name} {what}"),
                    Fault::Settings,
                    "put it there, readable by the user that runs the gateway",
                ));
            }
            Ok(_) if setting == "ca_file" => {}
            Ok(_) => match outside.file() {
                Some(path) => found.push(file::check_secret(check, &name, path)),
                None => found.push(check.ok(format!("{name} is set"))),
            },
        }
    }
    readable
}

/// Whether there is a way to Easemob, as far as that shows before a request.
async fn open(app: &App, subject: &str, found: &mut Vec<Finding>) -> Option<()> {
    let url = Url::parse(&app.base_url).ok()?;
    let base_url = format!("apps.{}.base_url", app.name);
    let host = Host::of(&url, subject, &base_url)?;
    let pem = app.ca.as_ref().and_then(Outside::get);
    let setting = format!("apps.{}.ca_file", app.name);
    let trust = Trust {
        pem: pem.as_deref().map(|pem| pem.expose_secret().as_bytes()),
        setting: &setting,
    };
    let Some(proxy_setting) = &app.proxy_url else {
        let socket = host.connect(found).await?;
        return match url.scheme() {
            "https" => tls::shake_hands(socket, &host, &trust, found).await,
            _ => Some(()),
        };
    };
    let by = Url::parse(&proxy_setting.0).ok()?;
    let proxy_url = format!("apps.{}.proxy_url", app.name);
    let socket = Host::of(&by, subject, &proxy_url)?.connect(found).await?;
    // Without TLS a proxy is asked for each request; and within TLS of its own only the request tells.
    if by.scheme() != "http" || url.scheme() != "https" {
        return Some(());
    }
    let socket = proxy::tunnel(socket, &by, &host, &proxy_url, found).await?;
    tls::shake_hands(socket, &host, &trust, found).await
}
