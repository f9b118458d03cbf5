//! `/sandbox/faults`: what goes wrong on purpose.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Mistake, Mistaken, mistake, read};
use crate::sandbox::State;
use crate::sandbox::fault::{DOCUMENTED, Rule, Wanted};

#[derive(Serialize)]
pub(super) struct Listed {
    faults: Vec<Rule>,
}

pub(super) async fn list(sandbox: Shared<Arc<State>>) -> Json<Listed> {
    let faults = sandbox.script.rules.list();
    Json(Listed { faults })
}

pub(super) async fn errors() -> Json<Value> {
    Json(json!({"errors": DOCUMENTED}))
}

pub(super) async fn add(
    sandbox: Shared<Arc<State>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Rule>), Mistaken> {
    let wanted: Wanted = read(&body)?;
    let outage = wanted.outage();
    let rule = sandbox.script.rules.add(wanted).map_err(mistake)?;
    if let Some(lasts) = outage {
        sandbox.outage.send_replace(lasts);
    }
    Ok((StatusCode::CREATED, Json(rule)))
}

pub(super) async fn clear(sandbox: Shared<Arc<State>>) -> StatusCode {
    sandbox.script.rules.clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn remove(
    sandbox: Shared<Arc<State>>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Mistaken> {
    if id.is_ok_and(|id| sandbox.script.rules.remove(id.0)) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let error = "there is no such fault".to_owned();
    Err((StatusCode::NOT_FOUND, Json(Mistake { error })))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use crate::sandbox::testing::{Reply, call, get, send, start, text_to};
    use crate::sandbox::{Endpoint, Sandbox};

    fn add(sandbox: &Sandbox, rule: &str) -> Reply {
        call(sandbox, "POST", "/sandbox/faults", &[], rule)
    }

    fn send_status(sandbox: &Sandbox, token: &str) -> u16 {
        let message = text_to(Endpoint::SendToUsers, &["bob"]);
        send(sandbox, Endpoint::SendToUsers, token, &message).status
    }

    #[test]
    fn a_fault_is_added_listed_met_and_removed() {
        let (sandbox, token) = start();
        let reply = add(&sandbox, r#"{"kind": "status", "name": "call_rate"}"#);
        assert_eq!(reply.status, 201);
        let id = reply.json()["id"].as_u64().unwrap();
        assert_eq!(send_status(&sandbox, &token), 429);
        let listed = get(&sandbox, "/sandbox/faults").json();
        let fault = &listed["faults"][0];
        assert_eq!(fault["kind"], "status");
        assert_eq!(fault["endpoint"], "sends");
        assert_eq!(fault["fired"], 1);
        let path = format!("/sandbox/faults/{id}");
        let remove = |path: &str| call(&sandbox, "DELETE", path, &[], "").status;
        assert_eq!(remove(&path), 204);
        assert_eq!(remove(&path), 404);
        assert_eq!(remove("/sandbox/faults/x"), 404);
        assert_eq!(send_status(&sandbox, &token), 200);
        add(&sandbox, r#"{"kind": "close"}"#);
        assert_eq!(remove("/sandbox/faults"), 204);
        assert_eq!(send_status(&sandbox, &token), 200);
    }

    #[test]
    fn a_mistake_is_named() {
        let (sandbox, _) = start();
        for (rule, named) in [
            ("", "EOF"),
            ("{}", "kind"),
            (r#"{"kind": "close", "count": "x"}"#, "count"),
        ] {
            let reply = add(&sandbox, rule);
            assert_eq!(reply.status, 400);
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_revoked_token_is_refused_and_stays_so() {
        let (sandbox, token) = start();
        add(&sandbox, r#"{"kind": "token_revoked", "count": 1}"#);
        assert_eq!(send_status(&sandbox, &token), 401);
        assert_eq!(send_status(&sandbox, &token), 401);
        let other = crate::sandbox::testing::token(&sandbox);
        assert_eq!(send_status(&sandbox, &other), 200);
    }

    #[test]
    fn an_outage_ends_by_itself() {
        let (sandbox, token) = start();
        let reply = add(&sandbox, r#"{"kind": "outage", "delay": "400ms"}"#);
        assert_eq!(reply.status, 201, "it is answered before nobody is there");
        // It begins once the answer is on its way, and lasts; until then a connection may succeed.
        let began = std::time::Instant::now();
        while TcpStream::connect(sandbox.addr()).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(20), "it never began");
        }
        while TcpStream::connect(sandbox.addr()).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "it never ended");
        }
        assert_eq!(send_status(&sandbox, &token), 200, "tokens outlive it");
    }
}
