//! FLOOR 2: the one way out. Easemob's REST API as typed methods.

mod access_token;
mod direct;
mod endpoint;
mod error;
mod fetch;
mod first_byte;
mod media;
mod message;
mod pool;
mod tls;
mod token;
mod transport;
mod turn;

use std::{sync::Arc, time::Duration};

use reqwest::Url;
use tokio::runtime::Handle;

use self::{
    endpoint::Endpoint,
    fetch::Source,
    transport::{Call, Transport},
};
pub use self::{
    error::{Answer, Error, Kind},
    fetch::Probe,
    first_byte::FirstByte,
    media::{SharedUpload, Store, Stored, UploadError},
    message::Accepted,
    tls::verifier,
    token::{Token, Tokens},
};
use crate::{
    app::App,
    message::Kind as TargetKind,
    metrics::{self, Gauge, Gauges},
};

/// The REST API of one app, over connections of its own.
#[derive(Debug)]
pub struct Client {
    app: Arc<App>,
    transport: Transport,
    // Made once: one a kind of target, in the order of `TargetKind::ALL`.
    sends: [Endpoint; TargetKind::ALL.len()],
    upload: Endpoint,
    download: Endpoint,
    metrics: Metrics,
}

/// What the calls of one app are recorded with.
#[derive(Debug)]
struct Metrics {
    // In the order of `TargetKind::ALL`.
    sends: [metrics::Endpoint; TargetKind::ALL.len()],
    upload: metrics::Endpoint,
    download: metrics::Endpoint,
    uploaded: metrics::Bytes,
}

impl Metrics {
    fn new(app: &App, host: &Url, calls: &metrics::Calls) -> Self {
        let endpoint = |method, name| calls.endpoint(&app.name, host_of(host), method, name);
        Self {
            sends: TargetKind::ALL.map(|kind| endpoint("POST", kind.name())),
            upload: endpoint("POST", "upload"),
            download: endpoint("GET", "download"),
            uploaded: calls.bytes(&app.name, "upload"),
        }
    }
}

fn host_of(url: &Url) -> (&str, u16) {
    let port = url.port_or_known_default().unwrap_or_default();
    (url.host_str().unwrap_or_default(), port)
}

/// An app's settings that no URL can be made of.
#[derive(Debug, thiserror::Error)]
#[error("app {app}: {what}")]
pub struct SetupError {
    app: String,
    what: String,
}

impl Client {
    /// A client for an app. Its connections belong to the runtime that first uses them.
    pub fn new(app: &Arc<App>, calls: &metrics::Calls) -> Result<Self, SetupError> {
        let send = |kind: TargetKind| Endpoint::send(app, kind);
        let [users, groups, group_members, rooms, room_members] = TargetKind::ALL;
        let upload = Endpoint::upload(app)?;
        Ok(Self {
            transport: Transport::new(app),
            metrics: Metrics::new(app, &upload.url, calls),
            upload,
            download: Endpoint::download(app)?,
            sends: [
                send(users)?,
                send(groups)?,
                send(group_members)?,
                send(rooms)?,
                send(room_members)?,
            ],
            app: Arc::clone(app),
        })
    }

    /// Time for all attempts of one call.
    pub fn call_timeout(&self) -> Duration {
        self.app.timeouts.call
    }
}

/// The tokens of an app, fetched on this runtime over connections of their own.
pub fn tokens(
    app: &Arc<App>,
    runtime: Handle,
    calls: &metrics::Calls,
    gauges: &Gauges,
) -> Result<Arc<Tokens>, SetupError> {
    let source = Arc::new(source(app, calls)?);
    let tokens = Tokens::new(runtime, move || Arc::clone(&source).fetch());
    observe(&tokens, &app.name, gauges);
    Ok(tokens)
}

/// Fetches one token and throws it away: shows whether the app can be used. Nothing else is sent.
pub async fn probe(app: &Arc<App>, calls: &metrics::Calls) -> Result<Probe, SetupError> {
    Ok(source(app, calls)?.probe().await)
}

fn source(app: &Arc<App>, calls: &metrics::Calls) -> Result<Source, SetupError> {
    let endpoint = Endpoint::token(app)?;
    Ok(Source {
        attempts: calls.endpoint(&app.name, host_of(&endpoint.url), "POST", "token"),
        fetches: calls.fetches(&app.name),
        transport: Transport::new(app),
        endpoint,
        app: Arc::clone(app),
    })
}

/// Whether the token is fresh, for whoever asks.
fn observe(tokens: &Arc<Tokens>, app: &str, gauges: &Gauges) {
    let app = [opentelemetry::KeyValue::new("app", app.to_owned())];
    let current = Arc::downgrade(tokens);
    gauges.observe(Gauge::TokenAge, &app, move || {
        Some(current.upgrade()?.age()?.as_secs_f64())
    });
    let current = Arc::downgrade(tokens);
    gauges.observe(Gauge::TokenTimeLeft, &app, move || {
        Some(current.upgrade()?.time_left()?.as_secs_f64())
    });
}

/// How an attempt ended.
fn record<T>(attempt: metrics::Attempt<'_>, outcome: &Result<T, Error>) {
    match outcome {
        Ok(_) => attempt.ok(),
        Err(error) => attempt.failed(error.kind.name(), error.http_status()),
    }
}
