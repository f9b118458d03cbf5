//! What the message says: a subcommand for each of the eight types.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::PathBuf,
};

use clap::{Args, Subcommand};

use super::{
    EXIT_CODES,
    file::{FileRef, Local, Thumbnail},
    option::Options,
};
use crate::{
    cli::file::ThumbnailSize,
    proto::{self, message::Content as Proto},
};

#[derive(Subcommand)]
pub(super) enum Content {
    /// A text message.
    #[command(after_help = help("easemob-gateway send text --to bob \"你好\"\n  easemob-gateway send text --group 1001 --member amy,ben \"only you two see this\"\n  easemob-gateway send text --to bob - < letter.txt"))]
    Text(With<Text>),
    /// An image: a file on this machine, or the URL or uuid of one.
    #[command(after_help = help("easemob-gateway send image --to bob ./cat.jpg\n  easemob-gateway send image --to bob --url https://files.example.com/cat.jpg --width 640 --height 480"))]
    Image(With<Image>),
    /// A voice message: a file on this machine, or the URL or uuid of one.
    #[command(after_help = help("easemob-gateway send audio --to bob ./hello.m4a\n  easemob-gateway send audio --to bob --uuid 11111111-2222-3333-4444-555555555555 --duration 3"))]
    Audio(With<Audio>),
    /// A video: a file on this machine, or the URL or uuid of one.
    #[command(after_help = help("easemob-gateway send video --to bob ./cat.mp4 --thumbnail ./cat.jpg\n  easemob-gateway send video --chatroom 2001 --url https://files.example.com/cat.mp4 --thumbnail-url https://files.example.com/cat.jpg"))]
    Video(With<Video>),
    /// A file: one on this machine, or the URL or uuid of one.
    #[command(after_help = help("easemob-gateway send file --to bob ./contract.pdf\n  easemob-gateway send file --to bob --url https://files.example.com/cat.pdf --filename cat.pdf"))]
    File(With<File>),
    /// A point on the map.
    #[command(after_help = help("easemob-gateway send location --to bob --latitude 39.966 --longitude 116.322 \"Zhongguancun\""))]
    Location(With<Location>),
    /// A command that the recipient's program handles without showing it.
    #[command(after_help = help("easemob-gateway send command --to bob refresh"))]
    Command(With<Command>),
    /// A message of your own kind.
    #[command(after_help = help("easemob-gateway send custom --to bob order/paid --attribute order=7 --attribute amount=9.90"))]
    Custom(With<Custom>),
}

/// The end of a type's help.
fn help(examples: &str) -> String {
    format!("Examples:\n  {examples}\n\n{EXIT_CODES}")
}

/// A content and the options that every content takes: beside it, and not above it, so that each
/// type's help is complete and each option stands in one place.
#[derive(Args)]
pub(super) struct With<C: Args> {
    #[command(flatten)]
    content: C,
    #[command(flatten)]
    options: Options,
}

/// Files on this machine that the message is to carry.
pub(super) struct Media {
    pub(super) file: Local,
    pub(super) thumbnail: Option<PathBuf>,
    pub(super) thumbnail_size: ThumbnailSize,
}

/// The content as the contract has it, and what has to be uploaded for it.
pub(super) type Parts = (Proto, Option<Media>);

impl Content {
    /// What the message says, and the options beside it.
    pub(super) fn into_parts(self, stdin: impl Read) -> io::Result<(Parts, Options)> {
        Ok(match self {
            Self::Text(with) => {
                let text = Proto::Text(with.content.read(stdin)?);
                ((text, None), with.options)
            }
            Self::Image(with) => (with.content.into_parts(), with.options),
            Self::Audio(with) => (with.content.into_parts(), with.options),
            Self::Video(with) => (with.content.into_parts(), with.options),
            Self::File(with) => (with.content.into_parts(), with.options),
            Self::Location(with) => ((Proto::Location(with.content.into()), None), with.options),
            Self::Command(with) => ((Proto::Command(with.content.into()), None), with.options),
            Self::Custom(with) => ((Proto::Custom(with.content.into()), None), with.options),
        })
    }
}

fn media(file: Option<Local>) -> Option<Media> {
    Some(Media {
        file: file?,
        thumbnail: None,
        thumbnail_size: ThumbnailSize::default(),
    })
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
    /// Name shown to recipients. Left out: that of the file on this machine.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
    /// Width in pixels. Left out: read from the file on this machine.
    #[arg(long, value_name = "PIXELS", requires = "height")]
    width: Option<u32>,
    /// Height in pixels. The same.
    #[arg(long, value_name = "PIXELS", requires = "width")]
    height: Option<u32>,
    /// Width in pixels of the thumbnail that Easemob makes of an uploaded image.
    #[arg(
        long,
        value_name = "PIXELS",
        requires = "thumbnail_height",
        conflicts_with_all = ["url", "uuid"],
        help_heading = "Upload"
    )]
    thumbnail_width: Option<u32>,
    /// Height in pixels of that thumbnail.
    #[arg(
        long,
        value_name = "PIXELS",
        requires = "thumbnail_width",
        help_heading = "Upload"
    )]
    thumbnail_height: Option<u32>,
}

impl Image {
    fn into_parts(self) -> Parts {
        let (file, local) = self.file.into_parts();
        let content = proto::ImageContent {
            file,
            filename: self.filename,
            width: self.width.unwrap_or_default(),
            height: self.height.unwrap_or_default(),
        };
        let mut media = media(local);
        if let Some(media) = &mut media {
            media.thumbnail_size = ThumbnailSize {
                thumbnail_width: self.thumbnail_width,
                thumbnail_height: self.thumbnail_height,
            };
        }
        (Proto::Image(content), media)
    }
}

#[derive(Args)]
pub(super) struct Audio {
    #[command(flatten)]
    file: FileRef,
    /// Name shown to recipients. Left out: that of the file on this machine.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
    /// Length in seconds. Left out: read from the file on this machine.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u32>,
}

impl Audio {
    fn into_parts(self) -> Parts {
        let (file, local) = self.file.into_parts();
        let content = proto::AudioContent {
            file,
            filename: self.filename,
            duration_seconds: self.duration,
        };
        (Proto::Audio(content), media(local))
    }
}

#[derive(Args)]
pub(super) struct Video {
    #[command(flatten)]
    file: FileRef,
    /// Name shown to recipients. Left out: that of the file on this machine.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
    #[command(flatten)]
    thumbnail: Thumbnail,
    /// Length in seconds. Left out: read from the file on this machine.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u32>,
    /// Size of the video in bytes. An upload fills it in.
    #[arg(long, value_name = "BYTES", conflicts_with = "path")]
    size_bytes: Option<u64>,
}

impl Video {
    fn into_parts(self) -> Parts {
        let (file, local) = self.file.into_parts();
        let (thumbnail, local_thumbnail) = self.thumbnail.into_parts();
        let content = proto::VideoContent {
            file,
            filename: self.filename,
            thumbnail,
            duration_seconds: self.duration,
            size_bytes: self.size_bytes,
        };
        let mut media = media(local);
        if let Some(media) = &mut media {
            media.thumbnail = local_thumbnail;
        }
        (Proto::Video(content), media)
    }
}

#[derive(Args)]
pub(super) struct File {
    #[command(flatten)]
    file: FileRef,
    /// Name shown to recipients. Left out: that of the file on this machine.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    filename: String,
}

impl File {
    fn into_parts(self) -> Parts {
        let (file, local) = self.file.into_parts();
        let content = proto::FileContent {
            file,
            filename: self.filename,
        };
        (Proto::File(content), media(local))
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
