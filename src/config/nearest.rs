//! What a reader of the settings may have meant by a key that is none.

use super::schema::{Kind, Node, dotted, example, root};

/// What to write in place of a key that is unknown, as a note. `section` is where it stands.
pub(super) fn nearest(section: &Node, path: &[String]) -> String {
    let Some((name, parents)) = path.split_last() else {
        return String::new();
    };
    let Kind::Section(children) = &section.kind else {
        return String::new();
    };
    let near = |known: &str| {
        let distance = strsim::damerau_levenshtein(name, known);
        (distance * 2 <= known.len().max(name.len())).then_some(distance)
    };
    // Who has the name right may have the section wrong.
    let mut elsewhere = Vec::new();
    root().visit(&mut Vec::new(), &example, &mut |path, _| {
        if path.last() == Some(name) {
            elsewhere.push(dotted(path));
        }
    });
    let here = children
        .iter()
        .filter_map(|(known, _)| Some((near(known)?, known)));
    if let Some((_, known)) = here.min() {
        return format!(
            "the nearest known key is {}",
            dotted(&[parents, std::slice::from_ref(known)].concat())
        );
    }
    if let [known] = elsewhere.as_slice() {
        return format!("there is a key {known}");
    }
    let known: Vec<_> = children.iter().map(|(known, _)| known.as_str()).collect();
    format!("known here: {}", known.join(", "))
}
