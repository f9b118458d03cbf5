//! What a command tells, for people and as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{field, problem::Problem, trace::Trace};

/// An object, and the trace of the call that it is about.
#[derive(Serialize)]
struct Traced<'a, T> {
    #[serde(flatten)]
    value: &'a T,
    trace_id: Option<&'a str>,
}

/// Writes an object and its trace as one line of JSON.
pub(super) fn write_json(
    value: &impl Serialize,
    trace: &Trace,
    out: &mut impl Write,
) -> io::Result<()> {
    let trace_id = trace.id();
    serde_json::to_writer(&mut *out, &Traced { value, trace_id })?;
    writeln!(out)?;
    out.flush()
}

/// Writes an error: the verdict, why, and what to do before the command is repeated, which `again`
/// names. Wrong fields are told as the options of `fields`.
pub(super) fn write_problem(
    verdict: &str,
    again: &str,
    problem: &Problem,
    fields: field::Table,
    err: &mut impl Write,
) -> io::Result<()> {
    let reason = problem.reason.as_deref().unwrap_or(&problem.code);
    if problem.violations.is_empty() {
        let message = printable(&problem.message);
        writeln!(err, "{verdict}  {reason}: {message}")?;
        if reason == "CALLER_UNAUTHENTICATED" {
            writeln!(
                err,
                "  A key comes from EASEMOB_GATEWAY_KEY or --key-file, a certificate from --cert and --cert-key."
            )?;
        }
        return write_wait(problem.retry_after, err);
    }
    writeln!(err, "{verdict}  {reason}: correct this, and {again} again.")?;
    for violation in &problem.violations {
        let option = printable(&field::option(&violation.field, fields));
        let description = printable(&violation.description);
        writeln!(err, "  {option} {description}")?;
    }
    Ok(())
}

/// Writes how long to wait.
pub(super) fn write_wait(wait: Option<Duration>, err: &mut impl Write) -> io::Result<()> {
    let Some(wait) = wait else { return Ok(()) };
    // Nobody waits for nanoseconds; rounded up, since a little early is too early.
    let ms = wait.as_nanos().div_ceil(1_000_000);
    let wait = Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX));
    let wait = humantime::format_duration(wait);
    writeln!(err, "  Wait {wait} before you try again.")
}

/// A text as it may go to a terminal: an answer cannot move the cursor or colour the screen.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn json_is_one_line() {
        let problem = Problem::maybe_sent(Code::Unknown, "two\nlines".into());
        let mut out = Vec::new();
        write_json(&problem, &Trace::default(), &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(out.last(), Some(&b'\n'));
    }
}
