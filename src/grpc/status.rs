//! Every error → `tonic::Status`, by the table in `reason.rs`, with its typed details.

use std::time::Duration;

use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::pb;

use super::{
    language::Language,
    reason::{self, Row},
};
use crate::{
    delivery::{Failure, reason_of},
    easemob,
    invalid::Violation,
    media,
    proto::{ErrorReason, SendState, UploadedMedia},
    store, trace,
};

/// Domain of every `ErrorInfo` of ours.
pub const DOMAIN: &str = "easemob-gateway";
/// Longest text of a status in bytes. It travels twice, once percent-encoded, and some clients take
/// 8 KiB of headers in all.
const MAX_TEXT_BYTES: usize = 340;
/// Most bytes of field violations in one status.
const MAX_VIOLATION_BYTES: usize = 1_200;

/// An error on its way to the caller.
#[derive(Debug)]
pub struct Problem {
    row: &'static Row,
    code: Code,
    what: String,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    // Boxed: few errors have it, and all of them are moved about.
    uploaded: Option<Box<UploadedMedia>>,
    sends: bool,
}

impl Problem {
    /// An error for this reason: what happened, as a phrase.
    pub fn new(reason: ErrorReason, what: impl Into<String>) -> Self {
        let row = reason::row(reason);
        Self {
            row,
            code: row.code,
            what: what.into(),
            metadata: Vec::new(),
            violations: Vec::new(),
            retry_after: None,
            uploaded: None,
            sends: true,
        }
    }

    /// The fields that are wrong with a request.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let first = violations.first().map(ToString::to_string);
        let what = match violations.len() {
            0 | 1 => first.unwrap_or_default(),
            n => format!("{} (and {} more)", first.unwrap_or_default(), n - 1),
        };
        let mut problem = Self::new(ErrorReason::InvalidRequest, what);
        problem.violations = violations;
        problem
    }

    /// Another code than that of the reason, for what the framework refuses.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// A further entry in `ErrorInfo`.
    pub fn with_metadata(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// Tells the caller when to try again.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Tells what need not be uploaded again.
    pub fn with_uploaded(mut self, uploaded: UploadedMedia) -> Self {
        self.uploaded = Some(Box::new(uploaded));
        self
    }

    /// For a method that sends no message: nothing is told of one.
    pub fn without_send_state(mut self) -> Self {
        self.sends = false;
        self
    }

    /// The reason.
    pub fn reason(&self) -> ErrorReason {
        self.row.reason
    }

    /// Whether a message may have been sent.
    pub fn state(&self) -> SendState {
        self.row.state
    }

    /// When to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The error as a value, for answers that tell of several.
    pub fn to_pb(&self) -> pb::Status {
        let mut details = vec![any("ErrorInfo", &self.error_info())];
        if !self.violations.is_empty() {
            details.push(any("BadRequest", &bad_request(&self.violations)));
        }
        if matches!(
            self.row.reason,
            ErrorReason::QuotaExceeded | ErrorReason::PlanLimitReached
        ) {
            let violation = pb::quota_failure::Violation {
                subject: "easemob".to_owned(),
                description: cut(&self.what),
                ..Default::default()
            };
            let failure = pb::QuotaFailure {
                violations: vec![violation],
            };
            details.push(any("QuotaFailure", &failure));
        }
        if let Some(wait) = self.retry_after {
            let retry = pb::RetryInfo {
                retry_delay: prost_types::Duration::try_from(wait).ok(),
            };
            details.push(any("RetryInfo", &retry));
        }
        if let Some(uploaded) = &self.uploaded {
            details.push(Any {
                type_url: "type.googleapis.com/easemob.messaging.v1.UploadedMedia".to_owned(),
                value: uploaded.encode_to_vec(),
            });
        }
        let language = Language::current();
        details.push(any("Help", &self.help(language)));
        if language != Language::English {
            details.push(any("LocalizedMessage", &self.localized(language)));
        }
        pb::Status {
            code: self.code.into(),
            message: self.text(),
            details,
        }
    }

    fn text(&self) -> String {
        format!("{}. {}", cut(&self.what), self.row.english.advice)
    }

    fn help(&self, language: Language) -> pb::Help {
        pb::Help {
            links: vec![pb::help::Link {
                description: reason::name(self.row.reason).to_owned(),
                url: self.row.help(language),
            }],
        }
    }

    /// What holds of every error for this reason: what happened in particular is in the text alone.
    fn localized(&self, language: Language) -> pb::LocalizedMessage {
        let words = self.row.words(language);
        pb::LocalizedMessage {
            locale: language.tag().to_owned(),
            message: format!("{}{}", words.cause.replace('`', ""), words.advice),
        }
    }

    fn error_info(&self) -> pb::ErrorInfo {
        let state = match self.row.state {
            SendState::MaybeSent => "MAYBE_SENT",
            _ => "NOT_SENT",
        };
        let metadata = self
            .metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), cut(value)));
        pb::ErrorInfo {
            reason: reason::name(self.row.reason).to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: metadata
                .chain(
                    self.sends
                        .then(|| ("send_state".to_owned(), state.to_owned())),
                )
                .collect(),
        }
    }
}

