//! A file to download.

use serde::Serialize;

use super::file_ref::FileRef;
use crate::{app::App, invalid::Field, proto};

/// Body of a file message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct File {
    #[serde(flatten)]
    file: FileRef,
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
}

impl File {
    pub(super) fn check(file: proto::FileContent, app: &App, at: Field<'_>) -> Option<Self> {
        let proto::FileContent { file, filename } = file;
        Some(Self {
            file: FileRef::check(file, app, at.child("file"))?,
            filename,
        })
    }
}
