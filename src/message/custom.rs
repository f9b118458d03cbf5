//! A message of the caller's own kind: an event name and text attributes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{invalid::Field, proto};

/// Longest event name.
const MAX_EVENT_BYTES: usize = 32;
/// Most attributes.
const MAX_ATTRIBUTES: usize = 16;

/// Body of a custom message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Custom {
    #[serde(rename = "customEvent")]
    event: String,
    #[serde(rename = "customExts", skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

impl Custom {
    pub(super) fn check(custom: proto::CustomContent, at: Field<'_>) -> Option<Self> {
        let proto::CustomContent { event, attributes } = custom;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'.');
        let event = if (1..=MAX_EVENT_BYTES).contains(&event.len()) && event.bytes().all(allowed) {
            Some(event)
        } else {
            at.child("event")
                .refuse("must be 1 to 32 of a-z A-Z 0-9 - _ / and the full stop")
        };
        let attributes = if attributes.len() > MAX_ATTRIBUTES {
            at.child("attributes").refuse("has more than 16 entries")
        } else {
            Some(attributes)
        };
        Some(Self {
            event: event?,
            attributes: attributes?,
        })
    }
}
