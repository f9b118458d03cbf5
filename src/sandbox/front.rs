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
use axum::routing::{get, post};
use axum::{BoxError, Router};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;

use super::State;
use super::answer::Answer;
use super::endpoint::Endpoint;
use super::fault::{Effect, Script};
use super::refusal::Refusal;
use super::wire::Takeover;
use super::{file, inspect, send, token};

/// Most bytes of a request that are held in memory, whatever its endpoint allows.
const MOST_BYTES: usize = 1 << 20;

/// Everything that the sandbox answers.
pub(super) fn router(sandbox: Arc<State>) -> Router {
    let mut router = Router::new().merge(inspect::router(&sandbox));
    for prefix in ["/{org}/{app}", "/app-id/{app_id}"] {
        for endpoint in Endpoint::ALL {
            let answer = move |sandbox: extract::State<Arc<State>>, address, request| {
                call(sandbox.0, endpoint, address, request)
            };
            let answer = match endpoint {
                Endpoint::Upload => post(
                    async |sandbox: extract::State<Arc<State>>, address, request| {
                        file::upload(&sandbox.0, address, request).await
                    },
                ),
                Endpoint::Download => get(answer),
                _ => post(answer),
            };
            router = router.route(&format!("{prefix}{}", endpoint.path()), answer);
        }
    }
    router
        .fallback(async || Answer::from(Refusal::no_such_path()))
        .method_not_allowed_fallback(async || Answer::from(Refusal::method()))
        .with_state(sandbox)
}

/// Whose app a path names, and which file of it.
#[derive(Deserialize)]
pub(super) struct Address {
    org: Option<String>,
    app: Option<String>,
    app_id: Option<String>,
    uuid: Option<String>,
}

/// An address that may be none.
pub(super) type Addressed = Result<Path<Address>, PathRejection>;

async fn call(
    sandbox: Arc<State>,
    endpoint: Endpoint,
    address: Addressed,
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
    let fault = Script::or_magic(fault, endpoint, &body);
    if fault.revoke {
        sandbox.tokens.revoke(&parts.headers);
    }
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
            let answer = answer(&sandbox, endpoint, address, &parts, &body).await;
            answer.unwrap_or_else(Answer::from)
        }
    };
    let mut told = answer.clone();
    if endpoint == Endpoint::Download && answer.status.is_success() {
        // A file that had to go is not kept in memory for having been downloaded once.
        told.body = Bytes::new();
    }
    call.answered(told);
    fault.effect.deliver(answer)
}

/// The answer by the reference.
async fn answer(
    sandbox: &State,
    endpoint: Endpoint,
    address: Addressed,
    parts: &Parts,
    body: &Bytes,
) -> Result<Answer, Refusal> {
    let address = known(sandbox, endpoint, address, parts)?;
    if endpoint != Endpoint::Download && !is_json(&parts.headers) {
        return Err(Refusal::content_type());
    }
    within_rate(sandbox, endpoint)?;
    match endpoint {
        Endpoint::Token => token::issue(sandbox, &parts.headers, body),
        Endpoint::Download => {
            let uuid = address.uuid.unwrap_or_default();
            file::download(sandbox, &uuid, parts).await
        }
        _ => send::accept(sandbox, endpoint, parts, body),
    }
}

/// Lets a call pass that is for our app, and from someone who may use it.
pub(super) fn known(
    sandbox: &State,
    endpoint: Endpoint,
    address: Addressed,
    parts: &Parts,
) -> Result<Address, Refusal> {
    let Ok(Path(address)) = address else {
        return Err(Refusal::no_such_path());
    };
    check_app(sandbox, &address, parts.uri.path())?;
    if endpoint != Endpoint::Token {
        token::check(sandbox, &parts.headers)?;
    }
    Ok(address)
}

