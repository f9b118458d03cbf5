//! The settings file: from text to values, each with its place.

use std::{fs, ops::Range, path::Path, sync::Arc};

use serde::Deserialize;
use toml::{
    Spanned, Value,
    de::{DeString, DeTable, DeValue, ValueDeserializer},
};

use super::{
    error::{Errors, Origin, Place, Problem},
    nearest,
    schema::{self, KeyPath, Kind, Node, dotted},
    settings::Settings,
};

/// Reads the file. What is wrong with single keys is left in `settings`.
pub(super) fn read(path: &Path, settings: &mut Settings) -> Result<(), Errors> {
    let name = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => parse(&name, &bytes, settings),
        Err(error) => {
            let text = format!("cannot read {name}: {error}");
            Err(Problem::new(text, Origin::Default).into())
        }
    }
}

/// Reads what a file holds.
pub(super) fn parse(name: &str, bytes: &[u8], settings: &mut Settings) -> Result<(), Errors> {
    let file = &Arc::from(name);
    let text = str::from_utf8(bytes).map_err(|error| {
        let valid = error.valid_up_to();
        let text = String::from_utf8_lossy(bytes);
        let place = Place::new(file, &text, valid..valid, valid..valid);
        Problem::new(format!("{name} is not UTF-8 text"), Origin::File(place))
    })?;
    let source = Source { file, text };
    let table = DeTable::parse(text).map_err(|error| source.syntax_error(&error))?;
    source.section(schema::root(), table.get_ref(), &mut Vec::new(), settings);
    Ok(())
}

struct Source<'s> {
    file: &'s Arc<str>,
    text: &'s str,
}

impl Source<'_> {
    fn section(
        &self,
        node: &Node,
        table: &DeTable<'_>,
        path: &mut KeyPath,
        settings: &mut Settings,
    ) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            match node.child(key.get_ref()) {
                Some(child) => self.value(child, key, value, path, settings),
                None => settings.note(self.unknown(node, key, path)),
            }
            path.pop();
        }
    }

    fn value(
        &self,
        node: &Node,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        path: &mut KeyPath,
        settings: &mut Settings,
    ) {
        match (&node.kind, value.get_ref()) {
            (Kind::Key(known), DeValue::Table(_)) => {
                let expected = known.value_type.expected();
                let text = format!("{} must be {expected}, not a table", dotted(path));
                settings.refuse(text, self.key_origin(key));
            }
            (Kind::Key(_), _) => {
                let origin = self.value_origin(key, value);
                match Value::deserialize(ValueDeserializer::from(value.clone())) {
                    Ok(value) => settings.set(path, value, origin),
                    // TOML has numbers that are too large for this.
                    Err(_) => {
                        let text = format!("{} is too large a number", dotted(path));
                        settings.refuse(text, origin);
                    }
                }
            }
            (_, DeValue::Table(table)) => {
                settings.enter(path, self.key_origin(key));
                self.section(node, table, path, settings);
            }
            _ => {
                let name = dotted(path);
                // The value is not shown: what stands at a wrong place may be a secret.
                let problem = Problem::new(format!("{name} must be a table"), self.key_origin(key));
                let header = match &node.kind {
                    Kind::Named(example, _) => format!("{name}.{example}"),
                    _ => name,
                };
                settings.note(problem.note(format!("write its keys below a line [{header}]")));
            }
        }
    }

    fn unknown(&self, node: &Node, key: &Spanned<DeString<'_>>, path: &[String]) -> Problem {
        let name = dotted(path);
        // The value is not shown: behind a misspelt name there may be a secret.
        let origin = self.key_origin(key);
        if let secret @ ("client_secret" | "app_certificate") = key.get_ref().as_ref() {
            let text =
                format!("{name} must not stand in the settings: it would be a secret in the clear");
            return Problem::new(text, origin)
                .note(format!(
                    "write the secret to a file of its own, and that file's name to {secret}_file,"
                ))
                .note(format!(
                    "or put it into an environment variable, and its name into {secret}_env"
                ));
        }
        let problem = Problem::new(format!("unknown key {name}"), origin);
        problem.note(nearest::nearest(node, path))
    }

    /// The place of a key, shown without its value.
    fn key_origin(&self, key: &Spanned<DeString<'_>>) -> Origin {
        let key = key.span();
        let shown = self.before(&key)..self.header_end(&key).unwrap_or(key.end);
        Origin::File(Place::new(self.file, self.text, key, shown))
    }

    /// The place of a value.
    fn value_origin(&self, key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Origin {
        let shown = self.before(&key.span())..value.span().end;
        Origin::File(Place::new(self.file, self.text, value.span(), shown))
    }

    /// Where the line of a key starts; within an inline table, the key itself.
    fn before(&self, key: &Range<usize>) -> usize {
        let start = self.line_start(key.start);
        let inline = self.text[start..key.start].contains(['=', '{', ',']);
        if inline { key.start } else { start }
    }

    /// Where the header `[section]` ends that a key is part of.
    fn header_end(&self, key: &Range<usize>) -> Option<usize> {
        let line = &self.text[self.line_start(key.start)..];
        if !line.trim_start().starts_with('[') {
            return None;
        }
        let rest = self.text[key.end..].lines().next()?;
        let close = rest.find(']')?;
        let brackets = rest[close..].bytes().take_while(|b| *b == b']').count();
        Some(key.end + close + brackets)
    }

    fn line_start(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn syntax_error(&self, error: &toml::de::Error) -> Problem {
        let at = error.span().unwrap_or_default();
        let start = self.line_start(at.start);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let shown = start..start + harmless(line);
        let hidden = at.start > shown.end;
        let place = Place::new(self.file, self.text, at, shown);
        let message = error.message().trim_end_matches(", expected nothing");
        let text = format!("not TOML: {message}");
        let problem = Problem::new(text, Origin::File(place));
        match hidden {
            true => problem.note("the rest of the line is not shown, since it may hold a secret"),
            false => problem,
        }
    }
}

/// How much of a line can be shown. A value is only if its key is known and takes one: behind
/// `client_secret`, or a misspelt name, there may be a secret, and a line of its own may be part of one.
fn harmless(line: &str) -> usize {
    let trimmed = line.trim_start();
    let indent = line.len() - trimmed.len();
    if trimmed.starts_with('[') {
        return indent + trimmed.find(']').map_or(trimmed.len(), |at| at + 1);
    }
    let end = trimmed.find(|c: char| c.is_whitespace() || "='\"{".contains(c));
    let (key, rest) = trimmed.split_at(end.unwrap_or(trimmed.len()));
    if schema::is_key(key.rsplit('.').next().unwrap_or_default()) {
        // A second key may follow within braces.
        return line.find(',').unwrap_or(line.len());
    }
    let value = rest.trim_start();
    let assigned = value.strip_prefix('=').map(str::trim_start);
    let is_key = match assigned {
        // Signs of equality at the end are padding.
        Some(value) => !value.is_empty() && !value.starts_with('='),
        None => value.starts_with(['\'', '"']),
    };
    if is_key { indent + key.len() } else { 0 }
}
