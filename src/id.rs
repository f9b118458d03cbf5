//! Identifiers. A value of these types has passed its check, so it can stand in JSON, a URL path or a
//! log line without further thought.

use std::{fmt, hash::Hash};

use serde::Serialize;

use crate::invalid::Field;

/// Longest user, group or room ID in bytes (Easemob's limit for user IDs).
const MAX_ID_BYTES: usize = 64;
/// Longest request ID in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text of the ID.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text of the ID.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// An Easemob user.
    UserId
}
id! {
    /// Whom a message is addressed to: a user, a group or a chat room, by the target's kind.
    RecipientId
}
id! {
    /// A file uploaded to Easemob.
    FileId
}
id! {
    /// What a caller names its request by, so that a repeat can be told from a new one.
    RequestId
}

impl UserId {
    /// Checks a user ID.
    pub fn check(id: String, field: Field<'_>) -> Option<Self> {
        check_id(&id, field)?;
        Some(Self(id))
    }
}

impl RecipientId {
    /// Checks a user, group or room ID: one rule for all three. Group and room IDs are digits today,
    /// and Easemob asks to treat them as opaque.
    pub fn check(id: String, field: Field<'_>) -> Option<Self> {
        check_id(&id, field)?;
        Some(Self(id))
    }
}

impl FileId {
    /// Checks a file's uuid: it becomes a segment of a URL.
    pub fn check(id: String, field: Field<'_>) -> Option<Self> {
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return field.refuse("must have 1 to 64 characters");
        }
        if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return field.refuse("may hold only a-z A-Z 0-9 and -");
        }
        Some(Self(id))
    }
}

impl RequestId {
    /// Checks a request ID; the empty one is none.
    pub fn check(id: String, field: Field<'_>) -> Option<Option<Self>> {
        if id.is_empty() {
            return Some(None);
        }
        if id.len() > MAX_REQUEST_ID_BYTES || !is_printable(id.as_bytes()) {
            return field.refuse("must have at most 128 printable ASCII characters");
        }
        Some(Some(Self(id)))
    }
}

/// Whether an ID has to be changed to be read without case. Looks at all of it, which is many bytes at once.
pub fn has_uppercase(id: &str) -> bool {
    let bytes = id.as_bytes().iter();
    bytes.fold(false, |any, b| any | b.is_ascii_uppercase())
}

/// Looks at all of it, which is many bytes at once.
fn is_printable(ascii: &[u8]) -> bool {
    ascii
        .iter()
        .fold(true, |all, b| all & matches!(b, b' '..=b'~'))
}

/// Bytes that an ID may hold.
const ID_BYTES: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut b = 0_u8;
    while b < 128 {
        allowed[b as usize] = b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        b += 1;
    }
    allowed
};

fn check_id(id: &str, field: Field<'_>) -> Option<()> {
    if id.is_empty() {
        return field.refuse("must not be empty");
    }
    if id.len() > MAX_ID_BYTES {
        return field.refuse("is longer than 64 bytes");
    }
    if !id.bytes().all(|b| ID_BYTES[usize::from(b)]) {
        return field.refuse("may hold only a-z A-Z 0-9 _ - and the full stop");
    }
    if matches!(id, "." | "..") {
        return field.refuse("must not be a path of full stops");
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Violations;

    #[test]
    fn ids_that_could_leave_their_place_are_refused() {
        let long = "x".repeat(65);
        for bad in [
            "", ".", "..", "a/b", "a\\b", "a?b", "a#b", "a@b", "a:b", "a%2fb", "a b", "a\r\nb",
            "a\0b", "аmy", "bоb", "名", &long,
        ] {
            let violations = Violations::default();
            assert_eq!(
                UserId::check(bad.into(), violations.root()),
                None,
                "{bad:?}"
            );
            assert!(!violations.is_empty(), "{bad:?}");
        }
        for good in ["a", "A.b_c-9", "...", &"x".repeat(64)] {
            let violations = Violations::default();
            assert!(
                UserId::check(good.into(), violations.root()).is_some(),
                "{good:?}"
            );
        }
    }

    #[test]
    fn a_request_id_is_printable_ascii_of_at_most_128_bytes() {
        let violations = Violations::default();
        let field = violations.root();
        assert_eq!(RequestId::check(String::new(), field), Some(None));
        assert!(RequestId::check("x".repeat(128), field).is_some());
        assert!(RequestId::check("x".repeat(129), field).is_none());
        assert!(RequestId::check("a\nb".into(), field).is_none());
        assert!(RequestId::check("é".into(), field).is_none());
    }
}
