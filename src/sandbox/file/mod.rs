//! Chat files: what was stored, for as long as it fits.

mod download;
mod form;
mod incoming;
mod ledger;
mod store;
mod thumbnail;
mod upload;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::config::Keep;
use super::data::Data;
use super::locked;

pub(super) use download::{disposition, download, open};
pub(super) use ledger::Ledger;
pub use ledger::{Part, Upload, UploadState};
pub(super) use thumbnail::of as thumbnail_of;
pub(super) use upload::upload;

/// A file that the sandbox gave a UUID to.
pub struct File {
    /// Its name in URLs.
    pub uuid: String,
    /// The file name that it was uploaded with.
    pub name: String,
    /// The content type that it was uploaded with.
    pub content_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// Their SHA-256, in lower-case hex.
    pub sha256: String,
    /// What a download has to show; `None` for a file that was not restricted.
    pub share_secret: Option<String>,
    /// Most width and height of its thumbnail, in pixels.
    pub thumbnail: (u32, u32),
    /// When it was stored.
    pub received: SystemTime,
    /// Its bytes; `None` where they were not kept.
    pub content: Option<Bytes>,
    /// When it was stored, by the sandbox's clock.
    pub(super) stored: Duration,
    /// How old it was then: it may have been kept from an earlier run.
    pub(super) was: Duration,
}

impl File {
    /// How old it is, by the sandbox's clock.
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.stored) + self.was
    }
}

/// Without its secret, its name and its bytes.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("uuid", &self.uuid)
            .field("type", &self.content_type)
            .field("size", &self.size)
            .field("sha256", &self.sha256)
            .field("restricted", &self.share_secret.is_some())
            .finish_non_exhaustive()
    }
}

impl Serialize for File {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut file = serializer.serialize_struct("File", 8)?;
        file.serialize_field("uuid", &self.uuid)?;
        file.serialize_field("name", &self.name)?;
        file.serialize_field("type", &self.content_type)?;
        file.serialize_field("size", &self.size)?;
        file.serialize_field("sha256", &self.sha256)?;
        file.serialize_field("restricted", &self.share_secret.is_some())?;
        file.serialize_field("kept", &self.content.is_some())?;
        let received = humantime::format_rfc3339_millis(self.received);
        file.serialize_field("received", &received.to_string())?;
        file.end()
    }
}

/// The files stored, and the room that those on their way take up.
pub(super) struct Files {
    keep: Keep,
    kept: Mutex<Kept>,
    data: Option<Arc<Data>>,
}

#[derive(Default)]
struct Kept {
    by_uuid: HashMap<String, Arc<File>>,
    /// Oldest first.
    order: VecDeque<String>,
    /// Bytes of those stored and of those on their way.
    bytes: usize,
}

impl Kept {
    /// Whether there was one.
    fn drop_oldest(&mut self, data: Option<&Data>) -> bool {
        let Some(oldest) = self.order.pop_front() else {
            return false;
        };
        if let Some(file) = self.by_uuid.remove(&oldest) {
            self.bytes -= file.content.as_ref().map_or(0, Bytes::len);
        }
        if let Some(data) = data {
            data.remove_file(oldest);
        }
        true
    }
}

impl Files {
    /// Begins with the files of an earlier run; `data` keeps all for the next.
    pub(super) fn new(keep: Keep, earlier: Vec<File>, data: Option<Arc<Data>>) -> Self {
        let files = Self {
            keep,
            kept: Mutex::default(),
            data,
        };
        for file in earlier {
            let bytes = file.content.as_ref().map_or(0, Bytes::len);
            if files.make_room(bytes) {
                files.keep(Arc::new(file));
            }
        }
        files
    }

    pub(super) fn find(&self, uuid: &str) -> Option<Arc<File>> {
        locked(&self.kept).by_uuid.get(uuid).cloned()
    }

    /// Oldest first.
    pub(super) fn list(&self) -> Vec<Arc<File>> {
        let kept = locked(&self.kept);
        let files = kept.order.iter().filter_map(|uuid| kept.by_uuid.get(uuid));
        files.cloned().collect()
    }

    pub(super) fn clear(&self) {
        let mut kept = locked(&self.kept);
        while kept.drop_oldest(self.data.as_deref()) {}
    }

    /// Stores a file, whose bytes have their room already.
    fn add(&self, file: File) {
        let file = Arc::new(file);
        if let Some(data) = &self.data {
            data.file(&file);
        }
        self.keep(file);
    }

    fn keep(&self, file: Arc<File>) {
        let mut kept = locked(&self.kept);
        kept.order.push_back(file.uuid.clone());
        kept.by_uuid.insert(file.uuid.clone(), file);
        while kept.order.len() > self.keep.files {
            kept.drop_oldest(self.data.as_deref());
        }
    }

    /// A place for the bytes of a file on its way.
    fn buffer(&self) -> Buffer<'_> {
        Buffer {
            files: self,
            bytes: Some(Vec::new()),
        }
    }

    /// Takes room for so many bytes more, at the cost of the oldest files.
    fn make_room(&self, more: usize) -> bool {
        let mut kept = locked(&self.kept);
        while kept.bytes + more > self.keep.file_bytes {
            if !kept.drop_oldest(self.data.as_deref()) {
                return false;
            }
        }
        kept.bytes += more;
        true
    }

    fn give_back(&self, bytes: usize) {
        locked(&self.kept).bytes -= bytes;
    }
}

/// The bytes of a file on its way, until there are too many to keep.
struct Buffer<'a> {
    files: &'a Files,
    bytes: Option<Vec<u8>>,
}

impl Buffer<'_> {
    fn push(&mut self, more: &[u8]) {
        let Some(bytes) = &mut self.bytes else { return };
        let fits = bytes.len() + more.len() <= self.files.keep.largest_file;
        if fits && self.files.make_room(more.len()) {
            bytes.extend_from_slice(more);
        } else {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            self.files.give_back(bytes.len());
        }
    }

    /// The bytes, which take their room with them.
    fn into_content(mut self) -> Option<Bytes> {
        self.bytes
            .take()
            .map(|bytes| bytes.into_boxed_slice().into())
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}
