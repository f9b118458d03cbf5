//! `/sandbox/settings` and `/sandbox/tokens`: the limits that hold now, and who may come in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;

use super::{Mistaken, mistake, read};
use crate::sandbox::State;
use crate::sandbox::settings::Settings;
use crate::sandbox::token;

/// Tokens shown, the newest of them.
const TOKENS: usize = 100;

#[derive(Serialize)]
pub(super) struct Tokens {
    tokens: Vec<token::Listed>,
}

pub(super) async fn tokens(sandbox: Shared<Arc<State>>) -> Json<Tokens> {
    let now = sandbox.config.clock.now();
    Json(Tokens {
        tokens: sandbox.tokens.list(TOKENS, now),
    })
}

pub(super) async fn revoke(sandbox: Shared<Arc<State>>) -> StatusCode {
    sandbox.tokens.revoke_all();
    StatusCode::NO_CONTENT
}

pub(super) async fn show(sandbox: Shared<Arc<State>>) -> Json<Settings> {
    Json(Settings::clone(&sandbox.settings.load()))
}

pub(super) async fn change(
    sandbox: Shared<Arc<State>>,
    body: Bytes,
) -> Result<Json<Settings>, Mistaken> {
    let settings = sandbox
        .settings
        .load()
        .patched(read(&body)?)
        .map_err(mistake)?;
    Ok(Json(set(&sandbox, settings)))
}

pub(super) async fn reset(sandbox: Shared<Arc<State>>) -> Json<Settings> {
    Json(set(&sandbox, Settings::new(&sandbox.config)))
}

fn set(sandbox: &State, settings: Settings) -> Settings {
    sandbox.quotas.set(settings.quotas);
    sandbox.settings.store(Arc::new(settings.clone()));
    settings
}

#[cfg(test)]
mod tests {
    use crate::sandbox::testing::{call, get, send, start, text_to, token};
    use crate::sandbox::{Endpoint, Sandbox};

    fn send_status(sandbox: &Sandbox, token: &str) -> u16 {
        let message = text_to(Endpoint::SendToUsers, &["bob"]);
        send(sandbox, Endpoint::SendToUsers, token, &message).status
    }

    fn patch(sandbox: &Sandbox, body: &str) -> u16 {
        call(sandbox, "PATCH", "/sandbox/settings", &[], body).status
    }

    #[test]
    fn a_quota_holds_from_the_change_on_and_until_it_is_reset() {
        let (sandbox, token) = start();
        let one = r#"{"quotas": {"users": {"calls": {"count": 1, "window": "1h"}}}}"#;
        assert_eq!(patch(&sandbox, one), 200);
        assert_eq!(send_status(&sandbox, &token), 200);
        assert_eq!(send_status(&sandbox, &token), 429);
        let shown = get(&sandbox, "/sandbox/settings").json();
        assert_eq!(shown["quotas"]["users"]["calls"]["window"], "1h");
        let reset = call(&sandbox, "DELETE", "/sandbox/settings", &[], "");
        assert_eq!(
            reset.json()["quotas"]["users"]["calls"],
            serde_json::Value::Null
        );
        assert_eq!(send_status(&sandbox, &token), 200);
    }

    #[test]
    fn sizes_hold_from_the_change_on() {
        let (sandbox, token) = start();
        assert_eq!(patch(&sandbox, r#"{"content_bytes": 5}"#), 200);
        assert_eq!(send_status(&sandbox, &token), 400);
        assert_eq!(
            patch(&sandbox, r#"{"content_bytes": 3072, "request_bytes": 9}"#),
            200
        );
        assert_eq!(send_status(&sandbox, &token), 413);
        assert_eq!(patch(&sandbox, r#"{"size": 5}"#), 400);
    }

    #[test]
    fn tokens_are_shown_shortened_and_can_be_revoked() {
        let (sandbox, first) = start();
        let second = token(&sandbox);
        let shown = get(&sandbox, "/sandbox/tokens");
        let tokens = shown.json()["tokens"].as_array().unwrap().clone();
        assert_eq!(tokens.len(), 2);
        let text = String::from_utf8(shown.body).unwrap();
        for (token, shown) in [(first, &tokens[0]), (second, &tokens[1])] {
            assert!(!text.contains(&token));
            assert!(shown["token"].as_str().unwrap().starts_with(&token[..8]));
            assert_eq!(shown["good"], true);
            assert!(shown["seconds_left"].as_u64().unwrap() > 59 * 24 * 60 * 60);
        }
        assert_eq!(
            call(&sandbox, "DELETE", "/sandbox/tokens", &[], "").status,
            204
        );
        let shown = get(&sandbox, "/sandbox/tokens").json();
        assert_eq!(shown["tokens"][1]["revoked"], true);
        assert_eq!(shown["tokens"][1]["good"], false);
    }
}
