//! A picture, shown with a thumbnail that Easemob makes.

use serde::Serialize;

use super::file_ref::FileRef;
use crate::{app::App, invalid::Field, proto};

/// Body of an image message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Image {
    #[serde(flatten)]
    file: FileRef,
    // Clients show no name without it.
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
}

/// Pixels.
#[derive(Clone, Copy, PartialEq, Serialize)]
struct Size {
    width: u32,
    height: u32,
}

impl Image {
    pub(super) fn check(image: proto::ImageContent, app: &App, at: Field<'_>) -> Option<Self> {
        let proto::ImageContent {
            file,
            filename,
            width,
            height,
        } = image;
        let file = FileRef::check(file, app, at.child("file"));
        let size = match (width, height) {
            (0, 0) => Some(None),
            (0, _) => at
                .child("width")
                .refuse("is required where height is given"),
            (_, 0) => at
                .child("height")
                .refuse("is required where width is given"),
            (width, height) => Some(Some(Size { width, height })),
        };
        Some(Self {
            file: file?,
            filename,
            size: size?,
        })
    }
}
