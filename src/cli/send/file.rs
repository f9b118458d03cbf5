//! A file that the message carries: where it is, and what opens it. It is somewhere already; `send`
//! reads none from the disk.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::proto::{self, file_ref::Location};

#[derive(Args)]
pub(super) struct FileRef {
    #[command(flatten)]
    place: Place,
    /// Share secret of a file with restricted access. Others on this machine can read command
    /// lines: the variable is the safer way.
    #[arg(
        long,
        value_name = "SECRET",
        env = "EASEMOB_FILE_SECRET",
        hide_env_values = true,
        value_parser = secret
    )]
    secret: Option<SecretString>,
    // Only there to answer those who try it.
    #[arg(hide = true, value_name = "FILE", value_parser = refuse_path)]
    _path: Option<String>,
}

/// Where the file is.
#[derive(Args)]
#[group(id = "file", required = true, multiple = false)]
struct Place {
    /// Complete http or https URL of the file.
    #[arg(long, value_parser = url)]
    url: Option<String>,
    /// ID of a file uploaded to the same app.
    #[arg(long, value_name = "ID")]
    uuid: Option<String>,
}

#[derive(Args)]
pub(super) struct Thumbnail {
    #[command(flatten)]
    place: ThumbnailPlace,
    /// Share secret of a thumbnail with restricted access.
    #[arg(
        long,
        value_name = "SECRET",
        env = "EASEMOB_THUMBNAIL_SECRET",
        hide_env_values = true,
        value_parser = secret,
        requires = "thumbnail"
    )]
    thumbnail_secret: Option<SecretString>,
}

#[derive(Args)]
#[group(id = "thumbnail", multiple = false)]
struct ThumbnailPlace {
    /// URL of the picture shown before the video plays.
    #[arg(long, value_name = "URL", value_parser = url)]
    thumbnail_url: Option<String>,
    /// The same, by the ID of a file uploaded to the same app.
    #[arg(long, value_name = "ID")]
    thumbnail_uuid: Option<String>,
}

impl From<FileRef> for proto::FileRef {
    fn from(file: FileRef) -> Self {
        Self {
            location: location(file.place.url, file.place.uuid),
            secret: exposed(file.secret),
        }
    }
}

impl From<Thumbnail> for Option<proto::FileRef> {
    fn from(thumbnail: Thumbnail) -> Self {
        let place = thumbnail.place;
        Some(proto::FileRef {
            location: Some(location(place.thumbnail_url, place.thumbnail_uuid)?),
            secret: exposed(thumbnail.thumbnail_secret),
        })
    }
}

fn location(url: Option<String>, uuid: Option<String>) -> Option<Location> {
    url.map(Location::Url).or(uuid.map(Location::Uuid))
}

fn exposed(secret: Option<SecretString>) -> String {
    secret.map_or_else(String::new, |secret| secret.expose_secret().to_owned())
}

fn secret(text: &str) -> Result<SecretString, &'static str> {
    Ok(SecretString::from(text))
}

const NO_UPLOADS: &str = "this version uploads no files: put this one where recipients can fetch it, and give its --url, \
     or the --uuid of one that is at Easemob already";

fn refuse_path(_path: &str) -> Result<String, &'static str> {
    Err(NO_UPLOADS)
}

/// Tells a path from a URL; the rest is the gateway's to check.
fn url(text: &str) -> Result<String, &'static str> {
    match text.split_once("://") {
        Some(("file", _)) | None => Err(NO_UPLOADS),
        Some(_) => Ok(text.to_owned()),
    }
}
