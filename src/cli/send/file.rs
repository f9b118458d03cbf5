//! A file that the message carries: one on this machine, or one that is somewhere already.

use std::{env, path::PathBuf};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    cli::file::Store,
    proto::{self, file_ref::Location},
};

/// Holds the secret of [`FileRef`]. Not clap's to read: it would be as if the option had been given.
const SECRET: &str = "EASEMOB_FILE_SECRET";
/// Holds the secret of [`Thumbnail`].
const THUMBNAIL_SECRET: &str = "EASEMOB_THUMBNAIL_SECRET";

#[derive(Args)]
pub(super) struct FileRef {
    #[command(flatten)]
    place: Place,
    /// Share secret of a file with restricted access. Others on this machine can read command
    /// lines: the variable is the safer way. [env: EASEMOB_FILE_SECRET]
    #[arg(long, value_name = "SECRET", value_parser = secret, conflicts_with = "path")]
    secret: Option<SecretString>,
    #[command(flatten)]
    store: Store,
}

/// Where the file is.
#[derive(Args)]
#[group(id = "file", required = true, multiple = false)]
struct Place {
    /// A file on this machine: it is uploaded, and then the message is sent.
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,
    /// Complete http or https URL of the file.
    // What is somewhere already is stored as it is.
    #[arg(long, value_parser = url, conflicts_with = "store")]
    url: Option<String>,
    /// ID of a file uploaded to the same app.
    #[arg(long, value_name = "ID", conflicts_with = "store")]
    uuid: Option<String>,
}

#[derive(Args)]
pub(super) struct Thumbnail {
    #[command(flatten)]
    place: ThumbnailPlace,
    /// Share secret of a thumbnail with restricted access. [env: EASEMOB_THUMBNAIL_SECRET]
    #[arg(
        long,
        value_name = "SECRET",
        value_parser = secret,
        requires = "thumbnail_place",
        conflicts_with = "thumbnail"
    )]
    thumbnail_secret: Option<SecretString>,
}

#[derive(Args)]
#[group(id = "thumbnail_place", multiple = false)]
struct ThumbnailPlace {
    /// Picture shown before the video plays, on this machine: it is uploaded before the video.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "uuid"])]
    thumbnail: Option<PathBuf>,
    /// The same, by its URL.
    #[arg(long, value_name = "URL", value_parser = url)]
    thumbnail_url: Option<String>,
    /// The same, by the ID of a file uploaded to the same app.
    #[arg(long, value_name = "ID")]
    thumbnail_uuid: Option<String>,
}

/// A file on this machine, and how it is to be stored.
pub(super) struct Local {
    pub(super) path: PathBuf,
    pub(super) store: Store,
}

impl FileRef {
    /// The file as a message names it, or else the one to be uploaded.
    pub(super) fn into_parts(self) -> (Option<proto::FileRef>, Option<Local>) {
        let place = self.place;
        let store = self.store;
        match location(place.url, place.uuid) {
            Some(location) => (Some(file_ref(location, self.secret, SECRET)), None),
            None => (None, place.path.map(|path| Local { path, store })),
        }
    }
}

impl Thumbnail {
    /// The thumbnail as a message names it, or else the one to be uploaded.
    pub(super) fn into_parts(self) -> (Option<proto::FileRef>, Option<PathBuf>) {
        let place = self.place;
        let thumbnail = location(place.thumbnail_url, place.thumbnail_uuid)
            .map(|location| file_ref(location, self.thumbnail_secret, THUMBNAIL_SECRET));
        (thumbnail, place.thumbnail)
    }
}

fn location(url: Option<String>, uuid: Option<String>) -> Option<Location> {
    url.map(Location::Url).or(uuid.map(Location::Uuid))
}

fn file_ref(location: Location, secret: Option<SecretString>, variable: &str) -> proto::FileRef {
    let secret = match secret {
        Some(secret) => secret.expose_secret().to_owned(),
        None => env::var(variable).unwrap_or_default(),
    };
    proto::FileRef {
        location: Some(location),
        secret,
    }
}

fn secret(text: &str) -> Result<SecretString, &'static str> {
    Ok(SecretString::from(text))
}

/// Tells a path from a URL; the rest is the gateway's to check.
fn url(text: &str) -> Result<String, &'static str> {
    match text.split_once("://") {
        Some(("file", _)) | None => Err(
            "is no URL that recipients can open: give a file on this machine by its path, without this option \
             (a video's thumbnail by --thumbnail), and it is uploaded",
        ),
        Some(_) => Ok(text.to_owned()),
    }
}
