//! What became of the message, for people and as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{
    field,
    outcome::{Accepted, Failure, Outcome, Problem},
};

/// Writes one line of JSON.
pub(super) fn write_json(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, outcome)?;
    writeln!(out)?;
    out.flush()
}

/// Writes what was accepted to `out`, and what was not, with what to do, to `err`.
pub(super) fn write_text(
    outcome: &Outcome,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<()> {
    match outcome {
        Outcome::Error { error } => write_problem(error, err),
        Outcome::Answer {
            accepted,
            failures,
            replayed,
        } => {
            // Whoever reads only one of the two streams gets that one even where the other is closed.
            let written = write_accepted(accepted, out);
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

fn write_accepted(accepted: &[Accepted], out: &mut impl Write) -> io::Result<()> {
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

fn write_problem(problem: &Problem, err: &mut impl Write) -> io::Result<()> {
    let state = problem.send_state;
    let reason = problem.reason.as_deref().unwrap_or(&problem.code);
    if problem.violations.is_empty() {
        let message = printable(&problem.message);
        writeln!(err, "{state}  {reason}: {message}")?;
        return write_wait(problem.retry_after, err);
    }
    writeln!(err, "{state}  {reason}: correct this, and send again.")?;
    for violation in &problem.violations {
        let option = printable(&field::option(&violation.field));
        let description = printable(&violation.description);
        writeln!(err, "  {option} {description}")?;
    }
    Ok(())
}

fn write_wait(wait: Option<Duration>, err: &mut impl Write) -> io::Result<()> {
    let Some(wait) = wait else { return Ok(()) };
    // Nobody waits for nanoseconds; rounded up, since a little early is too early.
    let ms = wait.as_nanos().div_ceil(1_000_000);
    let wait = Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX));
    let wait = humantime::format_duration(wait);
    writeln!(err, "  Wait {wait} before you send again.")
}

/// A text as it may go to a terminal: an answer cannot move the cursor or colour the screen.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::cli::send::outcome::{State, Violation};

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
        };
        let (out, err) = written(&outcome);
        assert_eq!(
            out,
            "accepted  bob        1029\naccepted  alexander  1030\n"
        );
        assert_eq!(
            err,
            "not sent  carol, dave  QUOTA_EXCEEDED: Too many. Nothing was sent.\n  \
             Wait 1s 500ms before you send again.\n"
        );
    }

    #[test]
    fn wrong_fields_are_told_as_options() {
        let violation = |field: &str, description: &str| Violation {
            field: field.into(),
            description: description.into(),
        };
        let mut error = Problem::not_connected(Code::InvalidArgument, "two are wrong".into());
        error.reason = Some("INVALID_REQUEST".into());
        error.violations = vec![
            violation("message.location.latitude", "must be -90 to 90 degrees"),
            violation("message.users.user_ids[1]", "is a duplicate"),
        ];
        let (out, err) = written(&Outcome::Error { error });
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
        let (_out, err) = written(&Outcome::Error { error });
        assert_eq!(err, "maybe sent  UNKNOWN: lost  [2Jit\n");
    }

    #[test]
    fn an_answer_about_nobody_does_not_pass_in_silence() {
        let outcome = Outcome::Answer {
            accepted: Vec::new(),
            failures: Vec::new(),
            replayed: true,
        };
        let (_out, err) = written(&outcome);
        assert!(err.starts_with("maybe sent"));
        assert!(err.contains("remembered"));
    }

    #[test]
    fn json_is_one_line() {
        let error = Problem::maybe_sent(Code::Unknown, "two\nlines".into());
        let mut out = Vec::new();
        write_json(&Outcome::Error { error }, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(out.last(), Some(&b'\n'));
    }
}
