//! Requests that most tests start from, and what they look at in the errors.

use std::time::Duration;

use easemob_gateway::proto::{self, message::Content, message::Target};
use tokio::task::JoinHandle;
use tonic::{Code, IntoRequest, Request, Status};
use tonic_types::{ErrorInfo, StatusExt};

use super::{easemob::Easemob, ledger::Client};

/// A request for the default app.
pub fn request(message: proto::Message) -> proto::SendMessageRequest {
    proto::SendMessageRequest {
        message: Some(message),
        ..Default::default()
    }
}

/// A text.
pub fn text(text: &str) -> Content {
    Content::Text(proto::TextContent { text: text.into() })
}

/// Users, by their IDs.
pub fn users(ids: &[&str]) -> Target {
    Target::Users(proto::Users {
        user_ids: ids.iter().map(|&id| id.to_owned()).collect(),
    })
}

/// A message to this target.
pub fn message(target: Target, content: Content) -> proto::Message {
    proto::Message {
        target: Some(target),
        content: Some(content),
        ..Default::default()
    }
}

/// A short text to some users.
pub fn text_to(ids: &[&str]) -> proto::SendMessageRequest {
    request(message(users(ids), text("hello")))
}

/// A message to `bob` under this ID, told from all others by its text.
pub fn says(id: &str, words: &str) -> proto::SendMessageRequest {
    proto::SendMessageRequest {
        request_id: id.into(),
        ..request(message(users(&["bob"]), text(words)))
    }
}

/// What a send answers.
pub async fn send(
    client: &Client,
    request: impl IntoRequest<proto::SendMessageRequest>,
) -> Result<proto::SendMessageResponse, Status> {
    let sent = client.clone().send_message(request).await?;
    Ok(sent.into_inner())
}

/// Sends while the test goes on; returns when Easemob has it.
pub async fn under_way(
    easemob: &Easemob,
    client: &Client,
    request: proto::SendMessageRequest,
) -> JoinHandle<Result<proto::SendMessageResponse, Status>> {
    let before = easemob.seen().sends.len();
    let client = client.clone();
    let sending = tokio::spawn(async move { send(&client, request).await });
    let arrived = easemob.until("it is there", |seen| seen.sends.len() > before);
    arrived.await;
    sending
}

/// A send with so little time that it matters. On a busy machine the client's own timer may be first, which tells
/// nothing of the gateway: then it is asked again.
pub async fn send_within(
    client: &Client,
    request: &proto::SendMessageRequest,
    time: Duration,
) -> Result<proto::SendMessageResponse, Status> {
    for _ in 0..20 {
        let mut request = Request::new(request.clone());
        request.set_timeout(time);
        match send(client, request).await {
            Err(status) if is_own_timer(&status) => {}
            told => return told,
        }
    }
    panic!("the caller's own timer was always first");
}

/// The client's own timer, which the gateway has not heard of.
pub fn is_own_timer(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == tonic::TimeoutExpired(()).to_string()
}

/// The pages on errors, as callers read them.
const PAGES: [(&str, &str); 2] = [
    ("docs/errors.md", include_str!("../../../docs/errors.md")),
    (
        "docs/errors.zh-CN.md",
        include_str!("../../../docs/errors.zh-CN.md"),
    ),
];

/// The reason of an error. Every error of the gateway has exactly one, which the documentation knows and
/// the error links to; and it fits into what the client with the least room takes.
#[track_caller]
pub fn error_info(status: &Status) -> ErrorInfo {
    let details = status.get_error_details_vec();
    let infos = details
        .into_iter()
        .filter_map(|detail| match detail {
            tonic_types::ErrorDetail::ErrorInfo(info) => Some(info),
            _ => None,
        })
        .collect::<Vec<_>>();
    assert_eq!(infos.len(), 1, "{status:?}");
    let info = infos.into_iter().next().unwrap();
    assert_eq!(info.domain, "easemob-gateway");
    let details = status.get_error_details();
    let links = &details.help().expect("a link to the documentation").links;
    let (path, anchor) = links[0].url.split_once('#').expect("an anchor");
    let (_, page) = PAGES.iter().find(|(page, _)| *page == path).expect(path);
    assert_eq!(anchor, info.reason.to_lowercase());
    let heading = format!("\n### {}\n", info.reason);
    assert!(page.contains(&heading), "{} is not in {path}", info.reason);
    let bytes = wire_bytes(status);
    assert!(bytes < 4_096, "{bytes} bytes: {status:?}");
    info
}

/// Bytes of a status in headers.
fn wire_bytes(status: &Status) -> usize {
    let response: http::Response<()> = status.clone().into_http();
    let headers = response.headers().iter();
    headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// Reason and send state of an error.
pub fn verdict(status: &Status) -> (String, String) {
    let mut info = error_info(status);
    let state = info.metadata.remove("send_state").expect("send_state");
    (info.reason, state)
}

/// Code, reason and state of an error.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String, String) {
    let status = result.unwrap_err();
    let (reason, state) = verdict(&status);
    (status.code(), reason, state)
}

/// Of what may have been sent.
pub fn in_doubt() -> (Code, String, String) {
    let (reason, state) = ("OUTCOME_UNKNOWN", "MAYBE_SENT");
    (Code::Unknown, reason.into(), state.into())
}
