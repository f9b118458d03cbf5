//! `/sandbox/messages`: what was accepted, newest last.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{self, Query};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Mistaken, each, mistake};
use crate::sandbox::State;
use crate::sandbox::messages::{Filter, Message};

/// The longest wait; a client that wants more asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    user: Option<String>,
    group: Option<String>,
    chatroom: Option<String>,
    to: Option<String>,
    from: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    before: Option<u64>,
    limit: Option<usize>,
    wait: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Listed {
    #[serde(serialize_with = "each")]
    messages: Vec<Arc<Message>>,
}

pub(super) async fn list(
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
        before: asked.before,
    };
    if let Some(wait) = wait {
        // Whether it came or not, the list below tells.
        let _ = tokio::time::timeout(wait, sandbox.messages.first(&filter)).await;
    }
    Ok(Json(Listed {
        messages: sandbox.messages.newest(&filter, limit),
    }))
}

pub(super) async fn clear(sandbox: extract::State<Arc<State>>) -> StatusCode {
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::Value;

    use super::*;
    use crate::sandbox::testing::{call, get, send, text_to, token};
    use crate::sandbox::{Config, Endpoint, Sandbox};

    fn start() -> (Sandbox, String) {
        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        let token = token(&sandbox);
        (sandbox, token)
    }

    fn send_to(sandbox: &Sandbox, token: &str, endpoint: Endpoint, to: &str) {
        let reply = send(sandbox, endpoint, token, &text_to(endpoint, &[to]));
        assert_eq!(reply.status, 200);
    }

    /// The first target of each message listed.
    fn listed(sandbox: &Sandbox, query: &str) -> Vec<String> {
        let reply = get(sandbox, &format!("/sandbox/messages{query}"));
        assert_eq!(reply.status, 200);
        let json = reply.json();
        let target = |message: &Value| message["to"][0].as_str().unwrap().to_owned();
        json["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(target)
            .collect()
    }

    #[test]
    fn messages_are_listed_by_what_is_asked_for() {
        let (sandbox, token) = start();
        send_to(&sandbox, &token, Endpoint::SendToUsers, "bob");
        send_to(&sandbox, &token, Endpoint::SendToGroups, "71");
        send_to(&sandbox, &token, Endpoint::SendToChatroomMembers, "72");
        assert_eq!(listed(&sandbox, ""), ["bob", "71", "72"]);
        assert_eq!(listed(&sandbox, "?user=bob"), ["bob"]);
        assert_eq!(listed(&sandbox, "?user=amy"), ["72"]);
        assert_eq!(listed(&sandbox, "?group=71"), ["71"]);
        assert_eq!(listed(&sandbox, "?chatroom=72&from=admin&type=txt"), ["72"]);
        assert_eq!(listed(&sandbox, "?to=71"), ["71"]);
        assert_eq!(listed(&sandbox, "?type=img"), [""; 0]);
        assert_eq!(listed(&sandbox, "?limit=2"), ["71", "72"]);
    }

    #[test]
    fn messages_can_be_deleted() {
        let (sandbox, token) = start();
        send_to(&sandbox, &token, Endpoint::SendToUsers, "bob");
        assert_eq!(
            call(&sandbox, "DELETE", "/sandbox/messages", &[], "").status,
            204
        );
        assert_eq!(listed(&sandbox, ""), [""; 0]);
    }

    #[test]
    fn a_wait_ends_with_the_message_or_with_the_time() {
        let (sandbox, token) = start();
        send_to(&sandbox, &token, Endpoint::SendToUsers, "amy");
        let began = Instant::now();
        assert_eq!(listed(&sandbox, "?user=bob&wait=50ms"), [""; 0]);
        assert!(began.elapsed() >= Duration::from_millis(50));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| listed(&sandbox, "?user=bob&wait=20s"));
            send_to(&sandbox, &token, Endpoint::SendToUsers, "bob");
            assert_eq!(waiting.join().unwrap(), ["bob"]);
        });
        assert_eq!(
            listed(&sandbox, "?user=amy&wait=20s"),
            ["amy"],
            "it is here already"
        );
    }

    #[test]
    fn a_question_that_is_not_understood_is_answered_so() {
        let (sandbox, _) = start();
        for query in ["?usr=bob", "?wait=soon", "?wait=61s", "?limit=-1"] {
            let reply = get(&sandbox, &format!("/sandbox/messages{query}"));
            assert_eq!(reply.status, 400, "{query}");
            assert!(reply.json()["error"].is_string());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_can_wait_for_a_message() {
        let (sandbox, token) = start();
        let bob = Filter::user("bob");
        let short = Duration::from_millis(1);
        assert!(sandbox.next_message(&bob, short).await.is_none());
        send_to(&sandbox, &token, Endpoint::SendToUsers, "bob");
        // The patience is the sandbox's, not that of a runtime whose time is paused.
        let message = sandbox.next_message(&bob, Duration::from_secs(20)).await;
        assert_eq!(message.unwrap().to, ["bob"]);
    }
}
