//! Plain text.

use serde::Serialize;

use crate::{invalid::Field, proto};

/// Body of a text message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Text {
    msg: String,
}

impl Text {
    pub(super) fn check(text: proto::TextContent, at: Field<'_>) -> Option<Self> {
        let proto::TextContent { text } = text;
        Some(Self {
            msg: at.child("text").not_empty(text)?,
        })
    }
}
