//! What tells whether two requests ask for the same message: a sum over its canonical form.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MediaMessage, Message, canonical};
use crate::app::App;

/// Keys of a body that an upload fills in.
const FILE: [&str; 3] = ["url", "secret", "file_length"];
/// Those of a video's thumbnail, which may be uploaded too.
const THUMBNAIL: [&str; 2] = ["thumb", "thumb_secret"];

/// A sum over a message and its app. Half a SHA-256: nobody finds two messages that share it by
/// chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

/// The files that a media message names, as far as recipients see them.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Files {
    /// URL of the file.
    pub url: String,
    /// Its share secret.
    pub secret: Option<String>,
    /// Its size in bytes, where the message tells it.
    #[serde(rename = "file_length")]
    pub size_bytes: Option<u64>,
    /// URL of a video's thumbnail.
    #[serde(rename = "thumb")]
    pub thumbnail_url: Option<String>,
    /// Its share secret.
    #[serde(rename = "thumb_secret")]
    pub thumbnail_secret: Option<String>,
}

impl Fingerprint {
    /// One that stands for these bytes: for tests of those who only compare.
    #[cfg(test)]
    pub(crate) const fn of(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A JSON object whose members are looked at one by one.
type Object<'a> = BTreeMap<&'a str, &'a RawValue>;

impl Message {
    /// The message's fingerprints: its own, and those of the uploads that it may be the second half of.
    pub fn fingerprints(&self, app: &App) -> Vec<Fingerprint> {
        let json = self.envelope.to_object();
        let request = members_of(&json);
        let hash = self.summed(app, &request);
        let mut own = hash.clone();
        own.update(b"body");
        if let Some(body) = request.get("body") {
            canonical::value(&mut own, body.get());
        }
        let mut all = vec![finish(own)];
        if let Some(body) = body_with_file(&request) {
            all.push(without(&hash, &body, &FILE));
            if THUMBNAIL.iter().any(|key| body.contains_key(key)) {
                let keys = [FILE.as_slice(), &THUMBNAIL].concat();
                all.push(without(&hash, &body, &keys));
            }
        }
        all
    }

    /// The files that it names; none where its type has no file.
    pub fn files(&self) -> Option<Files> {
        let json = self.envelope.to_object();
        let request = members_of(&json);
        body_with_file(&request)?;
        serde_json::from_str(request.get("body")?.get()).ok()
    }

    /// All but the body. What is not set adds as much as its default.
    fn summed(&self, app: &App, request: &Object<'_>) -> Context {
        let mut hash = Context::new(&SHA256);
        canonical::text(&mut hash, &app.name);
        canonical::text(&mut hash, self.target.kind.path());
        hash.update(&(self.target.recipients.len() as u64).to_le_bytes());
        for at in self.target.order() {
            let id = self.target.recipients[at].as_str();
            match self.target.kind.ignores_case() && id.bytes().any(|b| b.is_ascii_uppercase()) {
                true => canonical::text(&mut hash, &id.to_ascii_lowercase()),
                false => canonical::text(&mut hash, id),
            }
        }
        for (key, value) in request {
            let value = value.get();
            match *key {
                "body" => {}
                "ext" if value.len() <= 2 => {}
                "users" | "roam_ignore_users" => {
                    canonical::text(&mut hash, key);
                    canonical::set(&mut hash, value);
                }
                _ => {
                    canonical::text(&mut hash, key);
                    canonical::value(&mut hash, value);
                }
            }
        }
        hash
    }
}

impl MediaMessage {
    /// The fingerprint of the message and its upload, whatever the file's ID will be.
    pub fn fingerprint(&self, app: &App) -> Fingerprint {
        let json = self.stand_in().envelope.to_object();
        let request = members_of(&json);
        let body = body_with_file(&request).unwrap_or_default();
        without(&self.stand_in().summed(app, &request), &body, &FILE)
    }
}

fn members_of(json: &[u8]) -> Object<'_> {
    serde_json::from_slice(json).expect("our own JSON, and no escape in its keys")
}

/// The body, where the message is of a type that has a file.
fn body_with_file<'a>(request: &Object<'a>) -> Option<Object<'a>> {
    let has_file = ["\"img\"", "\"audio\"", "\"video\"", "\"file\""];
    has_file.contains(&request.get("type")?.get()).then(|| {
        members_of(
            request
                .get("body")
                .map_or("{}", |body| body.get())
                .as_bytes(),
        )
    })
}

/// As long as the files are not known: all else is.
fn without(hash: &Context, body: &Object<'_>, keys: &[&str]) -> Fingerprint {
    let mut hash = hash.clone();
    hash.update(b"upload");
    let mut body = body.clone();
    body.retain(|key, _| !keys.contains(key));
    canonical::members(&mut hash, body.into_iter());
    finish(hash)
}

fn finish(hash: Context) -> Fingerprint {
    let hash = hash.finish();
    let half = hash.as_ref().first_chunk();
    Fingerprint(*half.expect("SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests;
