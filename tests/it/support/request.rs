//! Requests that most tests start from, and what they look at in the errors.

use easemob_gateway::proto::{self, message::Content, message::Target};
use tonic::Status;
use tonic_types::{ErrorInfo, StatusExt};

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

/// The reason of an error. Every error of the gateway has exactly one.
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
    info
}

/// Reason and send state of an error.
pub fn verdict(status: &Status) -> (String, String) {
    let mut info = error_info(status);
    let state = info.metadata.remove("send_state").expect("send_state");
    (info.reason, state)
}
