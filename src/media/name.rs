//! Names and types of files: checked, so that they can stand in a header and mean nothing else there.

use std::fmt;

use crate::invalid::Field;

/// Longest file name in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Longest MIME type in bytes.
const MAX_TYPE_BYTES: usize = 255;

/// Name of an uploaded file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Checks a file name.
    pub fn check(name: &str, field: Field<'_>) -> Option<Self> {
        if name.is_empty() {
            return field.refuse("is required: an upload has a file name");
        }
        if name.len() > MAX_NAME_BYTES {
            return field.refuse("is longer than 512 bytes");
        }
        if name.contains(char::is_control) {
            return field.refuse("must not hold control characters");
        }
        Some(Self(name.to_owned()))
    }

    /// The name as a quoted string of a MIME header: UTF-8 as it is, as Easemob's own SDKs send it,
    /// and quotes that cannot end the string.
    pub fn quoted(&self) -> String {
        let mut quoted = String::with_capacity(self.0.len() + 2);
        quoted.push('"');
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted.push('"');
        quoted
    }
}

// A file's name is content: it stays out of logs.
impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileName([REDACTED])")
    }
}

/// MIME type of an uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType(String);

impl ContentType {
    /// Checks a MIME type; the empty one is `application/octet-stream`.
    pub fn check(text: &str, field: Field<'_>) -> Option<Self> {
        if text.is_empty() {
            return Some(Self("application/octet-stream".to_owned()));
        }
        let token = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        let essence = text.split(';').next().unwrap_or_default().trim_end();
        let well_formed = essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| token(kind) && token(subtype));
        let printable = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if text.len() > MAX_TYPE_BYTES || !well_formed || !printable {
            return field.refuse("is not a MIME type such as image/jpeg");
        }
        Some(Self(text.to_owned()))
    }

    /// The text of the type.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Violations;

    #[test]
    fn no_name_can_end_its_header() {
        let violations = Violations::default();
        let field = violations.root();
        for bad in [
            "",
            "a\r\nb",
            "a\nb",
            "a\0b",
            "a\u{7f}b",
            "a\u{85}b",
            &"x".repeat(513),
        ] {
            assert_eq!(FileName::check(bad, field), None, "{bad:?}");
        }
        let quoted = |name| FileName::check(name, field).unwrap().quoted();
        assert_eq!(quoted("猫 \"a\\b\".jpg"), "\"猫 \\\"a\\\\b\\\".jpg\"");
        assert_eq!(quoted("../x"), "\"../x\"");
    }

    #[test]
    fn a_type_is_a_mime_type() {
        let violations = Violations::default();
        let field = violations.root();
        for bad in [
            "jpeg",
            "/",
            "a/",
            "/b",
            "a/b\r\nX: 1",
            "a b/c",
            "é/b",
            "a/b;\u{1}",
        ] {
            assert_eq!(ContentType::check(bad, field), None, "{bad:?}");
        }
        for good in ["image/jpeg", "image/svg+xml", "text/plain; charset=utf-8"] {
            assert_eq!(ContentType::check(good, field).unwrap().as_str(), good);
        }
        let unset = ContentType::check("", field).unwrap();
        assert_eq!(unset.as_str(), "application/octet-stream");
    }
}
