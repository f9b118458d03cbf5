//! Extension attributes: one JSON object for the recipients and the push services, given as a
//! `Struct` or as JSON text.

use prost_types::{Struct, Value, value::Kind};
use serde::{Serialize, Serializer, ser::SerializeMap, ser::SerializeSeq};
use serde_json::value::RawValue;

use crate::{invalid::Field, proto::message::Extension};

/// What `silent` sets: no push notification while the recipient is offline.
const SILENT: &str = "em_ignore_notification";
/// Deepest nesting of a `Struct`; JSON text is bounded by the parser's own limit, 128.
const MAX_DEPTH: usize = 100;

/// Checks the extension, adds what `silent` asks for, and gives the JSON object to send.
/// `Some(None)`: there is none.
pub(super) fn check(
    extension: Option<Extension>,
    silent: bool,
    at: Field<'_>,
) -> Option<Option<Box<RawValue>>> {
    match extension {
        None if silent => Some(Some(raw(format!("{{\"{SILENT}\":true}}"))?)),
        None => Some(None),
        Some(Extension::Ext(ext)) => check_struct(ext, silent, at.child("ext")).map(Some),
        Some(Extension::ExtJson(text)) => check_json(&text, silent, at.child("ext_json")).map(Some),
    }
}

fn check_struct(mut ext: Struct, silent: bool, at: Field<'_>) -> Option<Box<RawValue>> {
    if silent {
        match ext.fields.get(SILENT).map(|value| &value.kind) {
            None | Some(Some(Kind::BoolValue(true))) => {}
            Some(_) => return contradiction(at),
        }
        ext.fields.insert(
            SILENT.to_owned(),
            Value {
                kind: Some(Kind::BoolValue(true)),
            },
        );
    }
    check_object(&ext, 1, at)?;
    raw(serde_json::to_string(&Object(&ext)).ok()?)
}

/// Checks that the text is one JSON object. It is passed on digit for digit: no number takes a detour
/// through a double.
fn check_json(text: &str, silent: bool, at: Field<'_>) -> Option<Box<RawValue>> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let parsed: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(text) {
        Ok(parsed) => parsed,
        // This text would quote the value.
        Err(error) if error.is_data() => return at.refuse("is JSON, but not an object"),
        Err(error) => return at.refuse(format!("is not one JSON object: {error}")),
    };
    let text = match (silent, parsed.get(SILENT)) {
        (false, _) | (true, Some(serde_json::Value::Bool(true))) => text.to_owned(),
        (true, Some(_)) => return contradiction(at),
        (true, None) if parsed.is_empty() => format!("{{\"{SILENT}\":true}}"),
        (true, None) => format!("{{\"{SILENT}\":true,{}", text.strip_prefix('{')?),
    };
    raw(text)
}

fn contradiction<T>(at: Field<'_>) -> Option<T> {
    at.child(SILENT)
        .refuse("contradicts silent: leave one of the two out")
}

fn raw(json: String) -> Option<Box<RawValue>> {
    RawValue::from_string(json).ok()
}

fn check_object(object: &Struct, depth: usize, at: Field<'_>) -> Option<()> {
    object
        .fields
        .values()
        .map(|value| check_value(value, depth, at))
        .fold(Some(()), Option::and)
}

// Violations name the extension and not the key: keys are content.
fn check_value(value: &Value, depth: usize, at: Field<'_>) -> Option<()> {
    if depth > MAX_DEPTH {
        return at.refuse("is nested deeper than 100 levels");
    }
    match &value.kind {
        None => at.refuse("holds a value of no kind"),
        Some(Kind::NumberValue(number)) if !number.is_finite() => {
            at.refuse("holds a number that JSON cannot write (not finite)")
        }
        Some(Kind::StructValue(object)) => check_object(object, depth + 1, at),
        Some(Kind::ListValue(list)) => list
            .values
            .iter()
            .map(|value| check_value(value, depth + 1, at))
            .fold(Some(()), Option::and),
        Some(_) => Some(()),
    }
}

/// A `Struct` as the JSON object that it stands for.
struct Object<'a>(&'a Struct);

/// A `Value` as the JSON value that it stands for.
struct Json<'a>(&'a Value);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.fields.len()))?;
        for (key, value) in &self.0.fields {
            map.serialize_entry(key, &Json(value))?;
        }
        map.end()
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.kind {
            None | Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            Some(Kind::BoolValue(value)) => serializer.serialize_bool(*value),
            Some(Kind::StringValue(text)) => serializer.serialize_str(text),
            Some(Kind::NumberValue(number)) => serialize_number(*number, serializer),
            Some(Kind::StructValue(object)) => Object(object).serialize(serializer),
            Some(Kind::ListValue(list)) => {
                let mut seq = serializer.serialize_seq(Some(list.values.len()))?;
                for value in &list.values {
                    seq.serialize_element(&Json(value))?;
                }
                seq.end()
            }
        }
    }
}

/// A `Struct` knows only doubles, and recipients that expect `5` choke on `5.0`.
fn serialize_number<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "integral and within the range of i64, so the cast is exact"
    )]
    if number.fract() == 0.0 && number.abs() < 9.2e18 {
        serializer.serialize_i64(number as i64)
    } else {
        serializer.serialize_f64(number)
    }
}
