//! What is wrong with the settings, told so that a person can put it right: the key, the place, the
//! line, and what would do. Laid out as cargo and rustc do it.

use std::{error::Error, fmt, ops::Range, sync::Arc};

use crate::caller::key::PREFIX;

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub struct Errors(Vec<Problem>);

impl Errors {
    /// The problems, those of the file first and in its order.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.origin {
            Origin::File(place) => (0, place.line, place.column),
            Origin::Environment(..) => (1, 0, 0),
            Origin::Default => (2, 0, 0),
        });
        Self(problems)
    }
}

impl Errors {
    /// Each problem in one line, for logs.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|problem| match &problem.origin {
            Origin::Default => problem.text.clone(),
            origin => format!("{} ({origin})", problem.text),
        })
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for Errors {}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    text: String,
    origin: Origin,
    notes: Vec<String>,
}

impl Problem {
    pub(super) fn new(text: impl Into<String>, origin: Origin) -> Self {
        Self {
            // A key may be any text, line breaks included.
            text: without_keys(&text.into()).chars().map(printable).collect(),
            origin,
            notes: Vec::new(),
        }
    }

    /// Adds what may help.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl From<Problem> for Errors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.text)?;
        let mut margin = " ".to_owned();
        match &self.origin {
            Origin::File(place) => {
                let line = place.line.to_string();
                margin = " ".repeat(line.len());
                let Place { file, column, .. } = place;
                write!(f, "\n{margin}--> {file}:{line}:{column}")?;
                if let Some(excerpt) = &place.excerpt {
                    let indent = " ".repeat(excerpt.mark.start);
                    let mark = "^".repeat(excerpt.mark.len().max(1));
                    write!(f, "\n{margin} |\n{line} | {}", excerpt.text)?;
                    write!(f, "\n{margin} | {indent}{mark}")?;
                }
            }
            Origin::Environment(name, value) => {
                write!(f, "\n{margin}--> environment: {name}")?;
                if let Some(value) = value {
                    write!(f, "={value}")?;
                }
            }
            Origin::Default => {}
        }
        for note in &self.notes {
            write!(f, "\n{margin} = {note}")?;
        }
        Ok(())
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file.
    File(Place),
    /// A variable of the environment, and its value where that can be shown.
    Environment(String, Option<String>),
    /// Nobody set it.
    #[default]
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => write!(f, "{}:{}", place.file, place.line),
            Self::Environment(name, _) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) excerpt: Option<Excerpt>,
}

/// As much of a line as can be shown, and which of its characters are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    text: String,
    mark: Range<usize>,
}

/// Longest excerpt that helps a reader, in characters.
const MAX_EXCERPT: usize = 160;

impl Place {
    /// The place `mark` of a file, shown by the part `shown` of its line. Both are ranges of bytes.
    pub(super) fn new(
        file: &Arc<str>,
        source: &str,
        mark: Range<usize>,
        shown: Range<usize>,
    ) -> Self {
        let before = source.get(..mark.start).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let chars = |range: Range<usize>| source.get(range).map_or(0, |text| text.chars().count());

        let text = source.get(shown.clone()).unwrap_or_default();
        let text = text.lines().next().unwrap_or_default();
        let end = mark.end.min(shown.start + text.len()).max(mark.start);
        let start = chars(shown.start..mark.start);
        let mark = start..start + chars(mark.start..end);
        let text: String = text.chars().take(MAX_EXCERPT).map(printable).collect();
        let excerpt = (!text.is_empty() && mark.end <= MAX_EXCERPT).then(|| Excerpt {
            text: without_password(&text),
            mark,
        });
        Self {
            file: Arc::clone(file),
            line: before.matches('\n').count() + 1,
            column: chars(line_start..before.len()) + 1,
            excerpt,
        }
    }
}

fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// A text without the user name and password of a URL in it, and without callers' keys, as long as before.
pub(super) fn without_password(text: &str) -> String {
    without_url_password(&without_keys(text))
}

/// Keys do not belong into the settings, only their digests; so one is there by mistake.
fn without_keys(text: &str) -> String {
    let mut parts = text.split(PREFIX);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        let hidden = part.len() - rest.len();
        shown.extend([PREFIX, &"*".repeat(hidden), rest]);
    }
    shown
}

fn without_url_password(text: &str) -> String {
    let Some((head, host)) = text.rsplit_once('@') else {
        return text.to_owned();
    };
    let (start, is_url) = match head.find("://") {
        Some(at) => (at + 3, true),
        None => (
            head.rfind(['"', '\'', '=', ' ']).map_or(0, |at| at + 1),
            false,
        ),
    };
    let (before, secret) = head.split_at(start);
    if !is_url && !secret.contains(':') {
        return text.to_owned();
    }
    format!("{before}{}@{host}", "*".repeat(secret.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_hidden() {
        for (text, hidden) in [
            ("http://amy:pw@proxy:1", "http://******@proxy:1"),
            (
                "url = \"http://amy:p@w@proxy\"",
                "url = \"http://*******@proxy\"",
            ),
            ("url = \"amy:pw@proxy\"", "url = \"******@proxy\""),
            ("http://token@proxy", "http://*****@proxy"),
            ("https://a1.easemob.com", "https://a1.easemob.com"),
            ("amy@example", "amy@example"),
            ("['egk_0a1b', 'egk_2c']", "['egk_****', 'egk_**']"),
        ] {
            assert_eq!(without_password(text), hidden);
        }
    }
}
