//! `impl Client`: `POST /chatfiles` and `GET /chatfiles/{uuid}`.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::{Client, Error, Kind, Token, error, record, transport::Reply, turn::Turn};
use crate::{
    id::FileId,
    invalid::Violations,
    media::{self, ContentType, FileName, Upload},
    metrics,
    trace::{self, Span},
};

/// Largest piece that is given to the socket at once, in bytes: the HTTP library queues sixteen of
/// them for an Easemob that does not read, however large the caller's chunks are. Those are a little more than goes on in a
/// turn, so that they are written at once.
const MAX_PIECE_BYTES: usize = 5 * 1024;

/// Most bytes of an upload that the kernel has taken and Easemob has not.
const MAX_KERNEL_BYTES: u64 = 4 * 1024 * 1024;
/// Slowest Easemob, in bytes a second, that is waited for to read them. One that reads nothing at all
/// is noticed by the kernel.
const MIN_BYTES_PER_SECOND: u64 = 16 * 1024;

const RESTRICT_ACCESS: HeaderName = HeaderName::from_static("restrict-access");
const THUMBNAIL_WIDTH: HeaderName = HeaderName::from_static("thumbnail-width");
const THUMBNAIL_HEIGHT: HeaderName = HeaderName::from_static("thumbnail-height");
const THUMBNAIL: HeaderName = HeaderName::from_static("thumbnail");
const SHARE_SECRET: HeaderName = HeaderName::from_static("share-secret");

/// How Easemob is to store a file.
#[derive(Debug, Clone)]
pub struct Store {
    /// Name of the file.
    pub name: FileName,
    /// MIME type.
    pub content_type: ContentType,
    /// Downloads need the share secret.
    pub restrict_access: bool,
    /// Width and height in pixels of an image's thumbnail.
    pub thumbnail: Option<(u32, u32)>,
}

/// A file as Easemob stored it.
#[derive(Clone)]
pub struct Stored {
    /// Its ID.
    pub id: FileId,
    /// What opens it, where access is restricted.
    pub secret: Option<String>,
}

