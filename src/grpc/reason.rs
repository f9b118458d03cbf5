//! The table of errors: for each reason its code, whether anything was sent, and what to do. One row a
//! reason; the statuses are made from it.

use tonic::Code;

use crate::proto::{ErrorReason, SendState};

/// What a reason means.
#[derive(Debug)]
pub struct Row {
    /// The reason.
    pub reason: ErrorReason,
    /// The gRPC code.
    pub code: Code,
    /// Whether a message may have been sent.
    pub state: SendState,
    /// What to do, as a sentence that follows the text of what happened.
    pub advice: &'static str,
}

const fn not_sent(reason: ErrorReason, code: Code, advice: &'static str) -> Row {
    Row {
        reason,
        code,
        state: SendState::NotSent,
        advice,
    }
}

/// Who can mend what a reason names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller: its request, its stream.
    Caller,
    /// The operator: settings, credentials, the plan at Easemob, the load.
    Operator,
    /// The gateway itself: too busy, too late, shutting down, a fault of ours.
    Gateway,
    /// Easemob.
    Easemob,
}

impl Fault {
    /// Of a reason.
    pub fn of(reason: ErrorReason) -> Self {
        match reason {
            ErrorReason::InvalidRequest
            | ErrorReason::MessageTooLarge
            | ErrorReason::FileTooLarge
            | ErrorReason::StreamOutOfOrder
            | ErrorReason::UploadIncomplete
            | ErrorReason::ChecksumMismatch
            | ErrorReason::FileNotFound
            | ErrorReason::FileExpired
            | ErrorReason::CallerUnauthenticated
            | ErrorReason::AppForbidden
            | ErrorReason::AppNotConfigured
            | ErrorReason::RequestIdReused => Self::Caller,
            ErrorReason::QuotaExceeded
            | ErrorReason::PlanLimitReached
            | ErrorReason::EasemobCredentialsRejected
            | ErrorReason::EasemobAppNotFound
            | ErrorReason::FeatureNotEnabled => Self::Operator,
            ErrorReason::Overloaded
            | ErrorReason::ShuttingDown
            | ErrorReason::StoreUnavailable
            | ErrorReason::DeadlineExceeded
            | ErrorReason::Internal
            | ErrorReason::Unspecified => Self::Gateway,
            ErrorReason::EasemobRefused
            | ErrorReason::EasemobUnreachable
            | ErrorReason::EasemobBusy
            | ErrorReason::OutcomeUnknown
            | ErrorReason::UploadInterrupted => Self::Easemob,
        }
    }

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Operator => "operator",
            Self::Gateway => "gateway",
            Self::Easemob => "easemob",
        }
    }
}

