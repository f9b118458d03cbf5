//! The OpenTelemetry collector: whether it is there, and takes what we export.

use std::fs;

use reqwest::Url;
use tokio::time::timeout;

use super::{
    finding::{Check, Fault, Finding},
    tls::{self, Trust},
    way::{Host, STEP},
};
use crate::telemetry::{self, Protocol};

const SUBJECT: &str = "collector";
const SETTING: &str = "telemetry.otlp_endpoint";

/// Connects to the collector, and sends it an export of nothing.
pub(super) async fn check(config: &telemetry::Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some((endpoint, protocol)) = telemetry::collector(config) else {
        let check = Check::new(SUBJECT, "export", format!("to read {SETTING}"));
        return vec![check.skipped(format!("{SETTING} is not set: nothing is exported"))];
    };
    let tried = format!("to export nothing to {SETTING}");
    let Some(url) = Url::parse(&endpoint).ok().filter(Url::has_host) else {
        let check = Check::new(SUBJECT, "export", tried);
        let change = format!("correct {SETTING}: it looks like http://127.0.0.1:4317");
        return vec![check.problem("its URL cannot be read", Fault::Settings, change)];
    };
    if reach(config, &url, &mut found).await.is_none() {
        return found;
    }
    let check = Check::new(SUBJECT, "export", tried);
    let (word, other) = match protocol {
        Protocol::Grpc => ("gRPC", "http"),
        Protocol::Http => ("HTTP", "grpc"),
    };
    let change = format!(
        "see whether that port takes OTLP over {word}, and set telemetry.otlp_protocol to \"{other}\" if not; or whether it \
         wants headers (telemetry.otlp_headers_file)"
    );
    found.push(match timeout(STEP, telemetry::probe(config)).await {
        Ok(Ok(())) => check.ok(format!("the collector takes OTLP over {word}")),
        // Its text may quote what the collector was told.
        Ok(Err(_)) => check.problem(
            format!("what listens there does not take OTLP over {word}"),
            Fault::Settings,
            change,
        ),
        Err(_late) => check.problem(
            format!("no answer to an export within {} s", STEP.as_secs()),
            Fault::OtherSide,
            change,
        ),
    });
    found
}

async fn reach(config: &telemetry::Config, url: &Url, found: &mut Vec<Finding>) -> Option<()> {
    let host = Host::of(url, SUBJECT, SETTING)?;
    let socket = host.connect(found).await?;
    if url.scheme() != "https" {
        return Some(());
    }
    let pem = config
        .otlp_ca_file
        .as_ref()
        .and_then(|path| fs::read(path).ok());
    // A client's certificate may be wanted: that shows in the export.
    let trust = Trust {
        pem: pem.as_deref(),
        setting: "telemetry.otlp_ca_file",
    };
    tls::shake_hands(socket, &host, &trust, found).await
}