/// Name of a code as gRPC writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        trace::record(|span| span.set("easemob.reason", reason::name(problem.reason())));
        let details = problem.to_pb();
        let mut status = Status::with_details(
            problem.code,
            details.message.clone(),
            details.encode_to_vec().into(),
        );
        // Clients that retry by themselves listen to this before they look at the code: given a wait, grpc-java
        // repeats whatever code it has. So the others have theirs in RetryInfo alone, for the caller to decide.
        let pushback = match (problem.state(), problem.retry_after) {
            (SendState::MaybeSent, _) => Some("-1".to_owned()),
            (_, Some(wait)) if problem.code == Code::Unavailable => {
                Some(wait.as_millis().to_string())
            }
            _ => None,
        };
        if let Some(value) = pushback.and_then(|ms| MetadataValue::try_from(ms).ok()) {
            status
                .metadata_mut()
                .insert("grpc-retry-pushback-ms", value);
        }
        status
    }
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Self {
        let problem = match failure {
            Failure::Easemob(error) => return Self::from(error),
            Failure::Upload(error) => return Self::from(error),
            told => Self::new(told.reason(), told.to_string()),
        };
        match failure {
            Failure::Overloaded => problem.with_retry_after(Duration::from_secs(1)),
            Failure::Quota {
                retry_after: Some(wait),
                ..
            } => problem.with_retry_after(*wait),
            Failure::Quota {
                needs: Some(needs), ..
            } => Self::new(
                ErrorReason::QuotaExceeded,
                format!(
                    "{failure}: the message alone takes {} s of it, so give it a longer deadline or fewer recipients",
                    needs.as_secs() + 1
                ),
            ),
            Failure::Store(store::Error::Full { retry_after }) => {
                problem.with_retry_after(*retry_after)
            }
            Failure::Store(store::Error::Away { retry_after }) => {
                problem.with_retry_after(*retry_after)
            }
            Failure::Store(store::Error::Unreadable) => {
                problem.with_retry_after(Duration::from_secs(1))
            }
            _ => problem,
        }
    }
}

impl From<&media::Error> for Problem {
    fn from(error: &media::Error) -> Self {
        let what = error.to_string();
        match error {
            media::Error::OutOfOrder(_) => Self::new(ErrorReason::StreamOutOfOrder, what),
            media::Error::Invalid(field, description) => Self::invalid(vec![Violation {
                field: (*field).to_owned(),
                description: (*description).into(),
            }]),
            media::Error::TooLarge { limit, .. } => Self::new(ErrorReason::FileTooLarge, what)
                .with_metadata("limit_bytes", limit.to_string()),
            media::Error::Incomplete(_) => Self::new(ErrorReason::UploadIncomplete, what),
            media::Error::Mismatch(_) => Self::new(ErrorReason::ChecksumMismatch, what),
        }
    }
}

