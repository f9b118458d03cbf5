//! A message whose file is on this machine: uploaded and sent in one call, and what to do where only the
//! first half came about.

use anyhow::Context;

use super::{
    client,
    content::Media,
    file::Local,
    outcome::{Outcome, Uploaded},
};
use crate::{
    cli::{
        file::{Broken, Piece, Source, Stored, Upload},
        gateway::{self, Gateway},
    },
    proto::{self, message::Content, send_media_message_request::Part},
};

/// Uploads the file and sends the message. An error: a file cannot be read, and nothing was sent.
pub(super) async fn send(
    request: proto::SendMessageRequest,
    media: Media,
    gateway: &Gateway,
    show: bool,
) -> anyhow::Result<Outcome> {
    let Media {
        file: Local { path, store },
        thumbnail,
        thumbnail_size,
    } = media;
    let file = Source::open(&path)?;
    let thumbnail = thumbnail.map(|path| Source::open(&path)).transpose()?;
    let mut header = proto::MediaHeader {
        app: request.app,
        message: request.message,
        upload: Some(store.options(&thumbnail_size, &file)),
        request_id: request.request_id,
        resend_maybe_sent: request.resend_maybe_sent,
        thumbnail_upload: thumbnail
            .as_ref()
            .map(|thumbnail| store.thumbnail_options(thumbnail)),
    };
    let content = header.message.as_mut().and_then(|m| m.content.as_mut());
    let content = content.context("a message has a content")?;
    fill(content, &file)?;
    let again = Again {
        path: path.display().to_string(),
        content: content.clone(),
        request_id: header.request_id.clone(),
    };

    let upload = Upload { thumbnail, file };
    let answer = upload.run(
        part(Part::Header(header)),
        |piece| {
            part(match piece {
                Piece::Thumbnail(bytes) => Part::ThumbnailChunk(bytes),
                Piece::Chunk(bytes) => Part::Chunk(bytes),
                Piece::Finish(finish) => Part::Finish(finish),
            })
        },
        gateway,
        show,
        async |mut client, request| client.send_media_message(request).await,
    );
    let mut problem = match answer.await {
        Ok(response) => {
            let proto::SendMediaMessageResponse {
                sent,
                file,
                thumbnail,
            } = response;
            let uploaded = again.uploaded(proto::UploadedMedia { file, thumbnail });
            return Ok(Outcome::from(sent.unwrap_or_default()).with(uploaded));
        }
        Err(Broken::File(error)) => return Err(error),
        Err(Broken::Refused(problem)) => *problem,
        Err(Broken::Silent(status)) => client::untold(gateway, &status),
        Err(Broken::Late) => client::silence(gateway, &gateway.time(gateway::TRANSFER)),
        Err(Broken::Interrupted) => client::interrupted(),
    };
    let uploaded = problem
        .uploaded
        .take()
        .and_then(|media| again.uploaded(*media));
    Ok(Outcome::from(problem).with(uploaded))
}

fn part(part: Part) -> proto::SendMediaMessageRequest {
    proto::SendMediaMessageRequest { part: Some(part) }
}

/// What the file tells of itself, where nobody has said otherwise.
pub(super) fn fill(content: &mut Content, file: &Source) -> anyhow::Result<()> {
    let name = |filename: &mut String| {
        if filename.is_empty() {
            *filename = file.name();
        }
    };
    match content {
        Content::Image(image) => {
            name(&mut image.filename);
            if (image.width, image.height) == (0, 0) {
                (image.width, image.height) = file.pixels()?.unwrap_or_default();
            }
        }
        Content::Audio(audio) => {
            name(&mut audio.filename);
            if audio.duration_seconds.is_none() {
                audio.duration_seconds = file.seconds()?;
            }
        }
        Content::Video(video) => {
            name(&mut video.filename);
            if video.duration_seconds.is_none() {
                video.duration_seconds = file.seconds()?;
            }
        }
        Content::File(content) => name(&mut content.filename),
        Content::Text(_) | Content::Location(_) | Content::Command(_) | Content::Custom(_) => {}
    }
    Ok(())
}

/// What the rest of a send needs to know, once its files are stored.
struct Again {
    path: String,
    content: Content,
    request_id: String,
}

