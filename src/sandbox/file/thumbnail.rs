//! Thumbnails of images, made when they are asked for.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, ImageResult, Limits};

use super::File;
use crate::sandbox::refusal::Refusal;

/// An image of no more bytes is its own thumbnail.
const OWN: usize = 10 * 1024;

/// Most memory for an image while a thumbnail is made of it.
const MOST_MEMORY: u64 = 256 << 20;

/// The thumbnail's bytes and content type. What is asked of a file that is no image is not
/// documented: there is none.
pub(in crate::sandbox) async fn of(
    file: &File,
    content: Bytes,
) -> Result<(Bytes, String), Refusal> {
    let none = || Refusal::unknown_file().because("this file is no image that can be read");
    if image::guess_format(&content).is_err() {
        return Err(none());
    }
    if content.len() <= OWN {
        return Ok((content, file.content_type.clone()));
    }
    let (width, height) = file.thumbnail;
    // Away from the one thread that serves every connection.
    let made = tokio::task::spawn_blocking(move || make(content, width, height)).await;
    match made {
        Ok(Ok((content, format))) => Ok((content, format.to_mime_type().to_owned())),
        _ => Err(none()),
    }
}

/// No larger than asked for, no larger than the image, and in its proportions.
fn make(content: Bytes, width: u32, height: u32) -> ImageResult<(Bytes, ImageFormat)> {
    let mut reader = ImageReader::new(Cursor::new(content)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let (format, image) = match reader.format() {
        Some(ImageFormat::Jpeg) => (ImageFormat::Jpeg, reader.decode()?),
        // Others may be transparent, or have colours that a JPEG would blur.
        _ => (ImageFormat::Png, reader.decode()?),
    };
    let (width, height) = (width.min(image.width()), height.min(image.height()));
    let mut thumbnail = image.thumbnail(width, height);
    if format == ImageFormat::Jpeg {
        // The encoder knows no other colours.
        thumbnail = DynamicImage::ImageRgb8(thumbnail.into_rgb8());
    }
    let mut bytes = Cursor::new(Vec::new());
    thumbnail.write_to(&mut bytes, format)?;
    Ok((bytes.into_inner().into(), format))
}
