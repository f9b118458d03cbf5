//! A file that recipients download: where it is, and what opens it. The gateway never opens it.

use std::fmt;

use reqwest::Url;
use serde::Serialize;

use crate::{app::App, id::FileId, invalid::Field, proto};

/// Longest URL in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// A file by its URL.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct FileRef {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl FileRef {
    pub(super) fn check(file: Option<proto::FileRef>, app: &App, at: Field<'_>) -> Option<Self> {
        let proto::FileRef { location, secret } = at.required(file)?;
        let url = match location {
            Some(proto::file_ref::Location::Uuid(uuid)) => {
                FileId::check(uuid, at.child("uuid")).map(|uuid| app.file_url(&uuid))
            }
            Some(proto::file_ref::Location::Url(url)) => check_url(url, at.child("url")),
            None => at.refuse("needs a uuid or a url"),
        };
        Some(Self {
            url: url?,
            secret: Some(secret).filter(|secret| !secret.is_empty()),
        })
    }

    /// URL and share secret.
    pub(super) fn into_parts(self) -> (String, Option<String>) {
        (self.url, self.secret)
    }
}

// The share secret opens the file, and its URL may hold a secret too.
impl fmt::Debug for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileRef([REDACTED])")
    }
}

fn check_url(url: String, at: Field<'_>) -> Option<String> {
    if url.len() > MAX_URL_BYTES {
        return at.refuse("is longer than 2,048 bytes");
    }
    // The parser forgives these by leaving them out; recipients' parsers may not.
    if url.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return at.refuse("must not hold white space, control characters or backslashes");
    }
    let Ok(parsed) = Url::parse(&url) else {
        return at.refuse("is not a complete http or https URL");
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return at.refuse("must be an http or https URL");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return at.refuse("must not hold a user name or password");
    }
    Some(url)
}
