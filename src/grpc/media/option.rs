//! How a file is to be stored: the checks that its upload must pass before its first chunk.

use crate::{
    app::App,
    easemob::Store,
    grpc::status::Problem,
    invalid::Field,
    media::{ContentType, FileName},
    proto::{self, ErrorReason},
};

/// Largest side of a thumbnail in pixels.
const MAX_THUMBNAIL_PIXELS: u32 = 10_000;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) declared: Option<u64>,
    content_type: ContentType,
    restrict_access: bool,
    thumbnail: Option<(u32, u32)>,
}

impl Options {
    pub(super) fn store(self, name: FileName) -> Store {
        Store {
            name,
            content_type: self.content_type,
            restrict_access: self.restrict_access,
            thumbnail: self.thumbnail,
        }
    }
}

pub(super) fn check_options(
    options: Option<proto::UploadOptions>,
    field: Field<'_>,
) -> Option<Options> {
    let proto::UploadOptions {
        size_bytes,
        content_type,
        restrict_access,
        thumbnail_width,
        thumbnail_height,
    } = options.unwrap_or_default();
    let content_type = ContentType::check(&content_type, field.child("content_type"));
    let thumbnail = match (thumbnail_width, thumbnail_height) {
        (0, 0) => Some(None),
        (0, _) => field
            .child("thumbnail_width")
            .refuse("is required where thumbnail_height is given"),
        (_, 0) => field
            .child("thumbnail_height")
            .refuse("is required where thumbnail_width is given"),
        (width, height) if width.max(height) > MAX_THUMBNAIL_PIXELS => field
            .child("thumbnail_width")
            .refuse("and thumbnail_height must be at most 10,000 pixels"),
        (width, height) => Some(Some((width, height))),
    };
    Some(Options {
        declared: size_bytes,
        content_type: content_type?,
        restrict_access,
        thumbnail: thumbnail?,
    })
}

/// A file that is declared too large is refused before its first chunk.
pub(super) fn check_declared(declared: Option<u64>, what: &str, app: &App) -> Result<(), Problem> {
    let limit = app.limits.upload_bytes;
    match declared {
        Some(size) if limit != 0 && size > limit => Err(Problem::new(
            ErrorReason::FileTooLarge,
            format!("the {what} has {size} bytes, and the app's limit is {limit}"),
        )
        .with_metadata("size_bytes", size.to_string())
        .with_metadata("limit_bytes", limit.to_string())),
        _ => Ok(()),
    }
}
