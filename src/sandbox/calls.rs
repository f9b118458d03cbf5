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
    /// The body as sent.
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

    /// What was answered; `None` before that, and where a fault leaves the call without an answer.
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
