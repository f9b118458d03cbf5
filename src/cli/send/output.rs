//! What became of the message, for people.

use std::io::{self, Write};

use super::outcome::{Accepted, Failure, Outcome, Uploaded};
use crate::cli::{
    field,
    output::{printable, write_problem, write_wait},
    problem::{Problem, State},
};

/// Writes what was accepted to `out`, and what was not, with what to do, to `err`.
pub(super) fn write_text(
    outcome: &Outcome,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<()> {
    match outcome {
        Outcome::Error { error, uploaded } => {
            write_problem(verdict(error), "send", error, field::SEND, err)?;
            write_finish(uploaded.as_ref(), error.send_state, err)
        }
        Outcome::Answer {
            accepted,
            failures,
            replayed,
            uploaded,
        } => {
            // Whoever reads only one of the two streams gets that one even where the other is closed.
            let written = write_accepted(accepted, uploaded.as_ref(), out);
            for failure in failures {
                write_failure(failure, err)?;
            }
            if accepted.is_empty() && failures.is_empty() {
                writeln!(
                    err,
                    "maybe sent: the gateway answered, and told nothing of any recipient. Tell its operator, and look \
                     whether the message arrived before you send it again."
                )?;
            }
            if let Some(failure) = failures.first() {
                let maybe = failures.iter().find(|f| f.state == State::MaybeSent);
                let state = maybe.unwrap_or(failure).state;
                write_finish(uploaded.as_ref(), Some(state), err)?;
            }
            if *replayed {
                writeln!(
                    err,
                    "Part of this answer is remembered from an earlier request with this request ID."
                )?;
            }
            written
        }
    }
}

fn verdict(problem: &Problem) -> &'static str {
    match problem.send_state {
        Some(State::MaybeSent) => "maybe sent",
        Some(State::NotSent) | None => "not sent",
    }
}

/// How to go on with a file that is stored, without uploading it again.
fn write_finish(
    uploaded: Option<&Uploaded>,
    state: Option<State>,
    err: &mut impl Write,
) -> io::Result<()> {
    let Some(uploaded) = uploaded else {
        return Ok(());
    };
    let what = match uploaded.file {
        Some(_) => "file",
        None => "thumbnail",
    };
    let when = match state {
        Some(State::MaybeSent) => "if the message did not arrive, ",
        Some(State::NotSent) | None => "",
    };
    let finish = printable(&uploaded.finish);
    writeln!(
        err,
        "  The {what} is stored: {when}finish with this, and the recipients and options as before:\n    {finish}"
    )
}

fn write_accepted(
    accepted: &[Accepted],
    uploaded: Option<&Uploaded>,
    out: &mut impl Write,
) -> io::Result<()> {
    if let Some(file) = uploaded.and_then(|uploaded| uploaded.file.as_ref()) {
        writeln!(out, "uploaded  {}", printable(&file.uuid))?;
    }
    let width = |accepted: &Accepted| accepted.recipient.chars().count();
    let width = accepted.iter().map(width).max().unwrap_or_default();
    for Accepted {
        recipient,
        message_id,
        ..
    } in accepted
    {
        let (recipient, message_id) = (printable(recipient), printable(message_id));
        writeln!(out, "accepted  {recipient:width$}  {message_id}")?;
    }
    out.flush()
}

