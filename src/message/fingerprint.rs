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

impl Message {
    /// The message's fingerprints: its own, and those of the uploads that it may be the second half of.
    pub fn fingerprints(&self, app: &App) -> Vec<Fingerprint> {
        let envelope = self.envelope(app);
        let mut own = envelope.clone();
        own.update(b"body");
        let Some(body) = self.media_body() else {
            // Its types write their keys in one order.
            canonical::text(&mut own, self.content.body.get());
            return vec![finish(own)];
        };
        let uploaded = |without: &[&str]| finish(without_keys(envelope.clone(), &body, without));
        canonical::members(&mut own, body.iter().map(|(key, value)| (*key, *value)));
        let mut all = vec![finish(own), uploaded(&FILE)];
        if THUMBNAIL.iter().any(|key| body.contains_key(key)) {
            all.push(uploaded(&[FILE.as_slice(), &THUMBNAIL].concat()));
        }
        all
    }

    /// The files that it names; none where its type has no file.
    pub fn files(&self) -> Option<Files> {
        self.has_file()
            .then(|| serde_json::from_str(self.content.body.get()).unwrap_or_default())
    }

    fn has_file(&self) -> bool {
        matches!(self.content.type_tag, "img" | "audio" | "video" | "file")
    }

    fn media_body(&self) -> Option<BTreeMap<&str, &RawValue>> {
        let body = || serde_json::from_str(self.content.body.get()).ok();
        self.has_file().then(body).flatten()
    }

    /// All but the body. What is not set adds as much as its default.
    fn envelope(&self, app: &App) -> Context {
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
        self.target.options.add_to(&mut hash);
        let from = self.from.as_ref().map_or("", |from| from.as_str());
        canonical::text(&mut hash, from);
        canonical::text(&mut hash, self.content.type_tag);
        hash.update(&[u8::from(self.sync_device), u8::from(self.online_only)]);
        canonical::set(
            &mut hash,
            self.roam_ignore_users.iter().map(|id| id.as_str()),
        );
        canonical::text(&mut hash, self.env.as_deref().unwrap_or_default());
        match &self.content.ext {
            Some(ext) => canonical::value(&mut hash, ext.get()),
            None => canonical::value(&mut hash, "{}"),
        }
        hash
    }
}

impl MediaMessage {
    /// The fingerprint of the message and its upload, whatever the file's ID will be.
    pub fn fingerprint(&self, app: &App) -> Fingerprint {
        let message = self.stand_in();
        let body = message.media_body().unwrap_or_default();
        finish(without_keys(message.envelope(app), &body, &FILE))
    }
}

fn without_keys(mut hash: Context, body: &BTreeMap<&str, &RawValue>, without: &[&str]) -> Context {
    let mut left = body.clone();
    left.retain(|key, _| !without.contains(key));
    hash.update(b"upload");
    canonical::members(&mut hash, left.into_iter());
    hash
}

fn finish(hash: Context) -> Fingerprint {
    let hash = hash.finish();
    let half = hash.as_ref().first_chunk();
    Fingerprint(*half.expect("SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests;