/// Every reason. UNAVAILABLE and the other codes that clients and meshes repeat by themselves belong
/// to rows where nothing was sent, and to no other.
pub const TABLE: &[Row] = &[
    not_sent(
        ErrorReason::InvalidRequest,
        Code::InvalidArgument,
        "Nothing was sent: correct the request.",
    ),
    not_sent(
        ErrorReason::MessageTooLarge,
        Code::InvalidArgument,
        "Nothing was sent: make the content or the extension smaller.",
    ),
    not_sent(
        ErrorReason::FileTooLarge,
        Code::InvalidArgument,
        "Nothing was sent: make the file smaller, or have the app's limit raised.",
    ),
    not_sent(
        ErrorReason::StreamOutOfOrder,
        Code::InvalidArgument,
        "Nothing was sent: send header, chunks and finish in this order.",
    ),
    not_sent(
        ErrorReason::UploadIncomplete,
        Code::Aborted,
        "Nothing was sent: upload again, up to finish.",
    ),
    not_sent(
        ErrorReason::ChecksumMismatch,
        Code::DataLoss,
        "Nothing was sent: the bytes that arrived are not those that were declared; upload again.",
    ),
    not_sent(
        ErrorReason::FileNotFound,
        Code::NotFound,
        "Check the file's uuid and the app.",
    ),
    not_sent(
        ErrorReason::FileExpired,
        Code::NotFound,
        "Upload the file again.",
    ),
    not_sent(
        ErrorReason::CallerUnauthenticated,
        Code::Unauthenticated,
        "Nothing was sent: prove who you are with the credentials that the gateway's operator gave you.",
    ),
    not_sent(
        ErrorReason::AppForbidden,
        Code::PermissionDenied,
        "Nothing was sent: ask the gateway's operator for leave to use this app, or correct its name.",
    ),
    not_sent(
        ErrorReason::AppNotConfigured,
        Code::NotFound,
        "Nothing was sent: correct the app's name, or have the gateway's operator configure it.",
    ),
    not_sent(
        ErrorReason::RequestIdReused,
        Code::FailedPrecondition,
        "Nothing was sent: use a new request ID for another request.",
    ),
    not_sent(
        ErrorReason::QuotaExceeded,
        Code::ResourceExhausted,
        "Nothing was sent: send again after the time in RetryInfo.",
    ),
    not_sent(
        ErrorReason::PlanLimitReached,
        Code::ResourceExhausted,
        "Nothing was sent, and waiting does not help: the app's Easemob edition is used up.",
    ),
    not_sent(
        ErrorReason::Overloaded,
        Code::ResourceExhausted,
        "Nothing was sent: send again after the time in RetryInfo.",
    ),
    not_sent(
        ErrorReason::ShuttingDown,
        Code::Unavailable,
        "Nothing was sent: send again, to another replica.",
    ),
    not_sent(
        ErrorReason::StoreUnavailable,
        Code::Unavailable,
        "Nothing was sent: send again after the time in RetryInfo.",
    ),
    not_sent(
        ErrorReason::DeadlineExceeded,
        Code::DeadlineExceeded,
        "Nothing was sent: send again, with more time.",
    ),
    not_sent(
        ErrorReason::EasemobCredentialsRejected,
        Code::FailedPrecondition,
        "Nothing was sent: the gateway's operator has to correct the app's credentials.",
    ),
    not_sent(
        ErrorReason::EasemobAppNotFound,
        Code::FailedPrecondition,
        "Nothing was sent: the gateway's operator has to correct the app's host, org_name or app_name.",
    ),
    not_sent(
        ErrorReason::FeatureNotEnabled,
        Code::FailedPrecondition,
        "Nothing was sent: have the feature enabled for the app in the Easemob console.",
    ),
    not_sent(
        ErrorReason::EasemobRefused,
        Code::FailedPrecondition,
        "Nothing was sent: a repeat gives the same answer until its cause is removed.",
    ),
    not_sent(
        ErrorReason::EasemobUnreachable,
        Code::Unavailable,
        "Nothing was sent: send again after the time in RetryInfo.",
    ),
    not_sent(
        ErrorReason::EasemobBusy,
        Code::Unavailable,
        "Nothing was sent: send again after the time in RetryInfo.",
    ),
    Row {
        reason: ErrorReason::OutcomeUnknown,
        code: Code::Unknown,
        state: SendState::MaybeSent,
        advice: "The message may have been sent: a repeat may be read twice.",
    },
    not_sent(
        ErrorReason::UploadInterrupted,
        Code::Unavailable,
        "No message was sent: upload again.",
    ),
    not_sent(
        ErrorReason::Internal,
        Code::Internal,
        "Nothing was sent: tell the gateway's operator.",
    ),
];

/// The row of a reason.
pub fn row(reason: ErrorReason) -> &'static Row {
    TABLE
        .iter()
        .find(|row| row.reason == reason)
        .expect("every reason but UNSPECIFIED has a row, and that one is never given")
}

/// Name of a reason, as `ErrorInfo` has it.
pub fn name(reason: ErrorReason) -> &'static str {
    reason.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = include_str!("../../proto/easemob/messaging/v1/error_reason.proto");

    #[test]
    fn every_reason_of_the_contract_has_one_row_with_the_code_that_its_comment_tells() {
        let mut comment = String::new();
        let mut seen = 0;
        for line in CONTRACT.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("//") {
                comment.push_str(text);
                continue;
            }
            let documented = std::mem::take(&mut comment);
            let Some((value, _number)) = line.split_once(" = ") else {
                continue;
            };
            if !value.starts_with("ERROR_REASON_") || value.ends_with("UNSPECIFIED") {
                continue;
            }
            let reason = ErrorReason::from_str_name(value).unwrap();
            let rows: Vec<_> = TABLE.iter().filter(|row| row.reason == reason).collect();
            assert_eq!(rows.len(), 1, "{value}");
            let code = screaming(rows[0].code);
            assert!(
                documented.contains(&code),
                "{value}: {code} is not in {documented:?}"
            );
            seen += 1;
        }
        assert_eq!(seen, TABLE.len());
    }

    #[test]
    fn what_may_have_been_sent_has_a_code_that_nobody_repeats() {
        for row in TABLE.iter().filter(|row| row.state == SendState::MaybeSent) {
            assert_eq!(row.code, Code::Unknown, "{:?}", row.reason);
        }
    }

    /// `FailedPrecondition` → `FAILED_PRECONDITION`.
    fn screaming(code: Code) -> String {
        let mut name = String::new();
        for c in format!("{code:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        name
    }
}