fn write_failure(failure: &Failure, err: &mut impl Write) -> io::Result<()> {
    let recipients = printable(&failure.recipients.join(", "));
    let reason = failure.reason.as_deref().unwrap_or("no reason given");
    let message = printable(&failure.message);
    writeln!(err, "{}  {recipients}  {reason}: {message}", failure.state)?;
    write_wait(failure.retry_after, err)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;
    use crate::cli::{file::Stored, problem::Violation};

    /// Both streams after the outcome was written.
    fn written(outcome: &Outcome) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        write_text(outcome, &mut out, &mut err).unwrap();
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    fn accepted(recipient: &str, message_id: &str) -> Accepted {
        Accepted {
            recipient: recipient.into(),
            message_id: message_id.into(),
            accept_time: None,
        }
    }

    #[test]
    fn accepted_goes_to_one_stream_and_the_rest_to_the_other() {
        let outcome = Outcome::Answer {
            accepted: vec![accepted("bob", "1029"), accepted("alexander", "1030")],
            failures: vec![Failure {
                recipients: vec!["carol".into(), "dave".into()],
                state: State::NotSent,
                reason: Some("QUOTA_EXCEEDED".into()),
                message: "Too many. Nothing was sent.".into(),
                retry_after: Some(Duration::from_nanos(1_499_000_001)),
                metadata: [].into(),
            }],
            replayed: false,
            uploaded: None,
        };
        let (out, err) = written(&outcome);
        assert_eq!(
            out,
            "accepted  bob        1029\naccepted  alexander  1030\n"
        );
        assert_eq!(
            err,
            "not sent  carol, dave  QUOTA_EXCEEDED: Too many. Nothing was sent.\n  \
             Wait 1s 500ms before you try again.\n"
        );
    }

    #[test]
    fn wrong_fields_are_told_as_options() {
        let violation = |field: &str, description: &str| Violation {
            field: field.into(),
            description: description.into(),
        };
        let mut error = Problem::not_sent(Code::InvalidArgument, "two are wrong".into());
        error.reason = Some("INVALID_REQUEST".into());
        error.violations = vec![
            violation("message.location.latitude", "must be -90 to 90 degrees"),
            violation("message.users.user_ids[1]", "is a duplicate"),
        ];
        let (out, err) = written(&Outcome::from(error));
        assert_eq!(out, "");
        assert_eq!(
            err,
            "not sent  INVALID_REQUEST: correct this, and send again.\n  \
             --latitude must be -90 to 90 degrees\n  \
             --to (value 2) is a duplicate\n"
        );
    }

    #[test]
    fn an_error_without_a_reason_shows_its_code_and_cannot_drive_the_terminal() {
        let error = Problem::maybe_sent(Code::Unknown, "lost \u{1b}[2Jit".into());
        let (_out, err) = written(&Outcome::from(error));
        assert_eq!(err, "maybe sent  UNKNOWN: lost  [2Jit\n");
    }

    #[test]
    fn an_answer_about_nobody_does_not_pass_in_silence() {
        let outcome = Outcome::Answer {
            accepted: Vec::new(),
            failures: Vec::new(),
            replayed: true,
            uploaded: None,
        };
        let (_out, err) = written(&outcome);
        assert!(err.starts_with("maybe sent"));
        assert!(err.contains("remembered"));
    }

    fn uploaded() -> Option<Uploaded> {
        let file = Stored {
            uuid: "1-2".into(),
            secret: None,
            size_bytes: 7,
            sha256: "00".into(),
        };
        Some(Uploaded {
            file: Some(file),
            thumbnail: None,
            finish: "easemob-gateway send image --uuid 1-2".into(),
        })
    }

    #[test]
    fn a_stored_file_is_told_with_the_message() {
        let outcome = Outcome::Answer {
            accepted: vec![accepted("bob", "1029")],
            failures: Vec::new(),
            replayed: false,
            uploaded: uploaded(),
        };
        let (out, err) = written(&outcome);
        assert_eq!(out, "uploaded  1-2\naccepted  bob  1029\n");
        assert_eq!(err, "");
    }

    #[test]
    fn a_stored_file_need_not_be_uploaded_again() {
        let finish = "finish with this, and the recipients and options as before:\n    \
                      easemob-gateway send image --uuid 1-2\n";
        let error = Problem::not_sent(Code::ResourceExhausted, "too many".into());
        let (_out, err) = written(&Outcome::from(error).with(uploaded()));
        assert_eq!(
            err,
            format!("not sent  RESOURCE_EXHAUSTED: too many\n  The file is stored: {finish}")
        );
        let error = Problem::maybe_sent(Code::Unknown, "lost".into());
        let (_out, err) = written(&Outcome::from(error).with(uploaded()));
        assert!(
            err.ends_with(&format!("stored: if the message did not arrive, {finish}")),
            "{err}"
        );
    }
}
