//! The file of callers: TOML, a section for each. What is wrong with it is told without quoting it, since a
//! key may stand in it by mistake.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{CallerConfig, config::is_name};

/// The callers in a file, by name; or what is wrong with it, and where.
pub(super) fn parse(contents: &[u8]) -> Result<BTreeMap<String, CallerConfig>, String> {
    let text = str::from_utf8(contents).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let table: Table = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("line {}: not TOML", line(text, at))
    })?;
    let mut callers = BTreeMap::new();
    for (name, value) in table {
        let at = line(text, text.find(&name).unwrap_or(0));
        if !is_name(&name) {
            return Err(format!(
                "line {at}: a caller may be named by a-z, 0-9, - and _ only, at most 64 of them, and not as keys begin"
            ));
        }
        if !matches!(value, Value::Table(_)) {
            return Err(format!(
                "line {at}: {name} must be a section [NAME], with the keys of a caller"
            ));
        }
        callers.insert(name.clone(), caller(&name, value)?);
    }
    Ok(callers)
}

fn caller(name: &str, value: Value) -> Result<CallerConfig, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        match known(&path) {
            true => format!("{name}.{path}: wrong type or out of range"),
            // Neither the library's text nor its path: they quote what was written.
            false => format!("{name}: unknown key; there are {}", KEYS.join(", ")),
        }
    })
}

const KEYS: [&str; 4] = ["key_sha256", "identity", "apps", "weight"];

fn known(path: &str) -> bool {
    let key = path.split(['.', '[']).next().unwrap_or_default();
    KEYS.contains(&key)
}

fn line(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.matches('\n').count() + 1
}
