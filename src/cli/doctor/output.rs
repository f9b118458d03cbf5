//! The findings, for people and as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::finding::{Finding, Verdict};
use crate::cli::output::printable;

/// All findings, in the shape of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    verdict: Verdict,
    problems: usize,
    warnings: usize,
    findings: &'a [Finding],
}

/// How many findings have this verdict.
pub(super) fn count(findings: &[Finding], verdict: Verdict) -> usize {
    let same = findings.iter().filter(|finding| finding.verdict == verdict);
    same.count()
}

/// Writes one line of JSON.
pub(super) fn write_json(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let problems = count(findings, Verdict::Problem);
    let warnings = count(findings, Verdict::Warning);
    let verdict = match (problems, warnings) {
        (0, 0) => Verdict::Ok,
        (0, _) => Verdict::Warning,
        _ => Verdict::Problem,
    };
    let report = Report {
        verdict,
        problems,
        warnings,
        findings,
    };
    serde_json::to_writer(&mut *out, &report)?;
    writeln!(out)?;
    out.flush()
}

/// Writes a line for each finding, more for what somebody has to do something about, and a sum.
pub(super) fn write_text(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        write_finding(finding, out)?;
    }
    let sum = match (
        count(findings, Verdict::Problem),
        count(findings, Verdict::Warning),
    ) {
        (0, 0) => "Everything is as it should be.".to_owned(),
        (0, warnings) => format!("The gateway can work. {}.", several(warnings, "warning")),
        (problems, warnings) => format!(
            "{}, {}: correct them from the top, and run this again.",
            several(problems, "problem"),
            several(warnings, "warning")
        ),
    };
    writeln!(out, "\n{sum}")?;
    out.flush()
}

fn write_finding(finding: &Finding, out: &mut impl Write) -> io::Result<()> {
    let style = style(finding.verdict);
    let word = finding.verdict.word();
    let (subject, check) = (printable(&finding.subject), finding.check);
    let found = printable(&finding.found);
    writeln!(out, "{style}{word:<8}{style:#} {subject}, {check}: {found}")?;
    if let (Some(fault), Some(change)) = (finding.fault, &finding.change) {
        writeln!(out, "           tried   {}", printable(&finding.tried))?;
        writeln!(out, "           fault   {fault}")?;
        writeln!(out, "           change  {}", printable(change))?;
    }
    Ok(())
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Ok => AnsiColor::Green.on_default(),
        Verdict::Skipped => Style::new().dimmed(),
        Verdict::Warning => AnsiColor::Yellow.on_default().bold(),
        Verdict::Problem => AnsiColor::Red.on_default().bold(),
    }
}

fn several(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
