//! The five send endpoints: a request is accepted or refused as a whole.

mod body;
mod envelope;
mod field;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::Serialize;

use super::State;
use super::answer::{Answer, unix_milliseconds};
use super::endpoint::Endpoint;
use super::messages::{Message, Pairs};
use super::refusal::Refusal;
use envelope::Envelope;

/// Headers that are kept with a message: they tell which trace and client it came from.
const KEPT_HEADERS: [&str; 4] = ["traceparent", "tracestate", "baggage", "user-agent"];

/// Answers a send, after token, content type and call rate were found to be right.
pub(super) fn accept(
    sandbox: &State,
    endpoint: Endpoint,
    parts: &Parts,
    request: &Bytes,
) -> Result<Answer, Refusal> {
    let config = &sandbox.config;
    if exceeds(request.len(), config.request_bytes) {
        return Err(Refusal::request_too_large());
    }
    let envelope = Envelope::read(endpoint, request, config.strict)?;
    if exceeds(envelope.content_bytes(), config.content_bytes) {
        return Err(Refusal::message_too_large());
    }
    let targets = targets(endpoint, &envelope.to);
    let now = config.clock.now();
    if !sandbox.quotas.messages(endpoint, now, targets.len()) {
        return Err(Refusal::too_many_messages());
    }
    let ids: Vec<_> = targets
        .into_iter()
        .map(|target| (target, sandbox.ids.next()))
        .collect();
    let answer = accepted(sandbox, endpoint, parts, &ids);
    sandbox.messages.push(Message {
        ids,
        endpoint,
        from: envelope.from,
        to: envelope.to,
        members: envelope.members,
        kind: envelope.kind,
        request: request.clone(),
        headers: kept(&parts.headers),
        received: SystemTime::now(),
        body: envelope.body.to_owned(),
        ext: envelope.ext.map(ToOwned::to_owned),
    });
    Ok(answer)
}

fn exceeds(size: usize, limit: usize) -> bool {
    limit != 0 && size > limit
}

/// The targets as the answer spells them: users in lower case. A target named twice gets one id.
fn targets(endpoint: Endpoint, to: &[String]) -> Vec<String> {
    let mut seen = HashSet::with_capacity(to.len());
    let mut targets = Vec::with_capacity(to.len());
    for target in to {
        let target = match endpoint {
            Endpoint::SendToUsers => target.to_lowercase(),
            _ => target.clone(),
        };
        if seen.insert(target.clone()) {
            targets.push(target);
        }
    }
    targets
}

fn accepted(
    sandbox: &State,
    endpoint: Endpoint,
    parts: &Parts,
    ids: &[(String, String)],
) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        path: &'a str,
        uri: String,
        timestamp: u64,
        organization: &'a str,
        application: &'a str,
        action: &'a str,
        data: Pairs<'a, String>,
        duration: u64,
        application_name: &'a str,
    }
    // The answer's order is not that of the request.
    let ids: Vec<_> = ids.iter().rev().cloned().collect();
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let uri = format!("http://{}{}", host.unwrap_or("sandbox"), parts.uri.path());
    Answer::json(
        StatusCode::OK,
        &Body {
            path: echoed_path(endpoint),
            uri,
            timestamp: unix_milliseconds(),
            organization: &sandbox.config.org,
            application: &sandbox.application,
            action: "post",
            data: Pairs(&ids),
            duration: 0,
            application_name: &sandbox.config.app,
        },
    )
}

/// Directed sends echo the path of the plain ones.
fn echoed_path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::SendToGroupMembers => Endpoint::SendToGroups.path(),
        Endpoint::SendToChatroomMembers => Endpoint::SendToChatrooms.path(),
        endpoint => endpoint.path(),
    }
}

fn kept(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    KEPT_HEADERS
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        })
        .collect()
}

/// Message ids: 19 digits, beyond what a double can hold, and never the same twice, not even
/// after a restart.
pub(super) struct Ids(AtomicU64);

impl Ids {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(unix_milliseconds() * 1_000_000))
    }

    fn next(&self) -> String {
        self.0.fetch_add(1, Ordering::Relaxed).to_string()
    }
}
