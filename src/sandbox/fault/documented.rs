//! The errors that the REST reference documents, by the names that faults call them.

use axum::http::StatusCode;
use serde::Serialize;

use super::super::refusal::Refusal;

/// An error of the reference.
#[derive(Debug, Serialize)]
pub(in crate::sandbox) struct Documented {
    /// Ours; the reference has no names.
    pub(in crate::sandbox) name: &'static str,
    pub(in crate::sandbox) status: u16,
    pub(in crate::sandbox) error: &'static str,
    pub(in crate::sandbox) description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) error_code: Option<u32>,
}

const fn error(
    name: &'static str,
    status: u16,
    error: &'static str,
    description: &'static str,
) -> Documented {
    Documented {
        name,
        status,
        error,
        description,
        error_code: None,
    }
}

const fn numbered(mut documented: Documented, code: u32) -> Documented {
    documented.error_code = Some(code);
    documented
}

const SEND: &str = "message_send_error";
const BAD_TOKEN: &str = "auth_bad_access_token";
const EXPIRED: &str = "Unable to authenticate due to expired access token";

/// By status. What a proxy says in front of the service has its status for a type.
pub(in crate::sandbox) const DOCUMENTED: &[Documented] = &[
    error(
        "invalid_body",
        400,
        "invalid_request_body",
        "Request body is invalid. Please check body is correct.",
    ),
    error("json_parse", 400, "json_parse", "Unexpected character"),
    numbered(
        error("from_empty", 400, SEND, "param from can't be empty"),
        14001,
    ),
    numbered(
        error("to_empty", 400, SEND, "param to can't be empty"),
        14002,
    ),
    error("type_empty", 400, SEND, "param type can't be empty"),
    numbered(
        error("body_empty", 400, SEND, "param body can't be empty"),
        14005,
    ),
    error("ext_no_object", 400, SEND, "param ext must be JSONObject"),
    error("users_empty", 400, SEND, "param users can't be empty"),
    error(
        "too_many_targets",
        400,
        SEND,
        "params to's size can't exceed limit 600",
    ),
    numbered(
        error("message_too_large", 400, SEND, "message is too large"),
        14007,
    ),
    error(
        "service_not_open",
        400,
        "service open exception",
        "this service is not open",
    ),
    error(
        "wrong_client_id",
        400,
        "invalid_grant",
        "client_id does not match",
    ),
    error(
        "wrong_client_secret",
        400,
        "invalid_grant",
        "client_secret does not match",
    ),
    error("no_file", 400, "illegal_argument", "file must be provided."),
    error("token_expired", 401, "unauthorized", EXPIRED),
    error(
        "token_refused",
        401,
        "unauthorized",
        "Unable to authenticate (OAuth)",
    ),
    error(
        "token_corrupt",
        401,
        BAD_TOKEN,
        "Unable to authenticate due to corrupt access token",
    ),
    error("token_foreign", 401, BAD_TOKEN, "Unable to authenticate"),
    error("token_expired_old", 401, "expired_token", EXPIRED),
    error(
        "token_missing",
        401,
        "group_authorization",
        "token is blank!",
    ),
    error(
        "no_permission",
        401,
        "unauthorized",
        "Subject does not have permission [applications:post]",
    ),
    error("message_rate", 403, SEND, "message send reach limit"),
    error(
        "daily_quota",
        403,
        "forbidden_op",
        "broadcast message limit exceeded",
    ),
    error(
        "feature_off",
        403,
        "forbidden_op",
        "message broadcast service is unopened",
    ),
    error(
        "app_not_found",
        404,
        "organization_application_not_found",
        "Could not find application for sandbox/demo from URI: sandbox/demo",
    ),
    error(
        "resource_not_found",
        404,
        "service_resource_not_found",
        "Service resource not found",
    ),
    error(
        "file_not_found",
        404,
        "entity_not_found",
        "file may not exists",
    ),
    error("file_expired", 404, "file_expired", "file is expired"),
    error(
        "method_not_allowed",
        405,
        "Method Not Allowed",
        "Method Not Allowed",
    ),
    error("request_timeout", 408, "Request Timeout", "Request Timeout"),
    error(
        "concurrent_operation",
        409,
        "concurrent_operation_error",
        "The message has been edited by another.",
    ),
    error(
        "request_too_large",
        413,
        "Request Entity Too Large",
        "Request Entity Too Large",
    ),
    error(
        "file_too_large",
        413,
        "file exceeding maximum limit",
        "the file size exceeds the maximum limit.",
    ),
    error(
        "media_type",
        415,
        "web_application",
        "Unsupported Media Type",
    ),
    error(
        "call_rate",
        429,
        "reach_limit",
        "This request has reached api limit",
    ),
    error(
        "plan_limit",
        429,
        "resource_limited",
        "You have exceeded the limit of the free edition.",
    ),
    error(
        "internal",
        500,
        "internal_server_error",
        "Internal Server Error",
    ),
    error("not_implemented", 501, "Not Implemented", "Not Implemented"),
    error("bad_gateway", 502, "Bad Gateway", "Bad Gateway"),
    error(
        "unavailable",
        503,
        "Service Unavailable",
        "Service Unavailable",
    ),
    error("gateway_timeout", 504, "Gateway Timeout", "Gateway Timeout"),
];

impl Documented {
    pub(in crate::sandbox) fn named(name: &str) -> Option<&'static Self> {
        DOCUMENTED.iter().find(|documented| documented.name == name)
    }
}

impl From<&Documented> for Refusal {
    fn from(documented: &Documented) -> Self {
        let status = StatusCode::from_u16(documented.status).unwrap_or(StatusCode::BAD_REQUEST);
        let refusal = Self::new(status, documented.error, documented.description);
        match documented.error_code {
            Some(code) => refusal.with_code(code),
            None => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_statuses_are_errors() {
        for (index, documented) in DOCUMENTED.iter().enumerate() {
            let first = DOCUMENTED
                .iter()
                .position(|one| one.name == documented.name);
            assert_eq!(first, Some(index), "{}", documented.name);
            assert!((400..600).contains(&documented.status));
        }
    }
}
