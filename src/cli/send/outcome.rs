//! What became of the message: the answer of the gateway, or the error, in the shape of `--json`.

use std::{collections::BTreeMap, time::Duration};

use prost::Message as _;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::{
    cli::{
        file::Stored,
        problem::{Problem, State, seconds},
    },
    grpc::reason,
    proto,
};

/// What became of the message.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// The gateway told it for each recipient.
    Answer {
        accepted: Vec<Accepted>,
        failures: Vec<Failure>,
        replayed: bool,
        /// What was uploaded for it.
        uploaded: Option<Uploaded>,
    },
    /// One cause for all of them.
    Error {
        error: Problem,
        /// What was uploaded all the same.
        uploaded: Option<Uploaded>,
    },
}

/// Files that Easemob has stored for the message.
#[derive(Debug, Serialize)]
pub(super) struct Uploaded {
    pub(super) file: Option<Stored>,
    pub(super) thumbnail: Option<Stored>,
    /// The command that finishes the send without uploading again, as far as the upload goes.
    #[serde(skip)]
    pub(super) finish: String,
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

impl Outcome {
    /// Exit code of the command.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Error { error, .. } => error.exit_code(),
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
            uploaded: None,
        }
    }
}

impl From<Problem> for Outcome {
    fn from(error: Problem) -> Self {
        Self::Error {
            error,
            uploaded: None,
        }
    }
}

impl Outcome {
    /// The same, with what was uploaded for it.
    pub(super) fn with(mut self, files: Option<Uploaded>) -> Self {
        let (Self::Answer { uploaded, .. } | Self::Error { uploaded, .. }) = &mut self;
        *uploaded = files;
        self
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
                proto::SendState::NotSent => (Some(State::NotSent), 4),
                _ => (Some(State::MaybeSent), 5),
            };
            let state = error.send_state;
            let name = reason::name(row.reason);
            assert_eq!(error.reason.as_deref(), Some(name));
            let exit_code = Outcome::from(error).exit_code();
            assert_eq!((state, exit_code), expected, "{name}");
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
            serde_json::to_value(Outcome::from(error)).unwrap(),
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
            }, "uploaded": null})
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
                "uploaded": null,
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
}
