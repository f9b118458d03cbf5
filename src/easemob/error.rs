//! What went wrong at Easemob, and whether the call may have taken effect.
//!
//! The list names what is known to have had no effect; everything else counts as in doubt.

use std::{fmt, time::Duration};

use serde::Deserialize;

use super::transport::Reply;
use crate::message::Kind as TargetKind;

/// Why a call to Easemob gave no result.
#[derive(Debug, Clone)]
pub struct Error {
    /// What it means for the message.
    pub kind: Kind,
    /// What happened, in words: a phrase without names, texts or tokens.
    pub what: String,
    /// Easemob's own words, cut short. For the caller alone: they might quote the request.
    pub description: Option<String>,
    /// What Easemob said, where it answered.
    pub answer: Option<Answer>,
    /// How long to wait before the next try, where waiting helps.
    pub retry_after: Option<Duration>,
}

/// What a failed call means for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Easemob finds the request wrong.
    InvalidRequest,
    /// Easemob finds the message too large.
    MessageTooLarge,
    /// Easemob refuses the token, in a way that a new one may help against.
    TokenRefused,
    /// Easemob refuses the credentials of the app, or every token made from them.
    CredentialsRejected,
    /// The gateway cannot read the credentials of the app: nobody was asked.
    CredentialsMissing,
    /// The app's calls or messages per time are used up.
    QuotaExceeded,
    /// The app's edition is used up.
    PlanLimitReached,
    /// The feature is off for this app.
    FeatureNotEnabled,
    /// No such org or app at this host.
    AppNotFound,
    /// Refused for any other cause.
    Refused,
    /// No connection, or no token without which nothing can be sent.
    Unreachable,
    /// Easemob says that it is overloaded, and the settings say that it then sends nothing.
    Busy,
    /// Easemob finds the file too large.
    FileTooLarge,
    /// Easemob has no such file.
    FileNotFound,
    /// Easemob no longer keeps the file.
    FileExpired,
    /// Easemob broke an upload off, or did not answer it. No message was sent by it.
    UploadInterrupted,
    /// The request went out, and nothing tells what became of it.
    OutcomeUnknown,
}

impl Kind {
    /// Whether Easemob may have acted on the call before it failed.
    ///
    /// A message sent twice is read twice: only what is known to have had no effect is ever repeated.
    pub fn may_have_taken_effect(self) -> bool {
        matches!(self, Self::OutcomeUnknown)
    }

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::MessageTooLarge => "message_too_large",
            Self::TokenRefused => "token_refused",
            Self::CredentialsRejected => "credentials_rejected",
            Self::CredentialsMissing => "credentials_missing",
            Self::QuotaExceeded => "quota_exceeded",
            Self::PlanLimitReached => "plan_limit_reached",
            Self::FeatureNotEnabled => "feature_not_enabled",
            Self::AppNotFound => "app_not_found",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::FileTooLarge => "file_too_large",
            Self::FileNotFound => "file_not_found",
            Self::FileExpired => "file_expired",
            Self::UploadInterrupted => "upload_interrupted",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// What an answer of Easemob tells about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub http_status: u16,
    /// Easemob's machine-readable type, such as `message_send_error`.
    pub error: Option<String>,
    /// Easemob's number, such as 14007.
    pub error_code: Option<i64>,
}

impl Error {
    /// An error that no answer of Easemob came with.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            description: None,
            answer: None,
            retry_after: None,
        }
    }

    /// The request went out, and nothing tells what became of it: no answer, or one of this HTTP status
    /// that does not say.
    pub fn in_doubt(what: impl Into<String>, http_status: Option<u16>) -> Self {
        let mut error = Self::new(Kind::OutcomeUnknown, what);
        error.answer = http_status.map(|http_status| Answer {
            http_status,
            error: None,
            error_code: None,
        });
        error
    }

    /// HTTP status of Easemob's answer, where there was one.
    pub fn http_status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.http_status)
    }

    /// The same error with the time after which a repeat may succeed.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same error, with another meaning for the message.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

