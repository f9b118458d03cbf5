//! The house keeps its floors: imports point down, as `docs/architecture.md` says.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules at the root of the crate, each with its floor. A file names its own floor or a lower one.
const FLOORS: [(&str, u8); 17] = [
    ("cli", 8),
    ("config", 7),
    ("server", 6),
    ("grpc", 5),
    ("delivery", 4),
    ("store", 3),
    ("quota", 3),
    ("easemob", 3),
    ("message", 2),
    ("media", 2),
    ("app", 1),
    ("caller", 1),
    ("id", 1),
    ("invalid", 1),
    ("metrics", 1),
    ("proto", 0),
    ("trace", 0),
];

/// The modules beside the floors, with who may name them. They know no floor.
const BESIDE: [(&str, &[&str]); 2] = [
    // Its settings are a section of Config; the commands set it up.
    ("telemetry", &["cli", "config", "server"]),
    // A local Easemob that shared code with the gateway would share its mistakes.
    ("sandbox", &["cli"]),
];

/// Why `module` may not name `named`, if it may not.
fn objection(module: &str, named: &str) -> Option<String> {
    let floor = |name| FLOORS.iter().find(|(module, _)| *module == name);
    let beside = |name| BESIDE.iter().find(|(module, _)| *module == name);
    if module == named {
        return None;
    }
    if let Some((_, callers)) = beside(named) {
        return (!callers.contains(&module))
            .then(|| format!("only {} may name {named}", callers.join(", ")));
    }
    if beside(module).is_some() {
        // What is wrong with a setting is told in one way by every section; and exporters have to know
        // what they export.
        return (module != "telemetry" || !["invalid", "metrics", "trace"].contains(&named))
            .then(|| format!("{module} names nothing of the crate"));
    }
    match (floor(module), floor(named)) {
        (Some((_, own)), Some((_, other))) => {
            (other > own).then(|| format!("{named} is above {module}"))
        }
        (None, _) => Some(format!("{module} has no floor yet: give it one here")),
        (_, None) => Some(format!("{named} has no floor yet: give it one here")),
    }
}

#[test]
fn imports_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut objections = Vec::new();
    let mut read = 0;
    for path in rust_files(&src) {
        let inside = path.strip_prefix(&src).expect("a file of src");
        let first = inside.components().next().expect("not empty");
        let module = Path::new(&first).with_extension("");
        let module = module.to_str().expect("our names are ASCII");
        // The map of the modules, and the way in.
        if ["lib", "main"].contains(&module) {
            continue;
        }
        read += 1;
        let code = without_comments(&fs::read_to_string(&path).expect("a readable file"));
        let mut found = Vec::new();
        for named in named_modules(&code) {
            found.extend(objection(module, &named));
        }
        if climbs(&code, depth_of(inside)) {
            found.push("climbs by `super`: write `crate::`, which shows the floor".into());
        }
        let inside = inside.display();
        objections.extend(
            found
                .into_iter()
                .map(|found| format!("src/{inside}: {found}")),
        );
    }
    assert!(read > 0, "no source found in {}", src.display());
    assert!(objections.is_empty(), "\n{}", objections.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// How many times `super` leads from the module in this file to the root of the crate.
fn depth_of(inside: &Path) -> usize {
    let is_folder = inside.ends_with("mod.rs");
    inside.components().count() - usize::from(is_folder)
}

/// The modules at the root of the crate that the code names: `crate::a`, `crate::{a, b::c}`.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `my_crate::` is another word.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let path = code[at + "crate::".len()..].trim_start();
        let Some(group) = path.strip_prefix('{') else {
            named.insert(first_word(path));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !character.is_whitespace() => {
                    named.insert(first_word(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    named
}

fn first_word(text: &str) -> String {
    let is_word = |character: &char| character.is_alphanumeric() || *character == '_';
    text.chars().take_while(is_word).collect()
}

/// Whether the code reaches the root of the crate by `super`, past the eyes of `named_modules`.
fn climbs(code: &str, module_depth: usize) -> bool {
    let mut braces = 0;
    code.char_indices().any(|(at, character)| {
        match character {
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        let mut rest = &code[at..];
        let mut steps = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            rest = after;
            steps += 1;
        }
        // Within braces it may be a module of tests that says it, where the first step is the file.
        steps >= module_depth + usize::from(braces > 0)
    })
}

/// The code alone. Strings are left in: our own names do not stand in them as paths.
fn without_comments(source: &str) -> String {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.split(" // ").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_floor_names_itself_and_what_is_below() {
    for (module, named) in [
        ("grpc", "delivery"),
        ("grpc", "grpc"),
        ("app", "id"),
        ("easemob", "store"),
        ("cli", "sandbox"),
        ("config", "telemetry"),
        ("sandbox", "sandbox"),
    ] {
        assert_eq!(objection(module, named), None, "{module} names {named}");
    }
    for (module, named) in [
        ("delivery", "grpc"),
        ("grpc", "config"),
        ("message", "easemob"),
        ("proto", "invalid"),
        ("delivery", "sandbox"),
        ("sandbox", "message"),
        ("sandbox", "telemetry"),
        ("grpc", "telemetry"),
        ("attic", "proto"),
        ("cli", "attic"),
    ] {
        assert!(objection(module, named).is_some(), "{module} names {named}");
    }
}

#[test]
fn paths_are_found_however_they_are_written() {
    let code = without_comments(
        "//! See [`crate::cli`].
        use crate::{
            app::{App, config},
            id::UserId, proto,
        };
        use my_crate::server;
        fn f(a: crate::easemob::Error) {} // not crate::grpc
        pub(crate) mod x {}",
    );
    let named = named_modules(&code);
    assert_eq!(
        named.iter().map(String::as_str).collect::<Vec<_>>(),
        ["app", "easemob", "id", "proto"]
    );

    assert!(climbs("use super::cli;", 1));
    assert!(climbs("mod tests { use super::super::cli; }", 1));
    assert!(climbs("use super::super::cli;", 2));
    assert!(!climbs("mod tests { use super::*; }", 1));
    assert!(!climbs("use super::Error;", 2));
    assert!(!climbs("mod tests { use super::super::Error; }", 2));
}