/// Why a file was not stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UploadError {
    /// The caller's stream is no file.
    #[error(transparent)]
    Caller(#[from] media::Error),
    /// Easemob refused it, or broke off.
    #[error(transparent)]
    Easemob(#[from] Error),
}

/// A caller's stream that the body and whoever waits for the answer both look at.
#[derive(Clone)]
pub struct SharedUpload(Arc<Mutex<Progress>>);

struct Progress {
    upload: Upload,
    /// When the socket last took something.
    taken_at: Instant,
    /// The closing boundary is with the socket.
    ended: bool,
    /// Nobody waits for the answer any more.
    abandoned: bool,
    /// The task that sends the body.
    sender: Option<Waker>,
}

impl Progress {
    /// How long Easemob may take to read what the socket took: the last byte is with the kernel long
    /// before it is with a slow Easemob.
    fn kernels_time(&self) -> Duration {
        let size = self.upload.summary().map_or(0, |file| file.size_bytes);
        Duration::from_secs(size.min(MAX_KERNEL_BYTES) / MIN_BYTES_PER_SECOND)
    }
}

/// Whoever waits for an upload's answer. When it goes, the body ends with it: the HTTP library would
/// go on sending what comes after an early answer.
struct Waiting(SharedUpload);

impl Drop for Waiting {
    fn drop(&mut self) {
        let sender = {
            let mut progress = self.0.lock();
            progress.abandoned = true;
            progress.sender.take()
        };
        if let Some(sender) = sender {
            sender.wake();
        }
    }
}

impl SharedUpload {
    /// Shares an upload.
    pub fn new(upload: Upload) -> Self {
        Self(Arc::new(Mutex::new(Progress {
            upload,
            taken_at: Instant::now(),
            ended: false,
            abandoned: false,
            sender: None,
        })))
    }

    /// Looks at the upload.
    pub fn with<T>(&self, look: impl FnOnce(&mut Upload) -> T) -> T {
        look(&mut self.lock().upload)
    }

    /// Whether the stream begins with a thumbnail. Waits for its first frame.
    pub async fn has_thumbnail(&self) -> Result<bool, media::Error> {
        std::future::poll_fn(|cx| self.lock().upload.poll_has_thumbnail(cx)).await
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when Easemob has stood still for too long.
    async fn stalled(&self, config: &media::Config) -> &'static str {
        loop {
            let (until, what) = {
                let progress = self.lock();
                if progress.ended {
                    (
                        progress.taken_at + config.answer_timeout + progress.kernels_time(),
                        "Easemob did not answer the upload",
                    )
                } else if progress.upload.waits_for_caller() {
                    (Instant::now() + config.stall_timeout, "")
                } else {
                    (
                        progress.taken_at + config.stall_timeout,
                        "Easemob stopped taking the upload",
                    )
                }
            };
            if until <= Instant::now() {
                return what;
            }
            sleep_until(until).await;
        }
    }
}

impl Client {
    /// Stores the file that was begun on this upload. Nothing is stored unless the caller's stream
    /// says that the file is whole.
    pub async fn store(
        &self,
        store: &Store,
        upload: &SharedUpload,
        token: &Token,
        config: &media::Config,
    ) -> Result<Stored, UploadError> {
        let attempt = self.metrics.upload.attempt();
        let outcome = self.store_once(store, upload, token, config).await;
        match &outcome {
            Ok(_) => attempt.ok(),
            Err(UploadError::Caller(_)) => attempt.failed("caller_failed", None),
            Err(UploadError::Easemob(error)) => {
                attempt.failed(error.kind.name(), error.http_status());
            }
        }
        outcome
    }

    async fn store_once(
        &self,
        store: &Store,
        upload: &SharedUpload,
        token: &Token,
        config: &media::Config,
    ) -> Result<Stored, UploadError> {
        let boundary = format!("easemob-gateway-{:032x}", fastrand::u128(..));
        let uploaded = self.metrics.uploaded.clone();
        let body = MultipartBody::new(upload.clone(), store, &boundary, uploaded);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, token.authorization.clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let content_type = format!("multipart/form-data; boundary={boundary}");
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::try_from(content_type).expect("a boundary is letters and digits"),
        );
        // Older clusters look at the header's presence and not at its value.
        if store.restrict_access {
            headers.insert(RESTRICT_ACCESS, HeaderValue::from_static("true"));
        }
        if let Some((width, height)) = store.thumbnail {
            headers.insert(THUMBNAIL_WIDTH, width.into());
            headers.insert(THUMBNAIL_HEIGHT, height.into());
        }

        let _waiting = Waiting(upload.clone());
        let answer = tokio::select! {
            answer = self.transport.upload(&self.upload, headers, body) => answer,
            what = upload.stalled(config) => Err(what.to_owned()),
        };
        // The caller's own fault comes first: it is why the connection broke.
        if let Some(error) = upload.with(|upload| upload.error().cloned()) {
            return Err(error.into());
        }
        let reply = answer.map_err(interrupted)?;
        if reply.status != 200 {
            return Err(error::of_upload(&reply).into());
        }
        if upload.with(|upload| upload.summary().is_none()) {
            return Err(
                interrupted("Easemob answered before it had the whole file".to_owned()).into(),
            );
        }
        stored(&reply).ok_or_else(|| {
            interrupted("Easemob's answer to the upload cannot be read".to_owned()).into()
        })
    }

    /// Opens a file, or the thumbnail of an image, for reading.
    pub async fn open(
        &self,
        file: &FileId,
        secret: Option<&str>,
        thumbnail: bool,
        token: &Token,
        timeout: Duration,
    ) -> Result<reqwest::Response, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, token.authorization.clone());
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/octet-stream"),
        );
        if let Some(secret) = secret {
            let mut secret = HeaderValue::try_from(secret).map_err(|_| {
                Error::new(Kind::InvalidRequest, "the share secret is no header value")
            })?;
            secret.set_sensitive(true);
            headers.insert(SHARE_SECRET, secret);
        }
        if thumbnail {
            headers.insert(THUMBNAIL, HeaderValue::from_static("true"));
        }
        let mut url = self.download.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(file.as_str());
        }
        let attempt = self.metrics.download.attempt();
        let endpoint = &self.download;
        let outcome = self
            .transport
            .download(endpoint, url, headers, timeout)
            .await;
        record(attempt, &outcome);
        outcome
    }
}

fn interrupted(what: String) -> Error {
    Error::new(Kind::UploadInterrupted, what)
}

