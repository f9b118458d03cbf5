//! What became of the message: the answer of the gateway, or the error, in the shape of `--json`.

use std::{collections::BTreeMap, fmt, time::Duration};

use prost::Message as _;
use serde::{Serialize, Serializer};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::{
    grpc::{reason, status::DOMAIN},
    proto,
};

/// Key of the send state in the metadata of an `ErrorInfo`.
const SEND_STATE: &str = "send_state";

/// What became of the message.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// The gateway told it for each recipient.
    Answer {
        accepted: Vec<Accepted>,
        failures: Vec<Failure>,
        replayed: bool,
    },
    /// One cause for all of them.
    Error { error: Problem },
}

/// A recipient that Easemob accepted the message for.
#[derive(Debug, Serialize)]
pub(super) struct Accepted {
    pub(super) recipient: String,
    pub(super) message_id: String,
    pub(super) accept_time: Option<String>,
}

/// Recipients that it was not accepted for, for one cause.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) recipients: Vec<String>,
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) message: String,
    #[serde(rename = "retry_after_seconds", serialize_with = "seconds")]
    pub(super) retry_after: Option<Duration>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// An error for all recipients.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) reason: Option<String>,
    pub(super) send_state: State,
    pub(super) message: String,
    pub(super) violations: Vec<Violation>,
    #[serde(rename = "retry_after_seconds", serialize_with = "seconds")]
    pub(super) retry_after: Option<Duration>,
    pub(super) metadata: BTreeMap<String, String>,
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
    fn exit_code(self) -> u8 {
        match self {
            Self::NotSent => 4,
            Self::MaybeSent => 5,
        }
    }
}

impl Outcome {
    /// Exit code of the command.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Error { error } => error.send_state.exit_code(),
            Self::Answer {
                accepted, failures, ..
            } => match (&**accepted, &**failures) {
                ([_, ..], []) => 0,
                ([_, ..], [_, ..]) => 3,
                // An answer about nobody proves nothing.
                ([], []) => State::MaybeSent.exit_code(),
                ([], _) if failures.iter().all(|f| f.state == State::NotSent) => {
                    State::NotSent.exit_code()
                }
                ([], _) => State::MaybeSent.exit_code(),
            },
        }
    }
}

impl From<proto::SendMessageResponse> for Outcome {
    fn from(response: proto::SendMessageResponse) -> Self {
        Self::Answer {
            accepted: response.accepted.into_iter().map(Accepted::from).collect(),
            failures: response.failures.into_iter().map(Failure::from).collect(),
            replayed: response.replayed,
        }
    }
}

impl From<proto::Accepted> for Accepted {
    fn from(accepted: proto::Accepted) -> Self {
        Self {
            recipient: accepted.recipient,
            message_id: accepted.message_id,
            accept_time: accepted.accept_time.map(|time| time.to_string()),
        }
    }
}

impl From<proto::SendFailure> for Failure {
    fn from(failure: proto::SendFailure) -> Self {
        let state = match failure.state() {
            proto::SendState::NotSent => State::NotSent,
            // What a newer gateway may call it is no proof to us.
            _ => State::MaybeSent,
        };
        let reason = match failure.reason() {
            proto::ErrorReason::Unspecified => None,
            reason => Some(reason::name(reason).to_owned()),
        };
        let told = Problem::from(&status(failure.status.unwrap_or_default()));
        let retry_after = failure.retry_after.and_then(|wait| wait.try_into().ok());
        Self {
            recipients: failure.recipients,
            state,
            // A reason that is newer than this command has its name there.
            reason: reason.or(told.reason),
            message: told.message,
            retry_after: retry_after.or(told.retry_after),
            metadata: told.metadata,
        }
    }
}

