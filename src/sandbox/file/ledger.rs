//! What became of each upload, from its headers on: what a test asks in place of a store's word.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use crate::sandbox::config::Keep;
use crate::sandbox::locked;
use crate::sandbox::ring::Ring;

/// How far an upload came, whatever was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadState {
    /// Its bytes are still coming.
    UnderWay,
    /// Closing boundary and end of the request were read.
    Complete,
    /// The client went away before that, or its request ended without a closing boundary.
    Broken,
    /// The sandbox read no further: it had answered already, or broke the connection by a fault.
    Abandoned,
}

/// An upload as it stood when it was asked for.
#[derive(Clone)]
pub struct Upload {
    /// How far it came.
    pub state: UploadState,
    /// Path and query as sent.
    pub path: String,
    /// All headers as sent, the bearer token among them.
    pub headers: HeaderMap,
    /// Bytes of the body that were read, boundaries and all.
    pub body_bytes: u64,
    /// Whether the closing boundary was read, even if the request broke off after it.
    pub closed: bool,
    /// The part `file`, once its headers were read.
    pub part: Option<Part>,
    /// The UUID of the file that was stored.
    pub uuid: Option<String>,
    /// The status that was answered.
    pub status: Option<StatusCode>,
    /// When its headers had been read.
    pub began: Instant,
    /// When it was no longer under way.
    pub ended: Option<Instant>,
}

/// The part of a form that holds the file.
#[derive(Clone)]
pub struct Part {
    /// The part's own headers as sent.
    pub headers: HeaderMap,
    /// The file name.
    pub name: Option<String>,
    /// The content type as sent.
    pub content_type: Option<String>,
    /// Bytes of the file that were read.
    pub size: u64,
    /// Their SHA-256 in lower-case hex, once the part had ended.
    pub sha256: Option<String>,
}

/// Without headers and names.
impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("state", &self.state)
            .field("body_bytes", &self.body_bytes)
            .field("closed", &self.closed)
            .field("part", &self.part)
            .field("uuid", &self.uuid)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Without headers and names.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("content_type", &self.content_type)
            .field("size", &self.size)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

/// The uploads, as many as are kept.
pub(in crate::sandbox) struct Ledger {
    uploads: Mutex<Ring<Arc<Mutex<Upload>>>>,
    /// Changes with every step of every upload.
    changed: watch::Sender<()>,
}

impl Ledger {
    pub(in crate::sandbox) fn new(keep: Keep) -> Self {
        Self {
            uploads: Mutex::new(Ring::new(keep.calls, usize::MAX)),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn begin(&self, parts: &Parts) -> Entry<'_> {
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let upload = Arc::new(Mutex::new(Upload {
            state: UploadState::UnderWay,
            path: path.to_owned(),
            headers: parts.headers.clone(),
            body_bytes: 0,
            closed: false,
            part: None,
            uuid: None,
            status: None,
            began: Instant::now(),
            ended: None,
        }));
        locked(&self.uploads).push(0, Arc::clone(&upload));
        self.changed.send_replace(());
        Entry {
            ledger: self,
            upload,
        }
    }

    /// Oldest first.
    pub(in crate::sandbox) fn list(&self) -> Vec<Upload> {
        let uploads = locked(&self.uploads);
        uploads
            .iter()
            .map(|upload| locked(upload).clone())
            .collect()
    }

    pub(in crate::sandbox) fn clear(&self) {
        locked(&self.uploads).clear();
    }

    /// Waits until so many uploads match.
    pub(in crate::sandbox) async fn reach(
        &self,
        count: usize,
        matches: impl Fn(&Upload) -> bool + Sync,
    ) {
        let mut changed = self.changed.subscribe();
        let reached = || {
            let uploads = locked(&self.uploads);
            let matching = uploads.iter().filter(|upload| matches(&locked(upload)));
            matching.count() >= count
        };
        while !reached() {
            if changed.changed().await.is_err() {
                break;
            }
        }
    }
}

/// The entry of an upload that is being read. One that is dropped is broken, unless it was settled.
pub(super) struct Entry<'a> {
    ledger: &'a Ledger,
    upload: Arc<Mutex<Upload>>,
}

impl Entry<'_> {
    pub(super) fn update(&self, change: impl FnOnce(&mut Upload)) {
        change(&mut locked(&self.upload));
        self.ledger.changed.send_replace(());
    }

    /// Ends the upload; what it was first settled to, it stays.
    pub(super) fn settle(&self, state: UploadState) {
        self.update(|upload| {
            if upload.state == UploadState::UnderWay {
                upload.state = state;
                upload.ended = Some(Instant::now());
            }
        });
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.settle(UploadState::Broken);
    }
}
