//! What the message says: a subcommand for each of the eight types.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use clap::{Args, Subcommand};

use super::{
    EXIT_CODES,
    file::{FileRef, Thumbnail},
    option::Options,
};
use crate::proto::{self, message::Content as Proto};

#[derive(Subcommand)]
pub(super) enum Content {
    /// A text message.
    Text(With<Text>),
    /// An image, by the URL or uuid of its file.
    Image(With<Image>),
    /// A voice message, by the URL or uuid of its file.
    Audio(With<Audio>),
    /// A video, by the URL or uuid of its file.
    Video(With<Video>),
    /// A file, by its URL or uuid.
    File(With<File>),
    /// A point on the map.
    Location(With<Location>),
    /// A command that the recipient's program handles without showing it.
    Command(With<Command>),
    /// A message of your own kind.
    Custom(With<Custom>),
}

/// A content and the options that every content takes: beside it, and not above it, so that each
/// type's help is complete and each option stands in one place.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct With<C: Args> {
    #[command(flatten)]
    content: C,
    #[command(flatten)]
    options: Options,
}

impl Content {
    /// The content as the contract has it, and the options beside it.
    pub(super) fn into_parts(self, stdin: impl Read) -> io::Result<(Proto, Options)> {
        Ok(match self {
            Self::Text(with) => (Proto::Text(with.content.read(stdin)?), with.options),
            Self::Image(with) => (Proto::Image(with.content.into()), with.options),
            Self::Audio(with) => (Proto::Audio(with.content.into()), with.options),
            Self::Video(with) => (Proto::Video(with.content.into()), with.options),
            Self::File(with) => (Proto::File(with.content.into()), with.options),
            Self::Location(with) => (Proto::Location(with.content.into()), with.options),
            Self::Command(with) => (Proto::Command(with.content.into()), with.options),
            Self::Custom(with) => (Proto::Custom(with.content.into()), with.options),
        })
    }
}

#[derive(Args)]
pub(super) struct Text {
    /// The text. A single hyphen (-) reads it from standard input, without the newline at its end;
    /// one that begins with a hyphen stands after --.
    text: String,
}

impl Text {
    fn read(self, mut stdin: impl Read) -> io::Result<proto::TextContent> {
        let mut text = self.text;
        if text == "-" {
            text.clear();
            stdin.read_to_string(&mut text)?;
            let end = text.strip_suffix('\n').map(str::len);
            text.truncate(end.unwrap_or(text.len()));
        }
        Ok(proto::TextContent { text })
    }
}

#[derive(Args)]
pub(super) struct Image {
    #[command(flatten)]
    file: FileRef,
    /// Name shown to recipients.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
    /// Width in pixels.
    #[arg(long, value_name = "PIXELS", requires = "height")]
    width: Option<u32>,
    /// Height in pixels.
    #[arg(long, value_name = "PIXELS", requires = "width")]
    height: Option<u32>,
}

impl From<Image> for proto::ImageContent {
    fn from(image: Image) -> Self {
        Self {
            file: Some(image.file.into()),
            filename: image.filename,
            width: image.width.unwrap_or_default(),
            height: image.height.unwrap_or_default(),
        }
    }
}

#[derive(Args)]
pub(super) struct Audio {
    #[command(flatten)]
    file: FileRef,
    /// Name shown to recipients.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
    /// Length in seconds.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u32>,
}

impl From<Audio> for proto::AudioContent {
    fn from(audio: Audio) -> Self {
        Self {
            file: Some(audio.file.into()),
            filename: audio.filename,
            duration_seconds: audio.duration,
        }
    }
}

#[derive(Args)]
pub(super) struct Video {
    #[command(flatten)]
    file: FileRef,
    /// Name shown to recipients.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
    #[command(flatten)]
    thumbnail: Thumbnail,
    /// Length in seconds.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u32>,
    /// Size of the video in bytes.
    #[arg(long, value_name = "BYTES")]
    size_bytes: Option<u64>,
}

impl From<Video> for proto::VideoContent {
    fn from(video: Video) -> Self {
        Self {
            file: Some(video.file.into()),
            filename: video.filename,
            thumbnail: video.thumbnail.into(),
            duration_seconds: video.duration,
            size_bytes: video.size_bytes,
        }
    }
}

#[derive(Args)]
pub(super) struct File {
    #[command(flatten)]
    file: FileRef,
    /// Name shown to recipients.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
}

impl From<File> for proto::FileContent {
    fn from(file: File) -> Self {
        Self {
            file: Some(file.file.into()),
            filename: file.filename,
        }
    }
}

#[derive(Args)]
pub(super) struct Location {
    /// The place in words.
    address: String,
    /// Degrees north, -90 to 90.
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    latitude: f64,
    /// Degrees east, -180 to 180.
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    longitude: f64,
}

impl From<Location> for proto::LocationContent {
    fn from(location: Location) -> Self {
        Self {
            latitude: Some(location.latitude),
            longitude: Some(location.longitude),
            address: location.address,
        }
    }
}

#[derive(Args)]
pub(super) struct Command {
    /// The command.
    action: String,
}

impl From<Command> for proto::CommandContent {
    fn from(command: Command) -> Self {
        Self {
            action: command.action,
        }
    }
}

#[derive(Args)]
pub(super) struct Custom {
    /// Event name: 1 to 32 of a-z A-Z 0-9 - _ / and the full stop.
    event: String,
    /// An attribute; repeatable. Where a key comes twice, the last one counts.
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
}

fn attribute(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("needs KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl From<Custom> for proto::CustomContent {
    fn from(custom: Custom) -> Self {
        Self {
            event: custom.event,
            attributes: BTreeMap::from_iter(custom.attributes),
        }
    }
}
