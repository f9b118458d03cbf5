//! What settings there are: a tree of sections and keys, made from the schema of
//! [`Config`](super::Config). Everything that must know the keys by name asks this tree.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};
use toml::Value;

use super::{Config, value_type::Type};

/// What every variable of ours in the environment starts with.
pub(super) const PREFIX: &str = "EASEMOB_GATEWAY__";

/// Where a setting is: the names of its sections and its own.
pub(super) type KeyPath = Vec<String>;

/// A part of the tree.
#[derive(Debug)]
pub(super) struct Node {
    /// What it means, in the lines of its doc comment.
    pub(super) doc: String,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a part of the tree is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A table with these keys, in the order of their declaration.
    Section(Vec<(String, Node)>),
    /// A table of tables with names that the user chooses; and a name for examples.
    Named(String, Box<Node>),
    /// A value.
    Key(Key),
}

/// A key that has a value.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) value_type: Type,
    /// Where none is set. An empty text stands for none, too.
    default: Option<Value>,
    example: Option<Value>,
}

impl Key {
    /// The value that stands in the reference: the default, or an example where there is none.
    pub(super) fn shown(&self) -> Option<&Value> {
        self.default().or(self.example.as_ref())
    }

    /// The value where none is set.
    pub(super) fn default(&self) -> Option<&Value> {
        self.default
            .as_ref()
            .filter(|value| value.as_str() != Some(""))
    }
}

/// The root of the tree.
pub(super) fn root() -> &'static Node {
    static ROOT: LazyLock<Node> = LazyLock::new(|| {
        let schema = SchemaSettings::default()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<Config>();
        Node::new(schema.as_object().expect("a struct has a schema"))
    });
    &ROOT
}

/// The name of a setting for people: `apps.shop.client_id`.
pub(super) fn dotted(path: &[String]) -> String {
    let segments: Vec<_> = path.iter().map(|segment| quoted(segment)).collect();
    segments.join(".")
}

/// A key as TOML spells it.
pub(super) fn quoted(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(bare) {
        return key.to_owned();
    }
    // What JSON escapes, TOML escapes alike.
    Json::from(key).to_string()
}

/// The name of a setting in the environment: `EASEMOB_GATEWAY__APPS__SHOP__CLIENT_ID`.
pub(super) fn variable(path: &[String]) -> String {
    let segments: Vec<_> = path.iter().map(|segment| upper(segment)).collect();
    format!("{PREFIX}{}", segments.join("__"))
}

/// One segment of a name in the environment.
pub(super) fn upper(segment: &str) -> String {
    segment.to_ascii_uppercase().replace('-', "_")
}

impl Node {
    fn new(schema: &Map<String, Json>) -> Self {
        let text = |key: &str| {
            let text = schema.get(key).and_then(Json::as_str);
            text.unwrap_or_default().to_owned()
        };
        let kind = if let Some(Json::Object(properties)) = schema.get("properties") {
            let children = properties.iter().map(|(name, child)| {
                let child = child.as_object().expect("a property has a schema");
                (name.clone(), Self::new(child))
            });
            Kind::Section(children.collect())
        } else if let Some(Json::Object(item)) = schema.get("additionalProperties") {
            // What stands above the field tells more than what stands above its type.
            let doc = text("description");
            let item = Self {
                doc,
                ..Self::new(item)
            };
            Kind::Named(text("x-name"), Box::new(item))
        } else {
            let value = |json: &Json| Value::try_from(json).ok();
            let example = schema.get("examples").and_then(|list| list.get(0));
            Kind::Key(Key {
                value_type: Type::new(schema),
                default: schema.get("default").and_then(value),
                example: example.and_then(value),
            })
        };
        Self {
            doc: text("description"),
            kind,
        }
    }

    /// The part of this name within this one.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Section(children) => children
                .iter()
                .find_map(|(known, child)| (known == name).then_some(child)),
            Kind::Named(_, item) => Some(item),
            Kind::Key(_) => None,
        }
    }

    /// The key at a path from here.
    pub(super) fn key(&self, path: &[String]) -> Option<&Key> {
        let node = path.iter().try_fold(self, |node, name| node.child(name))?;
        match &node.kind {
            Kind::Key(key) => Some(key),
            _ => None,
        }
    }

    /// Visits each key from here on, sections in the order of their declaration. `names` gives the
    /// names within a table of tables: from its path and the name for examples.
    pub(super) fn visit<'n>(
        &'n self,
        path: &mut KeyPath,
        names: &dyn Fn(&[String], &str) -> Vec<String>,
        visitor: &mut dyn FnMut(&[String], &'n Self),
    ) {
        visitor(path, self);
        let mut enter = |name: String, child: &'n Self, path: &mut KeyPath| {
            path.push(name);
            child.visit(path, names, visitor);
            path.pop();
        };
        match &self.kind {
            Kind::Section(children) => {
                // TOML wants the keys of a table before its tables.
                let is_key = |node: &Self| matches!(node.kind, Kind::Key(_));
                for (name, child) in children.iter().filter(|(_, child)| is_key(child)) {
                    enter(name.clone(), child, path);
                }
                for (name, child) in children.iter().filter(|(_, child)| !is_key(child)) {
                    enter(name.clone(), child, path);
                }
            }
            Kind::Named(example, item) => {
                for name in names(path, example) {
                    enter(name, item, path);
                }
            }
            Kind::Key(_) => {}
        }
    }
}

/// Whether some section has a key of this name.
pub(super) fn is_key(name: &str) -> bool {
    let mut found = false;
    root().visit(&mut Vec::new(), &example, &mut |path, node| {
        found |= matches!(node.kind, Kind::Key(_)) && path.last().is_some_and(|key| key == name);
    });
    found
}

/// Tables of tables as the reference shows them: with one name in each.
pub(super) fn example(_: &[String], name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_documentation_and_a_value_to_show() {
        root().visit(&mut Vec::new(), &example, &mut |path, node| {
            let name = dotted(path);
            assert!(
                !node.doc.is_empty() || path.is_empty(),
                "{name} lacks a doc comment"
            );
            let Kind::Key(key) = &node.kind else { return };
            let shown = key.shown().unwrap_or_else(|| {
                panic!("{name} has no default: give it #[schemars(example = …)]")
            });
            assert!(
                key.value_type.admits(shown),
                "{name} = {shown} is not {}: does the field lack serialize_with?",
                key.value_type.expected()
            );
        });
    }
}
