//! A command for the recipient's program; nothing is shown, and no push notification is sent.

use serde::Serialize;

use crate::{invalid::Field, proto};

/// Body of a command message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Command {
    action: String,
}

impl Command {
    pub(super) fn check(command: proto::CommandContent, at: Field<'_>) -> Option<Self> {
        let proto::CommandContent { action } = command;
        Some(Self {
            action: at.child("action").not_empty(action)?,
        })
    }
}
