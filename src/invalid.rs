//! What is wrong with an input, field by field. A check collects all violations before it gives up,
//! so that whoever reads the error fixes everything at once. Serves requests and settings alike.

use std::{
    borrow::Cow,
    cell::RefCell,
    fmt::{self, Write as _},
};

/// One field, and what is wrong with it. Never holds the value: it may be secret or long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, as in the proto or in the settings: `message.users.user_ids[3]`.
    pub field: String,
    /// What is wrong, as a phrase that follows the field's name: `is longer than 64 bytes`.
    pub description: Cow<'static, str>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.description);
        }
        write!(f, "{} {}", self.field, self.description)
    }
}

/// All violations that a check has found so far.
#[derive(Debug, Default)]
pub struct Violations(RefCell<Vec<Violation>>);

impl Violations {
    /// Where paths start.
    pub fn root(&self) -> Field<'_> {
        Field {
            found: self,
            parent: None,
            segment: Segment::Root,
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The violations in the order in which they were found.
    pub fn into_vec(self) -> Vec<Violation> {
        self.0.into_inner()
    }
}

/// A field under check. Costs nothing until something is wrong with it: its path is a chain of
/// borrowed segments on the stack.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    found: &'a Violations,
    parent: Option<&'a Field<'a>>,
    segment: Segment<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Segment<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

impl<'a> Field<'a> {
    /// A field of this one.
    pub fn child<'b>(&'b self, name: &'b str) -> Field<'b> {
        Field {
            found: self.found,
            parent: Some(self),
            segment: Segment::Name(name),
        }
    }

    /// An element of this repeated field.
    pub fn index<'b>(&'b self, index: usize) -> Field<'b> {
        Field {
            found: self.found,
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }

    /// Notes that this field is wrong. Gives `None`, so that a check can end with it.
    pub fn refuse<T>(&self, description: impl Into<Cow<'static, str>>) -> Option<T> {
        self.found.0.borrow_mut().push(Violation {
            field: self.path(),
            description: description.into(),
        });
        None
    }

    /// The value, or the note that it is missing.
    pub fn required<T>(&self, value: Option<T>) -> Option<T> {
        value.or_else(|| self.refuse("is required"))
    }

    /// The text, or the note that it is empty.
    pub fn not_empty(&self, text: String) -> Option<String> {
        if text.is_empty() {
            return self.refuse("is required and must not be empty");
        }
        Some(text)
    }

    fn path(&self) -> String {
        let mut path = match self.parent {
            Some(parent) => parent.path(),
            None => String::new(),
        };
        match self.segment {
            Segment::Root => {}
            Segment::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Segment::Index(index) => {
                let _infallible = write!(path, "[{index}]");
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_the_whole_path() {
        let violations = Violations::default();
        let root = violations.root();
        let message = root.child("message");
        let users = message.child("users");
        let ids = users.child("user_ids");
        let _none: Option<()> = ids.index(3).refuse("is empty");
        assert_eq!(
            violations.into_vec()[0].to_string(),
            "message.users.user_ids[3] is empty"
        );
    }
}
