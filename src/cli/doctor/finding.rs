//! A finding: what was tried, what happened, whose fault that is, and what to change.

use std::fmt;

use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Not tried, since something before it failed or the settings do not ask for it.
    Skipped,
    /// It works, and somebody should look at it.
    Warning,
    /// The gateway cannot work so.
    Problem,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// Who can put it right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// Whoever writes the gateway's settings, secrets included.
    Settings,
    /// Whoever runs this machine or container.
    Machine,
    /// Whoever runs the network between here and there.
    Network,
    /// Whoever runs what was asked.
    OtherSide,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settings => "the settings",
            Self::Machine => "this machine",
            Self::Network => "the network, or the settings that choose the way",
            Self::OtherSide => "the other side",
        })
    }
}

/// One of them.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// What it is about: `app shop`, `gateway`.
    pub(super) subject: String,
    /// Name of the check, the same in every version.
    pub(super) check: &'static str,
    pub(super) tried: String,
    pub(super) found: String,
    pub(super) fault: Option<Fault>,
    pub(super) change: Option<String>,
}

/// A check under way.
#[derive(Debug)]
pub(super) struct Check<'a> {
    subject: &'a str,
    name: &'static str,
    tried: String,
}

impl<'a> Check<'a> {
    pub(super) fn new(subject: &'a str, name: &'static str, tried: impl Into<String>) -> Self {
        let tried = tried.into();
        Self {
            subject,
            name,
            tried,
        }
    }

    pub(super) fn ok(self, found: impl Into<String>) -> Finding {
        self.end(Verdict::Ok, found.into(), None)
    }

    pub(super) fn skipped(self, found: impl Into<String>) -> Finding {
        self.end(Verdict::Skipped, found.into(), None)
    }

    pub(super) fn warning(
        self,
        found: impl Into<String>,
        fault: Fault,
        change: impl Into<String>,
    ) -> Finding {
        self.end(Verdict::Warning, found.into(), Some((fault, change.into())))
    }

    pub(super) fn problem(
        self,
        found: impl Into<String>,
        fault: Fault,
        change: impl Into<String>,
    ) -> Finding {
        self.end(Verdict::Problem, found.into(), Some((fault, change.into())))
    }

    fn end(self, verdict: Verdict, found: String, cure: Option<(Fault, String)>) -> Finding {
        let (fault, change) = cure.unzip();
        Finding {
            verdict,
            subject: self.subject.to_owned(),
            check: self.name,
            tried: self.tried,
            found,
            fault,
            change,
        }
    }
}