/// Longest text of Easemob's that goes into an error of ours, in bytes.
const MAX_TEXT_BYTES: usize = 200;

/// The body of an error answer. Every field may be missing, or the body may be no JSON at all.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Option<serde_json::Value>,
    error_description: Option<serde_json::Value>,
    error_code: Option<serde_json::Value>,
}

/// An error answer, taken apart.
struct Parsed {
    answer: Answer,
    description: String,
}

impl Parsed {
    fn new(reply: &Reply) -> Self {
        // A proxy on the way answers with HTML or nothing: the status then has to do.
        let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
        let text = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) => Some(clean(&text)),
            _ => None,
        };
        let error_code = match body.error_code {
            Some(serde_json::Value::Number(number)) => number.as_i64(),
            Some(serde_json::Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        Self {
            answer: Answer {
                http_status: reply.status,
                error: text(body.error).filter(|error| !error.is_empty()),
                error_code,
            },
            description: text(body.error_description).unwrap_or_default(),
        }
    }

    fn is(&self, error: &str) -> bool {
        self.answer.error.as_deref() == Some(error)
    }

    fn says(&self, text: &str) -> bool {
        self.description.contains(text)
    }

    fn file_error(self, kind: Kind, reply: &Reply) -> Error {
        let mut error = self.error(kind);
        if matches!(kind, Kind::QuotaExceeded | Kind::Unreachable) {
            error.retry_after = Some(reply.retry_after.unwrap_or(Duration::from_secs(1)));
        }
        error
    }

    fn error(self, kind: Kind) -> Error {
        let Answer {
            http_status, error, ..
        } = &self.answer;
        let mut what = format!("Easemob answered {http_status}");
        if let Some(error) = error {
            what = format!("{what} {error}");
        }
        // A parser's text quotes the request.
        let quotes = self.is("json_parse") || self.description.is_empty();
        Error {
            kind,
            what,
            description: (!quotes).then_some(self.description),
            answer: Some(self.answer),
            retry_after: None,
        }
    }
}

/// What an answer other than 200 to a send means.
pub(super) fn of_send(reply: &Reply, target: TargetKind, treat_503_as_not_sent: bool) -> Error {
    let parsed = Parsed::new(reply);
    let kind = match reply.status {
        503 if treat_503_as_not_sent => Kind::Busy,
        // The server gave up on a request that it may have read, or a proxy did.
        408 => Kind::OutcomeUnknown,
        429 if parsed.is("resource_limited") => Kind::PlanLimitReached,
        429 => Kind::QuotaExceeded,
        413 => Kind::MessageTooLarge,
        404 if parsed.is("organization_application_not_found") => Kind::AppNotFound,
        403 if parsed.says("message send reach limit") || parsed.says("Forbidden for url") => {
            Kind::QuotaExceeded
        }
        401 if is_token_error(&parsed) => Kind::TokenRefused,
        400 | 403 if is_not_open(&parsed) => Kind::FeatureNotEnabled,
        400 if parsed.answer.error_code == Some(14007) || parsed.says("message is too large") => {
            Kind::MessageTooLarge
        }
        400 => Kind::InvalidRequest,
        401..=499 => Kind::Refused,
        _ => Kind::OutcomeUnknown,
    };
    let mut error = parsed.error(kind);
    error.retry_after = match (kind, reply.retry_after) {
        // The shortest of Easemob's windows: sooner, nothing is new.
        (Kind::QuotaExceeded, Some(told)) => Some(told.max(Duration::from_secs(1))),
        (Kind::Busy, Some(told)) => Some(told),
        (Kind::QuotaExceeded, None) if reply.status == 403 => Some(message_window(target)),
        (Kind::QuotaExceeded, None) => Some(Duration::from_secs(1)),
        _ => None,
    };
    error
}

