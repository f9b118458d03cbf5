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
use super::token;
use envelope::Envelope;

/// Headers that are kept with a message: they tell which trace and client it came from.
pub(super) const KEPT_HEADERS: [&str; 4] = ["traceparent", "tracestate", "baggage", "user-agent"];

/// Answers a send, after token, content type and call rate were found to be right.
pub(super) fn accept(
    sandbox: &State,
    endpoint: Endpoint,
    parts: &Parts,
    request: &Bytes,
) -> Result<Answer, Refusal> {
    let settings = sandbox.settings.load();
    if exceeds(request.len(), settings.request_bytes) {
        return Err(Refusal::request_too_large());
    }
    let envelope = Envelope::read(endpoint, request, settings.strict)?;
    if exceeds(envelope.content_bytes(), settings.content_bytes) {
        return Err(Refusal::message_too_large());
    }
    let targets = targets(endpoint, &envelope.to);
    let now = sandbox.config.clock.now();
    if !sandbox.quotas.messages(endpoint, now, targets.len()) {
        return Err(Refusal::too_many_messages());
    }
    let ids: Vec<_> = targets
        .into_iter()
        .map(|target| (target, sandbox.ids.next()))
        .collect();
    let answer = accepted(sandbox, endpoint, parts, &ids);
    sandbox.messages.push(Message {
        sequence: 0,
        ids,
        endpoint,
        from: envelope.from,
        to: envelope.to,
        members: envelope.members,
        kind: envelope.kind,
        request: request.clone(),
        headers: kept(&parts.headers),
        token: token::shown(&parts.headers),
        path: parts.uri.path().to_owned(),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::sandbox::testing::{
        Reply, exchange, path, request, send, send_request, text_to, token,
    };
    use crate::sandbox::{Clock, Config, Quota, Quotas, Rate, Sandbox};
    use Endpoint::{
        SendToChatroomMembers, SendToChatrooms, SendToGroupMembers, SendToGroups, SendToUsers,
    };

    fn start(config: Config) -> (Sandbox, String) {
        let clock = Clock::frozen();
        let sandbox = Sandbox::start(Config { clock, ..config }).unwrap();
        let token = token(&sandbox);
        (sandbox, token)
    }

    /// The documented limits, on a free port.
    fn documented() -> Config {
        Config {
            quotas: Quotas::documented(),
            ..Config::for_tests()
        }
    }

    /// A message to one user whose content has exactly so many bytes.
    fn of_size(content: usize) -> Value {
        let ext = json!({"order": 7});
        let frame = json!({"msg": ""}).to_string().len() + ext.to_string().len();
        json!({
            "to": ["bob"],
            "type": "txt",
            "body": {"msg": "x".repeat(content - frame)},
            "ext": ext,
        })
    }

    #[test]
    fn the_answer_is_the_documented_envelope() {
        let (sandbox, token) = start(Config::for_tests());
        let reply = send(
            &sandbox,
            SendToUsers,
            &token,
            &text_to(SendToUsers, &["bob"]),
        );
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.header("content-type"),
            Some("application/json;charset=UTF-8")
        );
        let mut json = reply.json();
        let taken =
            |json: &mut Value, field: &str| json.as_object_mut().unwrap().remove(field).unwrap();
        assert!(taken(&mut json, "timestamp").as_u64().unwrap() > 1_700_000_000_000);
        assert_eq!(taken(&mut json, "application").as_str().unwrap().len(), 36);
        let data = taken(&mut json, "data");
        assert_eq!(data.as_object().unwrap().len(), 1);
        assert_eq!(
            json,
            json!({
                "path": "/messages/users",
                "uri": "http://sandbox.test/sandbox/demo/messages/users",
                "organization": "sandbox",
                "action": "post",
                "duration": 0,
                "applicationName": "demo",
            })
        );
    }

    #[test]
    fn ids_are_nineteen_digits_and_differ() {
        let (sandbox, token) = start(Config::for_tests());
        let message = text_to(SendToUsers, &["amy", "bob"]);
        let mut ids = HashSet::new();
        for _ in 0..3 {
            let json = send(&sandbox, SendToUsers, &token, &message).json();
            for user in ["amy", "bob"] {
                let id = json["data"][user].as_str().unwrap().to_owned();
                assert_eq!(id.len(), 19);
                assert!(id.parse::<i64>().unwrap() > 1 << 53);
                ids.insert(id);
            }
        }
        assert_eq!(ids.len(), 6);
    }

    #[test]
    fn keys_are_lower_cased_users_in_another_order() {
        let (sandbox, token) = start(Config::for_tests());
        let to = ["Amy", "bob", "CAROL"];
        let reply = send(&sandbox, SendToUsers, &token, &text_to(SendToUsers, &to));
        let text = String::from_utf8(reply.body).unwrap();
        let at = |key: &str| text.find(key).unwrap();
        assert!(at("\"carol\"") < at("\"bob\"") && at("\"bob\"") < at("\"amy\""));
    }

    #[test]
    fn a_user_named_twice_gets_one_id() {
        let (sandbox, token) = start(Config::for_tests());
        let message = text_to(SendToUsers, &["amy", "AMY"]);
        let json = send(&sandbox, SendToUsers, &token, &message).json();
        assert_eq!(json["data"].as_object().unwrap().len(), 1);
        assert_eq!(sandbox.messages()[0].ids.len(), 1);
    }

    #[test]
    fn directed_sends_are_keyed_by_the_group_and_echo_its_path() {
        let (sandbox, token) = start(Config::for_tests());
        let cases = [
            (SendToGroups, "/messages/chatgroups"),
            (SendToChatrooms, "/messages/chatrooms"),
            (SendToGroupMembers, "/messages/chatgroups"),
            (SendToChatroomMembers, "/messages/chatrooms"),
        ];
        for (endpoint, path) in cases {
            let reply = send(
                &sandbox,
                endpoint,
                &token,
                &text_to(endpoint, &["184524748161025"]),
            );
            let json = reply.json();
            assert_eq!(json["path"], path);
            let keys: Vec<_> = json["data"].as_object().unwrap().keys().cloned().collect();
            assert_eq!(keys, ["184524748161025"]);
        }
        assert_eq!(sandbox.messages()[2].members, ["amy"]);
    }

    #[test]
    fn content_may_reach_its_limit_and_not_pass_it() {
        let (sandbox, token) = start(Config::for_tests());
        let at = |size| send(&sandbox, SendToUsers, &token, &of_size(size));
        assert_eq!(at(3072).status, 200);
        let reply = at(3073);
        let expected = (
            400,
            "message_send_error".to_owned(),
            "message is too large".to_owned(),
        );
        assert_eq!(reply.error(), expected);
        assert_eq!(reply.json()["error_code"], 14007);
        assert_eq!(sandbox.messages().len(), 1);
    }

    #[test]
    fn a_request_may_reach_its_limit_and_not_pass_it() {
        let (sandbox, token) = start(Config::for_tests());
        let message = text_to(SendToUsers, &["bob"]).to_string();
        // White space counts: it is the request that is measured.
        let at = |size: usize| {
            let padded = message.clone() + &" ".repeat(size - message.len());
            let request = send_request(SendToUsers, &token, padded);
            Reply::parse(&exchange(&sandbox, &request).unwrap()).status
        };
        assert_eq!(at(5120), 200);
        assert_eq!(at(5121), 413);
    }

    #[test]
    fn sizes_can_be_changed_and_switched_off() {
        let (sandbox, token) = start(Config {
            content_bytes: 0,
            request_bytes: 0,
            ..Config::for_tests()
        });
        assert_eq!(
            send(&sandbox, SendToUsers, &token, &of_size(100_000)).status,
            200
        );
        let (sandbox, token) = start(Config {
            content_bytes: 100,
            ..Config::for_tests()
        });
        assert_eq!(
            send(&sandbox, SendToUsers, &token, &of_size(101)).status,
            400
        );
    }

    #[test]
    fn a_request_too_large_to_hold_is_answered_all_the_same() {
        let (sandbox, token) = start(Config {
            content_bytes: 0,
            request_bytes: 0,
            ..Config::for_tests()
        });
        let reply = send(&sandbox, SendToUsers, &token, &of_size(3 << 20));
        assert_eq!(reply.status, 413);
    }

    #[test]
    fn messages_have_a_rate_counted_by_target() {
        let (sandbox, token) = start(Config {
            request_bytes: 0,
            ..documented()
        });
        let to: Vec<_> = (0..600).map(|n| format!("u{n}")).collect();
        let message = json!({"to": to, "type": "txt", "body": {"msg": "hello"}});
        let send = |message: &Value| send(&sandbox, SendToUsers, &token, message);
        for _ in 0..10 {
            assert_eq!(send(&message).status, 200);
        }
        let limit = (
            403,
            "message_send_error".to_owned(),
            "message send reach limit".to_owned(),
        );
        assert_eq!(send(&text_to(SendToUsers, &["bob"])).error(), limit);
        sandbox.advance(Duration::from_secs(59));
        assert_eq!(send(&text_to(SendToUsers, &["bob"])).status, 403);
        sandbox.advance(Duration::from_secs(1));
        assert_eq!(send(&text_to(SendToUsers, &["bob"])).status, 200);
    }

    #[test]
    fn calls_have_a_rate_too() {
        let rates = [
            (SendToUsers, 100),
            (SendToGroups, 20),
            (SendToChatrooms, 100),
        ];
        let (sandbox, token) = start(documented());
        for (endpoint, most) in rates {
            let message = text_to(endpoint, &["1"]);
            for _ in 0..most {
                assert_eq!(send(&sandbox, endpoint, &token, &message).status, 200);
            }
            let (status, error, text) = send(&sandbox, endpoint, &token, &message).error();
            assert_eq!((status, error.as_str()), (429, "reach_limit"));
            assert_eq!(text, "This request has reached api limit");
        }
    }

    #[test]
    fn the_two_directed_kinds_share_their_rate() {
        let mut config = Config::for_tests();
        config.quotas.directed = Quota {
            calls: None,
            messages: Some(Rate::per_second(1)),
        };
        let (sandbox, token) = start(config);
        let send = |endpoint| send(&sandbox, endpoint, &token, &text_to(endpoint, &["1"])).status;
        assert_eq!(send(SendToGroupMembers), 200);
        assert_eq!(send(SendToChatroomMembers), 403);
        sandbox.advance(Duration::from_secs(1));
        assert_eq!(send(SendToChatroomMembers), 200);
    }

    #[test]
    fn a_refused_message_takes_nothing_from_the_rate_and_is_not_kept() {
        let mut config = Config::for_tests();
        config.quotas.users.messages = Some(Rate::per_minute(1));
        let (sandbox, token) = start(config);
        let mut wrong = text_to(SendToUsers, &["bob"]);
        wrong["from"] = json!("");
        assert_eq!(send(&sandbox, SendToUsers, &token, &wrong).status, 400);
        assert_eq!(
            send(
                &sandbox,
                SendToUsers,
                &token,
                &text_to(SendToUsers, &["bob"])
            )
            .status,
            200
        );
        assert_eq!(sandbox.messages().len(), 1);
    }

    #[test]
    fn the_trace_is_kept_with_the_message_and_the_token_is_not() {
        let (sandbox, token) = start(Config::for_tests());
        let authorization = format!("Bearer {token}");
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let headers = [
            ("content-type", "application/json"),
            ("authorization", authorization.as_str()),
            ("traceparent", trace),
        ];
        let body = text_to(SendToUsers, &["bob"]).to_string();
        let request = request("POST", &path(SendToUsers), &headers, body);
        exchange(&sandbox, &request).unwrap();
        let messages = sandbox.messages();
        assert_eq!(messages[0].headers, [("traceparent", trace.to_owned())]);
        let shown = serde_json::to_string(messages[0].as_ref()).unwrap();
        assert!(!shown.contains(&token));
    }
}