/// Counts a call, if one more may pass.
pub(super) fn within_rate(sandbox: &State, endpoint: Endpoint) -> Result<(), Refusal> {
    if sandbox.quotas.call(endpoint, sandbox.config.clock.now()) {
        Ok(())
    } else {
        Err(Refusal::too_many_calls())
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
            (id == config.app_id || id == config.agora_app_id, id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::testing::{self, Reply, path, send, text_to, token, token_request};
    use crate::sandbox::{Config, Rate, Sandbox};

    fn start() -> Sandbox {
        Sandbox::start(Config::for_tests()).unwrap()
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    fn post_token(sandbox: &Sandbox, path: &str) -> Reply {
        testing::call(sandbox, "POST", path, &[JSON], token_request().to_string())
    }

    #[test]
    fn both_path_styles_reach_the_same_app() {
        let sandbox = start();
        let token = token(&sandbox);
        assert_eq!(
            post_token(&sandbox, "/app-id/sandbox-app-id/token").status,
            200
        );
        for endpoint in Endpoint::SENDS {
            for prefix in ["/sandbox/demo", "/app-id/sandbox-app-id"] {
                let authorization = format!("Bearer {token}");
                let headers = [JSON, ("authorization", authorization.as_str())];
                let path = format!("{prefix}{}", endpoint.path());
                let body = text_to(endpoint, &["1"]).to_string();
                let reply = testing::call(&sandbox, "POST", &path, &headers, body);
                assert_eq!(reply.status, 200, "{path}");
                assert_eq!(reply.json()["organization"], "sandbox");
                assert_eq!(reply.json()["applicationName"], "demo");
            }
            assert_eq!(sandbox.calls(endpoint).len(), 2);
        }
    }

    #[test]
    fn an_unknown_app_is_not_found() {
        let sandbox = start();
        let cases = [
            ("/sandbox/other/token", "sandbox/other"),
            ("/acme/demo/messages/users", "acme/demo"),
            ("/app-id/other/token", "other"),
            ("/Sandbox/demo/token", "Sandbox/demo"),
        ];
        for (path, app) in cases {
            let (status, error, text) = post_token(&sandbox, path).error();
            assert_eq!(
                (status, error.as_str()),
                (404, "organization_application_not_found")
            );
            let uri = &path[1..];
            assert_eq!(
                text,
                format!("Could not find application for {app} from URI: {uri}")
            );
        }
    }

    #[test]
    fn other_paths_are_not_found_and_other_methods_not_allowed() {
        let sandbox = start();
        for path in [
            "/nowhere",
            "/sandbox/demo",
            "/sandbox/demo/messages/user",
            "/sandbox/demo/%ff/token",
        ] {
            assert_eq!(post_token(&sandbox, path).status, 404, "{path}");
        }
        for method in ["GET", "PUT", "DELETE"] {
            for endpoint in Endpoint::ALL
                .into_iter()
                .filter(|one| *one != Endpoint::Download)
            {
                let reply = testing::call(&sandbox, method, &path(endpoint), &[], "");
                assert_eq!(reply.status, 405);
                assert_eq!(reply.header("allow"), Some("POST"));
            }
        }
    }

    #[test]
    fn an_app_called_messages_does_not_meet_our_own_path() {
        let sandbox = Sandbox::start(Config {
            app: "messages".to_owned(),
            ..Config::for_tests()
        })
        .unwrap();
        assert_eq!(post_token(&sandbox, "/sandbox/messages/token").status, 200);
        assert_eq!(testing::get(&sandbox, "/sandbox/messages").status, 200);
    }

    #[test]
    fn only_json_is_taken() {
        let sandbox = start();
        let answer = |headers: &[(&str, &str)]| {
            let body = token_request().to_string();
            testing::call(&sandbox, "POST", &path(Endpoint::Token), headers, body)
        };
        for headers in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/jsonp")],
        ] {
            let (status, error, _) = answer(headers).error();
            assert_eq!((status, error.as_str()), (415, "web_application"));
        }
        for value in ["application/json; charset=utf-8", "Application/JSON"] {
            assert_eq!(answer(&[("content-type", value)]).status, 200);
        }
    }

    #[test]
    fn a_call_without_a_token_is_unauthorized_whatever_it_says() {
        let sandbox = start();
        for endpoint in Endpoint::SENDS {
            let reply = testing::call(&sandbox, "POST", &path(endpoint), &[JSON], "{");
            let (status, error, text) = reply.error();
            assert_eq!((status, error.as_str()), (401, "unauthorized"));
            assert_eq!(text, "Unable to authenticate due to expired access token");
        }
    }

    #[test]
    fn a_call_over_the_rate_is_refused_before_its_content_is_looked_at() {
        let mut config = Config::for_tests();
        config.quotas.users.calls = Some(Rate::per_minute(1));
        let sandbox = Sandbox::start(config).unwrap();
        let token = token(&sandbox);
        let endpoint = Endpoint::SendToUsers;
        let wrong = text_to(endpoint, &[]);
        assert_eq!(send(&sandbox, endpoint, &token, &wrong).status, 400);
        assert_eq!(send(&sandbox, endpoint, &token, &wrong).status, 429);
    }

    #[test]
    fn one_connection_serves_many_calls() {
        use std::io::{Read, Write};

        let sandbox = start();
        let mut stream = testing::connect(&sandbox);
        let body = token_request().to_string();
        for _ in 0..3 {
            let request = format!(
                "POST /sandbox/demo/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            // The answer's end: the one brace that closes its only object.
            let mut byte = [0];
            while byte != *b"}" {
                stream.read_exact(&mut byte).unwrap();
            }
        }
        assert_eq!(sandbox.call_count(Endpoint::Token), 3);
    }
}