impl From<&easemob::Error> for Problem {
    fn from(error: &easemob::Error) -> Self {
        let reason = reason_of(error.kind);
        let what = match &error.description {
            Some(description) => format!("{} ({description})", error.what),
            None => error.what.clone(),
        };
        let mut problem = Self::new(reason, what);
        // Waiting out a pause does not help where somebody has to change something.
        if matches!(
            reason,
            ErrorReason::QuotaExceeded | ErrorReason::EasemobUnreachable | ErrorReason::EasemobBusy
        ) {
            problem.retry_after = Some(error.retry_after.unwrap_or(Duration::from_secs(1)));
        }
        if let Some(answer) = &error.answer {
            problem = problem.with_metadata("http_status", answer.http_status.to_string());
            if let Some(error) = &answer.error {
                problem = problem.with_metadata("easemob_error", error.clone());
            }
            if let Some(code) = answer.error_code {
                problem = problem.with_metadata("easemob_error_code", code.to_string());
            }
        }
        problem
    }
}

/// As many violations as there is room for.
fn bad_request(violations: &[Violation]) -> pb::BadRequest {
    let mut bytes = 0;
    let shown = violations
        .iter()
        .take_while(|violation| {
            bytes += violation.field.len() + violation.description.len() + 8;
            bytes <= MAX_VIOLATION_BYTES
        })
        .map(|violation| pb::bad_request::FieldViolation {
            field: violation.field.clone(),
            description: violation.description.to_string(),
            ..Default::default()
        });
    pb::BadRequest {
        field_violations: shown.collect(),
    }
}

fn any(name: &str, detail: &impl prost::Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value: detail.encode_to_vec(),
    }
}

