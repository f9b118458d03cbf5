//! What a store is asked, and what it tells: the same wherever records are kept.

use std::fmt;

use siphasher::sip128::SipHasher13;
use smallvec::SmallVec;

use crate::{
    id::{FileId, RequestId},
    media::Section,
    message::Fingerprint,
};

/// Whose request: caller, app and request ID in one. A sum of 128 bits for which nobody finds a second one that fits, so
/// that no ID is kept in the clear.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of a request in a store that others see: the same on every replica. Each caller has IDs of its own, and so
    /// has each app.
    pub fn shared(caller: &str, app: &str, request_id: &RequestId) -> Self {
        let sum = blake3::hash(&name(caller, app, request_id));
        let half = sum.as_bytes().first_chunk();
        Self(*half.expect("BLAKE3 has 32 bytes"))
    }

    /// The same in one that nobody else sees, by a secret of its own, for half of what that costs.
    pub fn secret(secret: &SipHasher13, caller: &str, app: &str, request_id: &RequestId) -> Self {
        Self(secret.hash(&name(caller, app, request_id)).as_bytes())
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

fn name(caller: &str, app: &str, request_id: &RequestId) -> SmallVec<[u8; 192]> {
    let mut name = SmallVec::new();
    for part in [caller, app, request_id.as_str()] {
        name.extend_from_slice(part.as_bytes());
        // Which neither a caller nor an ID has: no two lists of parts read the same.
        name.push(0);
    }
    name
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:x})", u128::from_be_bytes(self.0))
    }
}

/// What is remembered of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the request said that it was made for.
    pub fingerprint: Fingerprint,
    /// A state for each recipient, in the message's own order.
    pub recipients: Vec<State>,
    /// The files that came with it.
    pub files: Files,
}

/// What is known of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing was sent, and nobody is about to.
    Free,
    /// A run of the request has it, and is about to send. `doubt`: an earlier attempt may have sent.
    Claimed {
        /// An earlier attempt may have sent.
        doubt: bool,
    },
    /// An attempt is under way. `doubt`: an earlier one may have sent.
    Dispatched {
        /// An earlier attempt may have sent.
        doubt: bool,
    },
    /// An attempt was made, and nothing tells what became of it.
    Unknown,
    /// Easemob gave the message an ID.
    Accepted {
        /// That ID.
        message_id: String,
        /// Easemob's clock when it answered, in milliseconds since 1970.
        timestamp_ms: Option<i64>,
    },
}

/// What became of a part.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    /// The message's ID for each recipient of the part, where there is one; none for the whole part
    /// where this is shorter.
    pub message_ids: &'a [Option<String>],
    /// Easemob's clock when it answered, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// What holds for those without an ID.
    pub unsent: Unsent,
}

/// What holds for a recipient that got no message ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// It is proven that nothing was sent.
    NotSent,
    /// Nothing tells.
    MaybeSent,
}

impl Settlement<'_> {
    /// Nobody has a message ID.
    pub fn none(unsent: Unsent) -> Self {
        Self {
            message_ids: &[],
            timestamp_ms: None,
            unsent,
        }
    }
}

/// The files that came with a message, as far as they were stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The file.
    pub file: Option<StoredFile>,
    /// The thumbnail of a video.
    pub thumbnail: Option<StoredFile>,
}

impl Files {
    /// The place of one of them.
    pub fn get_mut(&mut self, which: Section) -> &mut Option<StoredFile> {
        match which {
            Section::File => &mut self.file,
            Section::Thumbnail => &mut self.thumbnail,
        }
    }
}

/// A file that was stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Its ID at Easemob.
    pub uuid: FileId,
    /// What opens it, where its access is restricted.
    pub secret: Option<Box<str>>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

// The share secret opens the file.
impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFile")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Violations;

    fn id(text: &str) -> RequestId {
        let violations = Violations::default();
        let id = RequestId::check(text.to_owned(), violations.root());
        id.flatten().unwrap()
    }

    #[test]
    fn every_caller_and_every_app_has_ids_of_its_own() {
        let keys = [
            Key::shared("a", "shop", &id("1")),
            Key::shared("b", "shop", &id("1")),
            Key::shared("a", "shop2", &id("1")),
            Key::shared("a", "shop", &id("21")),
            Key::shared("as", "hop", &id("1")),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
        assert_eq!(keys[0], Key::shared("a", "shop", &id("1")));
    }

    #[test]
    fn who_does_not_know_the_secret_does_not_know_the_key() {
        let sum = |secret, caller, app, request_id| {
            let secret = SipHasher13::new_with_key(&[secret; 16]);
            Key::secret(&secret, caller, app, &id(request_id))
        };
        let key = sum(1, "a", "shop", "1");
        assert_eq!(key, sum(1, "a", "shop", "1"));
        let others = [
            sum(2, "a", "shop", "1"),
            sum(1, "b", "shop", "1"),
            sum(1, "as", "hop", "1"),
            sum(1, "a", "shop", "21"),
        ];
        assert!(!others.contains(&key));
        assert_ne!(key, Key::shared("a", "shop", &id("1")));
    }

    #[test]
    fn a_share_secret_does_not_show() {
        let violations = Violations::default();
        let file = StoredFile {
            uuid: FileId::check("CANARY".into(), violations.root()).unwrap(),
            secret: Some("CANARY".into()),
            size_bytes: 1,
            sha256: [0; 32],
        };
        assert!(!format!("{file:?}").contains("CANARY"));
    }
}
