//! What tells whether two requests ask for the same message: a sum over its canonical form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use super::{MediaMessage, Message, canonical, request::Pieces};
use crate::{app::App, id::RecipientId};

/// After a text in a form: none has it, neither an ID nor JSON of ours.
const END: u8 = 0;
/// Keys of a body that an upload fills in.
const FILE: [&str; 3] = ["url", "secret", "file_length"];
/// Those of a video's thumbnail, which may be uploaded too.
const THUMBNAIL: [&str; 2] = ["thumb", "thumb_secret"];

/// A sum over a message and its app: XXH3 of 128 bits, the same on every replica. Two messages share it by no
/// accident; a caller that constructs two only deceives itself, since request IDs are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

/// What a message may have begun as: nearly always as what it is.
pub type Fingerprints = SmallVec<[Fingerprint; 1]>;

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
    fn of_form(form: &[u8]) -> Self {
        Self(xxh3_128(form).to_be_bytes())
    }

    /// One that was kept elsewhere.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept elsewhere.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// One that stands for these bytes: for tests of those who only compare.
    #[cfg(test)]
    pub(crate) const fn of(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// The members of a JSON object of ours.
type Object<'a> = BTreeMap<&'a str, &'a RawValue>;

impl Message {
    /// The message's fingerprints: its own, and those of the uploads that it may be the second half of.
    pub fn fingerprints(&self, app: &App) -> Fingerprints {
        let mut form = self.form(app);
        let common = form.len();
        form.extend_from_slice(b"body");
        form.extend_from_slice(self.envelope.pieces().body);
        let mut all = Fingerprints::from_buf([Fingerprint::of_form(&form)]);
        if let Some(mut body) = self.body_with_file() {
            for keys in [FILE.as_slice(), &THUMBNAIL] {
                let members = body.len();
                body.retain(|key, _| !keys.contains(key));
                if body.len() < members {
                    form.truncate(common);
                    all.push(upload(&mut form, &body));
                }
            }
        }
        all
    }

    /// The files that it names; none where its type has no file.
    pub fn files(&self) -> Option<Files> {
        self.body_with_file()?;
        serde_json::from_slice(self.envelope.pieces().body).ok()
    }

    /// All but the body, in the one form that the same message always has. What is not set adds as much as
    /// its default.
    fn form(&self, app: &App) -> Vec<u8> {
        let Pieces {
            head, ext, options, ..
        } = self.envelope.pieces();
        let mut form = Vec::with_capacity(512);
        form.extend_from_slice(app.name.as_bytes());
        form.push(END);
        form.extend_from_slice(self.target.kind.path().as_bytes());
        form.push(END);
        let recipients = &self.target.recipients;
        let mut add = |id: &RecipientId| {
            let begin = form.len();
            form.extend_from_slice(id.as_str().as_bytes());
            if self.target.kind.ignores_case() {
                form[begin..].make_ascii_lowercase();
            }
            form.push(END);
        };
        match &recipients[..] {
            [only] => add(only),
            _ => self
                .target
                .order()
                .iter()
                .for_each(|at| add(&recipients[*at])),
        }
        // Only the extension comes in the caller's own spelling: the rest was written by us, key by key.
        for piece in [head, options] {
            form.push(END);
            form.extend_from_slice(piece);
        }
        form.push(END);
        match ext {
            [] => canonical::no_members(&mut form),
            ext => canonical::value(&mut form, str::from_utf8(ext).expect("it came as text")),
        }
        form
    }

    /// The body, where the message is of a type that has a file.
    fn body_with_file(&self) -> Option<Object<'_>> {
        let Pieces { head, body, .. } = self.envelope.pieces();
        let has_file = [
            br#""img","body":"#.as_slice(),
            br#""audio","body":"#,
            br#""video","body":"#,
            br#""file","body":"#,
        ];
        let body =
            || serde_json::from_slice(body).expect("our own JSON, and no escape in its keys");
        has_file.iter().any(|end| head.ends_with(end)).then(body)
    }
}

impl MediaMessage {
    /// The fingerprint of the message and its upload, whatever the file's ID will be.
    pub fn fingerprint(&self, app: &App) -> Fingerprint {
        let message = self.stand_in();
        let mut body = message.body_with_file().unwrap_or_default();
        body.retain(|key, _| !FILE.contains(key));
        upload(&mut message.form(app), &body)
    }
}

/// The fingerprint of a message and its upload. `body`: as long as the files are not known, all else is.
fn upload(form: &mut Vec<u8>, body: &Object<'_>) -> Fingerprint {
    form.extend_from_slice(b"upload");
    for (key, value) in body {
        canonical::text(form, key);
        canonical::text(form, value.get());
    }
    Fingerprint::of_form(form)
}

#[cfg(test)]
mod tests;
