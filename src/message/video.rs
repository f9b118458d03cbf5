//! A video, with a picture of its own to show before it plays: Easemob makes none.

use serde::Serialize;

use super::file_ref::FileRef;
use crate::{app::App, invalid::Field, proto};

/// Body of a video message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Video {
    #[serde(flatten)]
    file: FileRef,
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumb_secret: Option<String>,
    // Seconds.
    #[serde(rename = "length", skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<u32>,
    #[serde(rename = "file_length", skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
}

impl Video {
    pub(super) fn check(video: proto::VideoContent, app: &App, at: Field<'_>) -> Option<Self> {
        let proto::VideoContent {
            file,
            filename,
            thumbnail,
            duration_seconds,
            size_bytes,
        } = video;
        let file = FileRef::check(file, app, at.child("file"));
        let thumbnail = match thumbnail {
            Some(_) => FileRef::check(thumbnail, app, at.child("thumbnail")).map(Some),
            None => Some(None),
        };
        let size_bytes = match size_bytes {
            // Easemob's number has a sign.
            Some(size) if i64::try_from(size).is_err() => {
                at.child("size_bytes").refuse("is larger than any file")
            }
            size => Some(size),
        };
        let (thumb, thumb_secret) = thumbnail?.map(FileRef::into_parts).unzip();
        Some(Self {
            file: file?,
            filename,
            thumb,
            thumb_secret: thumb_secret.flatten(),
            duration_seconds,
            size_bytes: size_bytes?,
        })
    }
}
