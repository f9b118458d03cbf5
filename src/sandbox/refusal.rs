//! Error answers, in the documented words.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::answer::{Answer, unix_milliseconds};

/// Says in an answer why the sandbox refused, where the documented text does not.
pub const REASON_HEADER: HeaderName = HeaderName::from_static("x-sandbox-reason");

/// A request that is refused, and how the API would say so.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: Cow<'static, str>,
    pub(super) description: Cow<'static, str>,
    pub(super) code: Option<u32>,
    /// Names fields, never their values.
    reason: Option<String>,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        error: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            error: error.into(),
            description: description.into(),
            code: None,
            reason: None,
        }
    }

    pub(super) fn with_code(mut self, code: u32) -> Self {
        self.code = Some(code);
        self
    }

    /// JSON that cannot be read, or a field of the wrong type.
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_body",
            "Request body is invalid. Please check body is correct.",
        )
        .because(reason)
    }

    /// Says why in a header, for whom the documented words are not enough.
    pub(super) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// An upload that is no form with a file in it.
    pub(super) fn no_file(reason: impl Into<String>) -> Self {
        let text = "file must be provided.";
        Self::new(StatusCode::BAD_REQUEST, "illegal_argument", text).because(reason)
    }

    pub(super) fn file_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "file exceeding maximum limit",
            "the file size exceeds the maximum limit.",
        )
    }

    pub(super) fn unknown_file() -> Self {
        let text = "file may not exists";
        Self::new(StatusCode::NOT_FOUND, "entity_not_found", text)
    }

    pub(super) fn file_expired(uuid: &str) -> Self {
        let text = format!("file {uuid} is expired");
        Self::new(StatusCode::NOT_FOUND, "file_expired", text)
    }

    /// Neither status nor words are documented. 401 would have clients fetch another token.
    pub(super) fn wrong_share_secret() -> Self {
        let text = "share-secret is missing or wrong";
        Self::new(StatusCode::FORBIDDEN, "forbidden_op", text)
    }

    /// A field of a message that is missing, empty or too long.
    pub(super) fn message(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "message_send_error", description)
    }

    pub(super) fn message_too_large() -> Self {
        Self::message("message is too large").with_code(14007)
    }

    pub(super) fn too_many_messages() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "message_send_error",
            "message send reach limit",
        )
    }

    pub(super) fn too_many_calls() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "reach_limit",
            "This request has reached api limit",
        )
    }

    pub(super) fn request_too_large() -> Self {
        let text = "Request Entity Too Large";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text, text)
    }

    pub(super) fn content_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "web_application",
            "Unsupported Media Type",
        )
    }

    pub(super) fn unknown_app(app: &str, path: &str) -> Self {
        let uri = path.trim_start_matches('/');
        Self::new(
            StatusCode::NOT_FOUND,
            "organization_application_not_found",
            format!("Could not find application for {app} from URI: {uri}"),
        )
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "service_resource_not_found",
            "Service resource not found",
        )
    }

    pub(super) fn method() -> Self {
        let text = "Method Not Allowed";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, text, text)
    }

    fn exception(&self) -> &'static str {
        match self.error.as_ref() {
            "message_send_error" => "MessageSendException",
            "illegal_argument" => "java.lang.IllegalArgumentException",
            "organization_application_not_found" => "OrganizationApplicationNotFoundException",
            "invalid_request_body" => "InvalidRequestBodyException",
            "reach_limit" => "ReachLimitException",
            _ if self.status == StatusCode::UNAUTHORIZED => "EasemobSecurityException",
            _ => "EasemobException",
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            exception: &'a str,
            timestamp: u64,
            duration: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            error_code: Option<u32>,
            error_description: &'a str,
        }
        let mut answer = Self::json(
            refusal.status,
            &Body {
                error: &refusal.error,
                exception: refusal.exception(),
                timestamp: unix_milliseconds(),
                duration: 0,
                error_code: refusal.code,
                error_description: &refusal.description,
            },
        );
        // A field name that no header can hold is not worth an answer of its own, nor is a long one.
        let reason = refusal.reason.map(|reason| {
            let reason: String = reason.chars().take(200).collect();
            HeaderValue::try_from(reason)
        });
        if let Some(Ok(reason)) = reason {
            answer.headers.insert(REASON_HEADER, reason);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn json(answer: &Answer) -> Value {
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn an_error_has_the_documented_fields() {
        let answer = Answer::from(Refusal::message_too_large());
        assert_eq!(answer.status, 400);
        let body = json(&answer);
        assert_eq!(body["error"], "message_send_error");
        assert_eq!(body["error_description"], "message is too large");
        assert_eq!(body["exception"], "MessageSendException");
        assert_eq!(body["error_code"], 14007);
        assert_eq!(body["duration"], 0);
        assert!(body["timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    }

    #[test]
    fn an_error_without_a_number_has_no_field_for_it() {
        let answer = Answer::from(Refusal::too_many_messages());
        assert_eq!(json(&answer).get("error_code"), None);
    }

    #[test]
    fn the_reason_stands_in_a_header_unless_a_header_cannot_hold_it() {
        let reason = |reason: &str| {
            let answer = Answer::from(Refusal::invalid(reason));
            let reason = answer.headers.get(REASON_HEADER)?.to_str().ok()?;
            Some(reason.to_owned())
        };
        assert_eq!(
            reason("unknown field x").as_deref(),
            Some("unknown field x")
        );
        assert_eq!(reason("unknown field \n").as_deref(), None);
        assert_eq!(reason(&"x".repeat(9000)).map(|text| text.len()), Some(200));
    }
}
