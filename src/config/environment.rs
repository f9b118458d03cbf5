//! Settings from environment variables: `EASEMOB_GATEWAY__SERVER__LISTEN` is `server.listen`.

use std::env;

use super::{
    error::{Origin, Problem, without_password},
    schema::{self, Key, KeyPath, Kind, Node, PREFIX, upper, variable},
    settings::Settings,
};

/// The variables of this process that are meant for the settings.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        // Bytes that are no text become a character that no setting takes.
        name.starts_with(PREFIX)
            .then(|| (name, value.to_string_lossy().into_owned()))
    })
}

/// Reads what the environment sets. Variables with other names are none of ours.
pub(super) fn read(env: impl Iterator<Item = (String, String)>, settings: &mut Settings) {
    let mut variables: Vec<_> = env.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort_unstable();
    for (name, value) in variables {
        match resolve(schema::root(), &name[PREFIX.len()..], Vec::new(), settings) {
            Some((path, key)) => {
                let shown = without_password(&value.escape_debug().to_string());
                let value = key.value_type.read(&value);
                settings.set(&path, value, Origin::Environment(name, Some(shown)));
            }
            None => {
                let problem = unknown(&name, settings);
                settings.note(problem);
            }
        }
    }
}

/// The key that the rest of a name means.
fn resolve<'n>(
    node: &'n Node,
    rest: &str,
    path: KeyPath,
    settings: &Settings,
) -> Option<(KeyPath, &'n Key)> {
    let names: Vec<String> = match &node.kind {
        Kind::Key(key) => return rest.is_empty().then_some((path, key)),
        Kind::Section(children) => children.iter().map(|(name, _)| name.clone()).collect(),
        Kind::Named(..) => {
            // A name of the file may hold hyphens, which no variable can.
            let mut names = settings.names(&path);
            names.extend(new_name(rest));
            names
        }
    };
    names.into_iter().find_map(|name| {
        let rest = rest.strip_prefix(&upper(&name))?;
        let rest = if rest.is_empty() {
            rest
        } else {
            rest.strip_prefix("__")?
        };
        let child = node.child(&name)?;
        let path = [path.as_slice(), &[name]].concat();
        resolve(child, rest, path, settings)
    })
}

/// A name that only the environment knows.
fn new_name(rest: &str) -> Option<String> {
    let (name, _) = rest.split_once("__")?;
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn unknown(name: &str, settings: &Settings) -> Problem {
    // The value is not shown: behind a misspelt name there may be a secret.
    let origin = Origin::Environment(name.to_owned(), None);
    let problem = Problem::new(format!("{name} names no setting"), origin);
    if name.ends_with("__CLIENT_SECRET") || name.ends_with("__APP_CERTIFICATE") {
        return problem.note(format!(
            "the secret goes into a variable of another name, and that name into {name}_ENV"
        ));
    }
    let names = |path: &[String], _: &str| {
        let mut names = settings.names(path);
        let rest = name[PREFIX.len()..].splitn(path.len() + 1, "__").last();
        names.extend(rest.and_then(new_name));
        names
    };
    let written = name.to_ascii_uppercase();
    let most = (name.len() - PREFIX.len()) / 2;
    let mut nearest: Option<(usize, String)> = None;
    schema::root().visit(&mut Vec::new(), &names, &mut |path, node| {
        if matches!(node.kind, Kind::Key(_)) {
            let known = variable(path);
            let distance = strsim::damerau_levenshtein(&written, &known);
            if distance <= most && nearest.as_ref().is_none_or(|(least, _)| distance < *least) {
                nearest = Some((distance, known));
            }
        }
    });
    match nearest {
        Some((_, known)) => problem.note(format!("the nearest known name is {known}")),
        None => problem.note("`easemob-gateway config reference` lists the names"),
    }
}
