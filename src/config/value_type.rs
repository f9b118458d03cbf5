//! Types of values, as the schema tells them: what is expected of a value, and how a text of the
//! environment becomes one.

use serde_json::{Map, Value as Json};
use toml::Value;

/// Type of a value.
#[derive(Debug)]
pub(super) enum Type {
    Text,
    /// One of these texts, each with what it means.
    Choice(Vec<(String, String)>),
    /// A whole number within bounds.
    Whole(Option<i64>, Option<i64>),
    Number,
    Flag,
    List(Box<Type>),
}

impl Type {
    pub(super) fn new(schema: &Map<String, Json>) -> Self {
        let list = |key: &str| schema.get(key).and_then(Json::as_array);
        // What may be left out is "this or null" in the schema, and simply left out in TOML.
        if let Some(Json::Object(choice)) = list("anyOf").and_then(|options| options.first()) {
            return Self::new(choice);
        }
        if let Some(options) = list("oneOf") {
            let options = options.iter().map(|option| {
                let text = |key| option.get(key).and_then(Json::as_str).unwrap_or_default();
                (text("const").to_owned(), text("description").to_owned())
            });
            return Self::Choice(options.collect());
        }
        if let Some(options) = list("enum") {
            let options = options.iter().filter_map(Json::as_str);
            return Self::Choice(options.map(|o| (o.to_owned(), String::new())).collect());
        }
        let name = match schema.get("type") {
            Some(Json::Array(types)) => types.first().and_then(Json::as_str),
            Some(one) => one.as_str(),
            None => None,
        };
        let bound = |key| schema.get(key).and_then(Json::as_i64);
        match name {
            Some("string") => Self::Text,
            Some("integer") => Self::Whole(bound("minimum"), bound("maximum")),
            Some("number") => Self::Number,
            Some("boolean") => Self::Flag,
            Some("array") => match schema.get("items") {
                Some(Json::Object(item)) => Self::List(Box::new(Self::new(item))),
                _ => Self::List(Box::new(Self::Text)),
            },
            // Found by every test that loads settings.
            _ => unreachable!("no setting can be of this type: {schema:?}"),
        }
    }

    /// What a value of this type is, to follow "must be".
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Choice(options) => {
                let options: Vec<_> = options.iter().map(|(o, _)| format!("{o:?}")).collect();
                options.join(" or ")
            }
            Self::Whole(Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            Self::Whole(Some(min), None) => format!("a whole number of at least {min}"),
            Self::Whole(None, Some(max)) => format!("a whole number of at most {max}"),
            Self::Whole(None, None) => "a whole number".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::List(item) => format!("a list, each item {}", item.expected()),
        }
    }

    /// Whether a value is of this type.
    pub(super) fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(_))
            | (Self::Number, Value::Float(_) | Value::Integer(_))
            | (Self::Flag, Value::Boolean(_)) => true,
            (Self::Choice(options), Value::String(text)) => {
                options.iter().any(|(option, _)| option == text)
            }
            (Self::Whole(min, max), Value::Integer(number)) => {
                min.is_none_or(|min| *number >= min) && max.is_none_or(|max| *number <= max)
            }
            (Self::List(item), Value::Array(values)) => values.iter().all(|v| item.admits(v)),
            _ => false,
        }
    }

    /// Reads a value of this type from a text of the environment. What cannot be read stays a text,
    /// so that the check of the type refuses it.
    pub(super) fn read(&self, text: &str) -> Value {
        let value = match self {
            Self::Text | Self::Choice(_) => None,
            Self::Whole(..) => text.trim().parse().ok().map(Value::Integer),
            Self::Number => text.trim().parse().ok().map(Value::Float),
            Self::Flag => text.trim().parse().ok().map(Value::Boolean),
            Self::List(_) if text.trim_start().starts_with('[') => {
                let table = toml::from_str::<toml::Table>(&format!("list = {text}"));
                table.ok().and_then(|mut table| table.remove("list"))
            }
            Self::List(item) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Some(Value::Array(items.map(|text| item.read(text)).collect()))
            }
        };
        value.unwrap_or_else(|| Value::String(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_typed_by_the_schema() {
        let whole = || Type::Whole(Some(0), None);
        assert_eq!(Type::Text.read("5"), Value::from("5"));
        assert_eq!(whole().read(" 5 "), Value::from(5));
        assert_eq!(whole().read("many"), Value::from("many"));
        assert_eq!(Type::Number.read("0.5"), Value::from(0.5));
        assert_eq!(Type::Flag.read("true"), Value::from(true));
        let list = Type::List(Box::new(whole()));
        assert_eq!(list.read("1, 2"), Value::from(vec![1, 2]));
        assert_eq!(list.read("[1, 2]"), Value::from(vec![1, 2]));
        assert!(!list.admits(&list.read("1, two")));
        assert!(!list.admits(&list.read("[1, 2")));
    }
}
