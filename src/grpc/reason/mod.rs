//! The table of errors: for each reason its code, whether anything was sent, the likely cause, and what to
//! do. One row a reason; the statuses are made from it, and so are `docs/errors.md` and its Chinese twin.

#[cfg(test)]
mod page;
mod table;

use tonic::Code;

pub use self::table::TABLE;
use super::language::Language;
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
    /// What to say about it.
    pub english: Words,
    /// The same in Chinese.
    pub chinese: Words,
}

/// What to say about a reason, in one language.
#[derive(Debug)]
pub struct Words {
    /// What is most likely behind it, as Markdown.
    pub cause: &'static str,
    /// Whether anything was sent and what to do, as a sentence that follows the text of what happened.
    pub advice: &'static str,
}

impl Row {
    /// What to say about it in this language.
    pub fn words(&self, language: Language) -> &Words {
        match language {
            Language::English => &self.english,
            Language::Chinese => &self.chinese,
        }
    }

    /// Where its row stands in the documentation in this language.
    pub fn help(&self, language: Language) -> String {
        let page = match language {
            Language::English => "docs/errors.md",
            Language::Chinese => "docs/errors.zh-CN.md",
        };
        format!("{page}#{}", name(self.reason).to_lowercase())
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

    const CONTRACT: &str = include_str!("../../../proto/easemob/messaging/v1/error_reason.proto");

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
