//! A file as Easemob stored it, as the commands tell it.

use std::fmt;

use serde::Serialize;

use crate::proto::{self, file_ref::Location};

#[derive(Clone, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Stored {
    pub(in crate::cli) uuid: String,
    /// What downloads need, where access is restricted.
    pub(in crate::cli) secret: Option<String>,
    pub(in crate::cli) size_bytes: u64,
    /// In hexadecimal digits.
    pub(in crate::cli) sha256: String,
}

impl Stored {
    /// None: the gateway names no uuid, so there is nothing to be done with it.
    pub(in crate::cli) fn new(file: proto::UploadedFile) -> Option<Self> {
        let proto::FileRef { location, secret } = file.r#ref?;
        let Some(Location::Uuid(uuid)) = location else {
            return None;
        };
        Some(Self {
            uuid,
            secret: Some(secret).filter(|secret| !secret.is_empty()),
            size_bytes: file.size_bytes,
            sha256: hex(&file.sha256),
        })
    }
}

// The share secret opens the file.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

/// Bytes as hexadecimal digits, as `sha256sum` prints them.
pub(in crate::cli) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