#[derive(Deserialize)]
struct Answer {
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
struct Entity {
    uuid: String,
    #[serde(rename = "share-secret")]
    share_secret: Option<String>,
}

fn stored(reply: &Reply) -> Option<Stored> {
    let answer: Answer = serde_json::from_slice(&reply.body).ok()?;
    let entity = answer.entities.into_iter().next()?;
    let violations = Violations::default();
    Some(Stored {
        id: FileId::check(entity.uuid, violations.root())?,
        secret: entity.share_secret.filter(|secret| !secret.is_empty()),
    })
}

/// The multipart request: one part, named `file`. Its closing boundary exists only once the caller's
/// stream says that the file is whole, so that Easemob never takes half a file for one.
struct MultipartBody {
    upload: SharedUpload,
    stage: Stage,
    piece: Bytes,
    prefix: Bytes,
    suffix: Bytes,
    length: Option<u64>,
    progress: Progressed,
    turn: Turn,
    /// Counts the file's bytes.
    uploaded: metrics::Bytes,
}

/// How far an upload has come, as its span tells it: at 1 MiB, and each time it has doubled.
struct Progressed {
    span: Span,
    bytes: usize,
    next: usize,
}

impl Progressed {
    fn new() -> Self {
        Self {
            span: trace::current(),
            bytes: 0,
            next: 1024 * 1024,
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= self.next {
            let sent = i64::try_from(self.bytes).unwrap_or(i64::MAX);
            let bytes = ("easemob.upload.bytes", sent.into());
            self.span.event("upload.progress", &[bytes]);
            self.next = self.next.saturating_mul(2);
        }
    }
}

enum Stage {
    Prefix,
    File,
    End,
}

impl MultipartBody {
    fn new(upload: SharedUpload, store: &Store, boundary: &str, uploaded: metrics::Bytes) -> Self {
        let prefix = Bytes::from(format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename={name}\r\n\
             Content-Type: {content_type}\r\n\r\n",
            name = store.name.quoted(),
            content_type = store.content_type.as_str(),
        ));
        let suffix = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let frame = (prefix.len() + suffix.len()) as u64;
        let declared = {
            let mut progress = upload.lock();
            progress.taken_at = Instant::now();
            progress.ended = false;
            progress.abandoned = false;
            progress.upload.declared()
        };
        Self {
            upload,
            stage: Stage::Prefix,
            piece: Bytes::new(),
            length: declared.map(|size| size.saturating_add(frame)),
            prefix,
            suffix,
            progress: Progressed::new(),
            turn: Turn::default(),
            uploaded,
        }
    }
}

/// The body breaks off; why is with the upload.
#[derive(Debug, thiserror::Error)]
#[error("the caller's upload broke off")]
struct BrokenOff;

impl Body for MultipartBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        if this.piece.is_empty() {
            let mut progress = this.upload.lock();
            if progress.abandoned && !matches!(this.stage, Stage::End) {
                return Poll::Ready(Some(Err(BrokenOff)));
            }
            progress.sender = Some(cx.waker().clone());
            progress.taken_at = Instant::now();
            match this.stage {
                Stage::Prefix => {
                    this.stage = Stage::File;
                    return Poll::Ready(Some(Ok(Frame::data(this.prefix.clone()))));
                }
                Stage::End => return Poll::Ready(None),
                Stage::File => {
                    ready!(this.turn.poll(cx));
                    match ready!(progress.upload.poll_bytes(cx)) {
                        Some(Ok(bytes)) => this.piece = bytes,
                        Some(Err(_with_the_upload)) => return Poll::Ready(Some(Err(BrokenOff))),
                        None => {
                            this.stage = Stage::End;
                            progress.taken_at = Instant::now();
                            progress.ended = true;
                            return Poll::Ready(Some(Ok(Frame::data(this.suffix.clone()))));
                        }
                    }
                }
            }
            progress.taken_at = Instant::now();
        } else {
            this.upload.lock().taken_at = Instant::now();
        }
        let piece = this.piece.split_to(this.piece.len().min(MAX_PIECE_BYTES));
        this.turn.took(piece.len());
        this.progress.add(piece.len());
        this.uploaded.add(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::End)
    }

    // Exact where the caller declared the size, so that the request carries a Content-Length.
    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SharedUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedUpload")
            .field(&self.lock().upload)
            .finish()
    }
}
