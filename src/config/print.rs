//! The effective settings, as `config print` shows them.

use std::fmt::Write as _;

use toml::Value;

use super::{
    Origin, Origins,
    error::without_password,
    schema::{self, Kind, dotted, quoted},
};

/// Every setting that has a value, as TOML, with its origin.
pub(super) fn print(origins: &Origins) -> String {
    let mut text = String::new();
    let names = |path: &[String], _: &str| origins.names(path);
    schema::root().visit(&mut Vec::new(), &names, &mut |path, node| {
        let Some(name) = path.last() else { return };
        match &node.kind {
            Kind::Key(key) => {
                let default = key.default().map(|value| (value, &Origin::Default));
                if let Some((value, origin)) = origins.value(path).or(default) {
                    let value = without_passwords(value);
                    let _infallible = writeln!(text, "{} = {value}  # {origin}", quoted(name));
                }
            }
            Kind::Section(_) => {
                let _infallible = writeln!(text, "\n[{}]", dotted(path));
            }
            Kind::Named(..) => {}
        }
    });
    text.trim_start().to_owned()
}

fn without_passwords(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(without_password(text)),
        Value::Array(values) => Value::Array(values.iter().map(without_passwords).collect()),
        other => other.clone(),
    }
}
