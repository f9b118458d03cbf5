//! The form that an upload is: read as it comes, its file hashed and kept as far as it may be.

use std::fmt::Write;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use multer::{Field, Multipart};
use ring::digest::{self, SHA256};

use super::Files;
use super::incoming::Incoming;
use super::ledger::{Entry, Part};

/// What a form held when its closing boundary was read.
pub(super) struct Form {
    /// The part `file`.
    pub(super) file: Option<Received>,
    /// What is in it that the reference does not list.
    pub(super) extra: Option<String>,
}

/// A file that was received whole.
pub(super) struct Received {
    pub(super) name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) content: Option<Bytes>,
}

/// Why there is no form.
pub(super) enum Unread {
    /// The file passed the limit; the rest is still to come.
    TooLarge,
    /// It is none, or was cut off: by a fault, or by the client.
    NoForm(String),
}

impl From<multer::Error> for Unread {
    fn from(error: multer::Error) -> Self {
        Self::NoForm(error.to_string())
    }
}

/// Reads a form up to its closing boundary.
pub(super) async fn read(
    incoming: &mut Incoming<'_>,
    boundary: multer::Result<String>,
    files: &Files,
    most: u64,
    entry: &Entry<'_>,
) -> Result<Form, Unread> {
    let mut form = Multipart::new(incoming, boundary?);
    let mut file = None;
    let mut extra = None;
    while let Some(mut field) = form.next_field().await? {
        match field.name() {
            Some("file") if file.is_none() => {
                file = Some(receive(field, files, most, entry).await?);
            }
            name => {
                // Some SDKs send the file's name in a field of its own.
                if name != Some("filename") {
                    extra = Some(format!("unexpected part {:?}", name.unwrap_or_default()));
                }
                while field.chunk().await?.is_some() {}
            }
        }
    }
    entry.update(|upload| upload.closed = true);
    Ok(Form { file, extra })
}

async fn receive(
    mut field: Field<'_>,
    files: &Files,
    most: u64,
    entry: &Entry<'_>,
) -> Result<Received, Unread> {
    let name = field.file_name().map(ToOwned::to_owned);
    let content_type = text(field.headers());
    entry.update(|upload| {
        upload.part = Some(Part {
            headers: field.headers().clone(),
            name: name.clone(),
            content_type: content_type.clone(),
            size: 0,
            sha256: None,
        });
    });
    let mut buffer = files.buffer();
    let mut hash = digest::Context::new(&SHA256);
    let mut size = 0;
    let update = |change: &dyn Fn(&mut Part)| {
        entry.update(|upload| upload.part.as_mut().map_or((), change));
    };
    while let Some(chunk) = field.chunk().await? {
        size += chunk.len() as u64;
        hash.update(&chunk);
        buffer.push(&chunk);
        update(&|part| part.size = size);
        if size > most {
            return Err(Unread::TooLarge);
        }
    }
    let sha256 = hex(hash.finish().as_ref());
    update(&|part| part.sha256 = Some(sha256.clone()));
    Ok(Received {
        name,
        content_type,
        size,
        sha256,
        content: buffer.into_content(),
    })
}

fn text(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
