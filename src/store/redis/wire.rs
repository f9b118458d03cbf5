//! What goes to Redis and comes back: bytes on one side, our types on the other.

use std::time::Duration;

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::{
    id::FileId,
    invalid::Violations,
    media::Section,
    message::Fingerprint,
    store::{Error, Files, Record, Settlement, State, StoredFile, Unsent},
};

/// What `begin` answers: what it found, how long a run still lives in milliseconds, the record's fields
/// and values in turn.
pub(super) type Begun = (String, u64, Vec<Vec<u8>>);

/// The outcome of a part, as the record keeps it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) places: Vec<u8>,
    pub(super) is_accepted: Vec<u8>,
    pub(super) accepted: Vec<u8>,
    pub(super) unsent: Unsent,
}

/// A file in a record. The share secret opens it, and so this has no `Debug`.
#[derive(Serialize, Deserialize)]
struct File {
    uuid: String,
    secret: Option<Box<str>>,
    size_bytes: u64,
    sha256: [u8; digest::SHA256_OUTPUT_LEN],
}

impl Part {
    pub(super) fn new(part: &[u32], settlement: Settlement<'_>) -> Self {
        let ids = settlement.message_ids;
        let id = |at: usize| ids.get(at).and_then(Option::as_deref);
        let mut accepted = Vec::new();
        for (at, place) in part.iter().enumerate() {
            // An ID longer than that is none of Easemob's.
            if let Some(id) = id(at)
                && let Ok(length) = u16::try_from(id.len())
            {
                accepted.extend_from_slice(&place.to_be_bytes());
                accepted.extend_from_slice(&length.to_be_bytes());
                accepted.extend_from_slice(id.as_bytes());
            }
        }
        if !accepted.is_empty() {
            let at = settlement.timestamp_ms.unwrap_or(i64::MIN);
            accepted.splice(0..0, at.to_be_bytes());
        }
        let is_accepted = |at| if id(at).is_some() { b'1' } else { b'0' };
        Self {
            places: places(part),
            is_accepted: (0..part.len()).map(is_accepted).collect(),
            accepted,
            unsent: settlement.unsent,
        }
    }
}

pub(super) fn places(part: &[u32]) -> Vec<u8> {
    part.iter().flat_map(|place| place.to_be_bytes()).collect()
}

pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn section(which: Section) -> &'static str {
    match which {
        Section::File => "file",
        Section::Thumbnail => "thumbnail",
    }
}

pub(super) fn file(file: &StoredFile) -> Vec<u8> {
    let file = File {
        uuid: file.uuid.as_str().to_owned(),
        secret: file.secret.clone(),
        size_bytes: file.size_bytes,
        sha256: file.sha256,
    };
    serde_json::to_vec(&file).expect("all of it can be written")
}

fn stored_file(bytes: &[u8]) -> Option<StoredFile> {
    let file: File = serde_json::from_slice(bytes).ok()?;
    let violations = Violations::default();
    Some(StoredFile {
        uuid: FileId::check(file.uuid, violations.root())?,
        secret: file.secret,
        size_bytes: file.size_bytes,
        sha256: file.sha256,
    })
}

/// A record from its fields. What does not read as one was written by somebody else.
pub(super) fn record(fields: &[Vec<u8>]) -> Result<Record, Error> {
    read(fields).ok_or(Error::Unreadable)
}

fn read(fields: &[Vec<u8>]) -> Option<Record> {
    let (fields, _) = fields.as_chunks::<2>();
    let field = |name: &[u8]| {
        let found = fields.iter().find(|[found, _]| found == name);
        found.map(|[_, value]| value.as_slice())
    };
    let mut recipients: Vec<_> = field(b"s")?.iter().map(state).collect::<Option<_>>()?;
    for [name, part] in fields {
        if name.first() == Some(&b'p') {
            accept(&mut recipients, part)?;
        }
    }
    Some(Record {
        fingerprint: Fingerprint::from_bytes(field(b"f")?.try_into().ok()?),
        recipients,
        files: Files {
            file: field(b"file").and_then(stored_file),
            thumbnail: field(b"thumbnail").and_then(stored_file),
        },
    })
}

fn state(byte: &u8) -> Option<State> {
    Some(match byte {
        b'F' => State::Free,
        b'C' => State::Claimed { doubt: false },
        b'c' => State::Claimed { doubt: true },
        b'D' => State::Dispatched { doubt: false },
        b'd' => State::Dispatched { doubt: true },
        b'U' => State::Unknown,
        // With its ID, which follows.
        b'A' => State::Accepted {
            message_id: String::new(),
            timestamp_ms: None,
        },
        _ => return None,
    })
}

/// Fills in the IDs of one part, as far as the script took them over.
fn accept(recipients: &mut [State], mut part: &[u8]) -> Option<()> {
    let count = u32::from_be_bytes(*part.split_off(..4)?.first_chunk()?);
    let mut taken = part.split_off(..usize::try_from(count).ok()?)?.iter();
    let timestamp_ms = Some(i64::from_be_bytes(*part.split_off(..8)?.first_chunk()?));
    let timestamp_ms = timestamp_ms.filter(|at| *at != i64::MIN);
    while !part.is_empty() {
        let place = u32::from_be_bytes(*part.split_off(..4)?.first_chunk()?);
        let length = u16::from_be_bytes(*part.split_off(..2)?.first_chunk()?);
        let id = part.split_off(..usize::from(length))?;
        if taken.next() != Some(&b'1') {
            continue;
        }
        if let Some(state) = recipients.get_mut(usize::try_from(place).ok()?) {
            *state = State::Accepted {
                message_id: str::from_utf8(id).ok()?.to_owned(),
                timestamp_ms,
            };
        }
    }
    Some(())
}
