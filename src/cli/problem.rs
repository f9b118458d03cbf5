//! An error as a command tells it: where it was made, what it says of the message, in the shape of `--json`.

use std::{collections::BTreeMap, fmt, time::Duration};

use prost::Message as _;
use serde::{Serialize, Serializer};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::{
    grpc::status::{DOMAIN, code_name},
    proto::UploadedMedia,
};

/// Key of the send state in the metadata of an `ErrorInfo`.
const SEND_STATE: &str = "send_state";

/// An error for all that the command was to do.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) reason: Option<String>,
    /// Left out where no message was to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) send_state: Option<State>,
    pub(super) message: String,
    pub(super) violations: Vec<Violation>,
    #[serde(rename = "retry_after_seconds", serialize_with = "seconds")]
    pub(super) retry_after: Option<Duration>,
    pub(super) metadata: BTreeMap<String, String>,
    /// What was uploaded all the same.
    #[serde(skip)]
    pub(super) uploaded: Option<Box<UploadedMedia>>,
}

/// A field of the request, and what is wrong with it.
#[derive(Debug, Serialize)]
pub(super) struct Violation {
    pub(super) field: String,
    pub(super) description: String,
}

/// Whether a message that was not accepted may have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum State {
    NotSent,
    MaybeSent,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "not sent",
            Self::MaybeSent => "maybe sent",
        })
    }
}

impl State {
    /// Exit code of a command that ends in this state.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::NotSent => 4,
            Self::MaybeSent => 5,
        }
    }
}

/// Whether the gateway made this error, and not something on the way to it.
pub(super) fn is_from_gateway(status: &Status) -> bool {
    let details = status.get_error_details();
    details
        .error_info()
        .is_some_and(|info| info.domain == DOMAIN)
}

impl From<&Status> for Problem {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let mut problem = Self::maybe_sent(status.code(), status.message().to_owned());
        problem.violations = violations(&details);
        problem.uploaded = uploaded(status);
        problem.retry_after = details.retry_info().and_then(|info| info.retry_delay);
        if let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) {
            problem.reason = Some(info.reason.clone());
            problem.metadata = BTreeMap::from_iter(info.metadata.clone());
            let state = problem.metadata.remove(SEND_STATE);
            if state.as_deref() == Some("NOT_SENT") {
                problem.send_state = Some(State::NotSent);
            }
        }
        problem
    }
}

fn violations(details: &ErrorDetails) -> Vec<Violation> {
    let violations = details.bad_request().map(|bad| &*bad.field_violations);
    let violations = violations.unwrap_or_default().iter();
    violations
        .map(|violation| Violation {
            field: violation.field.clone(),
            description: violation.description.clone(),
        })
        .collect()
}

/// The detail that is ours alone.
fn uploaded(status: &Status) -> Option<Box<UploadedMedia>> {
    let details = pb::Status::decode(status.details()).ok()?.details;
    let detail = details.iter().find(|any| {
        any.type_url
            .ends_with("/easemob.messaging.v1.UploadedMedia")
    })?;
    UploadedMedia::decode(&*detail.value).ok().map(Box::new)
}

impl Problem {
    /// An error before the gateway had what it needs to send.
    pub(super) fn not_sent(code: Code, message: String) -> Self {
        Self {
            send_state: Some(State::NotSent),
            ..Self::maybe_sent(code, message)
        }
    }

    /// An error that proves nothing.
    pub(super) fn maybe_sent(code: Code, message: String) -> Self {
        Self {
            code: code_name(code).to_owned(),
            reason: None,
            send_state: Some(State::MaybeSent),
            message,
            violations: Vec::new(),
            retry_after: None,
            metadata: BTreeMap::new(),
            uploaded: None,
        }
    }

    /// The same of a command that sends no message.
    pub(super) fn without_send_state(self) -> Self {
        Self {
            send_state: None,
            ..self
        }
    }

    /// Exit code of the command.
    pub(super) fn exit_code(&self) -> u8 {
        self.send_state.unwrap_or(State::NotSent).exit_code()
    }
}

/// A wait in seconds, with their fraction.
pub(super) fn seconds<S: Serializer>(
    wait: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    wait.map(|wait| wait.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_did_not_say_proves_nothing() {
        let foreign = ErrorDetails::with_error_info(
            "QUOTA_EXCEEDED",
            "proxy.example.com",
            [(SEND_STATE.to_owned(), "NOT_SENT".to_owned())],
        );
        for status in [
            Status::unavailable("connection lost"),
            Status::with_error_details(Code::Unavailable, "no", foreign),
        ] {
            assert!(!is_from_gateway(&status));
            let problem = Problem::from(&status);
            assert_eq!(
                (problem.send_state, problem.reason),
                (Some(State::MaybeSent), None)
            );
        }
    }

    #[test]
    fn codes_are_named_as_grpc_names_them() {
        assert_eq!(code_name(Code::Ok), "OK");
        assert_eq!(code_name(Code::Unavailable), "UNAVAILABLE");
        assert_eq!(code_name(Code::FailedPrecondition), "FAILED_PRECONDITION");
    }
}