fn cut(text: &str) -> String {
    let mut text = text.to_owned();
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES - 3));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;
    use crate::easemob::Kind;

    #[test]
    fn a_failure_has_one_reason_for_callers_and_for_metrics() {
        let upload = [
            media::Error::OutOfOrder("a chunk too many"),
            media::Error::Invalid("chunk", "is too large"),
            media::Error::Incomplete("the stream ended"),
            media::Error::Mismatch("the sums differ".to_owned()),
            media::Error::TooLarge {
                what: media::Section::File,
                limit: 1,
            },
        ];
        let failures = upload.into_iter().map(Failure::Upload).chain([
            Failure::Easemob(easemob::Error::new(Kind::Busy, "Easemob answered 503")),
            Failure::DeadlineExceeded,
            Failure::Overloaded,
            Failure::Quota {
                retry_after: None,
                needs: None,
            },
            Failure::ShuttingDown,
            Failure::Internal,
        ]);
        for failure in failures {
            assert_eq!(Problem::from(&failure).reason(), failure.reason());
        }
    }

    /// Bytes of a status on the wire.
    fn header_bytes(status: Status) -> usize {
        let response: http::Response<tonic::body::Body> = status.into_http();
        response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum()
    }

    #[test]
    fn the_longest_error_stays_under_4_kib() {
        let violations = (0..10_000).map(|i| Violation {
            field: format!("message.users.user_ids[{i}]"),
            description: "is longer than 64 bytes".into(),
        });
        assert!(header_bytes(Problem::invalid(violations.collect()).into()) < 4_096);

        let error = easemob::Error {
            kind: Kind::QuotaExceeded,
            what: "名".repeat(10_000),
            description: Some("名".repeat(66)),
            answer: Some(easemob::Answer {
                http_status: 429,
                error: Some("名".repeat(66)),
                error_code: Some(i64::MIN),
            }),
            retry_after: Some(Duration::from_secs(3_600)),
        };
        let bytes = header_bytes(Problem::from(&error).into());
        assert!(bytes < 4_096, "{bytes}");
    }

    #[test]
    fn every_reason_at_its_longest_stays_under_4_kib_in_every_language() {
        let uploaded = || {
            let file = crate::proto::UploadedFile {
                r#ref: Some(crate::proto::FileRef {
                    secret: "x".repeat(64),
                    location: Some(crate::proto::file_ref::Location::Uuid("x".repeat(36))),
                }),
                size_bytes: u64::MAX,
                sha256: vec![255; 32].into(),
            };
            UploadedMedia {
                file: Some(file.clone()),
                thumbnail: Some(file),
            }
        };
        for language in [Language::English, Language::Chinese] {
            for row in reason::TABLE {
                let problem = Problem::new(row.reason, "名".repeat(10_000))
                    .with_metadata("http_status", "429")
                    .with_metadata("easemob_error", "名".repeat(66))
                    .with_metadata("easemob_error_code", i64::MIN.to_string())
                    .with_retry_after(Duration::from_secs(u64::from(u32::MAX)))
                    .with_uploaded(uploaded());
                let bytes = language.scope(|| header_bytes(problem.into()));
                assert!(bytes < 4_096, "{:?}: {bytes}", row.reason);
            }
            let many = (0..10_000).map(|i| Violation {
                field: format!("message.users.user_ids[{i}]"),
                description: "is longer than 64 bytes".into(),
            });
            let problem = Problem::invalid(many.collect());
            let bytes = language.scope(|| header_bytes(problem.into()));
            assert!(bytes < 4_096, "{bytes}");
        }
    }

    #[test]
    fn a_caller_who_reads_chinese_is_told_in_chinese_too() {
        let problem = || Problem::new(ErrorReason::ShuttingDown, "the gateway is shutting down");
        let status = Status::from(problem());
        let details = status.get_error_details();
        let link = &details.help().unwrap().links[0];
        assert_eq!(link.url, "docs/errors.md#shutting_down");
        assert!(details.localized_message().is_none());

        let chinese = Language::Chinese.scope(|| Status::from(problem()));
        assert_eq!(chinese.message(), status.message());
        let details = chinese.get_error_details();
        assert_eq!(
            details.help().unwrap().links[0].url,
            "docs/errors.zh-CN.md#shutting_down"
        );
        let told = details.localized_message().unwrap();
        assert_eq!(told.locale, "zh-CN");
        assert!(told.message.contains("未发送"), "{}", told.message);
    }

    #[test]
    fn a_status_carries_its_reason_state_and_wait() {
        let error = easemob::Error::new(Kind::QuotaExceeded, "Easemob answered 429")
            .with_retry_after(Duration::from_millis(1_500));
        let status = Status::from(Problem::from(&error));
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("QUOTA_EXCEEDED", DOMAIN));
        assert_eq!(info.metadata["send_state"], "NOT_SENT");
        let wait = details.retry_info().unwrap().retry_delay;
        assert_eq!(wait, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn only_what_clients_repeat_by_themselves_has_a_pushback() {
        let pushback = |kind| {
            let error = easemob::Error::new(kind, "no");
            let status = Status::from(Problem::from(
                &error.with_retry_after(Duration::from_millis(1_500)),
            ));
            let value = status.metadata().get("grpc-retry-pushback-ms");
            value.map(|ms| ms.to_str().unwrap().to_owned())
        };
        assert_eq!(pushback(Kind::Unreachable).as_deref(), Some("1500"));
        assert_eq!(pushback(Kind::QuotaExceeded), None);
    }

    #[test]
    fn what_may_have_been_sent_is_never_to_be_repeated() {
        let error = easemob::Error::new(Kind::OutcomeUnknown, "connection lost");
        let status = Status::from(Problem::from(&error));
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(
            status.metadata().get("grpc-retry-pushback-ms").unwrap(),
            "-1"
        );
        let details = status.get_error_details();
        assert_eq!(
            details.error_info().unwrap().metadata["send_state"],
            "MAYBE_SENT"
        );
        assert!(details.retry_info().is_none());
    }
}
