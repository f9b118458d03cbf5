//! What every call passes on its way to an answer: the script, the record, the checks that all
//! endpoints share.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{self, Path, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{BoxError, Router};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;

use super::State;
use super::answer::Answer;
use super::endpoint::Endpoint;
use super::fault::Effect;
use super::refusal::Refusal;
use super::wire::Takeover;
use super::{inspect, send, token};

/// Most bytes of a request that are held in memory, whatever its endpoint allows.
const MOST_BYTES: usize = 1 << 20;

/// Everything that the sandbox answers.
pub(super) fn router(sandbox: Arc<State>) -> Router {
    let mut router = Router::new().merge(inspect::router());
    for prefix in ["/{org}/{app}", "/app-id/{app_id}"] {
        for endpoint in Endpoint::ALL {
            let answer = move |sandbox: extract::State<Arc<State>>, address, request| {
                call(sandbox.0, endpoint, address, request)
            };
            router = router.route(&format!("{prefix}{}", endpoint.path()), post(answer));
        }
    }
    router
        .fallback(async || Answer::from(Refusal::no_such_path()))
        .method_not_allowed_fallback(async || Answer::from(Refusal::method()))
        .with_state(sandbox)
}

/// Whose app a path names.
#[derive(Deserialize)]
struct Address {
    org: Option<String>,
    app: Option<String>,
    app_id: Option<String>,
}

async fn call(
    sandbox: Arc<State>,
    endpoint: Endpoint,
    address: Result<Path<Address>, PathRejection>,
    request: Request,
) -> Response {
    let fault = sandbox.script.next(endpoint);
    if matches!(fault.effect, Effect::ResetBeforeRead) {
        tokio::time::sleep(fault.pause).await;
        return Takeover::Reset.into_response();
    }
    let (parts, body) = request.into_parts();
    let body = match read(body).await {
        Ok(Some(body)) => body,
        Ok(None) => return Answer::from(Refusal::request_too_large()).into_response(),
        // The client went away in the middle of its request.
        Err(_) => return Takeover::Close.into_response(),
    };
    let call = sandbox.calls.record(endpoint, &parts, body.clone());
    if !fault.pause.is_zero() {
        tokio::time::sleep(fault.pause).await;
    }
    let answer = match fault.effect {
        Effect::ResetBeforeRead | Effect::ResetAfterRead => return Takeover::Reset.into_response(),
        Effect::CloseAfterRead => return Takeover::Close.into_response(),
        Effect::Silence => std::future::pending().await,
        Effect::Say(ref answer) => answer.clone(),
        Effect::Normal | Effect::Truncate | Effect::Drip(_) => {
            answer(&sandbox, endpoint, address, &parts, &body).unwrap_or_else(Answer::from)
        }
    };
    call.answered(answer.clone());
    match fault.effect {
        Effect::Truncate => Takeover::truncated(&answer).into_response(),
        Effect::Drip(gap) => Takeover::drip(&answer, gap).into_response(),
        _ => answer.into_response(),
    }
}

/// The answer by the reference.
fn answer(
    sandbox: &State,
    endpoint: Endpoint,
    address: Result<Path<Address>, PathRejection>,
    parts: &Parts,
    body: &Bytes,
) -> Result<Answer, Refusal> {
    let Ok(Path(address)) = address else {
        return Err(Refusal::no_such_path());
    };
    check_app(sandbox, &address, parts.uri.path())?;
    let now = sandbox.config.clock.now();
    if endpoint != Endpoint::Token {
        sandbox.tokens.check(&parts.headers, now)?;
    }
    if !is_json(&parts.headers) {
        return Err(Refusal::content_type());
    }
    if !sandbox.quotas.call(endpoint, now) {
        return Err(Refusal::too_many_calls());
    }
    match endpoint {
        Endpoint::Token => token::issue(sandbox, body),
        _ => send::accept(sandbox, endpoint, parts, body),
    }
}

fn check_app(sandbox: &State, address: &Address, path: &str) -> Result<(), Refusal> {
    let config = &sandbox.config;
    let (known, name) = match address {
        Address {
            org: Some(org),
            app: Some(app),
            ..
        } => (
            *org == config.org && *app == config.app,
            format!("{org}/{app}"),
        ),
        Address { app_id, .. } => {
            let id = app_id.clone().unwrap_or_default();
            (id == config.app_id, id)
        }
    };
    if known {
        Ok(())
    } else {
        Err(Refusal::unknown_app(&name, path))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// The whole body; `None` for one too large to hold, which is read all the same, so that the client
/// gets to see an answer.
async fn read(mut body: Body) -> Result<Option<Bytes>, BoxError> {
    let mut whole = BytesMut::new();
    let mut fits = true;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            fits = fits && whole.len() + data.len() <= MOST_BYTES;
            if fits {
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(fits.then(|| whole.freeze()))
}
