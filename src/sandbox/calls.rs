//! What reached the sandbox: every request to an endpoint that was read to its end.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::answer::Answer;
use super::config::Keep;
use super::endpoint::{Endpoint, PerEndpoint};
use super::locked;
use super::ring::Ring;

/// One request to an endpoint.
pub struct Call {
    /// Which one.
    pub endpoint: Endpoint,
    /// The HTTP method.
    pub method: Method,
    /// Path and query as sent.
    pub path: String,
    /// All headers as sent, the bearer token among them.
    pub headers: HeaderMap,
    /// The body as sent; empty for an upload, see [`Sandbox::uploads`](super::Sandbox::uploads).
    pub body: Bytes,
    /// When its last byte had been read.
    pub arrived: Instant,
    answer: OnceLock<Answer>,
}

impl Call {
    /// The body as JSON; `None` where it is none.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What was answered, but for the bytes of a downloaded file; `None` before that, and where a
    /// fault leaves the call without an answer.
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.get()
    }

    pub(super) fn answered(&self, answer: Answer) {
        let _ = self.answer.set(answer);
    }

    fn size(&self) -> usize {
        // An allowance for the value itself, its headers and its answer.
        2048 + self.path.len() + self.body.len()
    }
}

/// Headers and body hold tokens, secrets and messages.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("bytes", &self.body.len())
            .field("answer", &self.answer.get())
            .finish_non_exhaustive()
    }
}

/// The calls of each endpoint.
pub(super) struct Calls {
    kept: Mutex<PerEndpoint<Kept>>,
    /// Changes with every call.
    arrived: watch::Sender<()>,
}

struct Kept {
    ring: Ring<Arc<Call>>,
    /// Calls since the start or the last clearing, forgotten ones included.
    count: u64,
}

impl Calls {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            kept: Mutex::new(PerEndpoint::new(|_| Kept {
                ring: Ring::new(keep.calls, keep.call_bytes),
                count: 0,
            })),
            arrived: watch::Sender::new(()),
        }
    }

    pub(super) fn record(&self, endpoint: Endpoint, parts: &Parts, body: Bytes) -> Arc<Call> {
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let call = Arc::new(Call {
            endpoint,
            method: parts.method.clone(),
            path: path.to_owned(),
            headers: parts.headers.clone(),
            body,
            arrived: Instant::now(),
            answer: OnceLock::new(),
        });
        let mut kept = locked(&self.kept);
        let kept = kept.get_mut(endpoint);
        kept.ring.push(call.size(), Arc::clone(&call));
        kept.count += 1;
        self.arrived.send_replace(());
        call
    }

    pub(super) fn list(&self, endpoint: Endpoint) -> Vec<Arc<Call>> {
        let kept = locked(&self.kept);
        kept.get(endpoint).ring.iter().cloned().collect()
    }

    pub(super) fn count(&self, endpoint: Endpoint) -> u64 {
        locked(&self.kept).get(endpoint).count
    }

    pub(super) fn clear(&self) {
        for kept in locked(&self.kept).iter_mut() {
            kept.ring.clear();
            kept.count = 0;
        }
    }

    /// Waits until so many calls have arrived.
    pub(super) async fn reach(&self, endpoint: Endpoint, count: u64) {
        let mut arrived = self.arrived.subscribe();
        while self.count(endpoint) < count {
            if arrived.changed().await.is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::sandbox::testing::{ask_token, send, text_to, token, token_request};
    use crate::sandbox::{Config, Sandbox};

    const USERS: Endpoint = Endpoint::SendToUsers;

    #[test]
    fn a_call_tells_what_was_sent_and_what_was_answered() {
        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        let token = token(&sandbox);
        let message = text_to(USERS, &["bob"]);
        let reply = send(&sandbox, USERS, &token, &message);

        let calls = sandbox.calls(USERS);

        assert_eq!(calls.len(), 1);
        let call = &calls[0];
        assert_eq!(call.method, Method::POST);
        assert_eq!(call.path, "/sandbox/demo/messages/users");
        assert_eq!(call.headers["authorization"], format!("Bearer {token}"));
        assert_eq!(call.body, message.to_string());
        assert_eq!(call.json(), Some(message));
        let answer = call.answer().unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, reply.body);
        assert_eq!(sandbox.calls(Endpoint::Token).len(), 1);
    }

    #[test]
    fn a_refused_call_is_a_call_too() {
        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        ask_token(&sandbox, &json!({}));
        let calls = sandbox.calls(Endpoint::Token);
        assert_eq!(calls[0].answer().unwrap().status, 400);
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        let token = token(&sandbox);
        send(&sandbox, USERS, &token, &text_to(USERS, &["bob"]));
        let shown = format!(
            "{:?} {:?} {:?}",
            sandbox.calls(Endpoint::Token),
            sandbox.calls(USERS),
            sandbox.messages()
        );
        for secret in [&token, "sandbox-client-secret", "hello"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn the_last_calls_are_kept_and_all_are_counted() {
        let mut config = Config::for_tests();
        config.keep.calls = 2;
        let sandbox = Sandbox::start(config).unwrap();
        for ttl in 1..=5 {
            let mut request = token_request();
            request["ttl"] = json!(ttl);
            ask_token(&sandbox, &request);
        }
        let ttl = |call: &Arc<Call>| call.json().unwrap()["ttl"].as_u64();
        let kept: Vec<_> = sandbox.calls(Endpoint::Token).iter().map(ttl).collect();
        assert_eq!(kept, [Some(4), Some(5)]);
        assert_eq!(sandbox.call_count(Endpoint::Token), 5);
        sandbox.clear_calls();
        assert_eq!(sandbox.calls(Endpoint::Token).len(), 0);
        assert_eq!(sandbox.call_count(Endpoint::Token), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_can_be_waited_for() {
        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        let short = Duration::from_millis(1);
        assert!(!sandbox.wait_for_calls(Endpoint::Token, 1, short).await);
        token(&sandbox);
        // The patience is ours, not that of a runtime whose time is paused.
        let long = Duration::from_secs(20);
        assert!(sandbox.wait_for_calls(Endpoint::Token, 1, long).await);
    }
}
