//! A message whose file comes with it: what the caller leaves out, and what the upload fills in.

use super::Message;
use crate::{
    app::App,
    invalid::{Field, Violations},
    media::FileName,
    proto::{self, FileRef, file_ref::Location, message::Content},
};

/// As long as an ID and a secret of Easemob's, so that the size of the message is known before its
/// file is uploaded.
const STAND_IN_ID: &str = "00000000-0000-0000-0000-000000000000";
const STAND_IN_SECRET: &str = "AbC_dEf-1234";

/// An image, audio, video or file message that waits for its file. Everything else about it has
/// passed every check.
#[derive(Debug, Clone)]
pub struct MediaMessage {
    message: proto::Message,
    stand_in: Message,
    name: FileName,
    is_video: bool,
}

impl MediaMessage {
    /// Checks a message for an app. `restricted`: its file, and its thumbnail, will have a secret.
    pub fn check(
        mut message: proto::Message,
        restricted: bool,
        app: &App,
        field: Field<'_>,
    ) -> Option<Self> {
        let (name, is_video) = match &message.content {
            Some(Content::Image(image)) => (
                empty(&image.file, &image.filename, field.child("image")),
                false,
            ),
            Some(Content::Audio(audio)) => (
                empty(&audio.file, &audio.filename, field.child("audio")),
                false,
            ),
            Some(Content::Video(video)) => (
                empty(&video.file, &video.filename, field.child("video")),
                true,
            ),
            Some(Content::File(file)) => (
                empty(&file.file, &file.filename, field.child("file")),
                false,
            ),
            Some(_) => (
                field.child("content").refuse(
                    "has no file: send an image, audio, video or file message, or use SendMessage",
                ),
                false,
            ),
            None => (None, false),
        };
        let secret = if restricted { STAND_IN_SECRET } else { "" };
        let stand_in = FileRef {
            location: Some(Location::Uuid(STAND_IN_ID.to_owned())),
            secret: secret.to_owned(),
        };
        let mut filled = message.clone();
        fill(&mut filled, &stand_in, None, 0);
        let stand_in = Message::check(filled, app, field);
        // From here on only the upload fills it in.
        if let Some(Content::Video(video)) = &mut message.content {
            video.size_bytes = None;
        }
        Some(Self {
            name: name?,
            stand_in: stand_in?,
            is_video,
            message,
        })
    }

    /// The message with a file of the usual length: for its size.
    pub fn stand_in(&self) -> &Message {
        &self.stand_in
    }

    /// What the file is called.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// Whether a thumbnail may come before the file.
    pub fn takes_thumbnail(&self) -> bool {
        match &self.message.content {
            Some(Content::Video(video)) => self.is_video && video.thumbnail.is_none(),
            _ => false,
        }
    }

    /// The message with its file. Nothing else about it has changed since the check.
    pub fn complete(
        &self,
        file: &FileRef,
        thumbnail: Option<&FileRef>,
        size_bytes: u64,
        app: &App,
    ) -> Option<Message> {
        let mut message = self.message.clone();
        fill(&mut message, file, thumbnail, size_bytes);
        let violations = Violations::default();
        Message::check(message, app, violations.root())
    }
}

/// The name, where the content is as it should be before its upload.
fn empty(file: &Option<FileRef>, name: &str, field: Field<'_>) -> Option<FileName> {
    let name = FileName::check(name, field.child("filename"));
    if file.is_some() {
        return field
            .child("file")
            .refuse("must be left out: the upload fills it in");
    }
    name
}

fn fill(
    message: &mut proto::Message,
    file: &FileRef,
    thumbnail: Option<&FileRef>,
    size_bytes: u64,
) {
    let file = Some(file.clone());
    match &mut message.content {
        Some(Content::Image(image)) => image.file = file,
        Some(Content::Audio(audio)) => audio.file = file,
        Some(Content::File(content)) => content.file = file,
        Some(Content::Video(video)) => {
            video.file = file;
            video.size_bytes = Some(size_bytes);
            if let Some(thumbnail) = thumbnail {
                video.thumbnail = Some(thumbnail.clone());
            }
        }
        Some(
            Content::Text(_) | Content::Location(_) | Content::Command(_) | Content::Custom(_),
        )
        | None => {}
    }
}