impl Again {
    fn uploaded(&self, media: proto::UploadedMedia) -> Option<Uploaded> {
        let file = media.file.and_then(Stored::new);
        let thumbnail = media.thumbnail.and_then(Stored::new);
        if file.is_none() && thumbnail.is_none() {
            return None;
        }
        Some(Uploaded {
            finish: self.command(file.as_ref(), thumbnail.as_ref()),
            file,
            thumbnail,
        })
    }

    /// The command that sends the message with what is stored.
    fn command(&self, file: Option<&Stored>, thumbnail: Option<&Stored>) -> String {
        let mut words = Vec::new();
        for (stored, variable) in [
            (file, "EASEMOB_FILE_SECRET"),
            (thumbnail, "EASEMOB_THUMBNAIL_SECRET"),
        ] {
            if let Some(secret) = stored.and_then(|stored| stored.secret.as_ref()) {
                words.push(format!("{variable}={}", quoted(secret)));
            }
        }
        let (name, facts) = facts(&self.content);
        words.push(format!("easemob-gateway send {name}"));
        match file {
            Some(file) => words.push(format!("--uuid {}", quoted(&file.uuid))),
            None => words.push(quoted(&self.path)),
        }
        if let Some(thumbnail) = thumbnail {
            words.push(format!("--thumbnail-uuid {}", quoted(&thumbnail.uuid)));
        }
        if let Some(file) = file {
            words.extend(facts);
            if let Content::Video(_) = self.content {
                words.push(format!("--size-bytes {}", file.size_bytes));
            }
        }
        if !self.request_id.is_empty() {
            words.push(format!("--request-id {}", quoted(&self.request_id)));
        }
        words.join(" ")
    }
}

/// Type of the message, and the options that tell what was filled in.
fn facts(content: &Content) -> (&'static str, Vec<String>) {
    let seconds = |seconds: Option<u32>| seconds.map(|seconds| format!("--duration {seconds}"));
    let (name, filename, facts) = match content {
        Content::Image(image) => {
            let size = (image.width, image.height);
            let size = (size != (0, 0)).then(|| format!("--width {} --height {}", size.0, size.1));
            ("image", &*image.filename, size)
        }
        Content::Audio(audio) => ("audio", &*audio.filename, seconds(audio.duration_seconds)),
        Content::Video(video) => ("video", &*video.filename, seconds(video.duration_seconds)),
        Content::File(file) => ("file", &*file.filename, None),
        Content::Text(_) | Content::Location(_) | Content::Command(_) | Content::Custom(_) => {
            return ("", Vec::new());
        }
    };
    let filename = format!("--filename {}", quoted(filename));
    (name, [filename].into_iter().chain(facts).collect())
}

/// A word that a shell takes for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/=+,:@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(uuid: &str, secret: Option<&str>) -> Stored {
        Stored {
            uuid: uuid.into(),
            secret: secret.map(Into::into),
            size_bytes: 7,
            sha256: String::new(),
        }
    }

    #[test]
    fn the_command_says_all_that_the_upload_had_filled_in() {
        let image = proto::ImageContent {
            filename: "bob's cat.jpg".into(),
            width: 640,
            height: 480,
            ..Default::default()
        };
        let again = Again {
            path: "./cat.jpg".into(),
            content: Content::Image(image),
            request_id: "order-7".into(),
        };
        assert_eq!(
            again.command(Some(&stored("1-2", Some("s3"))), None),
            r"EASEMOB_FILE_SECRET=s3 easemob-gateway send image --uuid 1-2 --filename 'bob'\''s cat.jpg' --width 640 --height 480 --request-id order-7"
        );
    }

    #[test]
    fn a_thumbnail_alone_is_kept_too() {
        let video = proto::VideoContent {
            filename: "cat.mp4".into(),
            duration_seconds: Some(3),
            ..Default::default()
        };
        let again = Again {
            path: "./my cat.mp4".into(),
            content: Content::Video(video),
            request_id: String::new(),
        };
        let (file, thumbnail) = (stored("1-2", None), stored("3-4", None));
        assert_eq!(
            again.command(None, Some(&thumbnail)),
            "easemob-gateway send video './my cat.mp4' --thumbnail-uuid 3-4"
        );
        assert_eq!(
            again.command(Some(&file), Some(&thumbnail)),
            "easemob-gateway send video --uuid 1-2 --thumbnail-uuid 3-4 --filename cat.mp4 --duration 3 --size-bytes 7"
        );
    }
}