/// What an answer other than 200 to a token request means. No message was sent, whatever it is.
pub(super) fn of_token(reply: &Reply) -> Error {
    let parsed = Parsed::new(reply);
    let kind = match reply.status {
        // Bad credentials are 400 here, and not 401.
        400 | 401 | 403 => Kind::CredentialsRejected,
        404 if parsed.is("organization_application_not_found") => Kind::AppNotFound,
        429 => Kind::QuotaExceeded,
        408 => Kind::Unreachable,
        // Credentials are not carried to wherever a redirect points.
        300..=499 => Kind::Refused,
        _ => Kind::Unreachable,
    };
    let mut error = parsed.error(kind);
    error.what = format!("no token: {}", error.what);
    error.retry_after = reply.retry_after;
    error
}

/// What an answer other than 200 to an upload means. The bytes are gone, and no message was sent.
pub(super) fn of_upload(reply: &Reply) -> Error {
    let parsed = Parsed::new(reply);
    let kind = match reply.status {
        413 => Kind::FileTooLarge,
        429 if parsed.is("resource_limited") => Kind::PlanLimitReached,
        429 => Kind::QuotaExceeded,
        404 if parsed.is("organization_application_not_found") => Kind::AppNotFound,
        // The token was good when the upload began: another try gets another one.
        401 if is_token_error(&parsed) => Kind::TokenRefused,
        400 | 403 if is_not_open(&parsed) => Kind::FeatureNotEnabled,
        408 => Kind::UploadInterrupted,
        400..=499 => Kind::Refused,
        _ => Kind::UploadInterrupted,
    };
    parsed.file_error(kind, reply)
}

/// What an answer other than 200 to a download means.
pub(super) fn of_download(reply: &Reply) -> Error {
    let parsed = Parsed::new(reply);
    let kind = match reply.status {
        404 if parsed.is("organization_application_not_found") => Kind::AppNotFound,
        404 if parsed.is("file_expired") => Kind::FileExpired,
        404 => Kind::FileNotFound,
        401 if is_token_error(&parsed) => Kind::TokenRefused,
        429 if parsed.is("resource_limited") => Kind::PlanLimitReached,
        429 => Kind::QuotaExceeded,
        400 | 403 if is_not_open(&parsed) => Kind::FeatureNotEnabled,
        // A redirect points to another host, and the token is not for it.
        300..=407 | 409..=499 => Kind::Refused,
        _ => Kind::Unreachable,
    };
    parsed.file_error(kind, reply)
}

/// The 401s that a new token may help against. The others say that this caller may not do this.
fn is_token_error(parsed: &Parsed) -> bool {
    parsed.is("auth_bad_access_token")
        || parsed.is("expired_token")
        || (parsed.is("unauthorized") && parsed.says("Unable to authenticate"))
        || (parsed.is("group_authorization") && parsed.says("token is blank"))
}

/// The texts in which Easemob says that a feature is off.
fn is_not_open(parsed: &Parsed) -> bool {
    parsed.is("service open exception")
        || ["not open", "unopened", "not enabled", "not been enabled"]
            .iter()
            .any(|text| parsed.says(text))
}

/// After this long, the message quota of a kind is new.
fn message_window(target: TargetKind) -> Duration {
    match target {
        TargetKind::Users => Duration::from_secs(60),
        _ => Duration::from_secs(1),
    }
}

