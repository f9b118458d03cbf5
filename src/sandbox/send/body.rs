//! `body` of each message type: the table of its fields.

use serde_json::value::RawValue;

use super::field::{Fields, Type};
use crate::sandbox::refusal::Refusal;

/// A field of `body`.
struct Field {
    name: &'static str,
    required: bool,
    holds: Type,
}

const fn required(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        required: true,
        holds,
    }
}

const fn optional(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        required: false,
        holds,
    }
}

const TXT: &[Field] = &[required("msg", Type::Text)];

const IMG: &[Field] = &[
    required("url", Type::NonEmptyText),
    optional("filename", Type::Text),
    optional("secret", Type::Text),
    optional("size", Type::Size),
];

const AUDIO: &[Field] = &[
    required("url", Type::NonEmptyText),
    optional("filename", Type::Text),
    optional("secret", Type::Text),
    optional("length", Type::Whole),
];

const VIDEO: &[Field] = &[
    required("url", Type::NonEmptyText),
    optional("filename", Type::Text),
    optional("secret", Type::Text),
    optional("thumb", Type::Text),
    optional("thumb_secret", Type::Text),
    optional("length", Type::Whole),
    optional("file_length", Type::Whole),
];

const FILE: &[Field] = &[
    required("url", Type::NonEmptyText),
    optional("filename", Type::Text),
    optional("secret", Type::Text),
];

const LOC: &[Field] = &[
    required("lat", Type::Degrees(90.0)),
    required("lng", Type::Degrees(180.0)),
    required("addr", Type::Text),
];

const CMD: &[Field] = &[required("action", Type::Text)];

const CUSTOM: &[Field] = &[
    optional(
        "customEvent",
        Type::Word {
            most: 32,
            allowed: |byte| byte.is_ascii_alphanumeric() || b"-_/.".contains(&byte),
        },
    ),
    optional("customExts", Type::TextMap(16)),
];

/// Checks the content of a message; `strict` refuses fields that are not listed.
pub(super) fn check(kind: &str, body: &RawValue, strict: bool) -> Result<(), Refusal> {
    let table = match kind {
        "txt" => TXT,
        "img" => IMG,
        "audio" => AUDIO,
        "video" => VIDEO,
        "file" => FILE,
        "loc" => LOC,
        "cmd" => CMD,
        "custom" => CUSTOM,
        _ => return Err(Refusal::invalid("type is none of the eight")),
    };
    let fields: Fields<'_> = serde_json::from_str(body.get())
        .map_err(|_| Refusal::invalid("body is not an object, or has a field twice"))?;
    if fields.0.is_empty() {
        return Err(Refusal::message("param body can't be empty"));
    }
    for field in table {
        let name = format!("body.{}", field.name);
        match fields.get(field.name) {
            Some(value) => field.holds.check(&name, value)?,
            None if field.required => return Err(Refusal::invalid(format!("{name} is missing"))),
            None => {}
        }
    }
    let listed = |name: &str| table.iter().any(|field| field.name == name);
    match fields.0.iter().find(|(name, _)| !listed(name)) {
        Some((name, _)) if strict => Err(Refusal::invalid(format!("unknown field body.{name}"))),
        _ => Ok(()),
    }
}
