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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(kind: &str, body: &Value, strict: bool) -> Result<(), Refusal> {
        let body = RawValue::from_string(body.to_string()).unwrap();
        check(kind, &body, strict)
    }

    /// One body of each type with every field it can have.
    fn full() -> Vec<(&'static str, Value)> {
        let url = "https://a1.easemob.com/acme/demo/chatfiles/11111111-2222-3333-4444-555555555555";
        vec![
            ("txt", json!({"msg": "hello"})),
            (
                "img",
                json!({"url": url, "filename": "cat.jpg", "secret": "s", "size": {"width": 640, "height": 480}}),
            ),
            (
                "audio",
                json!({"url": url, "filename": "a.amr", "secret": "s", "length": 10}),
            ),
            (
                "video",
                json!({"url": url, "filename": "v.mp4", "secret": "s", "thumb": url, "thumb_secret": "t", "length": 0, "file_length": 58103}),
            ),
            (
                "file",
                json!({"url": url, "filename": "test.txt", "secret": "1-g0"}),
            ),
            (
                "loc",
                json!({"lat": "39.966", "lng": "116.322", "addr": "Beijing"}),
            ),
            ("cmd", json!({"action": "action1"})),
            (
                "custom",
                json!({"customEvent": "custom_event", "customExts": {"a": "b"}}),
            ),
        ]
    }

    #[test]
    fn every_type_takes_every_field_it_has() {
        for (kind, body) in full() {
            assert!(checked(kind, &body, true).is_ok(), "{kind}");
        }
    }

    #[test]
    fn a_type_needs_its_required_fields_and_no_more() {
        let required: &[(&str, &[&str])] = &[
            ("txt", &["msg"]),
            ("img", &["url"]),
            ("audio", &["url"]),
            ("video", &["url"]),
            ("file", &["url"]),
            ("loc", &["lat", "lng", "addr"]),
            ("cmd", &["action"]),
            ("custom", &[]),
        ];
        for ((kind, body), (same, required)) in full().into_iter().zip(required) {
            assert_eq!(kind, *same);
            for name in body.as_object().unwrap().keys() {
                let mut without = body.clone();
                without.as_object_mut().unwrap().remove(name);
                if without == json!({}) {
                    continue;
                }
                let accepted = checked(kind, &without, true).is_ok();
                assert_eq!(
                    accepted,
                    !required.contains(&name.as_str()),
                    "{kind} without {name}"
                );
            }
        }
    }

    #[test]
    fn no_field_is_null_or_of_another_type() {
        for (kind, body) in full() {
            for name in body.as_object().unwrap().keys() {
                for wrong in [json!(null), json!([]), json!(true)] {
                    let mut body = body.clone();
                    body[name] = wrong;
                    let refusal = checked(kind, &body, true).unwrap_err();
                    assert_eq!(refusal.error, "invalid_request_body", "{kind} {body}");
                }
            }
        }
    }

    #[test]
    fn strict_or_not_decides_on_fields_that_are_not_listed() {
        let extras = [
            ("txt", "Msg"),
            ("audio", "Length"),
            ("img", "file_length"),
            ("cmd", "param"),
            ("txt", "type"),
        ];
        for (kind, extra) in extras {
            let (_, mut body) = full().into_iter().find(|(name, _)| *name == kind).unwrap();
            body[extra] = json!(1);
            assert!(checked(kind, &body, true).is_err(), "{kind} {extra}");
            assert!(checked(kind, &body, false).is_ok(), "{kind} {extra}");
        }
    }

    #[test]
    fn an_empty_body_and_an_unknown_type_are_refused() {
        for kind in ["txt", "custom"] {
            let refusal = checked(kind, &json!({}), true).unwrap_err();
            assert_eq!(refusal.error, "message_send_error");
            assert_eq!(refusal.description, "param body can't be empty");
        }
        let refusal = checked("text", &json!({"msg": "hello"}), true).unwrap_err();
        assert_eq!(refusal.error, "invalid_request_body");
        let refusal = checked("txt", &json!("hello"), true).unwrap_err();
        assert_eq!(refusal.error, "invalid_request_body");
    }

    #[test]
    fn degrees_are_strings_or_numbers_on_the_globe() {
        let at = |lat: Value, lng: Value| {
            checked("loc", &json!({"lat": lat, "lng": lng, "addr": ""}), true).is_ok()
        };
        assert!(at(json!(39.966), json!(116.322)));
        assert!(at(json!("-90"), json!("180")));
        assert!(!at(json!("90.001"), json!("0")));
        assert!(!at(json!("0"), json!("-180.001")));
        assert!(!at(json!("39° N"), json!("0")));
    }

    #[test]
    fn a_custom_event_has_a_pattern_and_few_strings() {
        let event = |event: &str| checked("custom", &json!({"customEvent": event}), true).is_ok();
        assert!(event("a-Z_0/9.x"));
        assert!(event(&"e".repeat(32)));
        for wrong in ["", "a b", "a:b", "événement", &"e".repeat(33)] {
            assert!(!event(wrong), "{wrong:?}");
        }
        let exts = |count: usize| {
            let entries = (0..count).map(|n| (n.to_string(), json!("x")));
            let exts = Value::Object(entries.collect());
            checked("custom", &json!({"customExts": exts}), true).is_ok()
        };
        assert!(exts(16));
        assert!(!exts(17));
        let number = json!({"customExts": {"a": 1}});
        assert!(checked("custom", &number, true).is_err());
    }
}
