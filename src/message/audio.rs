//! A voice message.

use serde::Serialize;

use super::file_ref::FileRef;
use crate::{app::App, invalid::Field, proto};

/// Body of a voice message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Audio {
    #[serde(flatten)]
    file: FileRef,
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
    // Seconds. Easemob's tables print `Length`; its examples and clients send `length`.
    #[serde(rename = "length", skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<u32>,
}

impl Audio {
    pub(super) fn check(audio: proto::AudioContent, app: &App, at: Field<'_>) -> Option<Self> {
        let proto::AudioContent {
            file,
            filename,
            duration_seconds,
        } = audio;
        Some(Self {
            file: FileRef::check(file, app, at.child("file"))?,
            filename,
            duration_seconds,
        })
    }
}
