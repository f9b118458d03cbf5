//! JSON fields as they were written, and the types the reference gives them.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::sandbox::refusal::Refusal;

/// The fields of one JSON object, in their order, values as raw text.
pub(super) struct Fields<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields(Vec::with_capacity(8));
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if fields.get(&name).is_some() {
                        return Err(serde::de::Error::custom("a field is given twice"));
                    }
                    fields.0.push((name, value));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// What a field has to hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    /// A string, which may be empty.
    Text,
    /// A string with something in it.
    NonEmptyText,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A string of at most so many of the characters that are allowed.
    Word {
        most: usize,
        allowed: fn(u8) -> bool,
    },
    Bool,
    /// A whole number from 0 up.
    Whole,
    /// Degrees from minus to plus so many, as a number or as a string.
    Degrees(f64),
    /// At most so many non-empty strings.
    Ids(usize),
    /// An object from string to string with at most so many entries.
    TextMap(usize),
    /// `width` and `height` as numbers.
    Size,
}

impl Type {
    pub(super) fn check(self, name: &str, value: &RawValue) -> Result<(), Refusal> {
        if self.fits(value.get()) {
            Ok(())
        } else {
            Err(Refusal::invalid(format!("{name} is not {self}")))
        }
    }

    fn fits(self, json: &str) -> bool {
        match self {
            Self::Text => text(json).is_some(),
            Self::NonEmptyText => text(json).is_some_and(|text| !text.is_empty()),
            Self::OneOf(values) => text(json).is_some_and(|text| values.contains(&text.as_str())),
            Self::Word { most, allowed } => text(json)
                .is_some_and(|text| (1..=most).contains(&text.len()) && text.bytes().all(allowed)),
            Self::Bool => matches!(json, "true" | "false"),
            Self::Whole => json.parse::<i64>().is_ok_and(|number| number >= 0),
            Self::Degrees(most) => degrees(json).is_some_and(|degrees| degrees.abs() <= most),
            Self::Ids(most) => ids(json).is_some_and(|ids| ids.len() <= most),
            Self::TextMap(most) => parse::<Fields<'_>>(json).is_some_and(|Fields(entries)| {
                entries.len() <= most
                    && entries.iter().all(|(_, value)| text(value.get()).is_some())
            }),
            Self::Size => parse::<Size>(json)
                .is_some_and(|Size { width, height }| width >= 0.0 && height >= 0.0),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a string"),
            Self::NonEmptyText => f.write_str("a string with something in it"),
            Self::OneOf(values) => write!(f, "one of {}", values.join(", ")),
            Self::Word { most, .. } => write!(f, "a word of at most {most} allowed characters"),
            Self::Bool => f.write_str("true or false"),
            Self::Whole => f.write_str("a whole number from 0 up"),
            Self::Degrees(most) => write!(f, "a number of degrees from -{most} to {most}"),
            Self::Ids(most) => write!(f, "an array of at most {most} non-empty strings"),
            Self::TextMap(most) => {
                write!(f, "an object of strings with at most {most} entries")
            }
            Self::Size => f.write_str("an object of width and height"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    width: f64,
    height: f64,
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}

pub(super) fn text(json: &str) -> Option<String> {
    parse(json)
}

/// A list of strings, none of them empty.
pub(super) fn ids(json: &str) -> Option<Vec<String>> {
    let ids: Vec<String> = parse(json)?;
    (!ids.iter().any(String::is_empty)).then_some(ids)
}

fn degrees(json: &str) -> Option<f64> {
    match text(json) {
        Some(text) => parse(&text),
        None => parse(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Type = Type::Word {
        most: 4,
        allowed: |byte| byte.is_ascii_alphanumeric(),
    };

    #[test]
    fn each_type_takes_what_it_says_and_nothing_else() {
        let cases: &[(Type, &[&str], &[&str])] = &[
            (
                Type::Text,
                &[r#""""#, r#""a\u4f60""#],
                &["null", "1", "{}", r#""\ud800""#],
            ),
            (Type::NonEmptyText, &[r#""a""#], &[r#""""#, "null"]),
            (
                Type::OneOf(&["high", "low"]),
                &[r#""low""#],
                &[r#""LOW""#, r#""""#, "1"],
            ),
            (
                NAME,
                &[r#""a""#, r#""dev1""#],
                &[r#""""#, r#""dev12""#, r#""a b""#, r#""é""#],
            ),
            (Type::Bool, &["true", "false"], &["null", "1", r#""true""#]),
            (
                Type::Whole,
                &["0", "9007199254740993"],
                &["-1", "1.0", "1e3", r#""1""#, "null"],
            ),
            (
                Type::Degrees(90.0),
                &["90", "-90.0", r#""39.966""#],
                &["90.1", r#""""#, r#""north""#, "null"],
            ),
            (
                Type::Ids(2),
                &["[]", r#"["a","b"]"#],
                &[r#"["a","b","c"]"#, r#"[""]"#, "[1]", r#""a""#, "null"],
            ),
            (
                Type::TextMap(1),
                &["{}", r#"{"a":"b"}"#],
                &[r#"{"a":1}"#, r#"{"a":"b","c":"d"}"#, "[]", "null"],
            ),
            (
                Type::Size,
                &[r#"{"width":1,"height":2.5}"#],
                &[
                    r#"{"width":1}"#,
                    r#"{"width":-1,"height":1}"#,
                    r#"{"width":1,"height":1,"depth":1}"#,
                    r#"{"width":null,"height":1}"#,
                ],
            ),
        ];
        for (holds, right, wrong) in cases {
            for json in *right {
                assert!(holds.fits(json), "{json} is {holds}");
            }
            for json in *wrong {
                assert!(!holds.fits(json), "{json} is not {holds}");
            }
        }
    }

    #[test]
    fn fields_keep_their_text_and_come_once() {
        let fields: Fields<'_> = serde_json::from_str(r#"{"a": 1.50 , "b":{"c": null}}"#).unwrap();
        assert_eq!(fields.get("a").unwrap().get(), "1.50");
        assert_eq!(fields.get("b").unwrap().get(), r#"{"c": null}"#);
        assert!(fields.get("c").is_none());
        assert!(serde_json::from_str::<Fields<'_>>(r#"{"a":1,"a":2}"#).is_err());
        assert!(serde_json::from_str::<Fields<'_>>("[]").is_err());
    }
}
