//! What a file tells of itself: its type by its name, an image's size and a recording's length by their
//! first bytes. What cannot be read is left out: Easemob does without it.

use std::{
    fs::File,
    io::{BufReader, Cursor, Read, Seek},
    path::Path,
};

use image::{ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};
use lofty::{config::ParseOptions, file::AudioFile, probe::Probe};

/// A JPEG's size and orientation stand before its pixels, behind a few tables and perhaps a preview.
const JPEG_HEAD_BYTES: u64 = 1024 * 1024;

/// MIME type by the name's extension.
pub(super) fn content_type(path: &Path) -> &'static str {
    mime_guess::from_path(path)
        .first_raw()
        .unwrap_or("application/octet-stream")
}

/// Width and height in pixels, as the picture is shown: a camera held upright says so beside the pixels.
pub(super) fn pixels(mut file: &File) -> Option<(u32, u32)> {
    let reader = ImageReader::new(BufReader::new(file));
    let format = reader.with_guessed_format().ok()?.format()?;
    file.rewind().ok()?;
    if format != ImageFormat::Jpeg {
        return pixels_of(BufReader::new(file), format);
    }
    // This decoder reads to the end before it looks.
    let mut head = Vec::new();
    file.take(JPEG_HEAD_BYTES).read_to_end(&mut head).ok()?;
    pixels_of(Cursor::new(head), format)
}

fn pixels_of(reader: impl std::io::BufRead + Seek, format: ImageFormat) -> Option<(u32, u32)> {
    let mut decoder = ImageReader::with_format(reader, format)
        .into_decoder()
        .ok()?;
    let (width, height) = decoder.dimensions();
    Some(match decoder.orientation().ok() {
        Some(
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH,
        ) => (height, width),
        _ => (width, height),
    })
}

/// Length in whole seconds, at least one: of a recording, or of the sound of a video.
pub(super) fn seconds(file: &File) -> Option<u32> {
    // Tags and covers may be large, and say nothing of the length.
    let options = ParseOptions::new().read_tags(false).read_cover_art(false);
    let probe = Probe::new(BufReader::new(file)).options(options);
    let file = probe.guess_file_type().ok()?.read().ok()?;
    let length = file.properties().duration();
    if length.is_zero() {
        return None;
    }
    let ms = length.as_millis().saturating_add(500);
    u32::try_from(ms / 1000).ok().map(|seconds| seconds.max(1))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use image::{DynamicImage, ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    /// Eight thousand samples a second, one byte each.
    fn wav(ms: u32) -> Vec<u8> {
        let samples = ms * 8;
        let mut wav = b"RIFF".to_vec();
        wav.extend((36 + samples).to_le_bytes());
        wav.extend(b"WAVEfmt ");
        wav.extend(16_u32.to_le_bytes());
        wav.extend([1, 0, 1, 0]);
        wav.extend(8000_u32.to_le_bytes());
        wav.extend(8000_u32.to_le_bytes());
        wav.extend([1, 0, 8, 0]);
        wav.extend(b"data");
        wav.extend(samples.to_le_bytes());
        wav.resize(wav.len() + samples as usize, 128);
        wav
    }

    #[test]
    fn types_follow_the_name() {
        for (name, expected) in [
            ("cat.jpg", "image/jpeg"),
            ("CAT.PNG", "image/png"),
            ("a.mp4", "video/mp4"),
            ("a.mp3", "audio/mpeg"),
            ("猫.pdf", "application/pdf"),
            ("archive.tar.gz", "application/gzip"),
            ("none", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn an_image_of_each_kind_tells_its_size() {
        for format in [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::Gif,
            ImageFormat::WebP,
        ] {
            let mut bytes = Cursor::new(Vec::new());
            let picture = DynamicImage::new_rgb8(64, 48);
            picture.write_to(&mut bytes, format).unwrap();
            let file = file(bytes.get_ref());
            assert_eq!(pixels(&file), Some((64, 48)), "{format:?}");
        }
    }

    #[test]
    fn a_picture_taken_upright_is_told_upright() {
        // Little-endian TIFF with one entry, the orientation: turned right.
        let mut exif = b"II*\0\x08\0\0\0\x01\0".to_vec();
        exif.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif).unwrap();
        let pixel = vec![0; 64 * 48];
        encoder
            .write_image(&pixel, 64, 48, ExtendedColorType::L8)
            .unwrap();
        assert_eq!(pixels(&file(&bytes)), Some((48, 64)));
    }

    #[test]
    fn a_recording_tells_its_length_in_whole_seconds() {
        for (ms, expected) in [(3_000, 3), (2_500, 3), (2_400, 2), (100, 1)] {
            assert_eq!(seconds(&file(&wav(ms))), Some(expected), "{ms}");
        }
    }

    #[test]
    fn what_is_neither_tells_nothing() {
        for bytes in [
            &b""[..],
            b"text",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\xff\xff\xff\xffWAVE",
            b"\xff\xd8\xff\xe0",
        ] {
            assert_eq!(pixels(&file(bytes)), None, "{bytes:?}");
            assert_eq!(seconds(&file(bytes)), None, "{bytes:?}");
        }
    }
}
