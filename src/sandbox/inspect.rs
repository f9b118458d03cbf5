//! What the API has not: `/sandbox/messages`, to see what arrived and to forget it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{self, Query};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize, Serializer};

use super::State;
use super::messages::{Filter, Message};

/// The longest wait; a client that wants more asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(super) fn router() -> Router<Arc<State>> {
    Router::new().route("/sandbox/messages", get(list).delete(clear))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    user: Option<String>,
    group: Option<String>,
    chatroom: Option<String>,
    to: Option<String>,
    from: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    limit: Option<usize>,
    wait: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(serialize_with = "each")]
    messages: Vec<Arc<Message>>,
}

fn each<S: Serializer>(messages: &[Arc<Message>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(messages.iter().map(Arc::as_ref))
}

#[derive(Serialize)]
struct Mistake {
    error: String,
}

type Mistaken = (StatusCode, Json<Mistake>);

async fn list(
    sandbox: extract::State<Arc<State>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Listed>, Mistaken> {
    let Query(asked) = asked.map_err(|error| mistake(error.body_text()))?;
    let wait = asked.wait.as_deref().map(wait).transpose()?;
    let limit = asked.limit.unwrap_or(100);
    let filter = Filter {
        user: asked.user,
        group: asked.group,
        chatroom: asked.chatroom,
        to: asked.to,
        from: asked.from,
        kind: asked.kind,
    };
    if let Some(wait) = wait {
        // Whether it came or not, the list below tells.
        let _ = tokio::time::timeout(wait, sandbox.messages.first(&filter)).await;
    }
    Ok(Json(Listed {
        messages: sandbox.messages.newest(&filter, limit),
    }))
}

async fn clear(sandbox: extract::State<Arc<State>>) -> StatusCode {
    sandbox.messages.clear();
    StatusCode::NO_CONTENT
}

fn wait(text: &str) -> Result<Duration, Mistaken> {
    match humantime::parse_duration(text) {
        Ok(wait) if wait <= LONGEST_WAIT => Ok(wait),
        Ok(_) => Err(mistake("wait: 60s at most".to_owned())),
        Err(error) => Err(mistake(format!("wait: {error}, such as 5s or 500ms"))),
    }
}

fn mistake(error: String) -> Mistaken {
    (StatusCode::BAD_REQUEST, Json(Mistake { error }))
}