/// A status within an answer as one that ends a call, so that the details of both are read alike.
fn status(status: pb::Status) -> Status {
    let details = status.encode_to_vec().into();
    Status::with_details(Code::from(status.code), status.message, details)
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
        problem.retry_after = details.retry_info().and_then(|info| info.retry_delay);
        if let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) {
            problem.reason = Some(info.reason.clone());
            problem.metadata = BTreeMap::from_iter(info.metadata.clone());
            let state = problem.metadata.remove(SEND_STATE);
            if state.as_deref() == Some("NOT_SENT") {
                problem.send_state = State::NotSent;
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

impl Problem {
    /// An error before there was a connection to send anything over.
    pub(super) fn not_connected(code: Code, message: String) -> Self {
        Self {
            send_state: State::NotSent,
            ..Self::maybe_sent(code, message)
        }
    }

    /// An error that proves nothing.
    pub(super) fn maybe_sent(code: Code, message: String) -> Self {
        Self {
            code: code_name(code),
            reason: None,
            send_state: State::MaybeSent,
            message,
            violations: Vec::new(),
            retry_after: None,
            metadata: BTreeMap::new(),
        }
    }
}

/// Name of a code as gRPC writes it: `FailedPrecondition` → `FAILED_PRECONDITION`.
fn code_name(code: Code) -> String {
    if code == Code::Ok {
        return "OK".to_owned();
    }
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn seconds<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    wait.map(|wait| wait.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery,
        easemob::{self, Kind},
        grpc::status,
        invalid,
    };

    fn accepted() -> proto::Accepted {
        proto::Accepted {
            recipient: "bob".into(),
            message_id: "1029".into(),
            accept_time: None,
        }
    }

    /// A failure as the gateway makes it.
    fn failure(kind: Kind) -> proto::SendFailure {
        let failure = delivery::Failure::Easemob(easemob::Error::new(kind, "Easemob said no"));
        let problem = status::Problem::from(&failure);
        proto::SendFailure {
            recipients: vec!["carol".into()],
            state: problem.state().into(),
            reason: problem.reason().into(),
            status: Some(problem.to_pb()),
            retry_after: None,
        }
    }

    fn exit_code(accepted: &[proto::Accepted], failures: &[Kind]) -> u8 {
        let response = proto::SendMessageResponse {
            accepted: accepted.to_vec(),
            failures: failures.iter().copied().map(failure).collect(),
            replayed: false,
        };
        Outcome::from(response).exit_code()
    }

    fn refused(problem: status::Problem) -> Problem {
        Problem::from(&Status::from(problem))
    }

    #[test]
    fn the_exit_code_tells_who_has_the_message_and_whether_a_repeat_is_safe() {
        let bob = [accepted()];
        assert_eq!(exit_code(&bob, &[]), 0);
        assert_eq!(exit_code(&bob, &[Kind::Refused]), 3);
        assert_eq!(exit_code(&bob, &[Kind::OutcomeUnknown]), 3);
        assert_eq!(exit_code(&[], &[Kind::Refused, Kind::Busy]), 4);
        assert_eq!(exit_code(&[], &[Kind::Refused, Kind::OutcomeUnknown]), 5);
        assert_eq!(exit_code(&[], &[]), 5);
    }

    #[test]
    fn every_error_of_the_gateway_keeps_its_state() {
        for row in reason::TABLE {
            let error = refused(status::Problem::new(row.reason, "something"));
            let expected = match row.state {
                proto::SendState::NotSent => (State::NotSent, 4),
                _ => (State::MaybeSent, 5),
            };
            let state = error.send_state;
            let name = reason::name(row.reason);
            assert_eq!(error.reason.as_deref(), Some(name));
            let exit_code = Outcome::Error { error }.exit_code();
            assert_eq!((state, exit_code), expected, "{name}");
        }
    }

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
                (State::MaybeSent, None)
            );
        }
    }

    #[test]
    fn an_error_has_this_shape() {
        let violation = invalid::Violation {
            field: "message.env".into(),
            description: "must be at most 8 letters and digits".into(),
        };
        let error = refused(status::Problem::invalid(vec![violation]));
        assert_eq!(
            serde_json::to_value(Outcome::Error { error }).unwrap(),
            serde_json::json!({"error": {
                "code": "INVALID_ARGUMENT",
                "reason": "INVALID_REQUEST",
                "send_state": "NOT_SENT",
                "message": "message.env must be at most 8 letters and digits. Nothing was sent: correct the request.",
                "violations": [
                    {"field": "message.env", "description": "must be at most 8 letters and digits"},
                ],
                "retry_after_seconds": null,
                "metadata": {},
            }})
        );
    }

    #[test]
    fn an_answer_has_this_shape() {
        let mut busy = failure(Kind::QuotaExceeded);
        busy.retry_after = Some(prost_types::Duration {
            seconds: 1,
            nanos: 500_000_000,
        });
        let time = prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 250_000_000,
        };
        let response = proto::SendMessageResponse {
            accepted: vec![proto::Accepted {
                accept_time: Some(time),
                ..accepted()
            }],
            failures: vec![busy],
            replayed: true,
        };
        assert_eq!(
            serde_json::to_value(Outcome::from(response)).unwrap(),
            serde_json::json!({
                "accepted": [
                    {"recipient": "bob", "message_id": "1029", "accept_time": "2023-11-14T22:13:20.250Z"},
                ],
                "failures": [{
                    "recipients": ["carol"],
                    "state": "NOT_SENT",
                    "reason": "QUOTA_EXCEEDED",
                    "message": "Easemob said no. Nothing was sent: send again after the time in RetryInfo.",
                    "retry_after_seconds": 1.5,
                    "metadata": {},
                }],
                "replayed": true,
            })
        );
    }

    #[test]
    fn a_reason_or_state_that_is_newer_than_this_command_is_not_lost() {
        let newer = proto::SendFailure {
            state: 99,
            reason: 999,
            ..failure(Kind::Busy)
        };
        let failure = Failure::from(newer);
        assert_eq!(failure.state, State::MaybeSent);
        assert_eq!(failure.reason.as_deref(), Some("EASEMOB_BUSY"));
    }

    #[test]
    fn codes_are_named_as_grpc_names_them() {
        assert_eq!(code_name(Code::Ok), "OK");
        assert_eq!(code_name(Code::Unavailable), "UNAVAILABLE");
        assert_eq!(code_name(Code::FailedPrecondition), "FAILED_PRECONDITION");
    }
}
