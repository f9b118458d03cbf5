//! Every setting there is, as `config reference` shows it.

use std::fmt::Write as _;

use super::{
    schema::{self, Key, Kind, dotted, quoted, variable},
    value_type::Type,
};

const HEAD: &str = "\
# All settings of easemob-gateway.
#
# A line that starts with # and a key shows the default, or an example where there is none: take the
# # away to set the key. Each key can be set by the environment variable that stands above it, too,
# which wins over the file; in its name, the name of an app or a caller stands in capitals, with _ for -.
";

/// Every key with its documentation, type, variable and default: TOML in which all values are
/// commented out, and which is valid with and without these marks.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    schema::root().visit(&mut Vec::new(), &schema::example, &mut |path, node| {
        let Some(name) = path.last() else { return };
        if matches!(node.kind, Kind::Named(..)) {
            return;
        }
        text.push('\n');
        for line in node.doc.lines() {
            let _infallible = writeln!(text, "{}", format!("# {line}").trim_end());
        }
        match &node.kind {
            Kind::Key(key) => describe(&mut text, name, path, key),
            Kind::Section(_) => {
                let _infallible = writeln!(text, "[{}]", dotted(path));
            }
            Kind::Named(..) => {}
        }
    });
    text
}

fn describe(text: &mut String, name: &str, path: &[String], key: &Key) {
    if let Type::Choice(options) = &key.value_type {
        for (option, doc) in options {
            let _infallible = writeln!(text, "# - {option:?}: {}", doc.replace('\n', " "));
        }
    }
    let default = match key.default() {
        Some(_) => "",
        None => ", no default",
    };
    let expected = key.value_type.expected();
    let variable = variable(path);
    let _infallible = writeln!(text, "# ({expected}{default}; {variable})");
    if let Some(value) = key.shown() {
        let _infallible = writeln!(text, "#{} = {value}", quoted(name));
    }
}
