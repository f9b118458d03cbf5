//! What file and environment say, key by key, on its way to becoming a [`Config`].

use std::collections::BTreeMap;

use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::{
    Config, Errors, Origin, Problem,
    schema::{self, Key, KeyPath, dotted},
    value_type::Type,
};

/// What has been read so far, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Settings {
    origins: Origins,
    problems: Vec<Problem>,
}

/// Where each setting was set.
#[derive(Debug, Default)]
pub struct Origins {
    values: BTreeMap<KeyPath, (Value, Origin)>,
    /// The tables of the file: a setting that is missing is missing there.
    sections: BTreeMap<KeyPath, Origin>,
}

impl Settings {
    /// Takes a value, in place of an earlier one, if it is of the key's type.
    pub(super) fn set(&mut self, path: &[String], value: Value, origin: Origin) {
        let Some(key) = schema::root().key(path) else {
            return;
        };
        if key.value_type.admits(&value) {
            self.origins.values.insert(path.to_vec(), (value, origin));
        } else {
            let expected = key.value_type.expected();
            let problem = Problem::new(format!("{} must be {expected}", dotted(path)), origin);
            self.note(problem.example(key));
        }
    }

    /// Takes note of a table of the file.
    pub(super) fn enter(&mut self, path: &[String], origin: Origin) {
        self.origins.sections.insert(path.to_vec(), origin);
    }

    /// Notes that something is wrong.
    pub(super) fn refuse(&mut self, text: String, origin: Origin) {
        self.note(Problem::new(text, origin));
    }

    /// Notes that something is wrong.
    pub(super) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Names that the user chose within a table of tables.
    pub(super) fn names(&self, path: &[String]) -> Vec<String> {
        self.origins.names(path)
    }

    /// Makes the settings, if nothing is wrong.
    pub(super) fn finish(mut self) -> Result<(Config, Origins), Errors> {
        // What a type does not take (a duration, an address) shows itself one at a time: each goes
        // out of the way of the next.
        let mut table = self.origins.table();
        loop {
            match serde_path_to_error::deserialize(Value::Table(table)) {
                Ok(config) if self.problems.is_empty() => return Ok((config, self.origins)),
                Ok(_) => return Err(Errors::new(self.problems)),
                Err(error) => {
                    let path: KeyPath = error.path().iter().map_while(name).collect();
                    let problem = error.inner().message();
                    let text = format!("{}: {problem}", dotted(&path));
                    let Some((_, origin)) = self.origins.values.remove(&path) else {
                        self.refuse(text, Origin::Default);
                        return Err(Errors::new(self.problems));
                    };
                    let problem = Problem::new(text, origin);
                    self.note(match schema::root().key(&path) {
                        Some(key) => problem.example(key),
                        None => problem,
                    });
                    table = self.origins.table();
                }
            }
        }
    }
}

impl Problem {
    /// Adds what a text could look like; of other types there is no doubt.
    fn example(self, key: &Key) -> Self {
        match (&key.value_type, key.shown()) {
            (Type::Text, Some(example)) => self.note(format!("for example {example}")),
            _ => self,
        }
    }
}

fn name(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        _ => None,
    }
}

impl Origins {
    /// Where the setting of this name was set: `server.listen`.
    pub fn get(&self, name: &str) -> &Origin {
        let mut values = self.values.iter();
        match values.find(|(path, _)| path.join(".") == name) {
            Some((_, (_, origin))) => origin,
            None => &Origin::Default,
        }
    }

    /// How many settings come from the environment.
    pub fn from_environment(&self) -> usize {
        let origins = self.values.values().map(|(_, origin)| origin);
        origins
            .filter(|origin| matches!(origin, Origin::Environment(..)))
            .count()
    }

    /// The value that was set, and where.
    pub(super) fn value(&self, path: &[String]) -> Option<(&Value, &Origin)> {
        let (value, origin) = self.values.get(path)?;
        Some((value, origin))
    }

    /// The innermost table of the file that a setting belongs to.
    pub(super) fn section(&self, name: &str) -> Origin {
        let mut found = self.sections.iter().filter(|(path, _)| {
            let rest = name.strip_prefix(&path.join("."));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        // Longer paths come later.
        found
            .next_back()
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Names that the user chose within a table of tables.
    pub(super) fn names(&self, path: &[String]) -> Vec<String> {
        let paths = self.values.keys().chain(self.sections.keys());
        let mut names: Vec<_> = paths
            .filter_map(|known| known.strip_prefix(path)?.first().cloned())
            .collect();
        // One that a variable can spell comes first.
        names.sort_unstable_by_key(|name| (name.contains('-'), name.clone()));
        names.dedup();
        names
    }

    fn table(&self) -> Table {
        let mut root = Table::new();
        for path in self.sections.keys() {
            enter(&mut root, path);
        }
        for (path, (value, _)) in &self.values {
            if let Some((key, section)) = path.split_last()
                && let Some(table) = enter(&mut root, section)
            {
                table.insert(key.clone(), value.clone());
            }
        }
        root
    }
}

fn enter<'t>(root: &'t mut Table, path: &[String]) -> Option<&'t mut Table> {
    path.iter().try_fold(root, |table, name| {
        let child = table
            .entry(name.clone())
            .or_insert_with(|| Value::Table(Table::new()));
        child.as_table_mut()
    })
}
