//! The options that say how a file is to be stored.

use clap::Args;

use super::Source;
use crate::proto;

#[derive(Debug, Clone, Default, Args)]
#[group(id = "store")]
pub(in crate::cli) struct Store {
    /// MIME type of the file. Left out: guessed from its name.
    #[arg(long, value_name = "TYPE", help_heading = "Upload")]
    content_type: Option<String>,
    /// Downloads need the share secret.
    #[arg(long, help_heading = "Upload")]
    restrict_access: bool,
}

/// Size of the thumbnail that Easemob makes of an image.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct ThumbnailSize {
    /// Width in pixels of the thumbnail that Easemob makes of an image.
    #[arg(
        long,
        value_name = "PIXELS",
        requires = "thumbnail_height",
        help_heading = "Upload"
    )]
    pub(in crate::cli) thumbnail_width: Option<u32>,
    /// Height in pixels of that thumbnail.
    #[arg(
        long,
        value_name = "PIXELS",
        requires = "thumbnail_width",
        help_heading = "Upload"
    )]
    pub(in crate::cli) thumbnail_height: Option<u32>,
}

impl Store {
    /// How to store this file.
    pub(in crate::cli) fn options(
        &self,
        size: &ThumbnailSize,
        file: &Source,
    ) -> proto::UploadOptions {
        let content_type = self.content_type.clone();
        proto::UploadOptions {
            size_bytes: file.size_bytes(),
            content_type: content_type.unwrap_or_else(|| file.content_type()),
            restrict_access: self.restrict_access,
            thumbnail_width: size.thumbnail_width.unwrap_or_default(),
            thumbnail_height: size.thumbnail_height.unwrap_or_default(),
        }
    }

    /// How to store a video's thumbnail: whoever may not see the one may not see the other.
    pub(in crate::cli) fn thumbnail_options(&self, file: &Source) -> proto::UploadOptions {
        proto::UploadOptions {
            size_bytes: file.size_bytes(),
            content_type: file.content_type(),
            restrict_access: self.restrict_access,
            ..Default::default()
        }
    }
}
