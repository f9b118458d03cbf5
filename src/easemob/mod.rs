//! FLOOR 2: the one way out. Easemob's REST API as typed methods.

mod endpoint;
mod error;
mod first_byte;
mod media;
mod message;
mod token;
mod transport;

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use reqwest::Url;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use self::{
    endpoint::Endpoint,
    token::Fetched,
    transport::{Call, Transport},
};
pub use self::{
    error::{Answer, Error, Kind},
    first_byte::FirstByte,
    media::{SharedUpload, Store, Stored, UploadError},
    message::Accepted,
    token::{Token, Tokens},
};
use crate::{
    app::App,
    message::Kind as TargetKind,
    metrics::{self, Fetches, Gauge, Gauges},
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

/// An app's settings that no connection can be made with.
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
            transport: transport(app)?,
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
    let transport = Arc::new(transport(app)?);
    let way = Endpoint::token(app)?;
    let fetcher = Arc::new(Fetcher {
        endpoint: calls.endpoint(&app.name, host_of(&way.url), "POST", "token"),
        fetches: calls.fetches(&app.name),
        app: Arc::clone(app),
        transport,
        way,
    });
    let tokens = Tokens::new(runtime, move || Arc::clone(&fetcher).fetch());
    observe(&tokens, &app.name, gauges);
    Ok(tokens)
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

/// Fetches the tokens of one app.
struct Fetcher {
    app: Arc<App>,
    transport: Arc<Transport>,
    way: Endpoint,
    endpoint: metrics::Endpoint,
    fetches: Fetches,
}

impl Fetcher {
    async fn fetch(self: Arc<Self>) -> Result<Fetched, Error> {
        let attempt = self.endpoint.attempt();
        let fetched = fetch_token(&self.app, &self.transport, &self.way).await;
        record(attempt, &fetched);
        let outcome = fetched.as_ref().map(|_token| ());
        self.fetches
            .ended(outcome.map_err(|error| error.kind.name()));
        fetched
    }
}

/// How an attempt ended.
fn record<T>(attempt: metrics::Attempt<'_>, outcome: &Result<T, Error>) {
    match outcome {
        Ok(_) => attempt.ok(),
        Err(error) => attempt.failed(error.kind.name(), error.http_status()),
    }
}

fn transport(app: &Arc<App>) -> Result<Transport, SetupError> {
    Transport::new(app).map_err(|error| SetupError {
        app: app.name.to_string(),
        what: format!("no client for Easemob with these settings: {error:?}"),
    })
}

#[derive(Serialize)]
struct TokenRequest<'a> {
    grant_type: &'static str,
    client_id: &'a str,
    client_secret: &'a str,
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: String,
    #[serde(default)]
    expires_in: serde_json::Value,
}

async fn fetch_token(
    app: &App,
    transport: &Transport,
    endpoint: &Endpoint,
) -> Result<Fetched, Error> {
    let request = TokenRequest {
        grant_type: "client_credentials",
        client_id: &app.client_id,
        client_secret: app.client_secret.expose_secret(),
    };
    let call = Call {
        endpoint,
        authorization: None,
        json: serde_json::to_vec(&request).expect("strings always serialise"),
        first_byte: FirstByte::default(),
        timeout: app.timeouts.token,
    };
    // Whatever becomes of this call, no message was sent by it.
    let unreachable = |what: String| Error::new(Kind::Unreachable, format!("no token: {what}"));
    let reply = transport
        .post(call)
        .await
        .map_err(|broken| unreachable(broken.what))?;
    if reply.status != 200 {
        return Err(error::of_token(&reply));
    }
    let token = serde_json::from_slice(&reply.body)
        .ok()
        .filter(|token: &TokenReply| !token.access_token.is_empty())
        .ok_or_else(|| unreachable("Easemob's answer has none that can be read".to_owned()))?;
    let mut authorization = HeaderValue::try_from(format!("Bearer {}", token.access_token))
        .map_err(|_| unreachable("Easemob's token is no header value".to_owned()))?;
    authorization.set_sensitive(true);
    Ok(Fetched {
        authorization,
        lifetime: lifetime(&token.expires_in, app.token_unit_ms),
    })
}

/// The lifetime that an answer tells. None where it tells none, or one that cannot be: 0 stands for a
/// token that never expires.
fn lifetime(expires_in: &serde_json::Value, unit_ms: u64) -> Option<Duration> {
    let units = match expires_in {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }?;
    #[expect(clippy::cast_precision_loss, reason = "1 or 1,000")]
    let seconds = units * (unit_ms as f64) / 1_000.0;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|lifetime| !lifetime.is_zero())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_lifetimes_are_none_or_what_they_say() {
        let seconds = |value| lifetime(&value, 1_000).map(|lifetime| lifetime.as_secs());
        assert_eq!(seconds(json!(86_400)), Some(86_400));
        assert_eq!(seconds(json!("86400")), Some(86_400));
        assert_eq!(seconds(json!(1u64 << 40)), Some(1 << 40));
        for none in [
            json!(0),
            json!(-1),
            json!(null),
            json!("soon"),
            json!([1]),
            json!(1e300),
        ] {
            assert_eq!(seconds(none), None);
        }
        assert_eq!(
            lifetime(&json!(86_400_000), 1),
            Some(Duration::from_secs(86_400))
        );
    }
}