/// Easemob's text, short and without anything that could break a log line or a header.
fn clean(text: &str) -> String {
    let mut clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if clean.len() > MAX_TEXT_BYTES {
        clean.truncate(clean.floor_char_boundary(MAX_TEXT_BYTES));
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(status: u16, body: &str) -> Error {
        let reply = Reply {
            status,
            retry_after: None,
            date: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        of_send(&reply, TargetKind::Users, false)
    }

    fn kind(status: u16, error: &str, description: &str) -> Kind {
        let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
        of(status, &body).kind
    }

    #[test]
    fn every_documented_answer_has_its_meaning() {
        use Kind::*;
        let table = [
            (
                400,
                "message_send_error",
                "param body can't be empty",
                InvalidRequest,
            ),
            (
                400,
                "invalid_request_body",
                "Request body is invalid.",
                InvalidRequest,
            ),
            (
                400,
                "message_send_error",
                "message is too large",
                MessageTooLarge,
            ),
            (
                400,
                "illegal_argument",
                "message is too large",
                MessageTooLarge,
            ),
            (400, "service open exception", "x", FeatureNotEnabled),
            (413, "", "", MessageTooLarge),
            (
                401,
                "unauthorized",
                "Unable to authenticate (OAuth)",
                TokenRefused,
            ),
            (
                401,
                "unauthorized",
                "Unable to authenticate due to expired access token",
                TokenRefused,
            ),
            (
                401,
                "auth_bad_access_token",
                "Unable to authenticate",
                TokenRefused,
            ),
            (
                401,
                "expired_token",
                "Unable to authenticate due to expired access token",
                TokenRefused,
            ),
            (401, "group_authorization", "token is blank!", TokenRefused),
            (
                401,
                "unauthorized",
                "Subject does not have permission [x]",
                Refused,
            ),
            (402, "", "", Refused),
            (
                403,
                "message_send_error",
                "message send reach limit",
                QuotaExceeded,
            ),
            (403, "", "Forbidden for url: [x]", QuotaExceeded),
            (
                403,
                "forbidden_op",
                "message broadcast service is unopened",
                FeatureNotEnabled,
            ),
            (403, "forbidden_op", "x", Refused),
            (404, "organization_application_not_found", "x", AppNotFound),
            (404, "service_resource_not_found", "x", Refused),
            (405, "", "", Refused),
            (408, "", "", OutcomeUnknown),
            (415, "web_application", "x", Refused),
            (
                429,
                "reach_limit",
                "This request has reached api limit",
                QuotaExceeded,
            ),
            (429, "", "", QuotaExceeded),
            (
                429,
                "resource_limited",
                "You have exceeded the limit of the x edition.",
                PlanLimitReached,
            ),
            (301, "", "", OutcomeUnknown),
            (500, "", "", OutcomeUnknown),
            (503, "", "", OutcomeUnknown),
            (204, "", "", OutcomeUnknown),
            (600, "", "", OutcomeUnknown),
        ];
        for (status, error, description, expected) in table {
            assert_eq!(
                kind(status, error, description),
                expected,
                "{status} {error} {description}"
            );
        }
    }

    #[test]
    fn the_number_alone_tells_a_message_that_is_too_large() {
        let error = of(400, r#"{"error":"x","error_code":14007}"#);
        assert_eq!(error.kind, Kind::MessageTooLarge);
        assert_eq!(error.answer.unwrap().error_code, Some(14007));
    }

    #[test]
    fn a_page_of_html_still_tells_its_status() {
        let error = of(502, "<html>bad gateway</html>");
        assert_eq!(error.kind, Kind::OutcomeUnknown);
        assert_eq!(error.answer.unwrap().http_status, 502);
        assert_eq!(error.what, "Easemob answered 502");
    }

    #[test]
    fn a_503_proves_nothing_unless_the_settings_say_so() {
        let reply = Reply {
            status: 503,
            retry_after: None,
            date: None,
            body: Bytes::new(),
        };
        assert_eq!(of_send(&reply, TargetKind::Users, true).kind, Kind::Busy);
        assert_eq!(
            of_send(&reply, TargetKind::Users, false).kind,
            Kind::OutcomeUnknown
        );
    }

    #[test]
    fn long_texts_and_control_characters_are_cut() {
        let text = format!("a\\r\\n{}", "名".repeat(500));
        let error = of(
            400,
            &format!(r#"{{"error":"e","error_description":"{text}"}}"#),
        );
        let description = error.description.unwrap();
        assert!(description.len() < 300, "{}", description.len());
        assert!(!description.contains(['\r', '\n']));
    }

    #[test]
    fn fields_of_another_type_do_not_hide_the_status() {
        let error = of(
            403,
            r#"{"error":7,"error_description":null,"error_code":"14007"}"#,
        );
        assert_eq!(error.kind, Kind::Refused);
        assert_eq!(error.answer.unwrap().error_code, Some(14007));
    }
}
