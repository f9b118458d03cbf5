//! Chat files: the bytes of each, and beside them what is known of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::message::milliseconds;
use crate::sandbox::file::File;

/// What is known of a file.
#[derive(Serialize, Deserialize)]
struct Facts {
    uuid: String,
    name: String,
    content_type: String,
    size: u64,
    sha256: String,
    share_secret: Option<String>,
    thumbnail: (u32, u32),
    /// Milliseconds since 1970.
    received: u64,
    /// Whether its bytes are here.
    kept: bool,
}

pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("files")
}

fn bytes_of(data: &Path, uuid: &str) -> PathBuf {
    folder(data).join(uuid)
}

fn facts_of(data: &Path, uuid: &str) -> PathBuf {
    folder(data).join(format!("{uuid}.json"))
}

/// Those of earlier runs, oldest first; what cannot be read is left out.
pub(super) fn read(data: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder(data))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.extend(one(data, &path));
        }
    }
    files.sort_by_key(|file| file.received);
    Ok(files)
}

fn one(data: &Path, facts: &Path) -> Option<File> {
    let facts: Facts = serde_json::from_slice(&fs::read(facts).ok()?).ok()?;
    let content = match facts.kept {
        true => Some(fs::read(bytes_of(data, &facts.uuid)).ok()?),
        false => None,
    };
    let whole = |content: &Vec<u8>| u64::try_from(content.len()).is_ok_and(|len| len == facts.size);
    if !content.as_ref().is_none_or(whole) {
        return None;
    }
    let received = UNIX_EPOCH + Duration::from_millis(facts.received);
    Some(File {
        uuid: facts.uuid,
        name: facts.name,
        content_type: facts.content_type,
        size: facts.size,
        sha256: facts.sha256,
        share_secret: facts.share_secret,
        thumbnail: facts.thumbnail,
        received,
        content: content.map(Into::into),
        stored: Duration::ZERO,
        was: SystemTime::now()
            .duration_since(received)
            .unwrap_or_default(),
    })
}

/// The bytes first: facts without them are those of no file.
pub(super) fn write(data: &Path, file: &File) -> io::Result<()> {
    if let Some(content) = &file.content {
        fs::write(bytes_of(data, &file.uuid), content)?;
    }
    let facts = Facts {
        uuid: file.uuid.clone(),
        name: file.name.clone(),
        content_type: file.content_type.clone(),
        size: file.size,
        sha256: file.sha256.clone(),
        share_secret: file.share_secret.clone(),
        thumbnail: file.thumbnail,
        received: milliseconds(file.received),
        kept: file.content.is_some(),
    };
    fs::write(facts_of(data, &file.uuid), serde_json::to_vec(&facts)?)
}

pub(super) fn remove(data: &Path, uuid: &str) -> io::Result<()> {
    super::remove(facts_of(data, uuid))?;
    super::remove(bytes_of(data, uuid))
}
